"""What the attribution methods are made of, computed by Captum (extra `captum`); `by_formula` computes the same."""

import warnings
from importlib.metadata import version

from captum.attr import (
    FeatureAblation,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    LayerGradCam,
    Occlusion,
)
from torch import Tensor

from selviz.attribution.targets import Response, images_at_once

warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU", module="captum")

COMPUTED_BY = f"Captum {version('captum')}"


def path_pieces(response: Response, end: Tensor, start: Tensor) -> Tensor:
    """Return (end - start) times the gradient halfway, [B, C, H, W], for B pieces of a path."""
    values: Tensor = IntegratedGradients(response).attribute(end, start, n_steps=1)
    return values.detach()


def input_times_gradient(response: Response, image: Tensor) -> Tensor:
    """Return the gradient times the image, [1, C, H, W]."""
    values: Tensor = InputXGradient(response).attribute(image.requires_grad_(True))
    return values


def guided_gradient(response: Response, image: Tensor) -> Tensor:
    """Return the gradient whose negative parts are dropped at each ReLU, [1, C, H, W]."""
    values: Tensor = GuidedBackprop(response).attribute(image.requires_grad_(True))
    return values


def weighted_maps(response: Response, image: Tensor, at: str, relu: bool) -> Tensor:
    """Return Grad-CAM's map of the layer `at`, [1, 1, *positions]."""
    method = LayerGradCam(response, response.hooks[at])
    values: Tensor = method.attribute(image.requires_grad_(True), relu_attributions=relu)
    return values


def conductances(response: Response, image: Tensor, baseline: Tensor, at: str, steps: int) -> Tensor:
    """Return the conductance of each unit and position of the layer `at`, [1, U, *positions], by the trapezoidal rule.

    Captum takes the gradient at the beginning of each step, so the path is gone there and back.
    """
    method = LayerConductance(response, response.hooks[at])
    there, back = (
        method.attribute(
            last, first, n_steps=steps, method="riemann_trapezoid", internal_batch_size=max(2, images_at_once(image))
        ).detach()
        for first, last in ((baseline, image), (image, baseline))
    )
    values: Tensor = (there - back) / 2
    return values


def drops_by_group(response: Response, image: Tensor, baseline: Tensor, groups: Tensor) -> Tensor:
    """Return at each pixel, [1, C, H, W], the target's drop when its whole group takes the baseline's values.

    `groups` [H, W] holds the number of each pixel's group, 0 .. G - 1.
    """
    values: Tensor = FeatureAblation(response).attribute(
        image, baseline, feature_mask=groups.expand(1, 1, -1, -1), perturbations_per_eval=images_at_once(image)
    )
    return values


def drops_by_window(response: Response, image: Tensor, baseline: Tensor, window: int, stride: int) -> Tensor:
    """Return at each pixel, [1, C, H, W], the mean drop over the square windows that cover it."""
    channels = image.shape[1]
    values: Tensor = Occlusion(response).attribute(
        image,
        (channels, window, window),
        (channels, stride, stride),
        baseline,
        perturbations_per_eval=images_at_once(image),
    )
    return values
