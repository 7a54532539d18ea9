"""Corrupted images that somebody made already: `names("CIFAR-10-C")`, `read("CIFAR-10-C", "fog", 3, classes)`.

Two layouts: that of CIFAR-10-C, `<corruption>.npy` (uint8 [5 M, H, W, C], severity after severity) beside `labels.npy`;
and that of Tiny-ImageNet-C, `<corruption>/<severity>/<class>/<image>`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from selviz.errors import SelvizError, told_by_system, unknown
from selviz.robustness.corruptions import SEVERITIES
from selviz.system.listing import names_in

SUFFIXES = (".jpeg", ".jpg", ".png")


class CorruptedSet(NamedTuple):
    """Images under one corruption at one severity: pixels uint8 [M, C, H, W], labels int64 [M]."""

    pixels: np.ndarray
    labels: np.ndarray


def names(folder: str | Path) -> list[str]:
    """Return the corruptions in the folder; SelvizError if it has neither layout."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SelvizError(f"There is no folder {folder}; name one with CIFAR-10-C's or Tiny-ImageNet-C's files.")
    folders, files = names_in(folder)
    arrays = [name.removesuffix(".npy") for name in files if name.endswith(".npy") and name != "labels.npy"]
    if arrays:
        if "labels.npy" not in files:
            raise SelvizError(f"{folder} has no labels.npy; it belongs beside the corruptions' .npy files.")
        return arrays
    folders = [name for name in folders if "1" in names_in(folder / name)[0]]
    if not folders:
        raise SelvizError(
            f"{folder} has neither <corruption>.npy beside labels.npy, as CIFAR-10-C has, nor "
            f"<corruption>/<severity>/<class>/ folders, as Tiny-ImageNet-C has."
        )
    return folders


def read(
    folder: str | Path, name: str, severity: int, class_names: Sequence[str], limit: int | None = None
) -> CorruptedSet:
    """Read the images of a corruption at a severity 1..5; at most `limit` of them, spread evenly.

    Labels of .npy files are positions in `class_names`; folders are named after classes. Raises SelvizError for what is
    missing, damaged, or does not fit the classes.
    """
    folder = Path(folder)
    if name not in (known := names(folder)):
        raise unknown("corruption", name, known)
    if severity not in SEVERITIES:
        raise SelvizError(f"severity is {severity!r}; it must be 1, 2, 3, 4 or 5.")
    read_layout = _read_arrays if (folder / f"{name}.npy").exists() else _read_pictures
    return read_layout(folder, name, severity, list(class_names), limit)


def _read_arrays(folder: Path, name: str, severity: int, class_names: list[str], limit: int | None) -> CorruptedSet:
    file = folder / f"{name}.npy"
    try:
        with told_by_system(file):
            pixels = np.load(file, mmap_mode="r")
        with told_by_system(folder / "labels.npy"):
            labels = np.load(folder / "labels.npy")
    except (OSError, ValueError, EOFError) as error:
        raise SelvizError(f"{file} or labels.npy beside it cannot be read ({error}).") from error
    if pixels.ndim not in (3, 4) or pixels.dtype != np.uint8 or len(pixels) % len(SEVERITIES):
        raise SelvizError(
            f"{file} holds {pixels.dtype} {pixels.shape}; it must hold uint8 [5 M, H, W, C], five severities in turn."
        )
    images = len(pixels) // len(SEVERITIES)
    if labels.ndim != 1 or len(labels) not in (images, len(pixels)):
        raise SelvizError(f"labels.npy has {labels.shape} labels for {len(pixels)} images of {file.name}.")
    part = slice((severity - 1) * images, severity * images)
    labels = labels[part] if len(labels) == len(pixels) else labels
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise SelvizError(f"labels.npy names class {labels.max()}; this network knows 0 to {len(class_names) - 1}.")
    chosen = _spread(images, limit)
    pixels = np.array(pixels[part][chosen])
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return CorruptedSet(np.ascontiguousarray(np.moveaxis(pixels, -1, 1)), labels[chosen].astype(np.int64))


def _opened(path: Path) -> np.ndarray:
    with told_by_system(path):
        return np.asarray(Image.open(path).convert("RGB"))


def _read_pictures(folder: Path, name: str, severity: int, class_names: list[str], limit: int | None) -> CorruptedSet:
    place = folder / name / str(severity)
    files = [
        path
        for folder_name in names_in(place)[0]
        for path in (place / folder_name / name for name in names_in(place / folder_name)[1])
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise SelvizError(f"{place} has no pictures in folders named after classes.")
    for strange in sorted({path.parent.name for path in files} - set(class_names))[:1]:
        raise unknown("class", strange, class_names)
    files = [files[position] for position in _spread(len(files), limit)]
    try:
        pixels = [_opened(path) for path in files]
        stacked = np.moveaxis(np.stack(pixels), -1, 1)
    except (OSError, ValueError) as error:
        raise SelvizError(f"A picture in {place} cannot be read, or is of another size ({error}).") from error
    labels = np.array([class_names.index(path.parent.name) for path in files])
    return CorruptedSet(np.ascontiguousarray(stacked), labels)


def _spread(images: int, limit: int | None) -> np.ndarray:
    return np.arange(images) if limit is None or limit >= images else np.linspace(0, images - 1, limit).astype(int)
