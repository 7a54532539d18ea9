"""Natural corruptions of images, by corrupt-tta: `corrupt(pixels, "fog", 3)` gives uint8 pixels [N, C, H, W] again.

Names and severities 1..5 are those of Hendrycks & Dietterich 2019 (arXiv 1903.12261). corrupt-tta has the constants of
224-pixel images at every size, so small images suffer more than in CIFAR-10-C; with `constants="cifar"` those of
CIFAR-10-C are taken, for the corruptions that can be made so (`small_pictures`).
"""

import functools
import importlib.util
import operator
import zlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd

from selviz.errors import SelvizError, unknown
from selviz.robustness import small_pictures
from selviz.system.image_pixels import as_bytes, problem
from selviz.system.progress import Report, silent

SEVERITIES = (1, 2, 3, 4, 5)
FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "contrast"),
    "digital": ("elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
CORRUPTIONS = {name: family for family, names in FAMILIES.items() for name in names}
STANDARD = tuple(name for name, family in CORRUPTIONS.items() if family != "extra")
# The smallest side in pixels, and what an image below it has no room for.
SMALLEST = {
    "glass_blur": (9, "it swaps pixels up to 4 apart, at a distance of 4 from the edge"),
    "pixelate": (8, "it shrinks the image to a quarter, which leaves fewer than 2 pixels a side"),
    "elastic_transform": (6, "it moves the corners of a square of a third of the side"),
}
IMAGENET, CIFAR = "imagenet", "cifar"
CONSTANTS = (IMAGENET, CIFAR)
# The same with the constants of CIFAR-10-C.
SMALLEST_CIFAR = {
    "glass_blur": (3, "it swaps neighboring pixels, at a distance of 1 from the edge"),
    "elastic_transform": SMALLEST["elastic_transform"],
}
# These take any number of channels. The others need three: grey is repeated, and averaged afterwards.
_ANY_CHANNELS = FAMILIES["noise"] + ("speckle_noise", "glass_blur", "zoom_blur", "gaussian_blur", "fog", "contrast")


def check(name: str, severity: SupportsIndex = 1) -> tuple[str, int]:
    """Return the name and the severity; SelvizError for an unknown corruption or a severity that is not 1..5."""
    if name not in CORRUPTIONS:
        raise unknown("corruption", name, list(CORRUPTIONS))
    try:
        number = operator.index(severity)
    except TypeError:
        number = 0
    if isinstance(severity, bool) or number not in SEVERITIES:
        raise SelvizError(f"severity is {severity!r}; it must be 1, 2, 3, 4 or 5 (the clean images are always there).")
    return name, number


def check_constants(constants: str) -> str:
    """Return the same name of a set of constants; SelvizError for an unknown one."""
    if constants not in CONSTANTS:
        raise unknown("set of constants", constants, list(CONSTANTS))
    return constants


def too_small(name: str, height: int, width: int, constants: str = IMAGENET) -> str | None:
    """Return why an image of this size is too small for the corruption, or why it cannot be made with these constants;
    None if it can.
    """
    if constants == CIFAR and name in small_pictures.REFUSED:
        return f"{name} cannot be made as in CIFAR-10-C ({small_pictures.REFUSED[name]})"
    smallest = SMALLEST_CIFAR if constants == CIFAR else SMALLEST
    least, why = smallest.get(name, (2, "there is nothing to corrupt"))
    side = min(height, width)
    return f"{name} needs at least {least} pixels a side, these images have {side}: {why}" if side < least else None


def usable(
    height: int, width: int, names: Sequence[str] = STANDARD, constants: str = IMAGENET
) -> tuple[list[str], dict[str, str]]:
    """Return those of `names` that can be made of images of this size, and why not for each of the others."""
    check_constants(constants)
    reasons = {check(name)[0]: too_small(name, height, width, constants) for name in names}
    return [name for name in names if reasons[name] is None], {name: why for name, why in reasons.items() if why}


def corrupt(
    pixels: np.ndarray,
    name: str,
    severity: int,
    seed: int = 0,
    images: Sequence[int] | None = None,
    report: Callable[[int], None] = lambda done: None,
    constants: str = IMAGENET,
) -> np.ndarray:
    """Return corrupted copies, uint8, of pixels [N, C, H, W] with one or three channels.

    Pixels of more than 256 levels (float16) are rounded to bytes first: corruptions are defined for 8-bit pictures.
    What is random depends on `seed`, the corruption and the image's number (`images`, by default 0..N-1), not on the
    severity, on the other images or on anything else in the process. Values are rounded to whole numbers. `report`
    gets the number of finished images; `constants` are those of 224-pixel photographs or those of CIFAR-10-C. Raises
    SelvizError for a bad name or severity, other channels, images that are too small, and what cannot be made.
    """
    name, severity = check(name, severity)
    check_constants(constants)
    pixels = np.asarray(pixels)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or problem(pixels):
        raise SelvizError(
            f"Corruptions take uint8 or float16 pixels of one or three channels, [N, 1 or 3, H, W], not {pixels.dtype} "
            f"{tuple(pixels.shape)}."
        )
    if (why := too_small(name, pixels.shape[2], pixels.shape[3], constants)) is not None:
        raise SelvizError(f"{why}.")
    pixels = as_bytes(pixels)
    images = range(len(pixels)) if images is None else images
    grey = pixels.shape[1] == 1
    result = np.empty_like(pixels)
    pictures, results = pixels.transpose(0, 2, 3, 1), result.transpose(0, 2, 3, 1)
    library, draws = _library()
    function = getattr(library, name) if constants == IMAGENET else small_pictures.functions(library, draws)[name]
    for row, (picture, number) in enumerate(zip(pictures, images, strict=True)):
        draws.begin(name, number, seed)
        if grey and name not in _ANY_CHANNELS:
            picture = picture.repeat(3, axis=-1)
        corrupted = np.asarray(function(picture, severity), dtype=np.float64)
        if grey and corrupted.shape[-1] == 3:
            corrupted = corrupted.mean(axis=-1, keepdims=True)
        np.rint(np.clip(corrupted, 0, 255), out=results[row], casting="unsafe")
        report(row + 1)
    return result


def random_bits(name: str, image: int, seed: int = 0) -> np.random.MT19937:
    """Return what one corruption of one image draws from."""
    return np.random.MT19937(np.random.SeedSequence([seed, zlib.crc32(name.encode()), image]))


def mean_change(clean: np.ndarray, corrupted: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of pixels, 0..255, of each image [N] of two arrays of pixels [N, C, H, W]."""
    return np.asarray(np.abs(clean.astype(np.int16) - corrupted).mean(axis=(1, 2, 3)))


class _Draws:
    """The generators of one image, made when they are first drawn from: most corruptions draw nothing."""

    def begin(self, name: str, image: int, seed: int) -> None:
        """Begin the draws of one image."""
        self._key = (name, image, seed)
        self._bits: np.random.MT19937 | None = None
        self._random: np.random.RandomState | None = None

    @property
    def bits(self) -> np.random.MT19937:
        """Return the bits that the image's draws are made of."""
        if self._bits is None:
            self._bits = random_bits(*self._key)
        return self._bits

    @property
    def random(self) -> np.random.RandomState:
        """Return what takes the place of numpy's global generator."""
        if self._random is None:
            self._random = np.random.RandomState(self.bits)
        return self._random


def _library() -> tuple[ModuleType, _Draws]:
    """Return corrupt-tta's functions as a module of one's own, and what they draw from.

    The library draws from numpy's global generator, which belongs to every thread of the process, and, by way of
    scikit-image's random_noise, from one that nobody can seed. It also reads frost's pictures again for each image.
    Raises SelvizError where it is not installed, or OpenCV, which it needs, cannot be loaded.
    """
    draws = _Draws()
    missing = SelvizError("Corruptions need the package corrupt-tta: pip install 'selviz[robustness]'")
    if importlib.util.find_spec("corrupt_tta") is None:
        raise missing
    try:
        spec = importlib.util.find_spec("corrupt_tta.corruptions")  # imports the package, and with it OpenCV
        if spec is None or spec.loader is None:
            raise missing
        library: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(library)
    except ImportError as error:
        raise SelvizError(
            f"Corruptions need OpenCV, which cannot be loaded here ({error}); on a machine without a desktop take the "
            "build that needs none: pip uninstall -y opencv-python && pip install opencv-python-headless"
        ) from error
    noise, opencv = library.random_noise, library.cv2
    library.np = _Instead(lambda: np, random=_Instead(lambda: draws.random))
    library.cv2 = _Instead(lambda: opencv, imread=_remembered(opencv.imread))
    library.random_noise = lambda *args, **options: noise(*args, rng=np.random.Generator(draws.bits), **options)
    return library, draws


def changes(pixels: np.ndarray, seed: int = 0, report: Report = silent, constants: str = IMAGENET) -> pd.DataFrame:
    """Return how much each corruption changes these uint8 pixels [N, C, H, W], one row each.

    Columns corruption, family, images, severity_1 .. severity_5 (mean absolute change of a pixel, 0..255), and skipped:
    why these images are too small for it, or it cannot be made with these constants, or None.
    """
    rows = []
    height, width = pixels.shape[2:]
    _, skipped = usable(height, width, tuple(CORRUPTIONS), constants)
    for number, (name, family) in enumerate(CORRUPTIONS.items()):
        row = {"corruption": name, "family": family, "images": len(pixels)}
        for severity in SEVERITIES:
            fits = name not in skipped
            corrupted = corrupt(pixels, name, severity, seed, constants=constants) if fits else None
            change = None if corrupted is None else mean_change(pixels, corrupted).mean()
            row[f"severity_{severity}"] = change
        rows.append({**row, "skipped": skipped.get(name)})
        report({"stage": "corruptions", "done": number + 1, "of": len(CORRUPTIONS)})
    return pd.DataFrame(rows)


class _Instead:
    """What `find()` returns, with other attributes instead of some of its own."""

    def __init__(self, find: Callable[[], Any], **others: Any):
        self.__dict__.update(others, _find=find)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


@functools.cache
def _remembered(read: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
    return functools.lru_cache(maxsize=16)(read)
