"""Ranks among draws from a null distribution, and many tests at once: `rank_among(drop, drops)`, `holm(p_values)`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


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
