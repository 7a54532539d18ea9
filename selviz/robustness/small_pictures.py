"""Corruptions with the constants of CIFAR-10-C, for small pictures: `functions(library, draws)["fog"](picture, 3)`.

The constants are those of hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py (Hendrycks & Dietterich 2019, arXiv
1903.12261), chosen for 32 pixels; steps and helpers (disk, zoom, plasma, color space) are corrupt-tta's.
"""

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[Any]
# What cannot be made with the parts at hand, and why.
REFUSED = {
    "motion_blur": "ImageMagick's blur is not here",
    "snow": "ImageMagick's blur is not here",
    "frost": "its pictures of ice are not here",
    "spatter": "its drops of water are not here",
}
CONSTANTS: dict[str, tuple[Any, ...]] = {  # by severity
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # standard deviation
    "shot_noise": (500, 250, 100, 75, 50),  # photons for white
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of values
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),  # standard deviation, of the value
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),  # standard deviation, pixels
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),  # radius of the disk, its own blur
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),  # blur, distance, rounds
    "zoom_blur": (1.06, 1.11, 1.16, 1.21, 1.26),  # from 1 in steps of 0.01, below this
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # thickness, decay of its detail
    "brightness": ((1, 0.05), (1, 0.1), (1, 0.15), (1, 0.2), (1, 0.3)),  # the value (HSV) times, plus
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # of the distance from the mean
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),  # the saturation times, plus
    "jpeg_compression": (80, 65, 58, 50, 40),  # quality
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # of the side
    # Strength of the displacement, its smoothness, and how far corners move; shares of the side.
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
}


def functions(
    library: Any, draws: Any, constants: Mapping[str, tuple[Any, ...]] = CONSTANTS
) -> dict[str, Callable[[Picture, int], Picture]]:
    """Return by name what makes a picture [H, W, C] of 0..255 at a severity 1..5; what is random comes from `draws`.

    `library` is corrupt-tta's module as `corruptions` loads it.
    """

    def of_floats(make: Callable[[Picture, Any], Picture]) -> Callable[[Picture, Any], Picture]:
        return lambda picture, c: np.clip(make(picture / 255.0, c), 0, 1) * 255

    def at_severity(make: Callable[[Picture, Any], Picture], by_severity: tuple[Any, ...]) -> Any:
        return lambda picture, severity: make(picture, by_severity[severity - 1])

    makes: dict[str, Callable[[Picture, Any], Picture]] = {
        "gaussian_noise": of_floats(lambda x, c: x + draws.random.normal(size=x.shape, scale=c)),
        "shot_noise": of_floats(lambda x, c: draws.random.poisson(x * c) / c),
        "impulse_noise": of_floats(lambda x, c: library.random_noise(x, mode="s&p", amount=c)),
        "speckle_noise": of_floats(lambda x, c: x + x * draws.random.normal(size=x.shape, scale=c)),
        "gaussian_blur": of_floats(lambda x, c: library.gaussian(x, sigma=c, channel_axis=-1)),
        "defocus_blur": of_floats(functools.partial(_defocused, library)),
        "glass_blur": functools.partial(_glass, library, draws),
        "zoom_blur": of_floats(functools.partial(_zoomed, library)),
        "fog": of_floats(functools.partial(_fog, library)),
        "brightness": of_floats(functools.partial(_in_hsv, library, 2)),
        "saturate": of_floats(functools.partial(_in_hsv, library, 1)),
        "contrast": of_floats(_nearer_to_the_mean),
        "jpeg_compression": _compressed,
        "pixelate": _pixelated,
        "elastic_transform": of_floats(functools.partial(_elastic, library, draws)),
    }
    return {name: at_severity(make, constants[name]) for name, make in makes.items() if name in constants}


def _defocused(library: Any, x: Picture, c: tuple[float, float]) -> Picture:
    kernel = library.disk(radius=c[0], alias_blur=c[1])
    return np.asarray(library.cv2.filter2D(x, -1, kernel))


def _glass(library: Any, draws: Any, picture: Picture, c: tuple[float, int, int]) -> Picture:
    blur, reach, rounds = c
    x: Picture = (library.gaussian(picture / 255.0, sigma=blur, channel_axis=-1) * 255).astype(np.uint8)
    height, width = x.shape[:2]
    for _ in range(rounds):
        right, down = (draws.random.randint(-reach, reach, size=(height, width)) for _ in range(2))
        for row in range(reach, height - reach):
            for column in range(reach, width - reach):
                other = row + down[row, column], column + right[row, column]
                x[row, column], x[other] = x[other].copy(), x[row, column].copy()
    blurred: Picture = np.clip(library.gaussian(x / 255.0, sigma=blur, channel_axis=-1), 0, 1) * 255
    return blurred


def _zoomed(library: Any, x: Picture, c: float) -> Picture:
    x = x.astype(np.float32)
    factors = np.arange(1, c, 0.01)
    out = np.zeros_like(x)
    for factor in factors:
        out += library.clipped_zoom(x, factor)
    return np.asarray((x + out) / (len(factors) + 1))


def _fog(library: Any, x: Picture, c: tuple[float, float]) -> Picture:
    (height, width), most = x.shape[:2], x.max()
    size = 1 << (max(height, width) - 1).bit_length()
    plasma = library.plasma_fractal(mapsize=size, wibbledecay=c[1])[:height, :width, None]
    return np.asarray((x + c[0] * plasma) * most / (most + c[0]))


def _in_hsv(library: Any, channel: int, x: Picture, c: tuple[float, float]) -> Picture:
    hsv = library.cv2.cvtColor(x.astype(np.float32), library.cv2.COLOR_RGB2HSV)
    hsv[:, :, channel] = np.clip(hsv[:, :, channel] * c[0] + c[1], 0, 1)
    return np.asarray(library.cv2.cvtColor(hsv, library.cv2.COLOR_HSV2RGB))


def _nearer_to_the_mean(x: Picture, c: float) -> Picture:
    means = x.mean(axis=(0, 1), keepdims=True)
    return np.asarray((x - means) * c + means)


def _compressed(picture: Picture, c: int) -> Picture:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.uint8(picture)).save(file, "JPEG", quality=c)
    return np.asarray(Image.open(file))


def _pixelated(picture: Picture, c: float) -> Picture:
    from PIL import Image

    height, width = picture.shape[:2]
    image = Image.fromarray(np.uint8(picture))
    small = image.resize((int(width * c), int(height * c)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX))


def _elastic(library: Any, draws: Any, x: Picture, c: tuple[float, float, float]) -> Picture:
    x = x.astype(np.float32)
    (height, width), side = x.shape[:2], min(x.shape[:2])
    strength, smooth, corner = (side * value for value in c)
    center, third = np.array([height, width], np.float32) // 2, side // 3
    before = np.array([center + third, [center[0] + third, center[1] - third], center - third], np.float32)
    after = before + draws.random.uniform(-corner, corner, size=before.shape).astype(np.float32)
    matrix = library.cv2.getAffineTransform(before, after)
    moved = library.cv2.warpAffine(x, matrix, (width, height), borderMode=library.cv2.BORDER_REFLECT_101)
    shifts = [
        library.gaussian(draws.random.uniform(-1, 1, size=(height, width)), smooth, mode="reflect", truncate=3)
        * strength
        for _ in range(2)
    ]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    places = rows + shifts[1], columns + shifts[0]
    channels = [library.map_coordinates(moved[..., k], places, order=1, mode="reflect") for k in range(x.shape[2])]
    return np.stack(channels, axis=-1)
