"""Captum's attributions of a target: `attribute(network, target, images, "occlusion", window=6).maps` is [N, H, W].

Each method is a function of (response, image [1, C, H, W], baseline [1, C, H, W]) and its own parameters that gives
values and, where theory says what they sum to, how far they miss it. `attribute` puts numbers and names in the place of
parameters that are None. To add one, name it in METHODS.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from captum.attr import (
    FeatureAblation,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    LayerGradCam,
    Occlusion,
)
from torch import Tensor, nn

from selviz.attribution.targets import Response, Target
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_network import UnitNetwork

warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU", module="captum")

BATCH_PIXELS = 64 * 64 * 64  # computed at once: 64 images of 64 x 64 pixels


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
    parameters: dict


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
    **settings,
) -> Attribution:
    """Attributions of the target on inputs [N, C, H, W], by one of METHODS with its own `settings`.

    `baseline` is what an absent input is, [1, C, H, W] or one number, in normalised units: 0 is the data set's mean
    image. `smooth` above 0 averages over so many copies of each image with Gaussian noise, whose standard deviation is
    `noise` times the image's range (SmoothGrad, Smilkov et al. 2017, arXiv 1706.03825); what Captum's NoiseTunnel does,
    but with noise from `seed`: that one draws from torch's global generator, which other threads use too. Callers that
    hold a copy made by `network.hookable` alone pass it with its `hooks`, and none is made here. Raises SelvizError for
    what does not exist, and where a method does not fit the network.
    """
    settings = _resolved(network, target, method, check(method, settings), inputs.shape[2:])
    if smooth < 0 or not 0 <= noise < math.inf:
        raise SelvizError(f"smooth is {smooth} and noise is {noise}; both must be 0 or above.")
    if smooth and method in PERTURBING:
        raise SelvizError(f"{method} has no gradient to smooth; use smooth with {_listed(set(METHODS) - PERTURBING)}.")
    if method in HOOKED and hooks is None:
        network, hooks = network.hookable()
    generator = torch.Generator().manual_seed(seed)
    values, deltas = [], []
    with torch.enable_grad():
        for image in inputs.detach().split(1):
            start = torch.as_tensor(baseline, dtype=image.dtype).detach().expand_as(image)
            response = Response(network, target, image, hooks)
            spread = noise * (image.max() - image.min())
            copies = [image + spread * torch.randn(image.shape, generator=generator) for _ in range(smooth)] or [image]
            found = [METHODS[method](response, copy.clone(), start, **settings) for copy in copies]
            values.append(torch.stack([value.detach() for value, _ in found]).mean(dim=0).float())
            deltas.append(None if smooth else found[0][1])
    values = torch.cat(values)
    delta = None if None in deltas else torch.tensor(deltas)
    shared = {"smooth": smooth, "noise": noise, "seed": seed} if smooth else {}
    return Attribution(values, _maps(values, inputs.shape[2:]), delta, {**settings, **shared})


def parameters(method: str) -> dict:
    """The method's own parameters with their defaults."""
    if method not in METHODS:
        raise unknown("attribution method", method, list(METHODS))
    own = list(inspect.signature(METHODS[method]).parameters.values())[3:]
    return {parameter.name: parameter.default for parameter in own}


def check(method: str, settings: dict) -> dict:
    """The same settings without those that are None; SelvizError for one that the method does not have."""
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


def integrated_gradients(
    response: Response,
    image: Tensor,
    baseline: Tensor,
    steps: int = 32,
    tolerance: float = 0.01,
    most: int = 480,
    scale: float = 0.0,
) -> tuple[Tensor, float]:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) over the straight path from the baseline.

    The values sum to the target's change. The path is cut into `steps` pieces with one gradient each, in the middle;
    while the sum misses the change by more than `tolerance` times the largest of it, of `scale` (such as the unit's
    standard deviation over images) and of a tenth of the target's range on the path, the eighth of the pieces that
    miss their own change most is cut in two, up to `most` gradients in all (selviz's choice: a network of ReLUs is
    linear between kinks, so the error sits in few pieces).
    """
    move = image - baseline
    places = torch.linspace(0, 1, steps + 1, dtype=torch.float64)

    def at(place: Tensor) -> Tensor:
        return baseline + place.to(image.dtype).view(-1, 1, 1, 1) * move

    method = IntegratedGradients(response)

    def pieces(low: Tensor, high: Tensor) -> Tensor:
        parts = zip(low.split(_batch(image)), high.split(_batch(image)))
        return torch.cat([method.attribute(at(b), at(a), n_steps=1).detach() for a, b in parts])

    low, high = places[:-1], places[1:]
    heights = _values(response, at(places))
    start, end = heights[:-1], heights[1:]
    values, spent = pieces(low, high), steps
    allowed = tolerance * max(abs(float(heights[-1] - heights[0])), scale, float(heights.max() - heights.min()) / 10)
    while True:
        misses = values.flatten(1).sum(dim=1, dtype=torch.float64) - (end - start)
        if abs(float(misses.sum())) <= allowed or spent >= most:
            return values.sum(dim=0, keepdim=True), float(misses.sum())
        worst = misses.abs().argsort(descending=True, stable=True)[: max(1, len(misses) // 8)]
        kept = torch.ones(len(misses), dtype=torch.bool)
        kept[worst] = False
        middle = (low[worst] + high[worst]) / 2
        between = _values(response, at(middle))
        fresh = pieces(torch.cat([low[worst], middle]), torch.cat([middle, high[worst]]))
        spent += 2 * len(worst)
        low = torch.cat([low[kept], low[worst], middle])
        high = torch.cat([high[kept], middle, high[worst]])
        start = torch.cat([start[kept], start[worst], between])
        end = torch.cat([end[kept], between, end[worst]])
        values = torch.cat([values[kept], fresh])


def gradient_x_input(response: Response, image: Tensor, baseline: Tensor) -> tuple[Tensor, None]:
    """Gradient times normalised input (Shrikumar et al. 2016, arXiv 1605.01713).

    What each input adds to a target that is linear in it. The baseline plays no part; an input at the data set's mean
    gets 0 whatever the gradient.
    """
    return InputXGradient(response).attribute(image.requires_grad_(True)), None


def guided_backprop(response: Response, image: Tensor, baseline: Tensor) -> tuple[Tensor, None]:
    """Gradient whose negative parts are dropped at each ReLU (Springenberg et al. 2014, arXiv 1412.6806).

    Only for networks whose activation functions are all ReLUs. It is known to look alike whatever the network has
    learned (Adebayo et al. 2018, arXiv 1810.03292): read it beside its sanity check.
    """
    return GuidedBackprop(response).attribute(image.requires_grad_(True)), None


def gradcam(
    response: Response, image: Tensor, baseline: Tensor, at: str | None = None, relu: bool = True
) -> tuple[Tensor, None]:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): a layer's maps, weighted by their mean gradients, summed.

    `at` is the layer, by default the target's own, for a class the last one that has positions; `relu` drops what
    lowers the target. Of a unit at its own layer it is the unit's map.
    """
    return LayerGradCam(response, response.hooks[at]).attribute(
        image.requires_grad_(True), relu_attributions=relu
    ), None


def conductance(
    response: Response, image: Tensor, baseline: Tensor, at: str | None = None, steps: int = 32
) -> tuple[Tensor, float | None]:
    """Conductance (Dhamdhere et al. 2018, arXiv 1805.12233): how the target's change flows through a layer's units.

    Integrated gradients by way of each unit and position of the layer `at` (by default the target's own, for a class
    the last one that has positions), in `steps` steps there and `steps` back: so each step has the mean of its
    gradients at both ends (selviz's choice). The values sum to the target's change if all paths from the input to the
    target lead through the layer; else, beside shortcuts, there is no delta.
    """
    method = LayerConductance(response, response.hooks[at])
    there, back = (
        method.attribute(
            last, first, n_steps=steps, method="riemann_trapezoid", internal_batch_size=max(2, _batch(image))
        ).detach()
        for first, last in ((baseline, image), (image, baseline))
    )
    values = (there - back) / 2
    if not response.network.feeds(at, response.target.layer)[1]:
        return values, None
    start, end = _values(response, torch.cat([baseline, image]))
    return values, float(values.sum(dtype=torch.float64) - (end - start))


def feature_ablation(
    response: Response, image: Tensor, baseline: Tensor, patch: int | None = None
) -> tuple[Tensor, None]:
    """The target's drop as each square of `patch` x `patch` pixels, all channels, takes the baseline's values.

    By default an eighth of the image's shorter side. Each pixel has its whole square's drop.
    """
    height, width = image.shape[2:]
    rows, columns = torch.arange(height) // patch, torch.arange(width) // patch
    squares = rows[:, None] * (int(columns[-1]) + 1) + columns
    values = FeatureAblation(response).attribute(
        image, baseline, feature_mask=squares.expand(1, 1, -1, -1), perturbations_per_eval=_batch(image)
    )
    return values, None


def occlusion(
    response: Response, image: Tensor, baseline: Tensor, window: int | None = None, stride: int | None = None
) -> tuple[Tensor, None]:
    """The target's drop as a square window slides over the image (Zeiler & Fergus 2014, arXiv 1311.2901).

    The window of `window` pixels, by default a fifth of the image's shorter side, takes the baseline's values in all
    channels and moves by `stride`, by default a third of it; a pixel has the mean drop of the windows that cover it.
    """
    values = Occlusion(response).attribute(
        image,
        (image.shape[1], window, window),
        (image.shape[1], stride, stride),
        baseline,
        perturbations_per_eval=_batch(image),
    )
    return values, None


METHODS: dict[str, Callable] = {
    function.__name__: function
    for function in (
        integrated_gradients,
        gradient_x_input,
        guided_backprop,
        gradcam,
        conductance,
        feature_ablation,
        occlusion,
    )
}
HOOKED = {"guided_backprop", "gradcam", "conductance"}
PERTURBING = {"feature_ablation", "occlusion"}


def _batch(image: Tensor) -> int:
    """How many images of this size are computed at once."""
    return max(4, min(64, BATCH_PIXELS // (image.shape[-1] * image.shape[-2])))


def _values(response: Response, inputs: Tensor) -> Tensor:
    """The target's numbers, float64 [B], without gradients."""
    with torch.no_grad():
        return torch.cat([response(part) for part in inputs.split(_batch(inputs))]).double()


def _listed(names) -> str:
    return ", ".join(name for name in METHODS if name in names)


def _resolved(network: UnitNetwork, target: Target, method: str, settings: dict, size: tuple[int, int]) -> dict:
    """All parameters of the method, None replaced; SelvizError where the method cannot be right for this network."""
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
    """The layer where gradcam and conductance look: `at`, else the last that has positions and feeds the target."""
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
    """[N, H, W] of values [N, C, H, W] or [N, U, *positions]: summed over the second axis, at the images' size."""
    maps = values.sum(dim=1)
    if maps.dim() == 2:  # tokens, in some networks behind one that stands for the whole image
        side = math.isqrt(maps.shape[1])
        if side**2 not in (maps.shape[1], maps.shape[1] - 1):
            raise SelvizError(f"The layer's {maps.shape[1]} tokens are no square grid, so they make no map.")
        maps = maps[:, -(side**2) :].unflatten(1, (side, side))
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
