"""The course of a training."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "training",
    (
        Table(
            "epochs",
            "One row per epoch of training.",
            (
                Column("epoch", "INTEGER"),
                Column("loss", "DOUBLE", "training loss, penalty included"),
                Column("penalty", "DOUBLE", "mean SI in the minibatches, which alpha weighs in the loss"),
                Column("train_accuracy", "DOUBLE", "0..1, during the epoch"),
                Column("test_accuracy", "DOUBLE", "on the evaluation images after it, 0..1"),
                Column("mean_si", "DOUBLE", "mean over layers of the mean SI, on the evaluation images after it"),
                Column("learning_rate", "DOUBLE", "at the end of the epoch"),
                Column("seconds", "DOUBLE", "time that it took"),
                Column("mean_si_live", "DOUBLE", "the same as mean_si, without dead units", optional=True),
            ),
            order="epoch",
        ),
        Table(
            "epoch_layers",
            "The mean SI of each layer after each epoch.",
            (
                Column("epoch", "INTEGER"),
                Column("layer", "USMALLINT"),
                Column("mean_si", "DOUBLE", "mean SI of the layer's units on the evaluation images"),
            ),
            order="t.epoch, l.layer",
        ),
    ),
    restore="train",
)
