"""What the attribution methods are made of, computed here: as `by_captum`, where Captum is not installed.

Captum brings Matplotlib and its parts, 55 MB, which nothing here draws with. `tests/attribution/test_by_formula.py`
holds each function against Captum's.
"""

import math

import torch
from torch import Tensor, nn

from selviz.attribution.targets import Response, images_at_once

COMPUTED_BY = "Captum's formula"


def path_pieces(response: Response, end: Tensor, start: Tensor) -> Tensor:
    """Return (end - start) times the gradient halfway, [B, C, H, W], for B pieces of a path."""
    return (end - start) * _gradient(response, start + 0.5 * (end - start))


def input_times_gradient(response: Response, image: Tensor) -> Tensor:
    """Return the gradient times the image, [1, C, H, W]."""
    return image.detach() * _gradient(response, image)


def guided_gradient(response: Response, image: Tensor) -> Tensor:
    """Return the gradient whose negative parts are dropped at each ReLU, [1, C, H, W]."""

    def without_negative(
        module: nn.Module, before: tuple[Tensor, ...] | Tensor, after: tuple[Tensor, ...] | Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(part.clamp(min=0) for part in before)

    relus = [module for module in response.modules() if isinstance(module, nn.ReLU)]
    handles = [module.register_full_backward_hook(without_negative) for module in relus]
    try:
        return _gradient(response, image)
    finally:
        for handle in handles:
            handle.remove()


def weighted_maps(response: Response, image: Tensor, at: str, relu: bool) -> Tensor:
    """Return Grad-CAM's map of the layer `at`, [1, 1, *positions]."""
    maps, gradients = _at_layer(response, image, at)
    weights = gradients.mean(dim=tuple(range(2, gradients.dim())), keepdim=True) if gradients.dim() > 2 else gradients
    summed = (weights * maps).sum(dim=1, keepdim=True)
    return summed.clamp(min=0) if relu else summed


def conductances(response: Response, image: Tensor, baseline: Tensor, at: str, steps: int) -> Tensor:
    """Return the conductance of each unit and position of the layer `at`, [1, U, *positions], by the trapezoidal rule:
    each step of the layer's values times the mean of the gradients at both of its ends.
    """
    places = torch.linspace(0, 1, steps + 1, dtype=torch.float64).to(image.dtype).view(-1, 1, 1, 1)
    most = max(2, images_at_once(image))
    total: Tensor | None = None
    for first in range(0, steps, most - 1):  # neighboring parts share a place
        part = baseline + places[first : first + most] * (image - baseline)
        maps, gradients = _at_layer(response, part, at)
        moved = (maps[1:] - maps[:-1]) * (gradients[1:] + gradients[:-1]) / 2
        summed = moved.sum(dim=0, keepdim=True)
        total = summed if total is None else total + summed
    assert total is not None
    return total


def drops_by_group(response: Response, image: Tensor, baseline: Tensor, groups: Tensor) -> Tensor:
    """Return at each pixel, [1, C, H, W], the target's drop when its whole group takes the baseline's values.

    `groups` [H, W] holds the number of each pixel's group, 0 .. G - 1.
    """
    masks = torch.stack([groups == group for group in range(int(groups.max()) + 1)])
    return (_drops(response, image, baseline, masks).view(-1, 1, 1) * masks).sum(dim=0).expand_as(image).clone()


def drops_by_window(response: Response, image: Tensor, baseline: Tensor, window: int, stride: int) -> Tensor:
    """Return at each pixel, [1, C, H, W], the mean drop over the square windows that cover it."""
    height, width = image.shape[2:]
    # The last window may reach beyond the edge.
    tops, lefts = (stride * torch.arange(math.ceil((side - window) / stride) + 1) for side in (height, width))
    rows = (torch.arange(height) >= tops[:, None]) & (torch.arange(height) < tops[:, None] + window)
    columns = (torch.arange(width) >= lefts[:, None]) & (torch.arange(width) < lefts[:, None] + window)
    masks = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)
    drops = (_drops(response, image, baseline, masks).view(-1, 1, 1) * masks).sum(dim=0)
    return (drops / masks.sum(dim=0)).expand_as(image).clone()


def _gradient(response: Response, inputs: Tensor) -> Tensor:
    """Return the gradient of each input's target, [B, C, H, W]."""
    inputs = inputs.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(response(inputs).sum(), inputs)
    return gradient


def _at_layer(response: Response, inputs: Tensor, at: str) -> tuple[Tensor, Tensor]:
    """Return the values of a layer, [B, U, *positions], and the targets' gradients there."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: Tensor) -> None:
        if output.requires_grad:  # not what is computed beside the target's path
            kept.append(output)

    handle = response.hooks[at].register_forward_hook(keep)
    try:
        values = response(inputs.detach().requires_grad_(True))
    finally:
        handle.remove()
    (gradients,) = torch.autograd.grad(values.sum(), kept[0])
    return kept[0].detach().to(inputs.device), gradients.to(inputs.device)


def _drops(response: Response, image: Tensor, baseline: Tensor, masks: Tensor) -> Tensor:
    """Return the target's drop, [M], when the pixels of each mask [M, H, W] take the baseline's values."""
    with torch.no_grad():
        parts = [torch.where(part.unsqueeze(1), baseline, image) for part in torch.split(masks, images_at_once(image))]
        drops: Tensor = response(image) - torch.cat([response(part) for part in parts])
    return drops
