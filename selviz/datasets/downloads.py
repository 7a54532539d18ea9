"""Data sets that torchvision downloads and checks: `DOWNLOADS["cifar10"]()`, downloaded the first time."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from selviz.datasets import cache
from selviz.datasets.dataset import Dataset, assemble
from selviz.errors import SelvizError, first_line

DIGITS = tuple("0123456789")


def download(
    name: str,
    kind: str,
    folder: str,
    parts: tuple[Mapping[str, bool | str], Mapping[str, bool | str]],
    mirrors: bool = True,
) -> Dataset:
    """Return torchvision's data set of class `kind`; `parts` are its arguments for training and evaluation images.

    `folder` is where its original files belong, for the message when it cannot be downloaded.
    """
    from torchvision import datasets as sets

    root = cache.folder() / "torchvision"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            root.mkdir(parents=True, exist_ok=True)
            train, evaluation = (getattr(sets, kind)(root, download=True, **part) for part in parts)
    except Exception as error:  # whatever the network, an archive or a checksum has to say
        reason = first_line(error).rstrip(".")
        raise SelvizError(
            f"The data set {name} cannot be downloaded or read ({reason}); connect this machine to the internet, or "
            f"put the original files into {root / folder}, and run the same command again."
        ) from error
    names = DIGITS if kind in ("MNIST", "SVHN") else train.classes
    return replace(assemble(name, names, *_arrays(train), *_arrays(evaluation)), mirrors=mirrors)


def _arrays(part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N, C, H, W] and labels [N] of a data set of torchvision."""
    pixels, labels = np.asarray(part.data), np.asarray(part.labels if hasattr(part, "labels") else part.targets)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[-1] == 3:
        pixels = np.moveaxis(pixels, -1, 1)
    return np.ascontiguousarray(pixels), labels


_FLAGS, _SPLITS = ({"train": True}, {"train": False}), ({"split": "train"}, {"split": "test"})
DOWNLOADS: dict[str, Callable[[], Dataset]] = {
    "mnist": partial(download, "mnist", "MNIST", "MNIST/raw", _FLAGS, mirrors=False),
    "fashion-mnist": partial(download, "fashion-mnist", "FashionMNIST", "FashionMNIST/raw", _FLAGS),
    "cifar10": partial(download, "cifar10", "CIFAR10", "cifar-10-batches-py", _FLAGS),
    "cifar100": partial(download, "cifar100", "CIFAR100", "cifar-100-python", _FLAGS),
    "svhn": partial(download, "svhn", "SVHN", "", _SPLITS, mirrors=False),
}
