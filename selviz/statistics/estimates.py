"""Effects with their sampling error, from which claims are decided: `bounded_mean(changes).lower(0.025)`."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from selviz.statistics.groups import welch_error


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


def welch_estimate(first: ArrayLike, second: ArrayLike) -> Estimate:
    """Return the difference of the means of two samples of at least 2 values each, with Welch's error and degrees."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    error, degrees = welch_error(first.std(ddof=1), second.std(ddof=1), len(first), len(second))
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
