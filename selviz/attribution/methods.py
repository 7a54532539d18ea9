"""The attribution methods, one function each; to add one, name it in METHODS.

Captum computes them where it is installed (extra `captum`); where it is not, `by_formula` computes the same. Each is a
function of (response, image [1, C, H, W], baseline [1, C, H, W]) and its own parameters that returns values and, where
theory says what they sum to, how far they miss it. `attribute` puts numbers and names in the place of parameters that
are None.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from selviz.attribution.targets import Response, images_at_once, target_values

if find_spec("captum") is not None:
    from selviz.attribution.by_captum import (
        COMPUTED_BY,
        conductances,
        drops_by_group,
        drops_by_window,
        guided_gradient,
        input_times_gradient,
        path_pieces,
        weighted_maps,
    )
else:
    from selviz.attribution.by_formula import (
        COMPUTED_BY,
        conductances,
        drops_by_group,
        drops_by_window,
        guided_gradient,
        input_times_gradient,
        path_pieces,
        weighted_maps,
    )


def integrated_gradients(
    response: Response,
    image: Tensor,
    baseline: Tensor,
    steps: int = 32,
    tolerance: float = 0.01,
    most: int = 480,
    scale: float = 0.0,
) -> tuple[Tensor, float]:
    """Return integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) over the straight path from the
    baseline.

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

    def pieces(low: Tensor, high: Tensor) -> Tensor:
        ends = zip(torch.split(low, images_at_once(image)), torch.split(high, images_at_once(image)))
        return torch.cat([path_pieces(response, at(b), at(a)) for a, b in ends])

    low, high = places[:-1], places[1:]
    heights = target_values(response, at(places))
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
        between = target_values(response, at(middle))
        fresh = pieces(torch.cat([low[worst], middle]), torch.cat([middle, high[worst]]))
        spent += 2 * len(worst)
        low = torch.cat([low[kept], low[worst], middle])
        high = torch.cat([high[kept], middle, high[worst]])
        start = torch.cat([start[kept], start[worst], between])
        end = torch.cat([end[kept], between, end[worst]])
        values = torch.cat([values[kept], fresh])


def gradient_x_input(response: Response, image: Tensor, baseline: Tensor) -> tuple[Tensor, None]:
    """Return gradient times normalised input (Shrikumar et al. 2016, arXiv 1605.01713).

    What each input adds to a target that is linear in it. The baseline plays no part; an input at the data set's mean
    gets 0 whatever the gradient.
    """
    return input_times_gradient(response, image), None


def guided_backprop(response: Response, image: Tensor, baseline: Tensor) -> tuple[Tensor, None]:
    """Return gradient whose negative parts are dropped at each ReLU (Springenberg et al. 2014, arXiv 1412.6806).

    Only for networks whose activation functions are all ReLUs. It is known to look alike whatever the network has
    learned (Adebayo et al. 2018, arXiv 1810.03292): read it beside its sanity check.
    """
    return guided_gradient(response, image), None


def gradcam(
    response: Response, image: Tensor, baseline: Tensor, at: str | None = None, relu: bool = True
) -> tuple[Tensor, None]:
    """Return Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): a layer's maps, weighted by their mean gradients,
    summed.

    `at` is the layer, by default the target's own, for a class the last one that has positions; `relu` drops what
    lowers the target. Of a unit at its own layer it is the unit's map.
    """
    assert at is not None
    return weighted_maps(response, image, at, relu), None


def conductance(
    response: Response, image: Tensor, baseline: Tensor, at: str | None = None, steps: int = 32
) -> tuple[Tensor, float | None]:
    """Return conductance (Dhamdhere et al. 2018, arXiv 1805.12233): how the target's change flows through a
    layer's units.

    Integrated gradients by way of each unit and position of the layer `at` (by default the target's own, for a class
    the last one that has positions), in `steps` steps, each with the mean of its gradients at both ends (selviz's
    choice). The values sum to the target's change if all paths from the input to the target lead through the layer;
    else, beside shortcuts, there is no delta.
    """
    assert at is not None
    values = conductances(response, image, baseline, at, steps)
    if not response.network.feeds(at, response.target.layer)[1]:
        return values, None
    start, end = target_values(response, torch.cat([baseline, image]))
    return values, float(values.sum(dtype=torch.float64) - (end - start))


def feature_ablation(
    response: Response, image: Tensor, baseline: Tensor, patch: int | None = None
) -> tuple[Tensor, None]:
    """Return the target's drop as each square of `patch` x `patch` pixels, all channels, takes the baseline's values.

    By default an eighth of the image's shorter side. Each pixel has its whole square's drop.
    """
    assert patch is not None
    height, width = image.shape[2:]
    rows, columns = torch.arange(height) // patch, torch.arange(width) // patch
    squares = rows[:, None] * (int(columns[-1]) + 1) + columns
    return drops_by_group(response, image, baseline, squares), None


def occlusion(
    response: Response, image: Tensor, baseline: Tensor, window: int | None = None, stride: int | None = None
) -> tuple[Tensor, None]:
    """Return the target's drop as a square window slides over the image (Zeiler & Fergus 2014, arXiv 1311.2901).

    The window of `window` pixels, by default a fifth of the image's shorter side, takes the baseline's values in all
    channels and moves by `stride`, by default a third of it; a pixel has the mean drop of the windows that cover it.
    """
    assert window is not None and stride is not None
    return drops_by_window(response, image, baseline, window, stride), None


METHODS: dict[str, Callable[..., tuple[Tensor, Any]]] = {
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

__all__ = ["COMPUTED_BY", "HOOKED", "METHODS", "PERTURBING"]
