"""Two groups of values compared: `welch(first, second)`, `equivalence(first, second, margin)`, `rank_test(...)`."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from selviz.statistics.intervals import CONFIDENCE

LEVEL = 0.05
EXACT_RANKS = 9  # values of a group below which, without ties, the rank test is exact


def welch(
    first: ArrayLike, second: ArrayLike, above: float = 0.0, confidence: float = CONFIDENCE
) -> tuple[float, float, float, float]:
    """Return (difference of means, its interval's low and high, p) of two samples of at least 2 values each, by
    Welch's t.

    p is one-sided, against a difference first - second of at most `above` (Welch 1947, Biometrika 34:28). Where
    neither sample varies the interval has no width, and p is that of a permutation test at its smallest, or 1.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if min(len(first), len(second)) < 2:
        raise ValueError("Welch's test needs at least 2 values in each sample")
    difference = float(first.mean() - second.mean())
    error, degrees = welch_error(first.std(ddof=1), second.std(ddof=1), len(first), len(second))
    if error == 0:
        orders = math.comb(len(first) + len(second), len(first))
        return difference, difference, difference, 1 / orders if difference > above else 1.0
    half = float(special.stdtrit(degrees, 0.5 + confidence / 2)) * error
    p = float(special.stdtr(degrees, -(difference - above) / error))
    return difference, difference - half, difference + half, p


def welch_error(first: float, second: float, n_first: int, n_second: int) -> tuple[float, float]:
    """Return standard error of the difference of two means, and Welch and Satterthwaite's degrees of freedom."""
    if min(n_first, n_second) < 2:
        raise ValueError("a comparison of two groups needs two values in each")
    one, other = first**2 / n_first, second**2 / n_second
    if one + other == 0:
        return 0.0, float(n_first + n_second - 2)
    return math.sqrt(one + other), (one + other) ** 2 / (one**2 / (n_first - 1) + other**2 / (n_second - 1))


class Equivalence(NamedTuple):
    """Whether two means differ by less than a margin, as two one-sided tests see it."""

    difference: float  # mean of the first - mean of the second
    low: float  # its interval of 1 - 2 x level: equivalence is shown exactly where it lies within the margin
    high: float
    p: float  # of equivalence: the larger of the two
    p_not_lower: float  # of the one half: the first is not lower than the second by the margin
    p_not_higher: float  # of the other
    margin: float
    n: tuple[int, int]


def equivalence(first: ArrayLike, second: ArrayLike, margin: float, level: float = LEVEL) -> Equivalence:
    """Return two one-sided t tests (TOST) of two independent groups [n] and [m] with unequal variances.

    Shows a difference within -margin..margin where `p` is below the level (Schuirmann 1987, J. Pharmacokin. Biopharm.
    15:657; degrees of freedom by Welch and Satterthwaite). `p_not_lower` alone answers "is the loss smaller than the
    margin?". NaN where neither group varies. Fewer than 2 values in a group, or a margin not above 0: ValueError.
    """
    first, second = (np.asarray(values, dtype=float).ravel() for values in (first, second))
    n = (first.size, second.size)
    if min(n) < 2 or not margin > 0:
        raise ValueError("an equivalence test needs two values in each group and a margin above 0")
    difference = float(first.mean() - second.mean())
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return Equivalence(difference, *(math.nan,) * 5, margin, n)
    error, degrees = welch_error(first.std(ddof=1), second.std(ddof=1), *n)
    lower = float(special.stdtr(degrees, -(difference + margin) / error))  # of a difference at most -margin
    upper = float(special.stdtr(degrees, (difference - margin) / error))
    half = float(special.stdtrit(degrees, 1 - level)) * error
    return Equivalence(difference, difference - half, difference + half, max(lower, upper), lower, upper, margin, n)


def equivalence_power(
    margin: float,
    std: float | tuple[float, float],
    n_first: int,
    n_second: int,
    difference: float = 0.0,
    level: float = LEVEL,
) -> float:
    """Return the chance, 0..1, that `equivalence` shows equivalence if the means really differ by `difference`.

    `std` is the standard deviation within a group, or one for each. The normal probability that the difference passes
    both tests, averaged over the chi-squared distributions of the two estimated variances, which set the standard
    error and Welch's degrees of freedom.
    """
    first, second = std if isinstance(std, tuple) else (std, std)
    error, _ = welch_error(first, second, n_first, n_second)
    if error == 0:
        return float(abs(difference) < margin)
    above = 1 - (np.arange(100) + 0.5) / 100  # midpoints of a hundred equally likely parts of each distribution
    one = (first**2 / n_first * special.chdtri(n_first - 1, above) / (n_first - 1))[:, None]
    other = second**2 / n_second * special.chdtri(n_second - 1, above) / (n_second - 1)
    degrees = (one + other) ** 2 / (one**2 / (n_first - 1) + other**2 / (n_second - 1))
    room = np.maximum(margin - special.stdtrit(degrees, 1 - level) * np.sqrt(one + other), 0)
    return float(np.mean(special.ndtr((room - difference) / error) - special.ndtr((-room - difference) / error)))


def rank_test(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p value of Mann and Whitney's test that two samples come from one distribution (scipy's).

    Exact below 9 values in a group and without ties, else by the normal distribution, with its corrections for
    continuity and ties; what a few collapsed networks do to a mean they cannot do to it.
    """
    first, second = (np.asarray(values, dtype=float).ravel() for values in (first, second))
    both = np.concatenate([first, second])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    n, m = first.size, second.size
    if np.isnan(both).any() or (min(n, m) < EXACT_RANKS and counts.max(initial=0) == 1):
        from scipy import stats  # takes longer to import than all else that a page needs

        return float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # equal values share the mean of their ranks
    larger = ranks[:n].sum() - n * (n + 1) / 2
    larger = max(larger, n * m - larger)
    ties = (counts.astype(float) ** 3 - counts).sum() / ((n + m) * (n + m - 1))
    error = math.sqrt(n * m / 12 * (n + m + 1 - ties))
    return float(min(1.0, 2 * special.ndtr((n * m / 2 + 0.5 - larger) / error))) if error else 1.0
