"""Measures of class selectivity other than SI, and the best class of each that has its own.

A measure that is declared here with a `Measure` can be sorted by and cut at on the Network page.
"""

from selviz.store.schema.declaration import Column, Derived, Measure, Stage, Table

STAGE = Stage(
    "unit_metrics",
    (
        Table(
            "unit_metrics",
            "Measures of class selectivity other than SI, one row per unit.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column(
                    "ccmas",
                    "DOUBLE",
                    "class-conditional mean activity selectivity of the preferred class",
                    measure=Measure(
                        "CCMAS",
                        "(μ_c − μ_notc) / (μ_c + μ_notc) for the class with the largest mean; μ_notc pools all other "
                        "images",
                        "0 to 1 where activations are not negative",
                        "Gives misleadingly high estimates of selectivity (Gale et al. 2020).",
                    ),
                ),
                Column(
                    "precision",
                    "DOUBLE",
                    "share of one class among the most activating images, 0..1",
                    measure=Measure(
                        "precision",
                        "share of the most frequent class among the images that drive the unit most (the top 0.5 %, or "
                        "the top 100)",
                        "0 to 1",
                        "Gives misleadingly high estimates of selectivity (Gale et al. 2020).",
                    ),
                ),
                Column("precision_class", "INTEGER", is_class=True),
                Column(
                    "localist",
                    "DOUBLE",
                    "smallest activation on the class minus the largest on the others; above 0 separates perfectly",
                    measure=Measure(
                        "localist",
                        "smallest activation in the class minus the largest outside it, for the best class",
                        "above 0: the class is separated perfectly",
                        "One odd image decides it.",
                    ),
                ),
                Column("localist_class", "INTEGER", is_class=True),
                Column(
                    "auc",
                    "DOUBLE",
                    "area under the ROC curve of the best class, 0..1",
                    measure=Measure(
                        "ROC AUC",
                        "chance that an image of the class drives the unit more than one of another class (ties half), "
                        "best class",
                        "0.5 is chance, 1 perfect",
                        "The best of many classes is above 0.5 by chance alone.",
                    ),
                ),
                Column("auc_class", "INTEGER", is_class=True),
                Column(
                    "average_precision",
                    "DOUBLE",
                    "average precision for the best class, 0..1",
                    measure=Measure(
                        "average precision",
                        "area under precision and recall for the best class, by threshold",
                        "share of the class (chance) to 1",
                        "Depends on how frequent the class is.",
                    ),
                ),
                Column("average_precision_class", "INTEGER", is_class=True),
                Column(
                    "informedness",
                    "DOUBLE",
                    "largest true minus false positive rate over thresholds",
                    measure=Measure(
                        "informedness",
                        "largest true positive rate minus false positive rate over all thresholds, best class",
                        "0 to 1",
                        "The best of many thresholds and classes is above 0 by chance alone.",
                    ),
                ),
                Column("informedness_class", "INTEGER", is_class=True),
                Column(
                    "d_prime",
                    "DOUBLE",
                    "difference of the class's mean to the others', in standard deviations",
                    measure=Measure(
                        "d′",
                        "(μ_c − μ_notc) / sqrt((s_c² + s_notc²) / 2) for the best class",
                        "0 is no difference, in standard deviations",
                        "Means most where both distributions are bell-shaped, which activations rarely are.",
                    ),
                ),
                Column("d_prime_class", "INTEGER", is_class=True),
                Column(
                    "mutual_information",
                    "DOUBLE",
                    "between the binned activation and the class, in bits",
                    measure=Measure(
                        "mutual information",
                        "between the activation, in bins, and the class",
                        "0 to log2 of the number of classes, in bits",
                        "Biased upwards where there are few images for each bin and class.",
                    ),
                ),
                Column(
                    "sparseness",
                    "DOUBLE",
                    "Treves and Rolls' sparseness over class means, 0..1",
                    measure=Measure(
                        "sparseness",
                        "(1 − mean(μ)² / mean(μ²)) / (1 − 1/C) over the class means (Treves and Rolls)",
                        "0: equal for all classes, 1: one class alone",
                    ),
                ),
                Column("superclass_si", "DOUBLE", "SI over groups of classes"),
                Column("superclass_null_mean", "DOUBLE", "the same under shuffled labels: mean over shuffles"),
                Column("superclass_null_p95", "DOUBLE", "the same under shuffled labels: 95th percentile"),
                Column("superclass", "VARCHAR", "group of classes with the largest mean"),
            ),
            order="l.layer, t.unit",
            derived=(
                Derived("si", "m.si"),
                Derived("zero_share", "m.zero_share"),
                Derived("dead", "m.dead"),
                Derived("ccmas_class", "k_m.name"),
            ),
            joins="JOIN {metrics}.units m ON t.layer = m.layer AND t.unit = m.unit "
            "LEFT JOIN {images}.classes k_m ON m.preferred_class = k_m.class",
            joined=("metrics", "images"),
        ),
    ),
    command="metrics",
)
