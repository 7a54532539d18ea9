"""Intervals and tests of proportions, paired changes and means: `wilson(correct, n)`, `mcnemar(lost, gained)`.

Three kinds of interval, never mixed: *for this split* (what is left unknown of a finite set of images, zero when all
are seen), *for new images* (what the same network would do on other images of the same kind) and *over seeds* (what
networks of other seeds would do on these images).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

CONFIDENCE = 0.95
CALIPER = 0.25  # of a standard deviation: the largest difference between units that are called matched


def chance(labels: ArrayLike) -> float:
    """Return the accuracy 0..1 of always naming the commonest of these labels [N]."""
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    return float(counts.max() / counts.sum())


def wilson(successes: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Return interval of a proportion for new images: (low, high), each 0..1 and of the shape of the arguments.

    Score interval of Wilson 1927, J. Am. Stat. Assoc. 22:209, equation for the roots in p. Where n is 0 it is (0, 1).
    """
    successes, n = _counts(successes, n)
    z2 = _z(confidence) ** 2
    share = successes / np.maximum(n, 1)
    centre = (share + z2 / (2 * np.maximum(n, 1))) / (1 + z2 / np.maximum(n, 1))
    half = np.sqrt(z2) / (1 + z2 / np.maximum(n, 1))
    half = half * np.sqrt(share * (1 - share) / np.maximum(n, 1) + z2 / (4 * np.maximum(n, 1) ** 2))
    # Rounding must not push the ends past the proportion itself at 0 and at n.
    low = np.where(successes == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(successes == n, 1.0, np.clip(centre + half, 0, 1))
    return np.where(n == 0, 0.0, low)[()], np.where(n == 0, 1.0, high)[()]


def split_interval(
    successes: ArrayLike, n: ArrayLike, total: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return interval *for this split* of the proportion over all `total` images after a random `n` of them: (low,
    high).

    Wilson's interval with the effective sample size n (total - 1) / (total - n), the finite-population correction
    (Cochran 1977, Sampling Techniques, section 2.6), and never beyond what the unseen images still allow. It has zero
    width at n = total.
    """
    successes, n = _counts(successes, n)
    total = np.asarray(total, dtype=float)
    if np.any(total < n):
        raise ValueError("the split has fewer images than were seen")
    unseen = total - n
    share = successes / np.maximum(n, 1)
    effective = np.maximum(n, 1) * np.maximum(total - 1, 1) / np.maximum(unseen, 1)
    low, high = wilson(share * effective, effective, confidence)
    least, highest = successes / np.maximum(total, 1), (successes + unseen) / np.maximum(total, 1)
    low, high = np.where(n == 0, least, low), np.where(n == 0, highest, high)
    return np.clip(low, least, highest)[()], np.clip(high, least, highest)[()]


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> np.ndarray:
    """Return exact two-sided p value of a paired change: `lost` images were right only before, `gained` only after.

    Binomial test of the discordant pairs with probability 1/2 (McNemar 1947, Psychometrika 12:153; the exact form).
    1 where no image changed. Arguments and result have one shape.
    """
    lost, gained = np.asarray(lost), np.asarray(gained)
    if np.any(lost < 0) or np.any(gained < 0):
        raise ValueError("counts must not be negative")
    pairs = lost + gained
    tail = special.bdtr(np.minimum(lost, gained), np.maximum(pairs, 1), 0.5)
    return np.where(pairs == 0, 1.0, np.minimum(1.0, 2 * tail))[()]


def change_interval(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return interval for new images of the change in accuracy, (gained - lost) / n in -1..1, of paired predictions.

    Wald interval of the difference of paired proportions with half an image added to each of the four cells of the
    paired table (Agresti & Min 2005, Statistics in Medicine 24:729), which keeps its coverage near 0 and 1.
    """
    lost, gained, n = (np.asarray(count, dtype=float) for count in (lost, gained, n))
    if np.any(lost < 0) or np.any(gained < 0) or np.any(lost + gained > n):
        raise ValueError("lost and gained must not be negative, nor more than n together")
    lost, gained, n = lost + 0.5, gained + 0.5, n + 2
    change = (gained - lost) / n
    half = _z(confidence) * np.sqrt((lost + gained) / n - change**2) / np.sqrt(n)
    return np.clip(change - half, -1, 1)[()], np.clip(change + half, -1, 1)[()]


def mean_interval(
    mean: ArrayLike, std: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return interval of a mean for new images, by Student's t, from mean, standard deviation (over n - 1) and n:
    (low, high).

    Infinite where n is below 2.
    """
    mean, std, n = (np.asarray(value, dtype=float) for value in (mean, std, n))
    degrees = np.maximum(n - 1, 1)
    half = special.stdtrit(degrees, 0.5 + confidence / 2) * std / np.sqrt(np.maximum(n, 1))
    half = np.where(n < 2, np.inf, half)
    return (mean - half)[()], (mean + half)[()]


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if np.any(successes < 0) or np.any(successes > n * (1 + 1e-12)):
        raise ValueError("successes must lie between 0 and n")
    return successes, n
