"""A unit's activation: `mean_over_positions(map, (2, 3))`, whose gradient costs one addition to the map's own.

PyTorch's `mean` writes its gradient out as a map of its own, unit axis second, which then has to be added to a map that
lies channels last; here it stays one number per image and unit, seen as a map.
"""

import math
from typing import Any

import torch
from torch import Tensor


class _PositionMean(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, positions: tuple[int, ...]) -> Tensor:  # type: ignore[override, unused-ignore]
        return values.mean(dim=positions)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: Tensor) -> None:  # type: ignore[override, unused-ignore]
        values, ctx.positions = inputs
        ctx.shape = values.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override, unused-ignore]
        share = gradient / math.prod(ctx.shape[position] for position in ctx.positions)
        for position in ctx.positions:
            share = share.unsqueeze(position)
        return share.expand(ctx.shape), None


def mean_over_positions(values: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Return the mean over the axes `positions` (ascending, counted from the front); value and gradient as `mean`'s."""
    if torch.is_grad_enabled() and values.requires_grad:
        mean: Tensor = _PositionMean.apply(values, positions)
        return mean
    return values.mean(dim=positions)
