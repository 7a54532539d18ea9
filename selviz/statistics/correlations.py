"""Rank correlations and their intervals: `rank_correlation(first, second)`, `correlation_interval(rho, n)`."""

import math

import numpy as np
from numpy.typing import ArrayLike

from selviz.statistics.estimates import Estimate
from selviz.statistics.intervals import CONFIDENCE


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation, -1..1; NaN where one of the two does not vary."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    from scipy.stats import rankdata  # takes longer to import than all else that a page needs

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def correlation_interval(rho: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return interval of Spearman's rank correlation `rho` (-1..1) of `n` pairs: (low, high), each -1..1.

    Fisher's transform with the variance (1 + rho^2 / 2) / (n - 3) (Bonett & Wright 2000, Psychometrika 65:23), and
    `correlation_estimate`'s choice for perfect order. The whole range where n is below 4.
    """
    if n < 4:
        return -1.0, 1.0
    estimate = correlation_estimate(min(max(rho, -1.0), 1.0), n)
    return estimate.lower((1 - confidence) / 2), estimate.upper((1 - confidence) / 2)


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
