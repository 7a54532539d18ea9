"""Every unit's SI at moments of the training."""

from selviz.store.schema.declaration import Column, Derived, Stage, Table

STAGE = Stage(
    "snapshots",
    (
        Table(
            "snapshots",
            "One row per moment of training at which every unit was looked at.",
            (
                Column("snapshot", "INTEGER", "number of the moment, from 0, the untrained network"),
                Column("epoch", "INTEGER", "epoch in which it lies, from 1; 0 is before training"),
                Column("step", "INTEGER", "training step of that epoch"),
                Column("done", "DOUBLE", "epochs trained so far, with fractions"),
                Column("images", "INTEGER"),
                Column("test_accuracy", "DOUBLE", "on the evaluation images, 0..1"),
            ),
            order="snapshot",
        ),
        Table(
            "snapshot_layers",
            "The mean SI of each layer at each of these moments.",
            (
                Column("snapshot", "INTEGER", "number of the moment, from 0, the untrained network"),
                Column("layer", "USMALLINT"),
                Column("units", "UINTEGER", "number of units"),
                Column("mean_si", "DOUBLE", "mean SI of all its units"),
                Column("mean_si_live", "DOUBLE", "mean SI of its units that are not dead"),
                Column("null_mean", "DOUBLE", "mean SI under shuffled labels: mean over shuffles"),
                Column("null_p95", "DOUBLE", "mean SI under shuffled labels: 95th percentile"),
                Column("dead", "INTEGER", "number of dead units"),
            ),
            order="t.snapshot, l.layer",
            derived=(Derived("done", "s.done", "epochs trained so far, with fractions"),),
            joins="JOIN {snapshots}.snapshots s ON t.snapshot = s.snapshot",
        ),
        Table(
            "snapshot_units",
            "Every unit's SI at each of these moments.",
            (
                Column("snapshot", "INTEGER", "number of the moment, from 0, the untrained network"),
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("si", "DOUBLE"),
                Column("null_p95", "DOUBLE", "the unit's SI under shuffled labels: 95th percentile"),
                Column("preferred_class", "INTEGER", "class with the largest mean activation", is_class=True),
                Column("mean_activation", "DOUBLE", "mean over all evaluation images"),
                Column("dead", "BOOLEAN"),
            ),
            order="t.snapshot, l.layer, t.unit",
            derived=(Derived("done", "s.done", "epochs trained so far, with fractions"),),
            joins="JOIN {snapshots}.snapshots s ON t.snapshot = s.snapshot",
        ),
    ),
    restore="snapshots",
    command="train --snapshots",
)
