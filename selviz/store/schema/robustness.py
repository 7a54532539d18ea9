"""Accuracy and units under corruptions and attacks."""

from selviz.store.schema.declaration import Column, Stage, Table

KIND = (
    "clean, corruption (by corrupt-tta), corruption_cifar (with the constants of CIFAR-10-C), stored (made by others) "
    "or attack"
)
PERTURBATION = (
    Column("kind", "VARCHAR", KIND),
    Column("name", "VARCHAR", "name of the corruption or attack; `pgd to 7` aims at class 7"),
    Column("level", "DOUBLE", "severity 1 to 5, or epsilon of an attack in pixel units out of 255; 0 is clean"),
)
STAGE = Stage(
    "robustness",
    (
        Table(
            "robustness",
            "Accuracy under each corruption and attack, one row per severity or epsilon.",
            (
                *PERTURBATION,
                Column("images", "UINTEGER", "number of images"),
                Column("accuracy", "DOUBLE", "0..1"),
                Column("low", "DOUBLE", "lower end of its 95 % Wilson interval"),
                Column("high", "DOUBLE", "upper end of its 95 % Wilson interval"),
                Column(
                    "lost",
                    "INTEGER",
                    "images that are right only when clean; empty where the clean ones are not the same images",
                ),
                Column("gained", "INTEGER", "images that are right only when perturbed"),
                Column("pixel_change", "DOUBLE", "mean absolute change of a pixel, 0..255"),
                Column("mean_si", "DOUBLE", "mean over layers of the mean SI of all units on these images"),
            ),
            order="kind, name, level",
        ),
        Table(
            "robustness_summary",
            "Mean corruption accuracy over corruptions and severities, overall and by family.",
            (
                Column("kind", "VARCHAR", KIND),
                Column("family", "VARCHAR", "noise, blur, weather, digital, extra, other; all is all but extra"),
                Column("corruptions", "INTEGER", "number of corruptions"),
                Column("severities", "INTEGER", "number of severities"),
                Column("images", "UINTEGER", "number of images"),
                Column("accuracy", "DOUBLE", "plain mean over corruptions and severities, 0..1"),
                Column("low", "DOUBLE", "lower end of its 95 % interval over images"),
                Column("high", "DOUBLE", "upper end of its 95 % interval over images"),
                Column("relative", "DOUBLE", "the same over the accuracy on the clean images"),
                Column(
                    "relative_low",
                    "DOUBLE",
                    "lower end of its 95 % interval; empty where the clean ones are not the same images",
                ),
                Column("relative_high", "DOUBLE", "upper end of its 95 % interval"),
            ),
            order="kind, family",
        ),
        Table(
            "robustness_layers",
            "How each layer's units move, and whether its selective units move more.",
            (
                *PERTURBATION,
                Column("layer", "USMALLINT"),
                Column("units", "UINTEGER", "units that vary on the clean images"),
                Column("mean_si", "DOUBLE", "mean SI of all the layer's units on these images"),
                Column("shift", "DOUBLE", "mean shift of its units, in standard deviations of the clean activation"),
                Column(
                    "kept_class", "DOUBLE", "share of its units whose preferred class is that on clean images, 0..1"
                ),
                Column("si_to_shift", "DOUBLE", "Spearman's rank correlation over units of clean SI with shift"),
                Column("low", "DOUBLE", "lower end of its 95 % interval"),
                Column("high", "DOUBLE", "upper end of its 95 % interval"),
            ),
            order="t.kind, t.name, t.level, l.layer",
        ),
        Table(
            "robustness_units",
            "What each unit does on perturbed images.",
            (
                *PERTURBATION,
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("si", "DOUBLE", "class selectivity index on these images"),
                Column(
                    "preferred_class",
                    "INTEGER",
                    "class with the largest mean activation on these images",
                    is_class=True,
                ),
                Column("mean", "DOUBLE", "mean activation on these images"),
                Column(
                    "shift",
                    "DOUBLE",
                    "mean |perturbed - clean| over images, in standard deviations of the clean activation",
                ),
                Column("change", "DOUBLE", "mean of perturbed - clean over images, in the same units"),
            ),
            order="t.kind, t.name, t.level, l.layer, t.unit",
        ),
        Table(
            "robustness_classes",
            "Each unit's mean for each class on perturbed images; not kept for very many units.",
            (
                *PERTURBATION,
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("class", "INTEGER", is_class=True),
                Column("mean", "FLOAT", "mean activation on the perturbed images of the class"),
            ),
            order="t.kind, t.name, t.level, l.layer, t.unit, t.class",
        ),
        Table(
            "robustness_images",
            "What the network takes each perturbed image for.",
            (
                *PERTURBATION,
                Column("image", "UINTEGER"),
                Column("label", "INTEGER", "what the image shows: name of its class", is_class=True),
                Column("prediction", "INTEGER", "what the network takes it for: name of a class", is_class=True),
            ),
            order="t.kind, t.name, t.level, t.image",
        ),
    ),
    command="robustness",
)
