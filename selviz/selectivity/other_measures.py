"""Measures of class selectivity beside SI: `table = unit_metrics(activations, labels, classes)`, one row per unit.

    responses = Responses(activations, labels, classes)   # [N, U], [N]; what the measures share, computed once
    by_class = auc(responses)                             # [C, U]
    values, class_indices = best(by_class)                # [U], [U]

Equal activations (most are exactly 0) are never put in an arbitrary order: each measure says how it treats them. A unit
with one activation on all images (a dead one) has the value that the docstring names.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from selviz.selectivity import index

BINS = 10
PIECE = 64  # units at a time: some 150 bytes for each of their activations are held
TOP_SHARE, TOP_LEAST = 0.005, 100
SUPERCLASS_SHUFFLES = 100
# The measures that have a best class of their own; its index is in the column `<name>_class`.
WITH_CLASS = ("precision", "localist", "auc", "average_precision", "informedness", "d_prime")
METRICS = ("ccmas", *WITH_CLASS, "mutual_information", "sparseness")


class Responses:
    """Activations [N, U] of units on images with labels [N] in 0..C-1, at least two classes of them present.

    The measures give NaN for a class without images. Raises ValueError where there is nothing to compare, and for
    activations that are not finite.
    """

    def __init__(self, activations: ArrayLike, labels: ArrayLike, classes: int):
        self.values = np.ascontiguousarray(np.asarray(activations).T)  # [U, N]
        self.labels, self.classes = np.asarray(labels, dtype=np.int64), classes
        if self.values.ndim != 2 or self.labels.shape != self.values.shape[1:]:
            raise ValueError("activations must be [N, U] and labels [N]")
        if not np.isfinite(self.values).all():
            raise ValueError("activations must be finite")
        self.images = len(self.labels)
        counts = np.bincount(self.labels, minlength=classes)
        self.present = np.flatnonzero(counts)
        if len(self.present) < 2:
            raise ValueError("class selectivity needs images of at least two classes")
        self.counts = counts[self.present]  # [P], P the number of classes present
        self.starts = np.cumsum(self.counts) - self.counts

    def over_classes(self, measured: np.ndarray) -> np.ndarray:
        """Return [C, U] of values [U, P] for the classes that are present."""
        result = np.full((self.classes, len(measured)), np.nan)
        result[self.present] = measured.T
        return result

    @cached_property
    def moments(self) -> tuple["Moments", "Moments"]:
        """Return moments of the images of each class, and of all images of the other classes."""
        n, outside = self.counts, self.images - self.counts
        values = torch.from_numpy(self.values.T.astype(np.float64))
        labels = torch.from_numpy(self.labels)
        mean = values.mean(dim=0)
        means, squares = (
            index.class_means(part, labels, self.classes)[0].T.numpy()[:, self.present]
            for part in (values, (values - mean).square())
        )
        centre, squares = mean.numpy()[:, None], squares * n
        rest = centre + n / outside * (centre - means)
        arranged = self.values[:, np.argsort(self.labels, kind="stable")].astype(np.float64)
        lowest, highest = (reduce.reduceat(arranged, self.starts, axis=1) for reduce in (np.minimum, np.maximum))

        def moments(
            mean: np.ndarray, squares: np.ndarray, n: np.ndarray, lowest: np.ndarray, highest: np.ndarray
        ) -> Moments:
            variance = np.maximum(squares - n * (mean - centre) ** 2, 0) / np.maximum(n - 1, 1)
            constant = lowest == highest  # then it is exactly 0, whatever rounding left of it
            return Moments(mean, np.where(constant, 0.0, np.sqrt(variance)), lowest, highest)

        others = squares.sum(axis=1, keepdims=True) - squares
        return (
            moments(means, squares, n, lowest, highest),
            moments(rest, others, outside, -_of_the_others(-lowest), _of_the_others(highest)),
        )

    @cached_property
    def ranks(self) -> "Ranks":
        """Return the images' places in the order of activations, sorted by class and within it by activation."""
        order = np.argsort(self.values, axis=1)
        ordered = np.take_along_axis(self.values, order, axis=1)
        first = _first_of_equals(ordered)
        last = self.images - 1 - _first_of_equals(ordered[:, ::-1])[:, ::-1]
        # Few classes fit in two bytes, which numpy sorts by radix: ten times as fast.
        labels = self.labels.astype(np.int16 if self.classes < 2**15 else np.int64)
        by_class = np.argsort(labels[order], axis=1, kind="stable")
        first, last, ordered = (np.take_along_axis(part, by_class, axis=1) for part in (first, last, ordered))
        ends = np.repeat(self.starts + self.counts, self.counts)
        return Ranks((first + last) / 2 + 1, self.images - first, ends - _first_of_equals(ordered, self.starts))


class Moments(NamedTuple):
    """Each [U, P] for the P classes present; the standard deviation is over n - 1, and 0 for a single image."""

    mean: np.ndarray
    std: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


class Ranks(NamedTuple):
    """Each [U, N], for images sorted by class and within it by activation."""

    average: np.ndarray  # rank from 1, lowest activation first; equal activations share the mean of their ranks
    at_least: np.ndarray  # number of images with this activation or a higher one
    of_class: np.ndarray  # the same among the images of its class


def _first_of_equals(ordered: np.ndarray, starts: Sequence[int] | np.ndarray = (0,)) -> np.ndarray:
    """Return for each place of sorted rows [U, N] the first place with the same value; rows begin again at `starts`."""
    changed = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=changed[:, 1:])
    changed[:, starts] = True
    places = np.arange(ordered.shape[1], dtype=np.int32)
    return np.maximum.accumulate(np.where(changed, places, 0), axis=1)


def _of_the_others(highest: np.ndarray) -> np.ndarray:
    """Return the maximum over all other columns, for each column of [U, P]."""
    two = np.partition(highest, -2, axis=1)[:, -2:]
    return np.where(highest == two[:, 1:], two[:, :1], two[:, 1:])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return their ratio; where both are 0 it is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), 0.0, above / below)


def best(
    by_class: Float[np.ndarray, "classes units"],
) -> tuple[Float[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Return the highest value [U] of a measure [C, U] and the class [U] that has it, the first of equals."""
    classes = np.nanargmax(by_class, axis=0)
    return by_class[classes, np.arange(by_class.shape[1])], classes


def ccmas(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Return class-conditional mean activation selectivity [C, U]: (mu_c - mu_notc) / (mu_c + mu_notc), mu_notc pooled.

    mu_notc is the mean over all images of other classes (Gale et al. 2020, arXiv 2007.01062; a unit's CCMAS is that of
    its class with the largest mean). 0..1 for that class of a unit that is never negative, unbounded for signed ones; 0
    for a dead unit. Weakness: "misleadingly high estimates" (same source): a unit whose classes overlap almost wholly
    can have a high one, and like SI it says nothing of the spread.
    """
    inside, rest = responses.moments
    return responses.over_classes(_ratio(inside.mean - rest.mean, inside.mean + rest.mean))


def precision(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Share of each class [C, U] among the images that activate the unit most: 0..1.

    The top 0.5 % of the images, the top 100 of fewer than 20,000, all of fewer than 100 (Gale et al. 2020, arXiv
    2007.01062). If equal activations straddle the last place, the expected share over their random orders (selviz's
    choice). Chance, and the value of a dead unit: the class's share of the images. Weakness: "misleadingly high
    estimates" (same source): it sees only the top images. A class of fewer images than are looked at cannot reach 1.
    """
    at_least = responses.ranks.at_least
    top = min(max(round(TOP_SHARE * responses.images), TOP_LEAST), responses.images)
    cut = np.where(at_least >= top, at_least, responses.images + 1).min(axis=1, keepdims=True)
    above = np.add.reduceat(at_least < cut, responses.starts, axis=1, dtype=np.int64)
    equal = np.add.reduceat(at_least == cut, responses.starts, axis=1, dtype=np.int64)
    places = top - above.sum(axis=1, keepdims=True)
    return responses.over_classes((above + equal * places / equal.sum(axis=1, keepdims=True)) / top)


def localist(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Return Localist selectivity [C, U]: the class's lowest activation minus the highest of all other images.

    Above 0 exactly if a threshold separates the class from all others (Gale et al. 2020, arXiv 2007.01062). In units of
    the activation, unbounded; 0 for a unit with one activation on all images. Weakness: one image decides, so hardly
    any unit is above 0, and it falls as images are added.
    """
    inside, rest = responses.moments
    return responses.over_classes(inside.lowest - rest.highest)


def auc(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Return area under the ROC curve [C, U], 0..1: the chance that an image of the class has the higher activation.

    Of an image of the class and one of the others, equal activations counted half: (R_c - n_c (n_c + 1) / 2) /
    (n_c (N - n_c)), R_c the class's sum of average ranks (Mann & Whitney 1947; as a measure of selectivity, Gale et al.
    2020, arXiv 2007.01062). Chance, and the value of a dead unit: 0.5. Weakness: with many classes even 0.95 leaves
    more images of other classes than of the class above most thresholds; the best of C classes is above chance.
    """
    n, total = responses.counts, responses.images
    sums = np.add.reduceat(responses.ranks.average, responses.starts, axis=1)
    return responses.over_classes((sums - n * (n + 1) / 2) / (n * (total - n)))


def average_precision(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Average precision [C, U], above 0 to 1: the precision at each image of the class as threshold, averaged.

    sum over thresholds of (recall's increase) x precision, all images of one activation entering at one threshold, as
    scikit-learn has it (Gale et al. 2020, arXiv 2007.01062). Chance, and the value of a dead unit: the class's share of
    the images. Weakness: chance differs between classes, so the best class of a weak unit is a frequent one.
    """
    _, at_least, of_class = responses.ranks
    return responses.over_classes(np.add.reduceat(of_class / at_least, responses.starts, axis=1) / responses.counts)


def informedness(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Return largest informedness [C, U], 0..1: max over thresholds t of (share of the class >= t) - (share of
    others >= t).

    Youden's J, used by Gale et al. 2020 (arXiv 2007.01062). Chance 0, which a dead unit has. Weakness: the threshold is
    chosen on the images on which it is judged, so the best of C classes is above 0 for a unit without selectivity.
    """
    _, at_least, of_class = responses.ranks
    inside = np.repeat(responses.counts, responses.counts)
    informedness_at = of_class / inside - (at_least - of_class) / (responses.images - inside)
    return responses.over_classes(np.maximum(np.maximum.reduceat(informedness_at, responses.starts, axis=1), 0))


def d_prime(responses: Responses) -> Float[np.ndarray, "classes units"]:
    """Return d' [C, U], in standard deviations: (mu_c - mu_notc) / sqrt((s_c^2 + s_notc^2) / 2), the others pooled.

    Standard deviations over n - 1 (selviz's choice). The sensitivity index of signal detection theory, whose measures
    Gale et al. 2020 (arXiv 2007.01062) find better than precision and CCMAS. Unbounded; 0 for a dead unit, infinite
    where neither varies but the means differ. Weakness: it takes both for normal with like spread, which the zeros of a
    ReLU are not.
    """
    inside, rest = responses.moments
    equal = (inside.lowest == rest.highest) & (inside.highest == rest.lowest)
    difference = np.where(equal, 0.0, inside.mean - rest.mean)  # exactly 0, whatever rounding left of it
    return responses.over_classes(_ratio(difference, np.sqrt((inside.std**2 + rest.std**2) / 2)))


def mutual_information(responses: Responses, bins: int = BINS) -> Float[np.ndarray, " units"]:
    """Return mutual information [U], in bits, of the binned activation and the class: 0..log2(min(bins, C)).

    Bins of equally many images; images of one activation share the bin of their average rank (selviz's choice). The
    plug-in estimate, sum p(b, c) log2 (p(b, c) / (p(b) p(c))) (Shannon 1948). 0 for a dead unit. Weakness: it is biased
    upward, by about (bins - 1) (C - 1) / (2 N ln 2) for a unit that tells nothing: 0.13 bits for 10 bins, 200 classes
    and 10,000 images. It also counts a class that the unit is silent for.
    """
    ranks = responses.ranks.average
    units, total, present = len(ranks), responses.images, len(responses.present)
    bin_ = np.minimum((bins * (ranks - 0.5) / total).astype(np.int64), bins - 1)
    label = np.repeat(np.arange(present), responses.counts)
    cell = (np.arange(units)[:, None] * present + label) * bins + bin_
    joint = np.bincount(cell.ravel(), minlength=units * present * bins).reshape(units, present, bins) / total
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=2, keepdims=True)
    ratio = np.where(joint > 0, joint / np.where(apart > 0, apart, 1), 1)
    return np.asarray(np.maximum(np.sum(joint * np.log2(ratio), (1, 2)), 0))


def sparseness(responses: Responses) -> Float[np.ndarray, " units"]:
    """Return Treves-Rolls sparseness [U] over classes: (1 - mean(mu)^2 / mean(mu^2)) / (1 - 1/C), mu the C class means.

    0 for equal means and for a dead unit, 1 for a unit with one class mean above 0 and the others 0; between them for
    units that are never negative, up to 1 / (1 - 1/C) for signed ones (Treves & Rolls 1991 in the normalisation of
    Vinje & Gallant 2000). Weakness: blind to the spread within a class; it says that few
    classes drive the unit, not which, and not that it is one.
    """
    means = responses.moments[0].mean
    size = means.shape[1]
    share = _ratio(means.mean(axis=1) ** 2, np.square(means).mean(axis=1))
    return np.asarray(np.where((means == 0).all(axis=1), 0.0, np.maximum(1 - share, 0) / (1 - 1 / size)))


def superclass_selectivity(
    activations: ArrayLike, labels: ArrayLike, groups: ArrayLike
) -> tuple[Float[np.ndarray, " units"], Int[np.ndarray, " units"], Float[np.ndarray, "shuffles units"]]:
    """Return SI of units [N, U] on labels merged into groups: (si [U], group [U], shuffle null [R, U]); selviz's own.

    `groups` [C] is each class's group, 0..G-1, or -1 for a class whose images are left out. The formula, its range and
    its weaknesses are those of `selectivity.index`; the null shuffles the merged labels. Raises ValueError where fewer
    than two groups have images.
    """
    group_of = torch.as_tensor(np.asarray(groups, dtype=np.int64))
    merged = group_of[torch.as_tensor(np.asarray(labels, dtype=np.int64))]
    kept = merged >= 0
    if len(set(merged[kept].tolist())) < 2:
        raise ValueError("superclass selectivity needs images of at least two groups")
    values, merged, number = (
        torch.as_tensor(np.asarray(activations))[kept].double(),
        merged[kept],
        int(group_of.max()) + 1,
    )
    means, counts = index.class_means(values, merged, number)
    null = index.shuffle_null(values, merged, number, SUPERCLASS_SHUFFLES)
    preferred = index.preferred_class(means.masked_fill((counts == 0).unsqueeze(1), -torch.inf))
    return index.index(means, counts).numpy(), preferred.numpy(), null.numpy()


def unit_metrics(activations: ArrayLike, labels: ArrayLike, classes: int) -> pd.DataFrame:
    """Return one row per unit of activations [N, U] with labels [N] in 0..C-1: `unit`, METRICS, best classes.

    A measure by class is that of its best class, whose index is in `<metric>_class`; CCMAS that of the class with the
    largest mean. Values as in the docstrings of the measures.
    """
    values = np.asarray(activations)
    pieces = [
        _piece(Responses(values[:, first : first + PIECE], labels, classes))
        for first in range(0, values.shape[1], PIECE)
    ]
    table = pd.concat(pieces, ignore_index=True)
    table.insert(0, "unit", np.arange(len(table)))
    return table


def _piece(responses: Responses) -> pd.DataFrame:
    preferred = np.nanargmax(responses.over_classes(responses.moments[0].mean), axis=0)
    columns = {"ccmas": ccmas(responses)[preferred, np.arange(len(preferred))]}
    for measure in (precision, localist, auc, average_precision, informedness, d_prime):
        name = measure.__name__
        columns[name], columns[f"{name}_class"] = best(measure(responses))
    columns["mutual_information"], columns["sparseness"] = mutual_information(responses), sparseness(responses)
    return pd.DataFrame(columns)


def agreement(table: pd.DataFrame, metrics: Sequence[str] = ("si", *METRICS)) -> Mapping[str, pd.DataFrame]:
    """Return layer -> Spearman's rank correlations [M, M] between unit metrics, -1..1, over the layer's live units.

    `table` has one row per unit with `layer` and these metrics (those that it lacks are left out), such as
    `store.unit_metrics(run)`; units marked `dead` are left out. NaN where a metric does not vary or where there are
    fewer than 3 units; their number is in each matrix's `.attrs["units"]`.
    """
    live = table[~table["dead"].astype(bool)] if "dead" in table else table
    matrices = {}
    for layer in table["layer"].unique():
        part = live.loc[live["layer"] == layer, [name for name in metrics if name in table]]
        matrices[layer] = part.rank().corr(min_periods=3)  # Pearson of the ranks, which keeps infinite values
        matrices[layer].attrs["units"] = len(part)
    return matrices
