"""Many sets of units where the tail is linear: one product of sets with what each unit adds to the logits.

    response = linear_response(engine, "relu4")                # None where a non-linearity follows, or memory is short
    logits = response.sums(coefficients)                       # [M, N, C]: of M sets of coefficients [M, U]

From the last activation function on, logits are linear in the units' maps, so that a set's effect is the sum of its
units' own (exact but for rounding, in which it is as good as the plain way).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from selviz.ablation.engine import Engine, Turn
from selviz.networks.unit_edit import silence

MAX_BYTES = (
    256 * 2**20
)  # of what all units add to the logits; beyond it the last layer's weights are taken for each set


class LinearResponse(NamedTuple):
    """What a layer's U units add to the logits of N images in C classes."""

    contributions: Tensor | None  # [U, N, C], of the intact maps; None where they would take too much memory
    features: Tensor | None  # [N, U]: contributions are features x weight, where one nn.Linear follows
    weight: Tensor | None  # [C, U]
    of_ones: Tensor  # [U, C]: what a map of ones adds
    without: Tensor | None  # [1, C]: logits without the layer, where they depend on the image through it alone

    def sums(self, coefficients: Float[Tensor, "sets units"]) -> Float[Tensor, "sets images classes"]:
        """Return [M, N, C]: the sum over units of coefficient times contribution, for coefficients [M, U]."""
        if self.contributions is not None:
            units, images, classes = self.contributions.shape
            return (coefficients @ self.contributions.view(units, -1)).view(-1, images, classes)
        assert self.features is not None and self.weight is not None
        rows = []
        for row in coefficients:
            units = row.nonzero().squeeze(1)
            rows.append((self.features[:, units] * row[units]) @ self.weight[:, units].T)
        return torch.stack(rows)


@torch.inference_mode()
def linear_response(engine: Engine, name: str, turn: Turn) -> LinearResponse | None:
    """Return what the layer's units add to the logits; None where its tail is not linear or the memory is too small.

    Computed once per engine and held in its cache.
    """
    tail = engine.tail([name])
    if not tail.linear or engine.network.device.type != "cpu":
        return None
    layer, images, classes = engine.network.layer(name), len(engine), engine.classes
    fits = 4 * layer.units * images * classes <= MAX_BYTES
    if tail.head_weight is None and not fits:
        return None
    values, _ = engine.cached(("linear", name), lambda: _computed(engine, name, fits, turn))
    contributions, features, weight, of_ones, without = (value if value.numel() else None for value in values)
    assert of_ones is not None
    return LinearResponse(contributions, features, weight, of_ones, without)


def _computed(engine: Engine, name: str, fits: bool, turn: Turn) -> list[Tensor]:
    """Return the fields of LinearResponse, empty tensors for None."""
    tail, layer = engine.tail([name]), engine.network.layer(name)
    nothing = torch.empty(0)
    shape = (1, layer.units, *(size for axis, size in enumerate(layer.shape) if axis not in (0, layer.axis)))
    features, contributions, parts = nothing, nothing, []
    for number, rows in enumerate(engine.slices_of(tail)):
        with turn(number):
            boundary = engine.boundary(tail, number, rows)
            maps = tail.map(boundary, name)
            pooled = tail.head(maps)
            parts.append(_of_each_unit(tail.module, boundary, maps, layer.axis) if pooled is None else pooled)
    if tail.head_weight is None:
        contributions, weight = torch.cat(parts, dim=1), nothing
        of_ones = _of_each_unit(tail.module, [value[:1] for value in boundary], torch.ones(shape), layer.axis)[:, 0]
    else:
        weight, features = tail.head_weight.detach(), torch.cat(parts)
        ones = tail.head(torch.ones(shape))
        assert ones is not None
        of_ones = (ones * weight).T
        if fits:
            contributions = features.T.unsqueeze(2) * weight.T.unsqueeze(1)
    return [contributions, features, weight, of_ones.contiguous(), _without(engine, name)]


def _of_each_unit(
    module: torch.nn.Module, boundary: Sequence[Tensor], maps: Float[Tensor, "images units *positions"], axis: int
) -> Float[Tensor, "units images classes"]:
    """Return [U, N, C]: how the logits move by each unit's map of maps [N, U, *positions] alone."""
    return torch.stack(
        [
            module(*boundary[:-1], maps[:, unit : unit + 1].movedim(1, axis), torch.tensor([unit]), torch.ones(1))
            for unit in range(maps.shape[1])
        ]
    )


def _without(engine: Engine, name: str) -> Tensor:
    """Return the logits [1, C] without the layer, or an empty tensor where other ways lead past it."""
    if not engine.network.feeds(name)[1]:
        return torch.empty(0)
    layer = engine.network.layer(name)
    boundary = engine.network.boundary(engine.inputs[:1], [name])
    return engine.network.resume(boundary, {name: silence(layer, range(layer.units))})
