"""How alike two layers are, whatever basis each is written in: `compare(baseline, other)` of two arrays [N, U], [N, V].

Rows are the same images (at the same positions) in the same order. The distance and the similarity stay what they are
when the units of a layer are mixed by a rotation, so they tell a layer that changed from one that was only rotated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

CUT = 1e-6  # singular values below this share of the largest are cut


class Subspace(NamedTuple):
    """What `compare` needs of one layer's values [N, U]; made once where a layer is compared with many."""

    axes: np.ndarray  # [N, r], orthonormal: what the units span after centring, with r <= U directions
    units: np.ndarray  # [r, U]: the centred values are axes @ units


class Similarity(NamedTuple):
    """How alike two layers are."""

    pwcca: float  # distance, 0 (the same up to a linear map) to 1; the first supplies the weights
    cka: float  # similarity, 0 to 1 (the same up to a rotation and one scale)
    directions: int  # canonical directions: the smaller of the two ranks
    rank_first: int
    rank_second: int


def subspace(values: ArrayLike) -> Subspace:
    """Return the directions that centered values [N, U] span, less singular values under CUT of the largest."""
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean(axis=0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    rank = int((size > CUT * size[0]).sum()) if size.size and size[0] > 0 else 0
    return Subspace(left[:, :rank], size[:rank, None] * right[:rank])


def compare(first: ArrayLike | Subspace, second: ArrayLike | Subspace) -> Similarity:
    """Return PWCCA distance and linear CKA of two layers, arrays [N, U] and [N, V] or what `subspace` made of them.

    PWCCA (Morcos et al. 2018, arXiv 1806.05759, as in google/svcca): 1 - sum_i w_i rho_i over the canonical directions
    h_i of the first, rho_i their correlations, w_i proportional to sum_j |<h_i, x_j>| over the first's centred units
    x_j. It is not symmetric: it does not move when the second is rotated, and moves a little when the first is. It sees
    only as many directions as the smaller rank; linear CKA (Kornblith et al. 2019, arXiv 1905.00414) sees all, each as
    large as its variance. NaN where one of the two never varies. Different numbers of rows raise ValueError.
    """
    one, other = (part if isinstance(part, Subspace) else subspace(part) for part in (first, second))
    if len(one.axes) != len(other.axes):
        raise ValueError("both layers must have seen the same images at the same positions")
    ranks = one.axes.shape[1], other.axes.shape[1]
    if min(ranks) == 0:
        return Similarity(float("nan"), float("nan"), 0, *ranks)
    shared = one.axes.T @ other.axes
    turn, correlations, _ = np.linalg.svd(shared, full_matrices=False)
    weights = np.abs(turn.T @ one.units).sum(axis=1)
    mean = float(weights @ np.minimum(correlations, 1.0) / weights.sum())
    cross = np.linalg.norm(one.units.T @ shared @ other.units)
    own = np.linalg.norm(one.units @ one.units.T) * np.linalg.norm(other.units @ other.units.T)
    return Similarity(max(0.0, 1.0 - mean), min(1.0, float(cross**2 / own)), min(ranks), *ranks)


def beside_null(pairs: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """Return one row per run and layer: its distance to the baselines beside theirs to each other, the null.

    `pairs` has one row per run, layer and baseline (`other`): run, seed, layer, other, other_seed, pwcca, cka,
    directions, rank, rank_other. Networks of one seed start from the same weights and stay alike, so only pairs of
    different seeds count. Columns pwcca and cka (means over `compared` baselines), null_pwcca and null_cka (means over
    `null_pairs` ordered pairs of baselines), null_low and null_high (the null's smallest and largest PWCCA distance),
    ratio (pwcca / null_pwcca; of a baseline that is its own distance to the others), directions, rank, rank_other
    (means). NaN where there is no pair.
    """
    pairs = pairs[pairs["other"].isin(list(baselines)) & (pairs["run"] != pairs["other"])]
    pairs = pairs[pairs["seed"].isna() | pairs["other_seed"].isna() | (pairs["seed"] != pairs["other_seed"])]
    among_baselines = pairs[pairs["run"].isin(list(baselines))]
    null = among_baselines.groupby("layer").agg(
        null_pwcca=("pwcca", "mean"),
        null_low=("pwcca", "min"),
        null_high=("pwcca", "max"),
        null_cka=("cka", "mean"),
        null_pairs=("pwcca", "size"),
    )
    means = {name: (name, "mean") for name in ("pwcca", "cka", "directions", "rank", "rank_other")}
    table = pairs.groupby(["run", "layer"], sort=False).agg(**means, compared=("pwcca", "size")).reset_index()
    table = table.join(null, on="layer")
    return table.assign(ratio=table["pwcca"] / table["null_pwcca"])
