"""Other measures of the trained networks: `python reproduction/measures.py --data DATA --dataset folder:CIFAR`.

`reproduction/data/measures.csv` has, for each network that has a row, the mean over live units of each layer of d',
mutual information and CCMAS, and the network's accuracy while units are silenced, the most selective first, the least
first and at random (Morcos et al. 2018, arXiv 1803.06959). Pages are made from it, so no store has to be kept.
"""

import argparse
import os
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import Experiment, asked, configs
from reproduction.reported import grid, interval, written
from reproduction.rows import FOLDER, has_row, read_rows
from reproduction.svg_figure import svg_figure
from selviz.ablation.curves import area
from selviz.config import RunConfig, run_name
from selviz.store import Store
from selviz.studies.ablation import run_curves
from selviz.studies.unit_measures import run_metrics

NAME = "measures.csv"
MEASURES = {"d_prime": "d′", "mutual_information": "class information", "ccmas": "CCMAS"}
DIRECTIONS = {"descending": "most selective first", "ascending": "least selective first", "random": "at random"}
STEPS = 10  # points of a curve after the first
NETWORK = "network"
COLUMNS = ("experiment", "alpha", "seed", "fingerprint", "measure", "layer", "removed", "value")
KEY = ["experiment", "alpha", "seed"]


def read_measures(folder: Path = FOLDER) -> pd.DataFrame:
    """Return the measures of all networks, one number a row; `removed` 0..1 is of curves alone."""
    path = folder / NAME
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS))


def measures_of(store: Store, planned: Experiment, config: RunConfig) -> pd.DataFrame:
    """Return the measures of one finished run, which are computed in its store where they are not there."""
    run = run_name(config)
    units, layers = run_metrics(store, run), store.layers(run)
    live = units[~units["dead"]]
    means = live.groupby("layer", sort=False)[list(MEASURES)].mean().reindex(layers["layer"])
    by_layer = means.reset_index().melt("layer", var_name="measure", value_name="value")
    run_curves(store, run, layers=[NETWORK], steps=STEPS)
    curves = store.curves(run)
    curves = curves[(curves["layer"] == NETWORK) & (curves["metric"] == "si")]
    curve = curves.groupby(["direction", "step"], as_index=False).agg(
        removed=("removed", "mean"), value=("accuracy", "mean")
    )
    curve["removed"] /= curve["removed"].max()
    table = pd.concat([by_layer, curve.rename(columns={"direction": "measure"}).assign(layer=NETWORK)])
    about = {"experiment": planned.key, "alpha": config.alpha, "seed": config.seed}
    return table.assign(**about, fingerprint=store.run(run)["fingerprint"])[list(COLUMNS)].round(6)


def add_measures(
    data: Path, dataset: str, folder: Path = FOLDER, key: str | None = None, seeds: int | None = None
) -> list[str]:
    """Add the measures of each network in the store at `data` that has a row and no measures; return their names.

    Of one experiment (`key`), and of seeds below `seeds`, where these are given.
    """
    store, added = Store(data), []
    for planned in asked(dataset, key):
        rows = read_rows(planned, folder)
        for config in [config for config in configs(planned, dataset) if seeds is None or config.seed < seeds]:
            known = read_measures(folder)
            done = known[(known["experiment"] == planned.key) & (known["alpha"] == config.alpha)]["seed"]
            finished = has_row(rows, config) and (store.run_path(run_name(config)) / "summary.json").exists()
            if finished and config.seed not in set(done):
                temporary = folder / f".{NAME}"
                table = measures_of(store, planned, config)
                pd.concat([known, table] if len(known) else [table]).to_csv(temporary, index=False)
                os.replace(temporary, folder / NAME)
                added.append(run_name(config))
    return added


def measure_table(table: pd.DataFrame) -> str:
    """Return one line per alpha: means over layers and then over seeds, and what removing selective units costs."""
    lines = []
    for alpha, part in table.groupby("alpha"):
        means = part[part["measure"].isin(MEASURES)].groupby(["measure", "seed"])["value"].mean()
        curves = part[part["measure"].isin(DIRECTIONS)].groupby(["measure", "seed"])
        areas = pd.Series({key: area(curve["removed"], curve["value"]) for key, curve in curves}).unstack(level=0)
        lines.append(
            [
                written(float(str(alpha))),
                str(part["seed"].nunique()),
                *(interval(means[name], 1, 3) for name in MEASURES),
                interval(areas["descending"] - areas["random"], 100, 1, change=True),
                interval(areas["ascending"] - areas["random"], 100, 1, change=True),
            ]
        )
    costs = ["most selective first − at random, points", "least selective first − at random, points"]
    return grid(["alpha", "seeds", *MEASURES.values(), *costs], lines)


def figure(table: pd.DataFrame, title: str, path: Path) -> None:
    """Draw accuracy against the share of units that are silent: a panel per alpha, means over seeds."""
    alphas = sorted(table["alpha"].unique())
    with svg_figure(path, len(alphas), (2.6 * len(alphas) + 1, 3), title) as panels:
        styles = {"descending": ("-", "#1f77b4"), "ascending": ("--", "#ff7f0e"), "random": (":", "0.3")}
        for axes, alpha in zip(panels, alphas):
            for name, (line, color) in styles.items():
                part = table[(table["alpha"] == alpha) & (table["measure"] == name)]
                mean = part.groupby("removed")["value"].mean()
                axes.plot(100 * mean.index, 100 * mean, line, color=color, label=DIRECTIONS[name])
            axes.set_title(
                f"α {written(float(alpha))}, n = {table[table['alpha'] == alpha]['seed'].nunique()}", fontsize=9
            )
            axes.set_xlabel("units silent, %")
        panels[0].set_ylabel("accuracy, %")
        panels[-1].legend(frameon=False, fontsize=7)


def section(planned: Experiment, folder: Path, data: Path = FOLDER) -> str:
    """Return what the page says of other measures of an experiment's networks; nothing where none was measured."""
    table = read_measures(data)
    table = table[table["experiment"] == planned.key]
    if table.empty:
        return ""
    picture = folder / f"reproduction-{planned.key}-curves.svg"
    figure(table, "Accuracy while units of all layers are silenced", picture)
    text = (
        "Other measures of the same networks (`python reproduction/measures.py`), means over layers of the means over "
        "live units; and the area under the curve below, against that of 10 random orders: below 0, the network needs "
        "these units more than others. Units are ranked by SI within each layer on half of the images, and the "
        "accuracy is that of the other half."
    )
    alt = "Accuracy against the share of silent units: the most selective first, the least selective first, at random"
    return f"{text}\n\n{measure_table(table)}\n\n![{alt}]({picture.name})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the store of the trainings")
    parser.add_argument("--dataset", required=True, help="what its runs were trained on, such as folder:cifar10")
    parser.add_argument("--experiment", help="this one alone, such as cifar10-16-stable")
    parser.add_argument("--seeds", type=int, help="only seeds below this one")
    chosen = parser.parse_args()
    for name in add_measures(chosen.data, chosen.dataset, key=chosen.experiment, seeds=chosen.seeds):
        print(f"added {name}")
