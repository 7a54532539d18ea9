"""Whether a map depends on what the network has learned: `sanity(network, targets, images, "gradcam")`.

Weights are made random from the top layer down; a map that stays as it was shows the image, not the network (Adebayo et
al. 2018, arXiv 1810.03292).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor

from selviz.attribution.attribute import attribute
from selviz.attribution.targets import Target
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.statistics import mean_interval, rank_correlation
from selviz.system.progress import Report, silent

MEASURES = ("rank_correlation", "rank_correlation_abs", "ssim")


def sanity(
    network: UnitNetwork,
    targets: Sequence[Target],
    inputs: Tensor,
    method: str = "integrated_gradients",
    baseline: Tensor | float = 0.0,
    seed: int = 0,
    report: Report = silent,
    **settings: Any,
) -> pd.DataFrame:
    """Return one row per step of the randomization and input [N, C, H, W], which is explained for its own target.

    `step` 0 is the network as it is; at step k the last k of the modules with weights that lead to the target are
    random, the last of them `module`. Columns rank_correlation and rank_correlation_abs: Spearman's between the map's
    pixels and those of step 0, with sign and without; ssim: of both maps as pictures, 0 grey and the largest value
    black or white. All -1..1; NaN for a map that is 0 or, for the correlations, the same everywhere. A tensor becomes
    random by putting its values in random order (selviz's choice: drawing them again would shrink the activations of a
    network whose batch norms are folded in). The targets must be of one layer.
    """
    if len(targets) != len(inputs) or len({target.layer for target in targets}) != 1:
        raise SelvizError("A sanity check needs one target for each image, all of one layer.")
    network, hooks = network.for_inference().hookable()
    modules = network.weights_before(targets[0].layer)
    generator = torch.Generator().manual_seed(seed)

    def maps() -> list[np.ndarray]:
        return [
            attribute(network, target, image, method, baseline, hooks=hooks, **settings).maps[0].numpy()
            for target, image in zip(targets, torch.split(inputs, 1))
        ]

    original, rows = maps(), []
    for step in range(len(modules) + 1):
        name, tensors = modules[step - 1] if step else ("", [])
        with torch.no_grad():
            for tensor in tensors:
                order = torch.randperm(tensor.numel(), generator=generator)
                tensor.copy_(tensor.flatten()[order].view(tensor.shape))
        for image, (first, second) in enumerate(zip(original, maps() if step else original)):
            rows.append(
                {
                    "step": step,
                    "module": name,
                    "image": image,
                    "rank_correlation": rank_correlation(first.ravel(), second.ravel()),
                    "rank_correlation_abs": rank_correlation(np.abs(first).ravel(), np.abs(second).ravel()),
                    "ssim": _map_ssim(first, second),
                }
            )
        report({"module": name, "done": step, "of": len(modules)})
    return pd.DataFrame(rows)


def sanity_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per step of a sanity check: module, images, and each measure's mean with its 95 % interval (t).

    `images` is how many maps the correlation has been computed for; a map without variation is left out.
    """
    rows = []
    for (step, module), part in table.groupby(["step", "module"], sort=True):
        row = {"step": step, "module": module, "images": int(part["rank_correlation"].notna().sum())}
        for name in MEASURES:
            values = part[name].dropna()
            low, high = mean_interval(values.mean(), values.std(), len(values))
            row |= {name: values.mean(), f"{name}_low": max(-1.0, float(low)), f"{name}_high": min(1.0, float(high))}
        rows.append(row)
    return pd.DataFrame(rows)


def ssim(first: np.ndarray, second: np.ndarray, data_range: float, sigma: float = 1.5) -> float:
    """Return the structural similarity of two images [H, W] with values of 0..`data_range`: -1..1, 1 for equal ones.

    Mean over all pixels, with Gaussian weights of 11 x 11 and the constants (0.01 range)^2 and (0.03 range)^2 (Wang et
    al. 2004, IEEE Trans. Image Processing 13:600); at the edges the image is mirrored.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)

    def blur(image: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=5 / sigma))

    mean1, mean2 = blur(first), blur(second)
    variance1, variance2 = blur(first**2) - mean1**2, blur(second**2) - mean2**2
    covariance = blur(first * second) - mean1 * mean2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    return float((above / ((mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2))).mean())


def _map_ssim(first: np.ndarray, second: np.ndarray) -> float:
    tops = np.abs(first).max(), np.abs(second).max()
    # As grey values: SSIM takes two negative numbers for alike, be they brightness or covariance.
    return float("nan") if 0 in tops else ssim(0.5 + first / tops[0] / 2, 0.5 + second / tops[1] / 2, data_range=1.0)
