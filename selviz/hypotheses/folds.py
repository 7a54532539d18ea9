"""The two halves of a run's images: units are chosen and matched on fold 0, and measured on fold 1."""

import numpy as np

from selviz.store import Store


def fold(store: Store, run: str, layer: str, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations [N, U], labels [N] and image numbers [N] of a layer on the images of one fold."""
    images = store.images(run)
    here = (images["fold"] == number).to_numpy()
    return store.matrix(run, layer)[here], images["label_index"].to_numpy()[here], images["image"].to_numpy()[here]


def class_indices(values: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(SI [U], preferred class [U], contrast of each class [C, U]) of activations [N, U]."""
    import torch

    from selviz.selectivity import index

    means, counts = index.class_means(torch.from_numpy(values).double(), torch.from_numpy(labels).long(), classes)
    by_class = torch.stack([index.index_of_class(means, label) for label in range(classes)])
    return index.index(means, counts).numpy(), index.preferred_class(means).numpy(), by_class.numpy()
