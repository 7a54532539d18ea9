"""Which image goes where, fixed by labels and a seed: `train, evaluation = stratified_split(labels, 0.8, seed=0)`."""

import numpy as np

SEALED = 2  # the fold that only the test of a claim reads
MIN_SEALED = 20  # images: a smaller fold could support nothing


def stratified_split(labels: np.ndarray, train_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and evaluation indices of labels [N], each class split by `train_share` (rounded), fixed by
    the seed.
    """
    generator = np.random.default_rng(seed)
    train, evaluation = [], []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cut = round(train_share * len(members))
        train.append(members[:cut])
        evaluation.append(members[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(evaluation))


def balanced_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a permutation [N] in which each class's images are spread evenly, so that every prefix is nearly
    stratified.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(position, kind="stable")


def sealed_count(labels: np.ndarray) -> int:
    """Return how many images [N], the last ones in a balanced order, are sealed: a third of them, or 0.

    0 where the third would hold fewer than MIN_SEALED images, or lack a class that has six images or more (the images
    then do not lie in a balanced order).
    """
    count = len(labels) // 3
    if count < MIN_SEALED:
        return 0
    names, sizes = np.unique(labels, return_counts=True)
    missing = np.setdiff1d(names[sizes >= 6], labels[-count:])
    return 0 if len(missing) else count


def folds(labels: np.ndarray, sealed: int | None = None) -> np.ndarray:
    """Return the fold of each image [N] with labels [N]: 0 chooses, 1 reports, SEALED (2) is for tests of claims alone.

    The last `sealed` images (default: `sealed_count`) are sealed, so that the others keep their numbers; these are 0 or
    1 alternately within each class, and half of the classes begin with 1.
    """
    sealed = sealed_count(labels) if sealed is None else sealed
    fold = np.full(len(labels), SEALED, dtype=np.int8)
    reported = labels[: len(labels) - sealed]
    for rank, label in enumerate(np.unique(labels)):
        members = np.flatnonzero(reported == label)
        fold[members] = (np.arange(len(members)) + rank) % 2
    return fold
