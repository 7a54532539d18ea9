"""What silencing each single unit does."""

from selviz.store.schema.declaration import Column, Derived, Measure, Stage, Table

STAGE = Stage(
    "atlas",
    (
        Table(
            "atlas",
            "What silencing each single unit does, one row per unit.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("images", "INTEGER"),
                Column("before", "DOUBLE"),
                Column("after", "DOUBLE"),
                Column("lost", "INTEGER"),
                Column("gained", "INTEGER"),
                Column("loss_change", "DOUBLE"),
                Column("estimate", "DOUBLE"),
            ),
            order="l.layer, t.unit",
            derived=(
                Derived("change", "t.after - t.before"),
                Derived(
                    "drop",
                    "-100 * (t.after - t.before)",
                    measure=Measure(
                        "accuracy drop, points",
                        "accuracy before minus accuracy after the unit alone is silent, all classes",
                        "exact on the evaluation images",
                        "One unit rarely moves it; single classes may move more (Zhou et al. 2018).",
                    ),
                ),
            ),
        ),
        Table(
            "atlas_classes",
            "The same for each class, one row per unit and class.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("class", "INTEGER", is_class=True),
                Column("images", "INTEGER", "number of images of the class"),
                Column("before", "DOUBLE", "accuracy on the class with all units, 0..1"),
                Column("after", "DOUBLE", "accuracy on the class without the unit, 0..1"),
                Column("lost", "INTEGER"),
                Column("gained", "INTEGER"),
                Column("loss_change", "DOUBLE"),
                Column("estimate", "DOUBLE"),
            ),
            order="l.layer, t.unit, t.class",
            derived=(Derived("change", "t.after - t.before"),),
        ),
        Table(
            "atlas_layers",
            "Rank correlations over the units of each layer.",
            (
                Column("layer", "USMALLINT"),
                Column("units", "UINTEGER", "number of units"),
                Column("estimate_to_loss", "DOUBLE", "of the gradients' estimate with the exact change of the loss"),
                Column("estimate_to_drop", "DOUBLE", "of the gradients' estimate with the drop in accuracy"),
                Column("si_to_drop", "DOUBLE", "of SI with the drop in accuracy"),
            ),
            order="l.layer",
        ),
    ),
    command="atlas",
)
