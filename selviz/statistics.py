"""Intervals, tests and ranks for all pages: `wilson(correct, n)`, `mcnemar(lost, gained)`, `over_seeds(accuracies)`.

Three kinds of interval, never mixed: *for this split* (what is left unknown of a finite set of images, zero when all
are seen), *for new images* (what the same network would do on other images of the same kind) and *over seeds* (what
networks of other seeds would do on these images).
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

CONFIDENCE = 0.95
LEVEL = 0.05
CALIPER = 0.25  # of a standard deviation: the largest difference between units that are called matched
FEWEST_SEEDS, MAX_T_SEEDS = 3, 20  # no interval below, Student's t up to, the bootstrap beyond
RESAMPLES = 9999


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


def correlation_interval(rho: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return interval of Spearman's rank correlation `rho` (-1..1) of `n` pairs: (low, high), each -1..1.

    Fisher's transform with the variance (1 + rho^2 / 2) / (n - 3) (Bonett & Wright 2000, Psychometrika 65:23), and
    `correlation_estimate`'s choice for perfect order. The whole range where n is below 4.
    """
    if n < 4:
        return -1.0, 1.0
    estimate = correlation_estimate(min(max(rho, -1.0), 1.0), n)
    return estimate.lower((1 - confidence) / 2), estimate.upper((1 - confidence) / 2)


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
    step = max(1, 2**20 // n)
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


def rank_test(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p value of Mann and Whitney's test that two samples come from one distribution (scipy's).

    Exact below 9 values in a group and without ties; what a few collapsed networks do to a mean they cannot do to it.
    """
    from scipy import stats  # takes longer to import than all else that a page needs

    return float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue)


class Estimate(NamedTuple):
    """An effect with its sampling error: `center` and `error` on a scale on which it is nearly normal.

    `degrees` are those of Student's t, infinite for the normal distribution. `scale` is "" for the effect's own, "tanh"
    where the effect is the hyperbolic tangent of a number on the scale. Intervals are cut at `least` and `most`.
    """

    effect: float
    center: float
    error: float
    degrees: float = math.inf
    scale: str = ""
    least: float = -math.inf
    most: float = math.inf

    def lower(self, error_rate: float) -> float:
        """Return the value that the true effect lies above but for a share `error_rate` 0..1 of samples."""
        return self._shown(self.center - self._quantile(error_rate) * self.error)

    def upper(self, error_rate: float) -> float:
        """Return the value that the true effect lies below but for a share `error_rate` 0..1 of samples."""
        return self._shown(self.center + self._quantile(error_rate) * self.error)

    def p_above(self, boundary: float) -> float:
        """Return the one-sided p value against a true effect of at most `boundary`: below r exactly where `lower(r)`
        lies above the boundary."""
        if self.scale == "tanh":
            boundary = math.inf if boundary >= 1 else -math.inf if boundary <= -1 else math.atanh(boundary)
        if self.error == 0 or math.isinf(boundary):
            return 0.0 if self.center > boundary else 1.0
        distance = -(self.center - boundary) / self.error
        return float(special.ndtr(distance) if math.isinf(self.degrees) else special.stdtr(self.degrees, distance))

    def _quantile(self, error_rate: float) -> float:
        share = 1 - error_rate
        return float(special.ndtri(share) if math.isinf(self.degrees) else special.stdtrit(self.degrees, share))

    def _shown(self, value: float) -> float:
        value = math.tanh(value) if self.scale == "tanh" else value
        return min(max(value, self.least), self.most)


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
    error, degrees = _welch(first.std(ddof=1), second.std(ddof=1), *n)
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
    error, _ = _welch(first, second, n_first, n_second)
    if error == 0:
        return float(abs(difference) < margin)
    above = 1 - (np.arange(100) + 0.5) / 100  # midpoints of a hundred equally likely parts of each distribution
    one = (first**2 / n_first * special.chdtri(n_first - 1, above) / (n_first - 1))[:, None]
    other = second**2 / n_second * special.chdtri(n_second - 1, above) / (n_second - 1)
    degrees = (one + other) ** 2 / (one**2 / (n_first - 1) + other**2 / (n_second - 1))
    room = np.maximum(margin - special.stdtrit(degrees, 1 - level) * np.sqrt(one + other), 0)
    return float(np.mean(special.ndtr((room - difference) / error) - special.ndtr((-room - difference) / error)))


def _welch(first: float, second: float, n_first: int, n_second: int) -> tuple[float, float]:
    """Return standard error of the difference of two means, and Welch and Satterthwaite's degrees of freedom."""
    if min(n_first, n_second) < 2:
        raise ValueError("a comparison of two groups needs two values in each")
    one, other = first**2 / n_first, second**2 / n_second
    if one + other == 0:
        return 0.0, float(n_first + n_second - 2)
    return math.sqrt(one + other), (one + other) ** 2 / (one**2 / (n_first - 1) + other**2 / (n_second - 1))


class Rank(NamedTuple):
    """Where a value stands among draws; `smallest` is the smallest p that so many draws can give."""

    quantile: float  # share of draws below the value, ties counted half: 0..1
    p_low: float  # chance of a value this small or smaller, if it were one more draw
    p_high: float  # chance of a value this large or larger
    p: float  # two-sided: twice the smaller of the two, at most 1
    smallest: float  # smallest attainable p (two-sided): 2 / (draws + 1)
    draws: int


def smallest_p(draws: int) -> float:
    """Return the smallest two-sided p that a rank among so many draws can have: 2 / (draws + 1), at most 1."""
    return min(1.0, 2 / (draws + 1))


def rank_among(value: float, draws: ArrayLike) -> Rank:
    """Return the rank of `value` among `draws` [R] from its null distribution.

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


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return Step-down adjusted p values in the order given (Holm 1979, Scand. J. Stat. 6:65); a NaN stays one,
    uncounted.
    """
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


def benjamini_hochberg(p_values: ArrayLike) -> np.ndarray:
    """Return adjusted p values in the order given (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289); a NaN
    stays one.
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    known = ~np.isnan(p_values)
    p = p_values[known]
    order = np.argsort(-p, kind="stable")
    steps = np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1))
    back = np.empty_like(p)
    back[order] = np.minimum(steps, 1.0)
    adjusted[known] = back
    return adjusted


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
    error, degrees = _welch(first.std(ddof=1), second.std(ddof=1), len(first), len(second))
    if error == 0:
        orders = math.comb(len(first) + len(second), len(first))
        return difference, difference, difference, 1 / orders if difference > above else 1.0
    half = float(special.stdtrit(degrees, 0.5 + confidence / 2)) * error
    p = float(special.stdtr(degrees, -(difference - above) / error))
    return difference, difference - half, difference + half, p


def welch_estimate(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the difference of the means of two samples of at least 2 values each, with Welch's error and degrees."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    error, degrees = _welch(first.std(ddof=1), second.std(ddof=1), len(first), len(second))
    difference = float(first.mean() - second.mean())
    return Estimate(difference, difference, error, degrees)


def bounded_mean(values: ArrayLike, other_error: float = 0.0) -> Estimate:
    """Return the mean, for new images, of values in -1..1, one an image: paired changes, or their differences.

    `change_interval` for values between its -1, 0 and 1: half an image is added to each cell, so that it keeps its
    coverage where nearly all values are equal. `other_error` is a standard error from another source than the images.
    """
    mean, variance, n = _padded(values)
    error = math.hypot(math.sqrt(variance / n), other_error)
    return Estimate(float(np.asarray(values, dtype=float).mean()), mean, error, least=-1.0, most=1.0)


def bounded_difference(first: ArrayLike, second: ArrayLike, other_error: float = 0.0) -> Estimate:
    """Return the same for the difference of the means of two groups of images, first - second, in -2..2."""
    (mean1, variance1, n1), (mean2, variance2, n2) = _padded(first), _padded(second)
    error = math.hypot(math.sqrt(variance1 / n1 + variance2 / n2), other_error)
    difference = float(np.asarray(first, dtype=float).mean() - np.asarray(second, dtype=float).mean())
    return Estimate(difference, mean1 - mean2, error, least=-2.0, most=2.0)


def _padded(values: ArrayLike) -> tuple[float, float, float]:
    """Return mean, variance and number of values with half an image added to each of the cells lost, gained and
    twice same.
    """
    values = np.asarray(values, dtype=float)
    n = len(values) + 2
    mean = float(values.sum() / n)
    return mean, float((np.square(values).sum() + 1) / n - mean**2), n


def delong(positive: ArrayLike, first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the difference of two areas under the ROC curve of scores [N] of the same images, `positive` [N].

    DeLong et al. 1988 (Biometrics 44:837), paired. selviz's choices for few images: n the smaller group, Student's t
    with n - 1 degrees of freedom in place of the normal, and a standard error of at least 1 / (2 n), which two perfect
    scores would otherwise not have.
    """
    positive = np.asarray(positive, dtype=bool)
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    if min(len(inside), len(outside)) < 2:
        raise ValueError("areas under the ROC curve are compared on at least 2 images of each kind")
    shares = []
    for scores in (first, second):
        scores = np.asarray(scores, dtype=float)
        higher, lower = np.sort(scores[inside]), np.sort(scores[outside])
        of_inside = _midpoints(lower, scores[inside]) / len(lower)
        of_outside = 1 - _midpoints(higher, scores[outside]) / len(higher)
        shares.append((of_inside, of_outside))
    gaps = [shares[0][side] - shares[1][side] for side in (0, 1)]
    difference = float(gaps[0].mean())
    error = math.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps))
    fewer = min(len(inside), len(outside))
    return Estimate(difference, difference, max(error, 1 / (2 * fewer)), fewer - 1)


def _midpoints(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many of `ordered` lie below each value, equal ones counted half."""
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def correlation_estimate(rho: float, n: int) -> Estimate:
    """Return Spearman's correlation `rho` of `n` pairs, at least 4, on Fisher's scale (Bonett & Wright 2000).

    A correlation of 1 counts as half of the smallest possible step below it, 6 / (n^3 - n): few pairs in perfect order
    leave a wide interval, not one without width.
    """
    if n < 4:
        raise ValueError("a rank correlation needs at least 4 pairs")
    inner = math.copysign(min(abs(rho), 1 - 6 / (n**3 - n)), rho)
    return Estimate(rho, math.atanh(inner), math.sqrt((1 + inner**2 / 2) / (n - 3)), scale="tanh")


def pooled_correlation(rhos: ArrayLike, sizes: ArrayLike) -> Estimate:
    """Return the mean of several groups' rank correlations [G], each weighted by its information, its size less 3.

    Correlations are averaged as they are, so a perfect one of four units weighs as four units do.
    """
    rhos, sizes = np.asarray(rhos, dtype=float), np.asarray(sizes, dtype=float)
    if not len(rhos) or sizes.min() < 4:
        raise ValueError("a pooled rank correlation needs groups of at least 4 pairs")
    weights = (sizes - 3) / (sizes - 3).sum()
    rho = float(weights @ rhos)
    n = int(sizes.sum())
    inner = math.copysign(min(abs(rho), 1 - 6 / (n**3 - n)), rho)
    return Estimate(rho, math.atanh(inner), math.sqrt((1 + inner**2 / 2) / (sizes - 3).sum()), scale="tanh")


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation, -1..1; NaN where one of the two does not vary."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    from scipy.stats import rankdata  # takes longer to import than all else that a page needs

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if np.any(successes < 0) or np.any(successes > n * (1 + 1e-12)):
        raise ValueError("successes must lie between 0 and n")
    return successes, n
