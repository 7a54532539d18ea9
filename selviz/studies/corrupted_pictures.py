"""Corrupted pictures that every run on a data set shares: `CorruptedPictures(data, dataset, 1000)("fog", 3, ...)`.

They are kept beside the data set's images, so that the next run on these need not make them again.
"""

import contextlib
import itertools
import secrets
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from selviz.datasets import Dataset
from selviz.networks.activations import BATCH
from selviz.robustness import corruptions
from selviz.robustness.corruptions import SEVERITIES
from selviz.runs.clusters import has_local_workers, local_workers
from selviz.store import image_folder
from selviz.store.files import cleaning_up, leftovers, writing
from selviz.system.durable_files import move_into_place

LEAST = 20_000_000  # values of all pictures: below, other processes take longer to begin than to make them
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

        asked = _Asked(pixels.numpy(), name, severity, self.seed, images, constants)
        if self.folder is None:
            return torch.from_numpy(_corrupted(asked))
        return torch.from_numpy(_kept_pictures(self._file(asked), partial(_corrupted, asked)))

    def make(
        self,
        wanted: Sequence[tuple[str, int]],
        pixels: Tensor,
        constants: str = corruptions.IMAGENET,
        report: Callable[[int, int], object] = lambda done, of: None,
        processes: int | None = None,
    ) -> None:
        """Make the pictures of some corruptions and severities that are not kept yet, in several processes.

        `pixels` [N, C, H, W] are those that a Bench has. In as many processes as torch has threads, each on a core that
        would be idle; with one, or where it is little work or nothing is kept, nothing is done: each is made when it is
        asked for, as is what a process left that was killed. `report` gets how many are done, of how many.
        """
        processes = processes or torch.get_num_threads()
        if self.folder is None or processes < 2 or not has_local_workers():
            return
        asked = [
            _Asked(part.numpy(), name, severity, self.seed, range(first, first + len(part)), constants)
            for name, severity in wanted
            for part, first in zip(torch.split(pixels, BATCH), itertools.count(0, BATCH))
        ]
        missing = [each for each in asked if not self._file(each).exists()]
        if sum(each.pixels.size for each in missing) < LEAST:
            return
        import joblib

        with local_workers(1), contextlib.suppress(RuntimeError):  # what joblib raises where a worker was killed
            done = joblib.Parallel(n_jobs=processes, return_as="generator_unordered")(
                joblib.delayed(_keep)(self._file(each), each) for each in missing
            )
            for number, _ in enumerate(done, 1):
                report(number, len(missing))

    def _file(self, asked: "_Asked") -> Path:
        assert self.folder is not None
        made = asked.name if asked.constants == corruptions.IMAGENET else f"{asked.name}-{asked.constants}"
        return self.folder / f"{made}-{asked.severity}-{asked.seed}-{asked.images[0]}-{len(asked.images)}.npz"


class _Asked(NamedTuple):
    """What `corruptions.corrupt` is asked for."""

    pixels: np.ndarray
    name: str
    severity: int
    seed: int
    images: Sequence[int]
    constants: str


def _corrupted(asked: _Asked) -> np.ndarray:
    pixels, name, severity, seed, images, constants = asked
    return corruptions.corrupt(pixels, name, severity, seed, images, constants=constants)


def _keep(path: Path, asked: _Asked) -> None:
    _kept_pictures(path, partial(_corrupted, asked))


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
