"""The measures of a unit: `known(run)`, those that are stored; what each of them means: `MEASURES["auc"]`.

The measures beside SI are there once `selviz metrics RUN` has stored them, the drop once `selviz atlas RUN` has.
"""

from typing import NamedTuple

from app.state import reads


class Measure(NamedTuple):
    """A column of `table`: how it is called, its formula in words, its range, and what to beware of."""

    title: str
    formula: str
    span: str
    beware: str = ""


MEASURES = {
    "si": Measure(
        "SI",
        "(μ_max − μ_rest) / (μ_max + μ_rest + 1e-7): the largest class mean against the mean of the other class means",
        "0 to 1 where activations are not negative",
        "A maximum of noisy means is positive even without selectivity: compare it with its null.",
    ),
    "mean_activation": Measure("mean activation", "mean over all images", "the unit's own scale"),
    "max_activation": Measure("largest activation", "largest over all images", "the unit's own scale"),
    "std": Measure("standard deviation", "of the activation over all images", "the unit's own scale"),
    "zero_share": Measure("share of zeros", "share of the images on which the activation is exactly 0", "0 to 1"),
    "ccmas": Measure(
        "CCMAS",
        "(μ_c − μ_notc) / (μ_c + μ_notc) for the class with the largest mean; μ_notc pools all other images",
        "0 to 1 where activations are not negative",
        "Gives misleadingly high estimates of selectivity (Gale et al. 2020).",
    ),
    "precision": Measure(
        "precision",
        "share of the most frequent class among the images that drive the unit most (the top 0.5 %, or the top 100)",
        "0 to 1",
        "Gives misleadingly high estimates of selectivity (Gale et al. 2020).",
    ),
    "localist": Measure(
        "localist",
        "smallest activation in the class minus the largest outside it, for the best class",
        "above 0: the class is separated perfectly",
        "One odd image decides it.",
    ),
    "auc": Measure(
        "ROC AUC",
        "chance that an image of the class drives the unit more than one of another class (ties half), best class",
        "0.5 is chance, 1 perfect",
        "The best of many classes is above 0.5 by chance alone.",
    ),
    "average_precision": Measure(
        "average precision",
        "area under precision and recall for the best class, by threshold",
        "share of the class (chance) to 1",
        "Depends on how frequent the class is.",
    ),
    "informedness": Measure(
        "informedness",
        "largest true positive rate minus false positive rate over all thresholds, best class",
        "0 to 1",
        "The best of many thresholds and classes is above 0 by chance alone.",
    ),
    "d_prime": Measure(
        "d′",
        "(μ_c − μ_notc) / sqrt((s_c² + s_notc²) / 2) for the best class",
        "0 is no difference, in standard deviations",
        "Means most where both distributions are bell-shaped, which activations rarely are.",
    ),
    "mutual_information": Measure(
        "mutual information",
        "between the activation, in bins, and the class",
        "0 to log2 of the number of classes, in bits",
        "Biased upwards where there are few images for each bin and class.",
    ),
    "sparseness": Measure(
        "sparseness",
        "(1 − mean(μ)² / mean(μ²)) / (1 − 1/C) over the class means (Treves and Rolls)",
        "0: equal for all classes, 1: one class alone",
    ),
    "drop": Measure(
        "accuracy drop, points",
        "accuracy before minus accuracy after the unit alone is silent, all classes",
        "exact on the evaluation images",
        "One unit rarely moves it; single classes may move more (Zhou et al. 2018).",
    ),
}

WITH_CLASS = ("precision", "localist", "auc", "average_precision", "informedness", "d_prime")  # own best class


def known(run: str) -> dict[str, str]:
    """The measures that are stored of the run's units: column of `Store.find_units` -> title."""
    return {name: MEASURES[name].title for name in reads.store().unit_measures(run)}


def stored(run: str, stage: str) -> bool:
    """Whether the run has this stage."""
    return (reads.store().run_path(run) / f"{stage}.duckdb").exists()
