"""Columns that mean the same, or look the same, in every table that has them, by name.

A table's own declaration comes first; what it leaves out is looked up here.
"""

from selviz.store.schema.declaration import Head

MEANINGS = {
    "run": "name of the run",
    "layer": "name of the unit layer",
    "unit": "number of the unit in its layer, from 0",
    "image": "number of the evaluation image, from 0",
    "class": "name of the class",
    "class_index": "position of the class in the data set's class names, from 0",
    "epoch": "epoch, from 1",
    "depth": "place in the network, 0 (first) to 1 (last)",
    "si": "class selectivity index over all evaluation images; 0 for a dead unit",
    "dead": "whether the unit is 0 on every evaluation image",
    "zero_share": "share of images on which the unit is 0, 0..1",
    "before": "accuracy with all units, 0..1",
    "after": "accuracy without the unit, 0..1",
    "change": "after - before",
    "drop": "before - after, in points",
    "lost": "images that are right only with the unit",
    "gained": "images that are right only without it",
    "loss_change": "exact change of the mean cross entropy",
    "estimate": "the same change as gradients estimate it",
    "images": "number of evaluation images",
}
HEADS = {
    "test_accuracy": Head("test accuracy, %", "%.1f", percent=True),
    "before": Head("before, %", "%.1f", percent=True),
    "after": Head("after, %", "%.1f", percent=True),
    "change": Head("change, points", "%+.1f", percent=True),
    "zero_share": Head("zeros, %", "%.1f", percent=True),
    "si": Head("SI", "%.2f"),
    "mean_si": Head("mean SI", "%.3f"),
    "mean_si_live": Head("mean SI, live units", "%.3f"),
    "null_mean": Head("null mean", "%.3f"),
    "null_p95": Head("null 95 %", "%.3f"),
    "mean_activation": Head("mean activation", "%.3g"),
    "preferred_class": Head("prefers"),
}
