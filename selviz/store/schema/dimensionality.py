"""How many directions a layer uses. What is not clean is of the change: perturbed - clean."""

from selviz.store.schema.declaration import Column, Derived, Stage, Table
from selviz.store.schema.robustness import PERTURBATION

STAGE = Stage(
    "dimensionality",
    (
        Table(
            "dimensionality",
            "How many directions each layer uses, one row per layer, perturbation and way to count.",
            (
                *PERTURBATION,
                Column(
                    "over",
                    "VARCHAR",
                    "units: averaged over positions; maps: every position of every unit, or as many as fit",
                ),
                Column("layer", "USMALLINT"),
                Column("images", "UINTEGER", "number of images"),
                Column("features", "UINTEGER", "number of units, or of positions of all units"),
                Column(
                    "components",
                    "INTEGER",
                    "principal components that hold 95 % of the variance: clean, or of the change by a perturbation",
                ),
                Column("components_low", "DOUBLE", "lower end of its 95 % bootstrap interval over images"),
                Column("components_high", "DOUBLE", "upper end of it"),
                Column(
                    "components_shuffled", "DOUBLE", "the same after each feature was shuffled over images by itself"
                ),
                Column(
                    "participation",
                    "DOUBLE",
                    "participation ratio (sum l)^2 / sum l^2 of the variances l along the components",
                ),
                Column("participation_low", "DOUBLE", "lower end of its 95 % bootstrap interval over images"),
                Column("participation_high", "DOUBLE", "upper end of it"),
                Column(
                    "participation_shuffled", "DOUBLE", "the same after each feature was shuffled over images by itself"
                ),
            ),
            order='l.layer, t."over" DESC, t.kind, t.name',
            derived=(Derived("depth", "l.depth", "place in the network, 0 (first) to 1 (last)"),),
        ),
        Table(
            "gradient_variability",
            "How much the gradients of each layer's units by the input vary.",
            (
                Column("layer", "USMALLINT"),
                Column("units", "UINTEGER", "units that were looked at and have a gradient"),
                Column("images", "UINTEGER", "images that were looked at"),
                Column("norm", "DOUBLE", "mean norm of the gradient of a unit by the normalised input"),
                Column("over_images", "DOUBLE", "coefficient of variation of that norm over images, mean over units"),
                Column("over_images_low", "DOUBLE", "lower end of its 95 % interval"),
                Column("over_images_high", "DOUBLE", "upper end of it"),
                Column("over_units", "DOUBLE", "coefficient of variation of that norm over units, mean over images"),
                Column("over_units_low", "DOUBLE", "lower end of its 95 % interval"),
                Column("over_units_high", "DOUBLE", "upper end of it"),
            ),
            order="l.layer",
            derived=(Derived("depth", "l.depth", "place in the network, 0 (first) to 1 (last)"),),
        ),
    ),
    command="dimensionality",
)
