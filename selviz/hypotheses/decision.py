"""What a sample says of a claim: `verdict, p = decide(parts, level)`, with the statistics that its parts rest on.

A claim has one part or several, and holds only if each of them does. Each part has an interval of its effect, and the
verdict follows the whole of it. The rules are fixed at registration:

supported   every part's interval lies above the smallest effect that matters, and its p is at most the level
SMALLER     every part's interval lies above no effect and its p is at most the level, but not above the smallest
refuted     some part's interval lies wholly below the smallest effect that matters
open        everything else: the data fit both

Supporting takes all parts, so their lower ends need no correction for their number (an intersection-union test);
refuting takes any of them, so they share its error rate: the upper ends are those of level / number of parts.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from selviz import statistics
from selviz.statistics import Estimate

SUPPORTED, REFUTED, OPEN = "supported", "refuted", "open"
SMALLER = "an effect, smaller than asked not excluded"
OUTCOMES = (SUPPORTED, SMALLER, REFUTED, OPEN)
RULES = 2  # of the records that these rules decide; those without a number were decided by the first rules
RULE = (
    "supported: the interval of every part lies above the smallest effect that matters, and its p against no effect is "
    f"at most the level; {SMALLER}: every interval lies above no effect only; refuted: the interval of some part lies "
    "wholly below the smallest effect that matters; open: everything else. The lower end of an interval is exceeded by "
    "the true effect with the confidence named, the upper end likewise, shared between the parts. Of a claim that a "
    "difference is small, the margin is both: there is no second outcome"
)
SHOWN_QUANTILES = 999  # of a null distribution that is a formula
MAX_EXACT = 5040  # orders that are gone through one by one

Array = npt.NDArray[Any]


class Part(NamedTuple):
    """One test. `effect` is in the claim's direction; p is one-sided, against an effect of at most `boundary`."""

    name: str
    test: str
    effect: float
    low: float
    high: float
    p: float
    p_smallest: float  # the same against the smallest effect that matters: `low` lies above it where p is small enough
    smallest_p: float  # the smallest p that this test can give
    observed: float  # the statistic, in the units of `null`
    null: list[float]  # its distribution if the claim is false
    boundary: float  # no effect; of a claim that a difference is small, the margin
    margin: float  # the smallest effect that matters
    n: int
    of: str  # what n counts


def part(
    name: str,
    test: str,
    estimate: Estimate,
    settings: Mapping[str, Any],
    *,
    n: int,
    of: str,
    null: Sequence[float] | Array,
    p: float | None = None,
    smallest_p: float = 0.0,
    observed: float | None = None,
    boundary: float = 0.0,
    margin: float | None = None,
    parts: int = 1,
) -> Part:
    """Return the Part of an estimate, one of so many `parts`. `p` is that of a test of its own, else the estimate's."""
    margin = settings["smallest"] if margin is None else margin
    share = error_rate(settings["level"])
    return Part(
        name,
        test,
        estimate.effect,
        estimate.lower(share),
        estimate.upper(share / parts),
        estimate.p_above(boundary) if p is None else p,
        estimate.p_above(margin),
        smallest_p,
        estimate.effect if observed is None else observed,
        [float(value) for value in null],
        boundary,
        margin,
        n,
        of,
    )


def decide(parts: Sequence[Part], level: float) -> tuple[str, float]:
    """Return (verdict, p) of a claim with these parts at a corrected level 0..1; p is the largest of theirs."""
    p = max(part.p for part in parts)
    if any(part.high < part.margin for part in parts):
        return REFUTED, p
    if p > level or not all(part.low > part.boundary for part in parts):
        return OPEN, p
    return (SUPPORTED if all(part.low > part.margin for part in parts) else SMALLER), p


def corrected_verdict(verdict: str, p: float, p_smallest: float, level: float) -> str:
    """Return what is left of a verdict when its p values are those that were adjusted for a whole family of claims."""
    if verdict == SUPPORTED and p <= level and p_smallest <= error_rate(level):
        return SUPPORTED
    if verdict in (SUPPORTED, SMALLER):
        return SMALLER if p <= level else OPEN
    return verdict


def confidence(level: float) -> float:
    """Return the confidence of the intervals: 95 %, or more where the corrected level asks for it."""
    return max(statistics.CONFIDENCE, 1 - 2 * level)


def error_rate(level: float) -> float:
    """Return the error rate at one end of an interval, which is that of `supported` and of `refuted`."""
    return (1 - confidence(level)) / 2


def correlates(sample: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Part]:
    """Judge `first` and `second` [n]: Spearman's correlation, its sign turned where the claim's direction is
    negative.
    """
    sign = -1.0 if settings["direction"] == "negative" else 1.0
    first, second = ranks(np.asarray(sample["first"])), ranks(sign * np.asarray(sample["second"]))
    if not first.any() or not second.any():
        raise ValueError("one of the two columns does not vary")
    null = orders(first, settings["permutations"], settings["seed"]) @ second
    observed, n = float(first @ second), len(first)
    exact = len(null) == math.factorial(min(n, 12))
    p, smallest = permutation_p(observed, null, exact)
    how = "all" if exact else "random"
    return [
        part(
            "rank correlation",
            f"permutation, {len(null):,} ({how}) orders, one-sided",
            statistics.correlation_estimate(observed, n),
            settings,
            n=n,
            of=settings.get("of", "rows"),
            null=null,
            p=p,
            smallest_p=smallest,
        )
    ]


def settled(values: Any) -> Any:
    """Return the values rounded, so that equal statistics that were added up in another order are equal."""
    return np.round(values, 12)


def permutation_p(observed: float, null: Array, exact: bool) -> tuple[float, float]:
    """Return (p, the smallest possible one). Where all orders were gone through, the observed one is among them."""
    above = int((settled(null) >= settled(observed)).sum())
    return (above / len(null), 1 / len(null)) if exact else ((1 + above) / (1 + len(null)), 1 / (1 + len(null)))


def ranks(values: Array) -> Array:
    """Return ranks with mean 0 and length 1, whose products are Spearman's correlations; zeros if all are equal."""
    from scipy import stats

    centered = stats.rankdata(values)
    centered = centered - centered.mean()
    length = math.sqrt(float(centered @ centered))
    return centered / length if length > 1e-9 else np.zeros(len(centered))


def orders(values: Array, permutations: int, seed: int) -> Array:
    """Return all orders of few values, or so many random ones of many: [R, n]."""
    if len(values) <= 10 and math.factorial(len(values)) <= MAX_EXACT:
        return np.array(list(itertools.permutations(values)))
    return np.random.default_rng(seed).permuted(np.tile(values, (permutations, 1)), axis=1)


def mean_over_images(values: Array) -> Estimate:
    """Return the mean of one number an image [N], N at least 2, with Student's t."""
    if len(values) < 2:
        raise ValueError("a mean over images needs at least 2 of them")
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    return Estimate(mean, mean, error, len(values) - 1)


def set_error(sets: Array) -> float:
    """Return the standard error of the mean over control sets [R] of what each of them loses."""
    return float(np.std(sets, ddof=1) / math.sqrt(len(sets))) if len(sets) > 1 else 0.0


def t_quantiles(degrees: float) -> Array:
    """Return the quantiles of Student's t that stand for a null distribution which is a formula."""
    from scipy import special

    shares = (np.arange(SHOWN_QUANTILES) + 0.5) / SHOWN_QUANTILES
    quantiles: Array = special.ndtri(shares) if math.isinf(degrees) else special.stdtrit(max(degrees, 1), shares)
    return quantiles
