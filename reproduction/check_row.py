"""An outsider's check, retrain a row chosen at random: `python reproduction/check_row.py --dataset folder:CIFAR`.

With `--dataset mnist-5k` it is one of the networks on digits, which takes half a minute.

On the same kind of processor at the same number of threads all numbers are equal; elsewhere accuracy may differ by what
rounding makes of it, which is why both are printed. The exit status is 1 where they are not equal.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import Experiment, asked, configs
from reproduction.rows import COLUMNS, read_rows, row_of
from reproduction.train import SOURCES, checkout, train_only
from selviz.config import RunConfig
from selviz.store import Store

COMPARED = ("test_accuracy", "train_accuracy", "cross_entropy", "mean_si", "mean_si_live", "null_mean", "dead",
            "layer_si", "fingerprint")  # fmt: skip


def finished_rows(experiments: list[Experiment]) -> list[tuple[Experiment, pd.Series]]:
    """Return every row of a finished network, with its experiment."""
    rows = [(planned, row) for planned in experiments for _, row in read_rows(planned).iterrows()]
    return [(planned, row) for planned, row in rows if row["state"] == "finished"]


def config_of(planned: Experiment, row: pd.Series, dataset: str) -> RunConfig:
    """Return the settings of a row's network."""
    return next(c for c in configs(planned, dataset) if (c.alpha, c.seed) == (row["alpha"], row["seed"]))


def compare(row: pd.Series, again: pd.Series) -> pd.DataFrame:
    """Return one line per number: that of the row, that of the retrained network, whether they are equal."""
    lines = []
    for name in COMPARED:
        one, other = row[name], again[name]
        same = one == other if isinstance(one, str) else abs(float(one) - float(other)) < 1e-9
        lines.append({"what": name, "row": str(one)[:24], "again": str(other)[:24], "equal": bool(same)})
    return pd.DataFrame(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", required=True, help="the images: folder:cifar10, or mnist-5k")
    parser.add_argument("--experiment", help="draw from this one, such as cifar10-16-superclasses with its own images")
    parser.add_argument("--source", type=Path, default=SOURCES, help="where checkouts of the revisions are")
    arguments = parser.parse_args()
    drawn_from = finished_rows(asked(arguments.dataset, arguments.experiment))
    if not drawn_from:
        sys.exit("No network of these experiments has a row yet: python reproduction/train.py trains one.")
    planned, row = random.choice(drawn_from)
    config = config_of(planned, row, arguments.dataset)
    print(f"{planned.key}: alpha {config.alpha:g}, seed {config.seed}; this trains one network", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        train_only(config, Path(folder), checkout(arguments.source, planned.revision))
        found = row_of(Store(folder), planned, config)
    if found is None:
        sys.exit("The network could not be trained again; see above.")
    # As a row is read: through the file.
    table = compare(row, pd.Series({name: found.get(name) for name in COLUMNS}))
    print(table.to_string(index=False))
    sys.exit(0 if table["equal"].all() else 1)
