"""The class selectivity of every unit and layer, computed from the captured activations."""

from selviz.store.schema.declaration import Column, Measure, Stage, Table

STAGE = Stage(
    "metrics",
    (
        Table(
            "layers",
            "One row per unit layer, in forward order.",
            (
                Column("layer", "USMALLINT"),
                Column("units", "UINTEGER", "number of units"),
                Column("mean_si", "DOUBLE", "mean SI of all its units"),
                Column("mean_si_live", "DOUBLE", "mean SI of its units that are not dead"),
                Column("null_mean", "DOUBLE", "mean SI under shuffled labels: mean over shuffles"),
                Column("null_p95", "DOUBLE", "mean SI under shuffled labels: 95th percentile"),
                Column("dead", "INTEGER", "number of dead units"),
                Column(
                    "null_live_mean",
                    "DOUBLE",
                    "mean SI of the live units under shuffled labels: mean over shuffles",
                    optional=True,
                ),
                Column(
                    "null_live_p95",
                    "DOUBLE",
                    "mean SI of the live units under shuffled labels: 95th percentile",
                    optional=True,
                ),
            ),
            order="l.layer",
            joined=("capture",),
            select="SELECT l.name AS layer, l.* EXCLUDE (layer, name), t.* EXCLUDE (layer, units) "
            "FROM {capture}.layers l LEFT JOIN {metrics}.layers t ON l.layer = t.layer",
        ),
        Table(
            "units",
            "One row per unit: a channel of a layer, or a neuron of a dense one.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column(
                    "si",
                    "DOUBLE",
                    measure=Measure(
                        "SI",
                        "(μ_max − μ_rest) / (μ_max + μ_rest + 1e-7): the largest class mean against the mean of "
                        "the other class means",
                        "0 to 1 where activations are not negative",
                        "A maximum of noisy means is positive even without selectivity: compare it with its null.",
                    ),
                ),
                Column("null_mean", "DOUBLE", "the unit's SI under shuffled labels: mean over shuffles"),
                Column("null_p95", "DOUBLE", "the unit's SI under shuffled labels: 95th percentile"),
                Column("preferred_class", "INTEGER", "class with the largest mean activation", is_class=True),
                Column(
                    "mean_activation",
                    "DOUBLE",
                    "mean over all evaluation images",
                    measure=Measure("mean activation", "mean over all images", "the unit's own scale"),
                ),
                Column(
                    "std",
                    "DOUBLE",
                    "standard deviation over all evaluation images",
                    measure=Measure("standard deviation", "of the activation over all images", "the unit's own scale"),
                ),
                Column(
                    "max_activation",
                    "DOUBLE",
                    "largest over all evaluation images",
                    measure=Measure("largest activation", "largest over all images", "the unit's own scale"),
                ),
                Column(
                    "zero_share",
                    "DOUBLE",
                    measure=Measure(
                        "share of zeros", "share of the images on which the activation is exactly 0", "0 to 1"
                    ),
                ),
                Column("dead", "BOOLEAN"),
                Column(
                    "p",
                    "DOUBLE",
                    "of an SI this high or higher under shuffled labels (one-sided; at least 1 / 101)",
                    optional=True,
                ),
            ),
            order="l.layer, t.unit",
        ),
        Table(
            "class_means",
            "One row per unit and class: what the unit does on the images of that class.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("class", "INTEGER", is_class=True),
                Column("mean", "DOUBLE", "mean activation on the images of the class"),
                Column("std", "DOUBLE", "standard deviation on the images of the class (over n - 1)"),
                Column("images", "INTEGER", "number of images of the class"),
            ),
            order="l.layer, t.unit, t.class",
        ),
    ),
    restore="capture",
)
