"""Attributions of a target: `attribute(network, target, images, "occlusion", window=6).maps` is [N, H, W]."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selviz.attribution.methods import HOOKED, METHODS, PERTURBING
from selviz.attribution.targets import Response, Target
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_network import UnitNetwork


@dataclass(frozen=True)
class Attribution:
    """Attributions of N images by one method with these `parameters`.

    `values` are over the input, [N, C, H, W], or over a layer's units and positions, [N, U, *positions] (gradcam,
    conductance). `maps` [N, H, W] are their sums over channels or units at the images' size, for drawing. `delta` [N]
    is the values' sum minus the change of the target from baseline to image; None where theory gives no such sum.
    """

    values: Tensor
    maps: Tensor
    delta: Tensor | None
    parameters: dict[str, Any]


def attribute(
    network: UnitNetwork,
    target: Target,
    inputs: Tensor,
    method: str = "integrated_gradients",
    baseline: Tensor | float = 0.0,
    smooth: int = 0,
    noise: float = 0.15,
    seed: int = 0,
    hooks: Mapping[str, nn.Module] | None = None,
    **settings: Any,
) -> Attribution:
    """Return attributions of the target on inputs [N, C, H, W], by one of METHODS with its own `settings`.

    `baseline` is what an absent input is, [1, C, H, W] or one number, in normalised units: 0 is the data set's mean
    image. `smooth` above 0 averages over so many copies of each image with Gaussian noise, whose standard deviation is
    `noise` times the image's range (SmoothGrad, Smilkov et al. 2017, arXiv 1706.03825); what Captum's NoiseTunnel does,
    but with noise from `seed`: that one draws from torch's global generator, which other threads use too. Callers that
    hold a copy made by `network.hookable` alone pass it with its `hooks`, and none is made here. Raises SelvizError for
    what does not exist, and where a method does not fit the network.
    """
    settings = _resolved(network, target, method, check(method, settings), (inputs.shape[2], inputs.shape[3]))
    if smooth < 0 or not 0 <= noise < math.inf:
        raise SelvizError(f"smooth is {smooth} and noise is {noise}; both must be 0 or above.")
    if smooth and method in PERTURBING:
        raise SelvizError(f"{method} has no gradient to smooth; use smooth with {_listed(set(METHODS) - PERTURBING)}.")
    if method in HOOKED and hooks is None:
        network, hooks = network.hookable()
    generator = torch.Generator().manual_seed(seed)
    parts, deltas = [], []
    with torch.enable_grad():
        for image in torch.split(inputs.detach(), 1):
            start = torch.as_tensor(baseline, dtype=image.dtype).detach().expand_as(image)
            response = Response(network, target, image, hooks)
            spread = noise * (image.max() - image.min())
            copies = [image + spread * torch.randn(image.shape, generator=generator) for _ in range(smooth)] or [image]
            answers = [METHODS[method](response, copy.clone(), start, **settings) for copy in copies]
            values = torch.stack([value.detach() for value, _ in answers]).mean(dim=0)
            parts.append(values.float().to(inputs.device))  # of a layer they are where the network is
            deltas.append(None if smooth else answers[0][1])
    values = torch.cat(parts)
    delta = None if None in deltas else torch.tensor(deltas)
    shared = {"smooth": smooth, "noise": noise, "seed": seed} if smooth else {}
    return Attribution(values, _maps(values, (inputs.shape[2], inputs.shape[3])), delta, {**settings, **shared})


def parameters(method: str) -> dict[str, Any]:
    """Return the method's own parameters with their defaults."""
    if method not in METHODS:
        raise unknown("attribution method", method, list(METHODS))
    own = list(inspect.signature(METHODS[method]).parameters.values())[3:]
    return {parameter.name: parameter.default for parameter in own}


def check(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same settings without those that are None; SelvizError for one that the method does not have."""
    known = parameters(method)
    settings = {name: value for name, value in settings.items() if value is not None}
    if wrong := sorted(set(settings) - set(known)):
        raise unknown(f"{method} parameter", wrong[0], list(known))
    for name, value in settings.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and not (math.isfinite(value) and value >= 0):
            raise SelvizError(f"{name} is {value}; it must be 0 or above.")
        if name in ("steps", "most", "patch", "window", "stride") and value < 1:
            raise SelvizError(f"{name} is {value}; it must be at least 1.")
    return settings


def _listed(names: set[str]) -> str:
    return ", ".join(name for name in METHODS if name in names)


def _resolved(
    network: UnitNetwork, target: Target, method: str, settings: dict[str, Any], size: tuple[int, int]
) -> dict[str, Any]:
    """Return all parameters of the method, None replaced; SelvizError where it cannot be right for this network."""
    settings = {**parameters(method), **settings}
    others = [layer.name for layer in network.layers if not network.is_relu(layer.name)]
    if method == "guided_backprop" and others:
        raise SelvizError(
            f"Guided backprop is defined for ReLUs only, and {others[0]} is another activation function; use "
            f"{_listed(set(METHODS) - {'guided_backprop'})}."
        )
    if "at" in settings:
        settings["at"] = _layer_at(network, target, settings["at"])
    if "patch" in settings:
        settings["patch"] = min(settings["patch"] or max(1, min(size) // 8), *size)
    if "window" in settings:
        settings["window"] = min(settings["window"] or max(2, min(size) // 5), *size)
        settings["stride"] = min(settings["stride"] or max(1, settings["window"] // 3), settings["window"])
    return settings


def _layer_at(network: UnitNetwork, target: Target, at: str | None) -> str:
    """Return the layer where gradcam and conductance look: `at`, else the last with positions that feeds the target."""
    feeding = [layer for layer in network.layers if network.feeds(layer.name, target.layer)[0]]
    spatial = [layer.name for layer in feeding if len(layer.shape) > 2]
    if at is None:
        if not spatial:
            raise SelvizError("No layer up to this target has positions, so there is no map of a layer to draw.")
        return spatial[-1]
    network.layer(at)
    if at not in spatial:
        why = "does not lead to this target" if at not in [layer.name for layer in feeding] else "has no positions"
        raise SelvizError(f"Layer {at} {why}; layers that can be looked at are {', '.join(spatial) or 'none'}.")
    return at


def _maps(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [N, H, W] of values [N, C, H, W] or [N, U, *positions]: summed over the second axis, at the image size."""
    maps = values.sum(dim=1)
    if maps.dim() == 2:  # tokens, in some networks behind one that stands for the whole image
        side = math.isqrt(maps.shape[1])
        if side**2 not in (maps.shape[1], maps.shape[1] - 1):
            raise SelvizError(f"The layer's {maps.shape[1]} tokens are no square grid, so they make no map.")
        maps = maps[:, -(side**2) :].reshape(-1, side, side)
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
