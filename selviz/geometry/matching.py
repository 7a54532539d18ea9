"""Two networks on the same images: `changes(labels, one, other, classes)`, `matches(one, other)`, `match_null(...)`.

`one` and `other` are predictions [N] or activations [N, U] and [N, V] of two networks, images in the same order.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from selviz import statistics


def changes(labels: ArrayLike, one: ArrayLike, other: ArrayLike, class_names: Sequence[str]) -> pd.DataFrame:
    """Return what changes from one network's predictions [N] to the other's: for all images (class None), each class.

    Columns class, class_index (-1 for all), images, before, after, change with its 95 % interval for new images
    (change_low, change_high), lost, gained (images that are right only in one), p (McNemar's exact test). A class
    without images has NaN.
    """
    truth, first, second = (np.asarray(values) for values in (labels, one, other))
    if not truth.shape == first.shape == second.shape:
        raise ValueError("both networks must have seen the same images")
    right, then = first == truth, second == truth
    groups = [np.ones(len(truth), dtype=bool), *(truth == number for number in range(len(class_names)))]
    images = np.array([group.sum() for group in groups])
    lost = np.array([(right & ~then & group).sum() for group in groups])
    gained = np.array([(~right & then & group).sum() for group in groups])
    before = np.array([(right & group).sum() for group in groups])
    low, high = statistics.change_interval(lost, gained, images)
    empty = images == 0
    shares = {
        "before": before / np.maximum(images, 1),
        "after": (before - lost + gained) / np.maximum(images, 1),
        "change": (gained - lost) / np.maximum(images, 1),
        "change_low": low,
        "change_high": high,
        "p": statistics.mcnemar(lost, gained),
    }
    return pd.DataFrame(
        {
            "class": [None, *class_names],
            "class_index": range(-1, len(class_names)),
            "images": images,
            **{name: np.where(empty, np.nan, values) for name, values in shares.items()},
            "lost": lost,
            "gained": gained,
        }
    )


def correlations(one: ArrayLike, other: ArrayLike) -> Float[np.ndarray, "units others"]:
    """Return Pearson correlations [U, V] over images of activations [N, U] and [N, V]; NaN for a constant unit."""
    first, second = _standard(one), _standard(other)
    table = first.T @ second
    table[~first.any(axis=0)] = np.nan
    table[:, ~second.any(axis=0)] = np.nan
    return np.asarray(np.clip(table, -1, 1))


def matches(one: ArrayLike, other: ArrayLike) -> pd.DataFrame:
    """Return for each of the U units of `one`, the unit of `other` that correlates most with it over the images.

    Columns unit, match (-1 if there is none), correlation, mutual (the match's own best match is this unit). A unit may
    be the match of several. Matching by correlation follows Li et al. 2016, Convergent Learning, arXiv 1511.07543.
    """
    table = correlations(one, other)
    filled = np.where(np.isnan(table), -np.inf, table)
    match, back = filled.argmax(axis=1), filled.argmax(axis=0)
    best = filled.max(axis=1)
    has_match = np.isfinite(best)
    return pd.DataFrame(
        {
            "unit": range(len(table)),
            "match": np.where(has_match, match, -1),
            "correlation": np.where(has_match, best, np.nan),
            "mutual": has_match & (back[match] == np.arange(len(table))),
        }
    )


def match_null(
    one: ArrayLike, other: ArrayLike, labels: np.ndarray | None = None, shuffles: int = 100, seed: int = 0
) -> np.ndarray:
    """Return the correlation [R, U] of each unit's best match after the images of `other` were shuffled, R times.

    With `labels` [N] images are shuffled within their class only: what is left is what units share because they prefer
    the same classes. A best match is the largest of V values, so even unrelated units have one above 0. Both nulls are
    selviz's choice.
    """
    generator = np.random.default_rng(seed)
    first, second = _standard(one), _standard(other)
    dead = ~first.any(axis=0)
    alive = second[:, second.any(axis=0)]
    groups = [np.arange(len(first))] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]
    nulls = np.full((shuffles, first.shape[1]), np.nan)
    for draw in range(shuffles if alive.shape[1] else 0):
        order = np.empty(len(first), dtype=np.intp)
        for group in groups:
            order[group] = generator.permutation(group)
        nulls[draw] = np.where(dead, np.nan, (first.T @ alive[order]).max(axis=1))
    return nulls


def _standard(values: ArrayLike) -> np.ndarray:
    """Return activations [N, U] with mean 0 and length 1 for each unit; 0 for a unit that never changes."""
    rows = np.asarray(values, dtype=np.float64)
    constant = (rows == rows[:1]).all(axis=0)
    centred = rows - rows.mean(axis=0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    return np.where(constant, 0.0, centred / np.where(length > 0, length, 1.0)).astype(np.float32)
