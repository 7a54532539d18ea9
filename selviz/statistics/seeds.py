"""Numbers over networks that differ in their seed: `over_seeds(accuracies)`, `collapse(accuracies, chance)`."""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from selviz.statistics.intervals import CONFIDENCE, mean_interval, wilson

FEWEST_SEEDS, MAX_T_SEEDS = 3, 20  # no interval below, Student's t up to, the bootstrap beyond
RESAMPLES = 9999


class OverSeeds(NamedTuple):
    """The mean of one number over seeds, and its interval; NaN at both ends where there are too few seeds for one."""

    mean: float
    low: float
    high: float
    kind: str  # "t", "bootstrap", or "" where there is no interval
    n: int


def over_seeds(values: ArrayLike, confidence: float = CONFIDENCE) -> OverSeeds:
    """Return mean and interval of a number that networks of different seeds [n] have, such as their accuracies.

    selviz's rule: no interval below 3 seeds, Student's t up to 20, beyond these the bootstrap (BCa, Efron 1987, J. Am.
    Stat. Assoc. 82:171; 9,999 resamples, seeded), which covers 89 % at n = 10 where 95 % are named. NaN are
    left out. Values that are all equal have no width. Where networks can collapse see `collapse`: no interval of a mean
    holds its level there.
    """
    given = np.asarray(values, dtype=float).ravel()
    known = given[~np.isnan(given)]
    n, mean = known.size, float(known.mean()) if known.size else math.nan
    if n < FEWEST_SEEDS:
        return OverSeeds(mean, math.nan, math.nan, "", n)
    kind = "t" if n <= MAX_T_SEEDS else "bootstrap"
    if np.ptp(known) == 0:
        return OverSeeds(mean, mean, mean, kind, n)
    t = kind == "t"
    ends = mean_interval(mean, known.std(ddof=1), n, confidence) if t else _bootstrap_interval(known, confidence)
    return OverSeeds(mean, float(ends[0]), float(ends[1]), kind, n)


def _bootstrap_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the BCa interval of the mean of values [n] that differ, as `scipy.stats.bootstrap` with `rng=0` gives it.

    How often each resample holds each value depends on n alone, so that many numbers of as many seeds share it.
    """
    n, mean = values.size, values.mean()
    means = np.concatenate([part.astype(np.float64) @ values for part in _resamples(n)]) / n
    # A mean of the same values in another order may differ in its last digits; for the bias it is equal.
    ties = np.isclose(means, mean, rtol=1e-12, atol=0)
    bias = special.ndtri((np.count_nonzero((means < mean) & ~ties) + 0.5 * np.count_nonzero(ties)) / RESAMPLES)
    apart = values - mean  # each value's influence, of which the jackknife's is a multiple
    acceleration = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    tails = bias + special.ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    low, high = np.quantile(means, special.ndtr(bias + tails / (1 - acceleration * tails)))
    return float(low), float(high)


@functools.lru_cache(maxsize=4)
def _resamples(n: int) -> tuple[np.ndarray, ...]:
    """Return how often each of RESAMPLES resamples of n values holds each of them: parts [resamples, n], uint8.

    No value stands more than 255 times in a resample: of fewer values than that it cannot, of more it does not.
    """
    generator, parts = np.random.default_rng(0), []
    step = max(1, 2**15 // n)  # parts that a processor's cache holds, also as the floats that a mean is made of
    for first in range(0, RESAMPLES, step):
        drawn = generator.integers(0, n, (min(step, RESAMPLES - first), n))
        drawn += n * np.arange(len(drawn))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        parts.append(counts.astype(np.uint8))
    return tuple(parts)


class Collapse(NamedTuple):
    """How many networks of several seeds collapsed, and the median of all, which a few of these do not move."""

    collapsed: int
    n: int
    rate: float  # 0..1
    rate_low: float  # its Wilson interval
    rate_high: float
    median: float
    median_low: float  # NaN below 6 networks, where no order statistic reaches the confidence
    median_high: float


def collapse(
    accuracies: ArrayLike, chance: float, confidence: float = CONFIDENCE, best: float | None = None
) -> Collapse:
    """Return the collapse rate and the median of accuracies [n], 0..1, of networks that differ in their seed.

    A network counts as collapsed if its accuracy is nearer to `chance` than to the `best`, by default that of these
    networks (selviz's choice); where all of them may have collapsed, give that of others of their kind. The median's
    interval is that of its order statistics (David & Nagaraja 2003, Order Statistics, 7.1), exact whatever the
    distribution.
    """
    values = np.sort(np.asarray(accuracies, dtype=float).ravel())
    values = values[~np.isnan(values)]
    n = values.size
    if not n:
        raise ValueError("a collapse rate needs at least one network")
    collapsed = int((values < (chance + (values[-1] if best is None else best)) / 2).sum())
    low, high = wilson(collapsed, n, confidence)
    below = int(np.searchsorted(special.bdtr(np.arange(n), n, 0.5), (1 - confidence) / 2, "right"))  # values to cut off
    ends = (float(values[below - 1]), float(values[n - below])) if below else (math.nan, math.nan)
    return Collapse(collapsed, n, collapsed / n, float(low), float(high), float(np.median(values)), *ends)
