"""Intervals, tests and ranks for all pages: `wilson(correct, n)`, `mcnemar(lost, gained)`, `rank_among(x, draws)`.

Two kinds of interval, never mixed: *for this split* (what is left unknown of a finite set of images, zero when all are
seen) and *for new images* (what the same network would do on other images of the same kind).
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95


def wilson(successes, n, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a proportion for new images: (low, high), each 0..1 and of the shape of the arguments.

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


def split_interval(successes, n, total, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Interval *for this split* of the proportion over all `total` images after a random `n` of them: (low, high).

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
    least, most = successes / np.maximum(total, 1), (successes + unseen) / np.maximum(total, 1)
    low, high = np.where(n == 0, least, low), np.where(n == 0, most, high)
    return np.clip(low, least, most)[()], np.clip(high, least, most)[()]


def mcnemar(lost, gained) -> np.ndarray:
    """Exact two-sided p value of a paired change: `lost` images were right only before, `gained` only after.

    Binomial test of the discordant pairs with probability 1/2 (McNemar 1947, Psychometrika 12:153; the exact form).
    1 where no image changed. Arguments and result have one shape.
    """
    lost, gained = np.asarray(lost), np.asarray(gained)
    if np.any(lost < 0) or np.any(gained < 0):
        raise ValueError("counts must not be negative")
    pairs = lost + gained
    tail = special.bdtr(np.minimum(lost, gained), np.maximum(pairs, 1), 0.5)
    return np.where(pairs == 0, 1.0, np.minimum(1.0, 2 * tail))[()]


def change_interval(lost, gained, n, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Interval for new images of the change in accuracy, (gained - lost) / n in -1..1, of paired predictions.

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


def mean_interval(mean, std, n, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a mean for new images, by Student's t, from mean, standard deviation (over n - 1) and n: (low, high).

    Infinite where n is below 2.
    """
    mean, std, n = (np.asarray(value, dtype=float) for value in (mean, std, n))
    degrees = np.maximum(n - 1, 1)
    half = special.stdtrit(degrees, 0.5 + confidence / 2) * std / np.sqrt(np.maximum(n, 1))
    half = np.where(n < 2, np.inf, half)
    return (mean - half)[()], (mean + half)[()]


def correlation_interval(rho: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of Spearman's rank correlation `rho` (-1..1) of `n` pairs: (low, high), each -1..1.

    Fisher's transform with the variance (1 + rho^2 / 2) / (n - 3) (Bonett & Wright 2000, Psychometrika 65:23). The
    whole range where n is below 4.
    """
    if n < 4:
        return -1.0, 1.0
    rho = min(max(rho, -1.0), 1.0)
    if abs(rho) == 1:
        return rho, rho
    half = _z(confidence) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = math.atanh(rho)
    return math.tanh(centre - half), math.tanh(centre + half)


class Rank(NamedTuple):
    """Where a value stands among draws; `smallest` is the smallest p that so many draws can give."""

    quantile: float  # share of draws below the value, ties counted half: 0..1
    p_low: float  # chance of a value this small or smaller, if it were one more draw
    p_high: float  # chance of a value this large or larger
    p: float  # two-sided: twice the smaller of the two, at most 1
    smallest: float  # smallest attainable p (two-sided): 2 / (draws + 1)
    draws: int


def smallest_p(draws: int) -> float:
    """The smallest two-sided p that a rank among so many draws can have: 2 / (draws + 1), at most 1."""
    return min(1.0, 2 / (draws + 1))


def rank_among(value: float, draws) -> Rank:
    """The rank of `value` among `draws` [R] from its null distribution.

    p = (1 + number of draws at least as extreme) / (R + 1), which is never 0 (Phipson & Smyth 2010, Stat. Appl. Genet.
    Mol. Biol. 9:39). No draws, or NaN, raise ValueError.
    """
    draws = np.asarray(draws, dtype=float).ravel()
    if not draws.size or np.isnan(draws).any() or np.isnan(value):
        raise ValueError("a rank needs a value and at least one draw, none of them NaN")
    below, above = int((draws < value).sum()), int((draws > value).sum())
    ties = draws.size - below - above
    p_low, p_high = ((1 + count + ties) / (draws.size + 1) for count in (below, above))
    p = min(1.0, 2 * min(p_low, p_high))
    return Rank((below + ties / 2) / draws.size, p_low, p_high, p, smallest_p(draws.size), draws.size)


def holm(p_values) -> np.ndarray:
    """Step-down adjusted p values in the order given (Holm 1979, Scand. J. Stat. 6:65); a NaN stays one, uncounted."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    known = ~np.isnan(p_values)
    p = p_values[known]
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    back = np.empty_like(p)
    back[order] = np.minimum(steps, 1.0)
    adjusted[known] = back
    return adjusted


def rank_correlation(first, second) -> float:
    """Spearman's rank correlation, -1..1; NaN where one of the two does not vary."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    from scipy import stats  # takes longer to import than all else that a page needs

    return float(stats.spearmanr(first, second).statistic)


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))


def _counts(successes, n) -> tuple[np.ndarray, np.ndarray]:
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if np.any(successes < 0) or np.any(successes > n * (1 + 1e-12)):
        raise ValueError("successes must lie between 0 and n")
    return successes, n
