"""Accuracy while units of the whole network are silent, at the weights after an epoch."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "early",
    (
        Table(
            "early_curves",
            "Accuracy while more and more units are silent, after some epochs of training, one row per point.",
            (
                Column("epoch", "INTEGER", "epochs trained when the weights were kept; 0 is the untrained network"),
                Column("metric", "VARCHAR", "what the units are ordered by, within each layer, on fold 0"),
                Column("direction", "VARCHAR", "descending, ascending, or random"),
                Column("draw", "INTEGER", "number of the random order"),
                Column("step", "INTEGER", "point of the curve, from 0"),
                Column("removed", "UINTEGER", "units that are silent at this point"),
                Column("images", "INTEGER", "number of images of fold 1 that were measured"),
                Column("accuracy", "DOUBLE", "0..1"),
            ),
            order="epoch, direction, draw, step",
        ),
        Table(
            "early_areas",
            "The area under each of these curves.",
            (
                Column("epoch", "INTEGER", "epochs trained when the weights were kept; 0 is the untrained network"),
                Column("metric", "VARCHAR", "what the units are ordered by, within each layer, on fold 0"),
                Column("direction", "VARCHAR", "descending, ascending, or random"),
                Column("draw", "INTEGER", "number of the random order"),
                Column("area", "DOUBLE", "mean accuracy along the curve, 0..1"),
            ),
            order="epoch, direction, draw",
        ),
    ),
    command="early",
)
