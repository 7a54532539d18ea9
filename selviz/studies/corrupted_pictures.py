"""Corrupted pictures that every run on a data set shares: `CorruptedPictures(data, dataset, 1000)("fog", 3, ...)`.

They are kept beside the data set's images, so that the next run on these need not make them again.
"""

import contextlib
import secrets
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selviz.datasets import Dataset
from selviz.robustness import corruptions
from selviz.robustness.corruptions import SEVERITIES
from selviz.store import image_folder
from selviz.store.files import cleaning_up, leftovers, writing
from selviz.system.durable_files import move_into_place

MAX_KEPT = 512 * 2**20  # bytes of all corrupted pictures of a data set that are worth keeping


class CorruptedPictures:
    """What `robustness.bench.Bench` calls for corrupted pixels; `data` is the folder of the store.

    Where all corruptions of `images` images would take more than MAX_KEPT, nothing is kept.
    """

    def __init__(self, data: Path, dataset: Dataset, images: int, seed: int = 0):
        size = dataset.eval_pixels[0].numel() * images * len(corruptions.CORRUPTIONS) * len(SEVERITIES)
        self.folder = image_folder(data, dataset.fingerprint) / "corrupted" if size <= MAX_KEPT else None
        self.seed = seed

    def __call__(
        self, name: str, severity: int, pixels: Tensor, images: Sequence[int], constants: str = corruptions.IMAGENET
    ) -> Tensor:
        """Return uint8 pixels [N, C, H, W] of evaluation images, their numbers consecutive, under one corruption."""

        def make() -> np.ndarray:
            return corruptions.corrupt(pixels.numpy(), name, severity, self.seed, images, constants=constants)

        if self.folder is None:
            return torch.from_numpy(make())
        made = name if constants == corruptions.IMAGENET else f"{name}-{constants}"
        file = self.folder / f"{made}-{severity}-{self.seed}-{images[0]}-{len(images)}.npz"
        return torch.from_numpy(_kept_pictures(file, make))


def _kept_pictures(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        with np.load(path) as file:  # a zip: a byte that changed does not have the checksum in it
            pixels: np.ndarray = file["pixels"]
            return pixels
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pixels = make()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, pixels=pixels)
        with contextlib.suppress(FileNotFoundError):  # another process made the same pictures, and tidied up
            move_into_place(temporary, path)
    with cleaning_up():
        for left in leftovers(path.parent, f".{path.name}.*"):
            left.unlink(missing_ok=True)
    return pixels
