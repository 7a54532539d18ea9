"""Units laid out in a plane by their tuning: `positions = layout(class_means, "pca")`, near units respond alike."""

import numpy as np
from numpy.typing import ArrayLike

METHODS = ("pca", "tsne")
MAX_TSNE = 2000  # t-SNE of more units takes minutes


def layout(class_means: ArrayLike, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Return positions [U, 2] of units by their class means [U, C].

    Each unit's means are scaled to mean 0 and length 1 first, so that only the shape of its tuning counts; a unit
    without any tuning (a dead one) lies at the origin of that space. pca: the first two principal components, signs
    fixed so that the largest loading is positive. tsne: scikit-learn's t-SNE (van der Maaten & Hinton 2008), started
    from PCA, perplexity 30 or a third of the units; distances between far groups mean little. Scaling is selviz's
    choice. More than 2,000 units for tsne, or fewer than 5, raise ValueError.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}")
    tuning = np.asarray(class_means, dtype=np.float64)
    tuning = tuning - tuning.mean(axis=1, keepdims=True)
    length = np.linalg.norm(tuning, axis=1, keepdims=True)
    tuning = np.divide(tuning, length, out=np.zeros_like(tuning), where=length > 1e-12)
    if method == "tsne":
        from sklearn.manifold import TSNE

        if not 5 <= len(tuning) <= MAX_TSNE:
            raise ValueError(f"t-SNE takes 5 to {MAX_TSNE:,} units, not {len(tuning):,}")
        perplexity = min(30.0, (len(tuning) - 1) / 3)
        embedding = TSNE(init="pca", perplexity=perplexity, random_state=seed)
        return np.asarray(embedding.fit_transform(tuning.astype(np.float32)))
    centred = tuning - tuning.mean(axis=0)
    _, _, loadings = np.linalg.svd(centred, full_matrices=False)
    loadings = np.pad(loadings[:2], ((0, 2 - len(loadings[:2])), (0, 0)))
    signs = np.sign(loadings[np.arange(2), np.abs(loadings).argmax(axis=1)])
    return np.asarray(centred @ (loadings * np.where(signs == 0, 1, signs)[:, None]).T)
