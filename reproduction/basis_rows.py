"""In another basis: what `selviz basis` stored of the networks on digits, kept as one row a network and layer.

`python reproduction/basis_rows.py --data DATA` writes reproduction/data/basis.csv from a store; the pages read that.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import configs, experiment
from reproduction.rows import FOLDER
from selviz.config import run_name
from selviz.store import Store
from selviz.studies import basis as basis_study

NAME = "basis.csv"
VALUES = ("pwcca", "null_pwcca", "ratio", "cka", "null_cka", "unit_si", "found_si")


def measured(store: Store) -> pd.DataFrame:
    """Return one row a network and layer: alpha, seed, layer, distances to the baselines of other seeds and their null,
    SI by units and of the best map found. Only runs for which they are stored; empty with fewer than three baselines.
    """
    known = {run_name(config): config for config in configs(experiment("mnist-5k"), "mnist-5k")}
    runs = [run for run in known if (store.run_path(run) / "similarity.duckdb").exists()]
    baselines = [run for run in runs if known[run].alpha == 0]
    if len(baselines) < 3:
        return pd.DataFrame()
    similar = basis_study.similarities(store, [run for run in runs if run not in baselines], baselines)
    maps = {run: store.linear_maps(run) for run in runs if (store.run_path(run) / "linear_maps.duckdb").exists()}
    found = basis_study.summary(store, similar, maps)
    columns = [name for name in VALUES if name in found]
    table = found.groupby(["run", "layer"], sort=False)[columns].mean().reset_index()
    table.insert(0, "alpha", [known[run].alpha for run in table["run"]])
    table.insert(1, "seed", [known[run].seed for run in table["run"]])
    return table.drop(columns="run")


def read(folder: Path = FOLDER) -> pd.DataFrame:
    """Return one row a network, means over layers; empty where nothing is kept."""
    path = folder / NAME
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path)
    columns = [name for name in VALUES if name in table]
    return table.groupby(["alpha", "seed"])[columns].mean().reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the store of the networks")
    found = measured(Store(parser.parse_args().data))
    if found.empty:
        sys.exit("Fewer than three baselines have what `selviz basis` stores; run: selviz basis RUN --family")
    found.round(6).to_csv(FOLDER / NAME, index=False)
    print(f"{len(found)} rows in {FOLDER / NAME}")
