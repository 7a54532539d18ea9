"""Accuracy while more and more units are silent. Layer -1 is the whole network; accuracies are 0..1."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "ablation",
    (
        Table(
            "curves",
            "Accuracy while more and more units are silent, one row per point.",
            (
                Column("layer", "INTEGER", "layer whose units are silenced; network is all layers together"),
                Column("metric", "VARCHAR", "what the units are ordered by"),
                Column("ranked_on", "VARCHAR", "the images that the order was made on"),
                Column("measured_on", "VARCHAR", "the images that the accuracy was measured on"),
                Column("direction", "VARCHAR", "descending, ascending, or random"),
                Column("draw", "INTEGER", "number of the random order"),
                Column("step", "INTEGER", "point of the curve, from 0"),
                Column("removed", "UINTEGER", "units that are silent at this point"),
                Column("images", "INTEGER", "number of images that were measured"),
                Column("accuracy", "DOUBLE", "0..1"),
            ),
            order="t.layer, t.metric, t.direction, t.draw, t.step",
            layer_beyond="network",
        ),
        Table(
            "areas",
            "The area under each of these curves.",
            (
                Column("layer", "INTEGER", "layer whose units are silenced; network is all layers together"),
                Column("metric", "VARCHAR", "what the units are ordered by"),
                Column("direction", "VARCHAR", "descending, ascending, or random"),
                Column("draw", "INTEGER", "number of the random order"),
                Column("area", "DOUBLE", "mean accuracy along the curve, 0..1"),
            ),
            order="t.layer, t.metric, t.direction, t.draw",
            layer_beyond="network",
        ),
    ),
    command="curves",
)
