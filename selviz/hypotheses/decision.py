"""What a sample says of a claim: `verdict, p = decide(parts, level)`, with the statistics that its parts rest on.

A claim has one part or several, and holds only if each of them does; so p is the largest of theirs (an
intersection-union test: no correction for the number of parts is needed). The rules are fixed at registration:

supported     every part has p at most the corrected level, and none is refuted
refuted       the interval of some part lies wholly below the smallest effect that matters
inconclusive  everything else: the data fit both
"""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from selviz import statistics

VERDICTS = ("supported", "refuted", "inconclusive")
SHOWN_QUANTILES = 999  # of a null distribution that is a formula
MOST_EXACT = 5040  # orders that are gone through one by one


class Part(NamedTuple):
    """One test. `effect` is in the claim's direction; the test is against an effect of at most `boundary`."""

    name: str
    test: str
    effect: float
    low: float
    high: float
    p: float  # one-sided
    smallest_p: float  # the smallest that this test can give
    observed: float  # the statistic, in the units of `null`
    null: list[float]  # its distribution if the claim is false
    boundary: float
    margin: float  # an interval below it refutes
    n: int
    of: str  # what n counts


def decide(parts: list[Part], level: float) -> tuple[str, float]:
    """(verdict, p) of a claim with these parts at a corrected level 0..1."""
    p = max(part.p for part in parts)
    if any(part.high < part.margin for part in parts):
        return "refuted", p
    return ("supported" if p <= level else "inconclusive"), p


def confidence(level: float) -> float:
    """Of the intervals: 95 %, or more where the corrected level asks for it."""
    return max(statistics.CONFIDENCE, 1 - 2 * level)


def correlates(sample: Mapping, settings: Mapping) -> list[Part]:
    """`first` and `second` [n]: Spearman's correlation with its sign turned where the claim's direction is negative."""
    sign = -1.0 if settings["direction"] == "negative" else 1.0
    first, second = ranks(np.asarray(sample["first"])), ranks(sign * np.asarray(sample["second"]))
    if not first.any() or not second.any():
        raise ValueError("one of the two columns does not vary")
    null = orders(first, settings["permutations"], settings["seed"]) @ second
    observed, n = float(first @ second), len(first)
    exact = len(null) == math.factorial(min(n, 12))
    p, smallest = permutation_p(observed, null, exact)
    low, high = statistics.correlation_interval(observed, n, confidence(settings["level"]))
    how = "all" if exact else "random"
    return [
        Part(
            "rank correlation",
            f"permutation, {len(null):,} ({how}) orders, one-sided",
            observed, low, high, p, smallest, observed, null.tolist(), 0.0, settings["smallest"], n,
            settings.get("of", "rows"),
        )
    ]  # fmt: skip


def settled(values):
    """Rounded, so that equal statistics that were added up in another order are equal."""
    return np.round(values, 12)


def permutation_p(observed: float, null: np.ndarray, exact: bool) -> tuple[float, float]:
    """(p, the smallest possible one). Where all orders were gone through, the observed one is among them."""
    above = int((settled(null) >= settled(observed)).sum())
    return (above / len(null), 1 / len(null)) if exact else ((1 + above) / (1 + len(null)), 1 / (1 + len(null)))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and length 1, so that the product of two is Spearman's correlation; zeros if all are equal."""
    from scipy import stats

    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    length = math.sqrt(float(ranks @ ranks))
    return ranks / length if length > 1e-9 else np.zeros(len(ranks))


def orders(values: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """All orders of few values, or so many random ones of many: [R, n]."""
    if len(values) <= 10 and math.factorial(len(values)) <= MOST_EXACT:
        return np.array(list(itertools.permutations(values)))
    return np.random.default_rng(seed).permuted(np.tile(values, (permutations, 1)), axis=1)


def atanh(rho):
    return np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))


def fisher_interval(z: list[float], variances: list[float], level: float) -> tuple[float, float]:
    """Of the mean of several Fisher-transformed correlations (Bonett & Wright 2000's variance for each)."""
    from scipy import special

    half = float(special.ndtri(0.5 + level / 2)) * math.sqrt(sum(variances)) / len(z)
    return math.tanh(np.mean(z) - half), math.tanh(np.mean(z) + half)


def one_sample(values: np.ndarray, boundary: float, level: float) -> tuple[float, float, float, float]:
    """(mean, low, high, one-sided p against a mean of at most `boundary`), Student's t."""
    from scipy import special

    if len(values) < 2:
        raise ValueError("a mean over images needs at least 2 of them")
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    low, high = statistics.mean_interval(mean, values.std(ddof=1), len(values), confidence(level))
    if error:
        p = float(special.stdtr(len(values) - 1, -(mean - boundary) / error))
    else:  # no spread to judge by: a sign test
        p = 0.5 ** len(values) if mean > boundary else 1.0
    return mean, float(low), float(high), p


def t_quantiles(degrees: float) -> np.ndarray:
    from scipy import special

    return special.stdtrit(max(degrees, 1), (np.arange(SHOWN_QUANTILES) + 0.5) / SHOWN_QUANTILES)
