"""Which image goes where, fixed by labels and a seed: `train, evaluation = stratified_split(labels, 0.8, seed=0)`."""

import numpy as np


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
