"""What a sample says of a claim: `parts = JUDGES["necessary"](sample, settings)`, `verdict, p = decide(parts, level)`.

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


# ----------------------------------------------------------------------------------- one function a template, arrays in


def necessary(sample: Mapping, settings: Mapping) -> list[Part]:
    """`unit` [N] and `controls` [K, N]: 1 where silencing lost the image, -1 where it gained it; `labels` [N]."""
    unit, controls = np.asarray(sample["unit"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    level, margin = settings["level"], settings["smallest"]
    drop, drops = float(unit[inside].mean()), controls[:, inside].mean(axis=1)
    rank = statistics.rank_among(drop, drops)
    low, high = statistics.bounded_mean_interval((unit - controls.mean(axis=0))[inside], confidence(level))
    first = Part(
        "more than matched units",
        f"rank of the drop among {len(drops)} units matched on mean activation, one-sided",
        drop - float(drops.mean()), low, high, rank.p_high, 1 / (len(drops) + 1), drop, drops.tolist(),
        0.0, margin, int(inside.sum()), "images of the class",
    )  # fmt: skip
    # Which images are of the class, in random order: how many of the lost and gained ones are among them.
    counts = [int((unit == value).sum()) for value in (1, -1)]
    counts.append(len(unit) - sum(counts))
    generator = np.random.default_rng(settings["seed"])
    drawn = generator.multivariate_hypergeometric(counts, int(inside.sum()), size=settings["permutations"])
    net, members = drawn[:, 0] - drawn[:, 1], int(inside.sum())
    null = net / members - (counts[0] - counts[1] - net) / (len(unit) - members)
    observed = drop - float(unit[~inside].mean())
    rank = statistics.rank_among(_settled(observed), _settled(null))
    low, high = statistics.bounded_difference_interval(unit[inside], unit[~inside], confidence(level))
    second = Part(
        "more than in other classes",
        f"permutation of the images' classes, {len(null):,} orders, one-sided",
        observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
        0.0, margin, len(unit), "images",
    )  # fmt: skip
    return [first, second]


def sufficient(sample: Mapping, settings: Mapping) -> list[Part]:
    """`called` [N] and `controls` [R, N]: whether the image is called the class when only the set is kept; `labels`."""
    called, controls = np.asarray(sample["called"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    observed = float(called[inside].mean() - called[~inside].mean())
    null = controls[:, inside].mean(axis=1) - controls[:, ~inside].mean(axis=1)
    rank = statistics.rank_among(_settled(observed), _settled(null))
    beyond = called - controls.mean(axis=0)
    low, high = statistics.bounded_difference_interval(beyond[inside], beyond[~inside], confidence(settings["level"]))
    return [
        Part(
            "more than random sets",
            f"rank of the informedness among {len(null)} random sets of the same size, one-sided",
            observed - float(null.mean()), low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
            0.0, settings["smallest"], len(called), "images",
        )
    ]  # fmt: skip


def selective(sample: Mapping, settings: Mapping) -> list[Part]:
    """`change` [L, N] over images; by kind of control sets `drops` [R, L], each set's, and `typical` [L, N], the mean
    over sets."""
    change, parts = np.asarray(sample["change"], float), []
    observed = float(change.mean())
    for kind, drops in sample["drops"].items():
        null = np.asarray(drops, float).mean(axis=1)
        rank = statistics.rank_among(_settled(observed), _settled(null))
        beyond = (change - np.asarray(sample["typical"][kind], float)).mean(axis=0)
        low, high = statistics.bounded_mean_interval(beyond, confidence(settings["level"]))
        parts.append(
            Part(
                f"more than {kind} sets",
                f"rank of the drop, mean over layers, among {len(null)} {kind} sets of each layer, one-sided",
                observed - float(null.mean()), low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
                0.0, settings["smallest"], change.shape[1], "images",
            )
        )  # fmt: skip
    return parts


def predicts(sample: Mapping, settings: Mapping) -> list[Part]:
    """`layer`, `si` and `importance` [U] of live units: Spearman's rho within layers, averaged by Fisher's z."""
    layer, si, importance = (np.asarray(sample[name]) for name in ("layer", "si", "importance"))
    sign = -1.0 if settings.get("direction") == "negative" else 1.0
    generator = np.random.default_rng(settings["seed"])
    z, null_z, variances = [], [], []
    for name in np.unique(layer):
        here = layer == name
        first, second = _ranks(si[here]), _ranks(sign * importance[here])
        if here.sum() < 4 or not first.any() or not second.any():
            continue
        rho = float(first @ second)
        z.append(_atanh(rho))
        shuffled = generator.permuted(np.tile(first, (settings["permutations"], 1)), axis=1)
        null_z.append(_atanh(shuffled @ second))
        variances.append((1 + rho**2 / 2) / (here.sum() - 3))
    if not z:
        raise ValueError("no layer has 4 live units whose SI and importance vary")
    observed, null = math.tanh(np.mean(z)), np.tanh(np.mean(null_z, axis=0))
    rank = statistics.rank_among(_settled(observed), _settled(null))
    low, high = _fisher_interval(z, variances, confidence(settings["level"]))
    return [
        Part(
            "rank correlation",
            f"permutation of SI within layers, {len(null):,} orders, one-sided",
            observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
            0.0, settings["smallest"], len(si), "live units",
        )
    ]  # fmt: skip


def alpha(sample: Mapping, settings: Mapping) -> list[Part]:
    """`baseline` and `other`: accuracies 0..1 of networks that differ in their seed."""
    baseline, other = np.asarray(sample["baseline"], float), np.asarray(sample["other"], float)
    margin, level = settings["smallest"], settings["level"]
    # (name, first, second, boundary): against a difference first - second of at most the boundary.
    asked = {
        "cost": [("accuracy is lost", baseline, other, 0.0, margin)],
        "no cost": [("no more than the margin is lost", other, baseline, -margin, -margin)],
        "equivalent": [
            ("no more than the margin is lost", other, baseline, -margin, -margin),
            ("no more than the margin is gained", baseline, other, -margin, -margin),
        ],
    }[settings["claim"]]
    parts = []
    for name, first, second, boundary, smallest in asked:
        effect, low, high, p = statistics.welch(first, second, boundary, confidence(level))
        error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
        null = boundary + error * _t_quantiles(len(first) + len(second) - 2)
        parts.append(
            Part(
                name, "Welch's t over seeds, one-sided", effect, low, high, p, 0.0, effect, null.tolist(),
                boundary, smallest, len(first) + len(second), "networks",
            )
        )  # fmt: skip
    return parts


def replicates(sample: Mapping, settings: Mapping) -> list[Part]:
    """`observed` [P], `null` [P, R], `resampled` [P, B]: the contrast of the class in each network; `names` [P].
    `images` and `of_class` count the images, in all and of the class."""
    from scipy import special

    # (m - r) / (m + r) is tanh of half the logarithm of m / r, on which scale resampled images are nearly normal.
    quantile = float(special.stdtrit(max(int(sample["of_class"]) - 1, 1), 0.5 + confidence(settings["level"]) / 2))
    parts = []
    for name, observed, null, resampled in zip(
        sample["names"], sample["observed"], np.asarray(sample["null"]), np.asarray(sample["resampled"])
    ):
        rank = statistics.rank_among(float(observed), null)
        middle, half = _atanh(float(observed)), quantile * float(_atanh(resampled).std(ddof=1))
        low, high = np.tanh(middle - half), np.tanh(middle + half)
        parts.append(
            Part(
                str(name),
                f"shuffles of the labels of fold 1, {len(null):,}, one-sided",
                float(observed), float(low), float(high), rank.p_high, 1 / (len(null) + 1), float(observed),
                null.tolist(), 0.0, settings["smallest"], int(sample["images"]), "images",
            )
        )  # fmt: skip
    return parts


def explains(sample: Mapping, settings: Mapping) -> list[Part]:
    """`correlation` [N] of maps with those of the random network; `worse` [N], the share of `orders` random orders of
    pixels that lower the unit less than the map's order."""
    correlation, worse = np.asarray(sample["correlation"], float), np.asarray(sample["worse"], float)
    level, orders = settings["level"], int(sample["orders"])
    correlation = correlation[~np.isnan(correlation)]
    boundary = 1 - settings["alike"]
    effect, low, high, p = _one_sample(1 - correlation, boundary, level)
    error = float(correlation.std(ddof=1) / math.sqrt(len(correlation)))
    first = Part(
        "the map depends on the weights",
        f"Student's t over images: 1 - rank correlation with the random network's map is above {boundary:g}, one-sided",
        effect, low, high, p, 0.0, effect, (boundary + error * _t_quantiles(len(correlation) - 1)).tolist(),
        boundary, boundary, len(correlation), "images",
    )  # fmt: skip
    generator = np.random.default_rng(settings["seed"])
    # Of a map that is one more random order each place among the others is as likely.
    null = generator.integers(0, orders + 1, (settings["permutations"], len(worse))).mean(axis=1) / orders - 0.5
    observed = float(worse.mean() - 0.5)
    rank = statistics.rank_among(_settled(observed), _settled(null))
    _, low, high, _ = _one_sample(worse - 0.5, 0.0, level)
    second = Part(
        "what it highlights drives the unit",
        f"mean place among {orders} random orders of pixels, {len(null):,} draws if it were one of them, one-sided",
        observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
        0.0, settings["smallest"], len(worse), "images",
    )  # fmt: skip
    return [first, second]


def single(sample: Mapping, settings: Mapping) -> list[Part]:
    """`unit` and `readout` [N], one number an image each; `labels` [N]."""
    positive = np.asarray(sample["labels"]) == settings["class_index"]
    margin = settings["smallest"]
    effect, low, high, p = statistics.delong(
        positive, sample["unit"], sample["readout"], -margin, confidence(settings["level"])
    )
    from scipy import special

    fewer = min(int(positive.sum()), int((~positive).sum())) - 1
    error = (high - effect) / float(special.stdtrit(fewer, 0.5 + confidence(settings["level"]) / 2))
    null = -margin + error * _t_quantiles(fewer)
    return [
        Part(
            "no more than the margin below the readout",
            "DeLong's test of two areas under the ROC curve on the same images, one-sided",
            effect, low, high, p, 0.0, effect, null.tolist(), -margin, -margin, len(positive), "images",
        )
    ]  # fmt: skip


def correlates(sample: Mapping, settings: Mapping) -> list[Part]:
    """`first` and `second` [n]: Spearman's correlation with its sign turned where the claim's direction is negative."""
    sign = -1.0 if settings["direction"] == "negative" else 1.0
    first, second = _ranks(np.asarray(sample["first"])), _ranks(sign * np.asarray(sample["second"]))
    if not first.any() or not second.any():
        raise ValueError("one of the two columns does not vary")
    null = _orders(first, settings["permutations"], settings["seed"]) @ second
    observed, n = float(first @ second), len(first)
    exact = len(null) == math.factorial(min(n, 12))
    p, smallest = _permutation_p(observed, null, exact)
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


def differs(sample: Mapping, settings: Mapping) -> list[Part]:
    """`group` and `control`: a measure of two groups of rows; their difference of means in the claim's direction."""
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group, control = sign * np.asarray(sample["group"], float), sign * np.asarray(sample["control"], float)
    effect, low, high, _ = statistics.welch(group, control, 0.0, confidence(settings["level"]))
    everything, ways = np.concatenate([group, control]), math.comb(len(group) + len(control), len(group))
    if exact := ways <= MOST_EXACT:
        sums = np.array(
            [everything[list(rows)].sum() for rows in itertools.combinations(range(len(everything)), len(group))]
        )
    else:
        generator = np.random.default_rng(settings["seed"])
        orders = (generator.permutation(everything) for _ in range(settings["permutations"]))
        sums = np.array([order[: len(group)].sum() for order in orders])
    null = sums / len(group) - (everything.sum() - sums) / len(control)
    p, smallest = _permutation_p(effect, null, exact)
    how = "all" if exact else "random"
    return [
        Part(
            "difference of means",
            f"permutation of the groups, {len(null):,} ({how}) orders, one-sided; interval by Welch's t",
            effect, low, high, p, smallest, effect, null.tolist(), 0.0, settings["smallest"],
            len(everything), settings.get("of", "rows"),
        )
    ]  # fmt: skip


def own(sample: Mapping, settings: Mapping) -> list[Part]:
    """A claim of one's own: `differs` or `correlates`."""
    return differs(sample, settings) if settings["statistic"] == "difference of means" else correlates(sample, settings)


JUDGES = {
    "necessary": necessary,
    "sufficient": sufficient,
    "selective": selective,
    "predicts": predicts,
    "alpha": alpha,
    "replicates": replicates,
    "map": explains,
    "single": single,
    "robust": correlates,
    "own": own,
}


def _settled(values):
    """Rounded, so that equal statistics that were added up in another order are equal."""
    return np.round(values, 12)


def _permutation_p(observed: float, null: np.ndarray, exact: bool) -> tuple[float, float]:
    """(p, the smallest possible one). Where all orders were gone through, the observed one is among them."""
    above = int((_settled(null) >= _settled(observed)).sum())
    return (above / len(null), 1 / len(null)) if exact else ((1 + above) / (1 + len(null)), 1 / (1 + len(null)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and length 1, so that the product of two is Spearman's correlation; zeros if all are equal."""
    from scipy import stats

    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    length = math.sqrt(float(ranks @ ranks))
    return ranks / length if length > 1e-9 else np.zeros(len(ranks))


def _orders(values: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """All orders of few values, or so many random ones of many: [R, n]."""
    if len(values) <= 10 and math.factorial(len(values)) <= MOST_EXACT:
        return np.array(list(itertools.permutations(values)))
    return np.random.default_rng(seed).permuted(np.tile(values, (permutations, 1)), axis=1)


def _atanh(rho):
    return np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))


def _fisher_interval(z: list[float], variances: list[float], level: float) -> tuple[float, float]:
    """Of the mean of several Fisher-transformed correlations (Bonett & Wright 2000's variance for each)."""
    from scipy import special

    half = float(special.ndtri(0.5 + level / 2)) * math.sqrt(sum(variances)) / len(z)
    return math.tanh(np.mean(z) - half), math.tanh(np.mean(z) + half)


def _one_sample(values: np.ndarray, boundary: float, level: float) -> tuple[float, float, float, float]:
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


def _t_quantiles(degrees: float) -> np.ndarray:
    from scipy import special

    return special.stdtrit(max(degrees, 1), (np.arange(SHOWN_QUANTILES) + 0.5) / SHOWN_QUANTILES)
