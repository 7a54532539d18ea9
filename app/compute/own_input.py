"""What a network makes of a picture of the visitor's own, and whether it is one of the kind that it was trained on.

`habits(pixels)` are those of the evaluation images of drawings, `tones(pixels)` those of photographs;
`faults(pixels, usual)` is what differs, `mended(...)` puts it right. `respond(run, pixels, silent)` gives
activations and answers.
"""

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from PIL import Image, ImageOps

from selviz.errors import SelvizError
from selviz.system.image_pixels import as_bytes

from ..state import reads

INK = 0.25  # of the full range away from the background: what counts as drawn
FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 10 * 10**6
MAX_PIXELS = 25 * 10**6
FAR = 3.0  # standard deviations of the evaluation images' centers from which a picture counts as off-center
ROUNDING = 2.0  # of 255, by which a tone must lie beyond those of the images
MAX_TONED = 5000  # images that are looked at; they are nearly balanced over classes
FAULTS = {
    "inverted": "dark where those images are bright, and bright where they are dark",
    "off-center": "not in the middle, as those images are",
    "small": "smaller than those images are",
    "large": "larger than those images are",
    "dark": "darker than those images are",
    "bright": "brighter than those images are",
    "flat": "of less contrast than those images",
    "harsh": "of more contrast than those images",
}


class Habits(NamedTuple):
    """How grayscale images of a set look: their background 0..255, and of what is drawn the center and extent.

    Centers are shares of the height and width, with their standard deviation over images; the extent is the larger side
    of the drawn part as a share: its 1st, 50th and 99th percentile.
    """

    background: float
    center: tuple[float, float]
    spread: tuple[float, float]
    extent: tuple[float, float, float]


class Tones(NamedTuple):
    """How images without a background look: mean and standard deviation of an image's pixels, 0..255.

    Of each the 0.5th, 50th and 99.5th percentile over images.
    """

    brightness: tuple[float, float, float]
    contrast: tuple[float, float, float]


class Response(NamedTuple):
    """Activations of all units [U] in the order of layers, and the answer's probabilities [C] with and without them."""

    activations: np.ndarray
    probabilities: np.ndarray
    silenced: np.ndarray | None  # probabilities while units are silent


def decode(data: bytes) -> Image.Image:
    """Return the picture in these bytes, upright; SelvizError if too large, damaged, or of another format."""
    if len(data) > MAX_BYTES:
        raise SelvizError(f"This file has {len(data) / 1e6:.1f} MB; choose a picture of at most 10 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                millions = picture.width * picture.height / 1e6
                raise SelvizError(f"This picture has {millions:.0f} megapixels; choose one of at most 25.")
            picture.load()
            return ImageOps.exif_transpose(picture)
    except SelvizError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise SelvizError("This file is no PNG, JPEG or WebP picture, or it is damaged; choose another one.") from error


def habits(pixels: np.ndarray) -> Habits | None:
    """Return the habits of images uint8 [N, C, H, W]; None for color images, and for those without a background."""
    if pixels.shape[1] != 1 or min(pixels.shape[2:]) < 4:
        return None
    borders = np.concatenate([pixels[:, 0, 0], pixels[:, 0, -1], pixels[:, 0, :, 0], pixels[:, 0, :, -1]], axis=1)
    background = float(np.median(borders))
    if np.mean(np.abs(borders.astype(float) - background) > 255 * INK) > 0.2:
        return None
    shapes = [shape for image in pixels[:, 0] if (shape := _shape(image, background))]
    if len(shapes) < 10:
        return None
    centers, extents = np.array([shape[0] for shape in shapes]), np.array([shape[1] for shape in shapes])
    low, middle, high = np.percentile(extents, [1, 50, 99])
    center, spread = centers.mean(axis=0), centers.std(axis=0)
    return Habits(
        background,
        (float(center[0]), float(center[1])),
        (float(max(spread[0], 0.01)), float(max(spread[1], 0.01))),
        (float(low), float(middle), float(high)),
    )


def tones(pixels: np.ndarray) -> Tones | None:
    """Return the tones of images uint8 [N, C, H, W]; None for fewer than 10."""
    if len(pixels) < 10:
        return None
    means, deviations = (np.array([part(image) for image in pixels]) for part in (np.mean, np.std))
    brightness, contrast = (np.percentile(values, [0.5, 50, 99.5]).tolist() for values in (means, deviations))
    return Tones(tuple(brightness), tuple(contrast))


def _tone_faults(pixels: np.ndarray, usual: Tones) -> list[str]:
    """Return in what the tones of a picture differ: those beyond all but one image in two hundred, and by a bit."""
    mean, deviation = float(pixels.mean()), float(pixels.std())
    names = []
    if mean < usual.brightness[0] - ROUNDING:
        names.append("dark")
    elif mean > usual.brightness[2] + ROUNDING:
        names.append("bright")
    if deviation < usual.contrast[0] - ROUNDING:
        names.append("flat")
    elif deviation > usual.contrast[2] + ROUNDING:
        names.append("harsh")
    return names


def _toned(pixels: np.ndarray, faults: list[str], usual: Tones) -> np.ndarray:
    """Return a picture of the usual contrast, where that was at fault, and the usual brightness."""
    values = pixels.astype(float)
    mean, deviation = values.mean(), max(values.std(), 1e-9)
    scale = usual.contrast[1] / deviation if {"flat", "harsh"} & set(faults) else 1.0
    middle = usual.brightness[1] if {"dark", "bright"} & set(faults) else mean
    toned: np.ndarray = np.clip(np.round((values - mean) * scale + middle), 0, 255)
    return toned.astype(np.uint8)


def _shape(image: np.ndarray, background: float) -> tuple[tuple[float, float], float] | None:
    """Return center and extent of what is drawn on an image [H, W]; None for an empty one."""
    ink = np.abs(image.astype(float) - background)
    drawn = ink > 255 * INK
    if not drawn.any():
        return None
    weights = np.where(drawn, ink, 0.0)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    height, width = image.shape
    center = (
        float((weights.sum(axis=1) * (np.arange(height) + 0.5)).sum() / weights.sum() / height),
        float((weights.sum(axis=0) * (np.arange(width) + 0.5)).sum() / weights.sum() / width),
    )
    return center, max((rows[-1] - rows[0] + 1) / height, (columns[-1] - columns[0] + 1) / width)


def faults(pixels: np.ndarray, usual: Habits | Tones | None) -> list[str]:
    """Return in what a picture uint8 [C, H, W] differs from the usual: names of FAULTS; none for an empty one."""
    if usual is None:
        return []
    if isinstance(usual, Tones):
        return _tone_faults(pixels, usual)
    names, image = [], pixels[0]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if abs(float(np.median(border)) - (255 - usual.background)) < 64 and abs(255 - 2 * usual.background) > 128:
        names.append("inverted")
        image = 255 - image
    shape = _shape(image, usual.background)
    if shape is None:
        return names
    off = [abs(own - center) / spread for own, center, spread in zip(shape[0], usual.center, usual.spread)]
    if max(off) > FAR:
        names.append("off-center")
    if shape[1] < 0.8 * usual.extent[0]:
        names.append("small")
    elif shape[1] > 1.15 * usual.extent[2]:
        names.append("large")
    return names


def mended(pixels: np.ndarray, faults: list[str], usual: Habits | Tones) -> np.ndarray:
    """Return the picture uint8 [C, H, W] without these faults: turned, brought to the usual size, and to the middle.

    A photograph is brought to the usual brightness and contrast.
    """
    if isinstance(usual, Tones):
        return _toned(pixels, faults, usual)
    image = 255 - pixels[0] if "inverted" in faults else pixels[0]
    shape = _shape(image, usual.background)
    if shape is None or not {"off-center", "small", "large"} & set(faults):
        return image[None]
    drawn = np.abs(image.astype(float) - usual.background) > 255 * INK
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = image.shape
    scale = usual.extent[1] / shape[1] if {"small", "large"} & set(faults) else 1.0
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    size = (min(size[0], width), min(size[1], height))
    part = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BILINEAR))
    inner = _shape(np.pad(part, 1, constant_values=round(usual.background)), usual.background)
    middle = inner[0] if inner else (0.5, 0.5)
    top = round(usual.center[0] * height - middle[0] * (part.shape[0] + 2) + 1)
    left = round(usual.center[1] * width - middle[1] * (part.shape[1] + 2) + 1)
    top, left = (min(max(place, 0), room - side) for place, room, side in zip((top, left), (height, width), part.shape))
    whole = np.full_like(image, round(usual.background))
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole[None]


@st.cache_resource(max_entries=8, show_spinner=False)
def _usual(folder: str, version: tuple, run: str) -> Habits | Tones | None:
    _, dataset = reads.network(run)
    pixels = as_bytes(dataset.eval_pixels[:MAX_TONED].numpy())
    return habits(pixels) or tones(pixels)


def usual(run: str) -> Habits | Tones | None:
    """Return how a run's evaluation images look, of the first MAX_TONED: drawings have habits, photographs tones."""
    return _usual(reads.data(), reads.run_version(run), run)


def respond(run: str, pixels: np.ndarray, silent: dict[str, list[int]]) -> Response:
    """Return what the network makes of pixels [C, H, W]; `silent` units are silent for the second answer."""
    import torch

    from selviz.networks.unit_edit import silence

    network, dataset = reads.network(run)
    inputs = dataset.normalise(torch.from_numpy(np.ascontiguousarray(pixels))[None])
    with torch.no_grad():
        logits, activations = network.observe(inputs)
        answer = None
        if silent:
            edits: dict[str, Any] = {name: silence(network.layer(name), units) for name, units in silent.items()}
            answer = network.resume(network.boundary(inputs, list(silent)), edits)[0].softmax(dim=0).numpy()
    values = np.concatenate([layer[0].float().numpy() for layer in activations])
    return Response(values, logits[0].softmax(dim=0).numpy(), answer)
