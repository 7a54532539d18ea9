"""Attributions as pictures: `pictures_of(store, run)` gives the function that `site.publish` takes."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from selviz.publishing.board import decode
from selviz.store import Store

METHOD = "gradient_x_input"
SIDE = 96  # pixels of a picture
QUALITY = 82  # of WebP; a PNG of a photograph is five times as large
BRIGHT = 0.99  # the quantile of a map that gets the brightest color
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=float)  # viridis


def pictures_of(store: Store, run: str) -> Callable[[str, int, list[int]], list[bytes]]:
    """Return a function of (layer, unit, images): a WebP for each image, what raises the unit over it in gray."""
    import torch

    from selviz.attribution import Target, attribute
    from selviz.runs.load import load_network

    network, dataset = load_network(store, run)

    def draw(layer: str, unit: int, images: list[int]) -> list[bytes]:
        inputs = dataset.normalise(dataset.eval_pixels[images])
        black = dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))
        maps = attribute(network, Target(layer, unit, None), inputs, METHOD, baseline=black).maps.numpy()
        stored = store.thumbnails(run, images)
        return [overlaid(decode(stored[image], SIDE), heat) for image, heat in zip(images, maps)]

    return draw


def overlaid(pixels: np.ndarray, heat: np.ndarray) -> bytes:
    """Return a WebP picture of an image [side, side, 3] in gray under the positive part of a map [h, w]."""
    gray = 0.6 * pixels.astype(float).mean(axis=2)
    raised = np.maximum(heat, 0)
    top = max(float(np.quantile(raised, BRIGHT)), 1e-12)
    side = len(pixels)
    rows, columns = (np.arange(side) * size // side for size in raised.shape)
    strength = np.clip(raised[rows][:, columns] / top, 0, 1)
    place = strength * (len(RAMP) - 1)
    low = np.minimum(place.astype(int), len(RAMP) - 2)
    color = RAMP[low] + (place - low)[..., None] * (RAMP[low + 1] - RAMP[low])
    mix = 0.85 * np.sqrt(strength)[..., None]
    picture = ((1 - mix) * gray[..., None] + mix * color).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
