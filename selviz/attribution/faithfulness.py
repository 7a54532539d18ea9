"""Whether a map names the pixels that matter: `faithfulness(network, target, image, map)`, one number beside another.

Deletion and insertion take pixels away, or put them into an empty image, in the map's order; infidelity compares the
map's sum over random squares with what their absence does.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from selviz.attribution.targets import Response, Target, images_at_once, target_values
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.statistics import rank_among

STEPS, ORDERS, SAMPLES = 20, 10, 64


def faithfulness(
    network: UnitNetwork,
    target: Target,
    image: Tensor,
    map_: Tensor,
    baseline: Tensor | float = 0.0,
    steps: int = STEPS,
    orders: int = ORDERS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how well the map [H, W] of one image [1, C, H, W] tells what the target depends on.

    `value` and `baseline_value`: the target on the image and on the baseline. `deletion`, `insertion`: see
    `pixel_curves`. `infidelity` and `infidelity_share`: see `map_infidelity`. Raises SelvizError for a map of another
    size or fewer than 1 step, order or sample.
    """
    if map_.shape != image.shape[2:]:
        raise SelvizError(f"The map has {tuple(map_.shape)} pixels and the image {tuple(image.shape[2:])}.")
    if min(steps, orders, samples) < 1:
        raise SelvizError("Faithfulness needs at least 1 step, 1 random order and 1 sample.")
    image = image.detach()
    start = torch.as_tensor(baseline, dtype=image.dtype).expand_as(image)
    response = Response(network, target, image)
    value, nothing = target_values(response, torch.cat([image, start])).tolist()
    infidelity, share = map_infidelity(response, image, map_, start, samples, seed)
    curves = pixel_curves(response, image, map_, start, steps, orders, seed)
    return {"value": value, "baseline_value": nothing, **curves, "infidelity": infidelity, "infidelity_share": share}


def pixel_curves(
    response: Response, image: Tensor, map_: Tensor, baseline: Tensor, steps: int, orders: int, seed: int
) -> dict[str, Any]:
    """Return {"share": [S + 1], "deletion": {...}, "insertion": {...}}: the target while pixels leave or enter.

    Pixels in the map's order, highest first, take the baseline's values in all channels (deletion), or the image's in
    an image that is all baseline (insertion), after Petsiuk et al. 2018 (RISE, arXiv 1806.07421). `share` of pixels
    0..1 and `curve` in the target's units; `area` under it, the mean over shares, is low for a good deletion and high
    for a good insertion. `random_areas` are those of so many random orders, among which `quantile` 0..1 is the area's
    place and `p` two-sided (selviz's choice: the target's scale differs between units, so an area alone says nothing).
    """
    generator = np.random.default_rng(seed)
    pixels = map_.numel()
    shuffled, *random = (torch.from_numpy(generator.permutation(pixels)) for _ in range(orders + 1))
    # Of equal pixels, the many zeros of a Grad-CAM map, none comes first for where it lies.
    ranked = shuffled[map_.detach().flatten()[shuffled].argsort(descending=True, stable=True)]
    every = [ranked, *random]
    counts = torch.arange(steps + 1) * pixels // steps
    share = (counts / pixels).tolist()
    result: dict[str, Any] = {"share": share}
    places = torch.stack([order.argsort() for order in every])  # [1 + R, H * W], 0 for the first pixel of an order
    first = (places[:, None] < counts[None, :, None]).view(-1, 1, *map_.shape)
    for name, there, here in (("deletion", image, baseline), ("insertion", baseline, image)):
        parts = [torch.where(part, here, there) for part in torch.split(first, images_at_once(image))]
        curves = torch.cat([target_values(response, part) for part in parts]).view(len(every), steps + 1).numpy()
        areas = np.trapezoid(curves, share, axis=1)
        rank = rank_among(areas[0], areas[1:])
        result[name] = {
            "curve": curves[0].tolist(),
            "area": float(areas[0]),
            "random_areas": areas[1:].tolist(),
            "quantile": rank.quantile,
            "p": rank.p,
        }
    return result


def deletion_areas(
    response: Response, image: Tensor, maps: Tensor, baseline: Tensor, steps: int, seed: int
) -> np.ndarray:
    """Return the area [K] under each map's deletion curve, for maps [K, H, W] of one image: as in `pixel_curves`.

    So that a map is compared with other maps and not with pixels in random order, which no smooth map resembles.
    """
    pixels = maps[0].numel()
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(pixels))
    orders = [shuffled[one.detach().flatten()[shuffled].argsort(descending=True, stable=True)] for one in maps]
    counts = torch.arange(steps + 1) * pixels // steps
    places = torch.stack([order.argsort() for order in orders])
    gone = (places[:, None] < counts[None, :, None]).view(-1, 1, *maps.shape[1:])
    step = images_at_once(image)
    parts = [torch.where(gone[first : first + step], baseline, image) for first in range(0, len(gone), step)]
    curves = torch.cat([target_values(response, part) for part in parts]).view(len(maps), steps + 1).numpy()
    return np.asarray(np.trapezoid(curves, (counts / pixels).tolist(), axis=1))


def map_infidelity(
    response: Response, image: Tensor, map_: Tensor, baseline: Tensor, samples: int, seed: int
) -> tuple[float, float]:
    """Return the infidelity of the map, in the target's units squared, and as a share 0..1 of that of an empty map.

    Mean over random squares of (the map's sum over the square - the target's drop when it takes the baseline's
    values)^2, the map scaled to fit best (Yeh et al. 2019, arXiv 1901.09392). The squares have a quarter of
    the image's shorter side (selviz's choice). A share of 0 is a map that foretells each drop, 1 one that foretells
    nothing; NaN where no square changes the target.
    """
    height, width = map_.shape
    side = max(1, min(height, width) // 4)
    generator = torch.Generator().manual_seed(seed)
    sums, drops = [], []
    with torch.no_grad():
        whole = response(image)
        for first in range(0, samples, images_at_once(image)):
            count = min(images_at_once(image), samples - first)
            top = torch.randint(height - side + 1, (count, 1, 1), generator=generator)
            left = torch.randint(width - side + 1, (count, 1, 1), generator=generator)
            rows, columns = torch.arange(height)[:, None], torch.arange(width)
            square = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
            sums.append((square * map_).sum(dim=(1, 2), dtype=torch.float64))
            drops.append((whole - response(torch.where(square.unsqueeze(1), baseline, image))).double())
    foretold, drop = torch.cat(sums), torch.cat(drops)
    empty = float((drop**2).mean())
    power = float((foretold**2).sum())
    scale = float((foretold * drop).sum()) / power if power else 0.0
    value = float(((scale * foretold - drop) ** 2).mean())
    return value, value / empty if empty > 0 else float("nan")
