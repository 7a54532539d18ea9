"""The tables of a whole store, which no stage writes: its runs and its registered claims.

A run has further columns, one for each setting: what they mean stands on the fields of `selviz.config.RunConfig`. A
column without a type is there where some run has it.
"""

from selviz.store.schema.declaration import Column, Table

RUNS = Table(
    "runs",
    "One row per network: its settings and its results as a whole.",
    (
        Column("run", "VARCHAR"),
        Column("dataset", "VARCHAR", "data set"),
        Column("model", "VARCHAR", "kind of network"),
        Column("alpha", "DOUBLE", "weight of selectivity in the loss; below 0 suppresses it"),
        Column("seed", "BIGINT", "seed of weights and order of images"),
        Column("epochs", "BIGINT", "epochs of training; 0 is the untrained control"),
        Column("state", "VARCHAR", "finished, running, unfinished or failed"),
        Column("test_accuracy", "DOUBLE", "accuracy on the evaluation images that are not sealed, 0..1"),
        Column("mean_si", "DOUBLE", "mean over layers of the mean SI of all units"),
        Column("mean_si_live", "DOUBLE", "the same without dead units"),
        Column("null_mean", "DOUBLE", "mean SI under shuffled labels: mean over shuffles"),
        Column("null_p95", "DOUBLE", "the run's mean SI under shuffled labels: 95th percentile over shuffles"),
        Column("dead", "BIGINT", "number of units that are 0 on every evaluation image"),
        Column("units", "BIGINT", "number of units"),
        Column("images", "BIGINT"),
        Column("sealed_images", "BIGINT", "number of images of fold 2, which only the test of a claim reads"),
        Column("created", "VARCHAR", "when the run was finished (UTC)"),
        Column("resume", "VARCHAR", "command that goes on with an unfinished run"),
        Column("reason", "VARCHAR", "why a run is not finished"),
        Column("test_accuracy_low", "", "lower end of its 95 % Wilson interval"),
        Column("test_accuracy_high", "", "upper end of its 95 % Wilson interval"),
        Column("diverged", "", "whether training ended with a loss above that of guessing"),
        Column("null_live_mean", "", "mean SI of the live units under shuffled labels: mean over shuffles"),
        Column("null_live_p95", "", "the same: 95th percentile over shuffles"),
        Column("layers", "", "number of unit layers"),
        Column(
            "fingerprint",
            "",
            "of images, labels and class names: runs with the same one can be compared image by image",
        ),
        Column("kind", "", "trained, untrained control, or imported"),
        Column("weights", "", "pretrained weights of a library that were downloaded"),
        Column("checkpoint", "", "name of the file whose weights an imported run has"),
        Column("checkpoint_sha256", "", "SHA-256 of that file"),
        Column("code_sha256", "", "SHA-256 of the file whose function made an imported network"),
        Column("chosen_layers", "", "unit layers that were chosen at import; null: all"),
        Column("watched", "", "modules that were watched at import, of a network that cannot be traced"),
        Column("outputs", "", "outputs of an imported network that are the data set's classes; null: all"),
        Column("traced", "", "how an imported network became a graph: fx, export, or watched (it did not)"),
        Column("train_images", "", "number of training images"),
        Column("train_seconds", "", "time of training, seconds"),
        Column("transform", "", "how pictures became pixels"),
        Column("available_images", "", "number of evaluation images in the data set, before max_images"),
        Column("skipped_images", "", "image files that could not be read"),
        Column("device", "", "where it was trained"),
        Column("host", "", "name of the machine"),
        Column("python", "", "version of Python"),
        Column("threads", "", "threads of the processor"),
    ),
)

HYPOTHESES = Table(
    "hypotheses",
    "One row per registered claim, and what came of it.",
    (
        Column("hypothesis", "VARCHAR", "its key: the first digits of its registration's hash"),
        Column("template", "VARCHAR", "kind of claim"),
        Column("statement", "VARCHAR", "the claim in words"),
        Column("study", "VARCHAR", "family that it belongs to; empty for a family of its own"),
        Column("planned", "BIGINT", "number of hypotheses that the family was planned with"),
        Column("level", "DOUBLE", "level of the verdict: 0.05 divided by that number"),
        Column("kind", "VARCHAR", "confirmatory or exploratory"),
        Column("registered", "VARCHAR", "when it was registered (UTC)"),
        Column("state", "VARCHAR", "registered, begun, tested or abandoned"),
        Column("begun", "BOOLEAN", "whether its test was begun"),
        Column(
            "verdict",
            "VARCHAR",
            "supported; an effect, smaller than asked not excluded; refuted; open (by the first rules: inconclusive)",
        ),
        Column("p", "DOUBLE", "largest one-sided p of the claim's parts"),
        Column("effect", "DOUBLE", "of the claim's first part, in the claim's direction"),
        Column("low", "DOUBLE", "lower end of its interval"),
        Column("high", "DOUBLE", "upper end of its interval"),
        Column("smallest", "DOUBLE", "smallest effect that matters"),
        Column("power", "DOUBLE", "share of simulated tests that support the claim with the effect that is expected"),
        Column("tested", "VARCHAR", "when the verdict was written (UTC)"),
        Column(
            "rules", "BIGINT", "that the verdict is by: 1 the first ones, against no effect; 2 by the whole interval"
        ),
    ),
)
