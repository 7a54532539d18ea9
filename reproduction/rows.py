"""One row per trained network, kept for good: `python reproduction/rows.py --data DATA` adds those of a store.

`reproduction/data/<experiment>.csv` has settings, accuracy, SI by layer, nulls, dead units, whether training diverged,
and versions. Pages and figures are made from these files, so no network is trained twice anywhere.
"""

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import DIGITS, EXPERIMENTS, Experiment, asked, configs
from selviz.config import SETTINGS, RunConfig, run_name
from selviz.selectivity import unit_tables
from selviz.store import Store, read_json

FOLDER = Path(__file__).parent / "data"
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "duckdb")
MEASURED = ("test_accuracy", "mean_si", "mean_si_live", "null_mean", "null_p95", "dead", "images")
# Settings that a row repeats: all that decide the weights but for where the images lie.
REPEATED = tuple(name for name in SETTINGS if name != "dataset")
COLUMNS = (
    "experiment", *REPEATED, "state", "diverged", "test_accuracy", "train_accuracy", "cross_entropy", "mean_si",
    "mean_si_live", "null_mean", "null_p95", "dead", "units", "layers", "layer_si", "layer_si_live", "layer_null_mean",
    "layer_dead", "fingerprint", "images", "train_seconds", "device", "threads", "python",
    *(f"{name}_version" for name in PACKAGES), "created",
)  # fmt: skip


def path_of(experiment: Experiment, folder: Path = FOLDER) -> Path:
    """Return where the rows of an experiment are kept."""
    return folder / f"{experiment.key}.csv"


def read_rows(experiment: Experiment, folder: Path = FOLDER) -> pd.DataFrame:
    """Return the rows of an experiment; lists by layer are text, numbers with spaces between them."""
    path = path_of(experiment, folder)
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in COLUMNS if name not in SETTINGS})


def has_row(rows: pd.DataFrame, config: RunConfig) -> bool:
    """Return whether the network of these settings, on whatever copy of the images, has a row."""
    return bool(((rows["alpha"] == config.alpha) & (rows["seed"] == config.seed)).any()) if len(rows) else False


def row_of(store: Store, experiment: Experiment, config: RunConfig) -> dict[str, Any] | None:
    """Return the row of a run that is finished or whose training diverged; None for any other.

    The same settings on images with other classes are another network's.
    """
    run = run_name(config)
    row: dict[str, Any] = {"experiment": experiment.key}
    row |= {name: getattr(config, name) for name in REPEATED}
    summary = read_json(store.run_path(run) / "summary.json")
    if not summary:
        failure = read_json(store.run_path(run) / "failed.json") or {}
        if "diverged" not in str(failure.get("reason")):
            return None
        return {**dict.fromkeys(COLUMNS), **row, "state": "failed", "diverged": True}
    if len(summary["classes"]) != experiment.classes:
        return None
    measured, layers = on_all_images(store, run, summary)
    last = store.epochs(run).iloc[-1]
    cross_entropy = float(last["loss"] + config.alpha * last["penalty"])
    return {
        **row,
        "state": "finished",
        "diverged": not cross_entropy <= math.log(len(summary["classes"])),
        "train_accuracy": float(last["train_accuracy"]),
        "cross_entropy": cross_entropy,
        **{name: measured[name] for name in MEASURED},
        **{name: summary[name] for name in ("units", "fingerprint", "device", "threads", "python")},
        "layers": " ".join(layers["layer"]),
        "layer_si": _numbers(layers["mean_si"]),
        "layer_si_live": _numbers(layers["mean_si_live"]),
        "layer_null_mean": _numbers(layers["null_mean"]),
        "layer_dead": " ".join(str(int(value)) for value in layers["dead"]),
        "train_seconds": round(summary["train_seconds"], 1),
        **{f"{name}_version": summary["versions"][name] for name in PACKAGES},
        "created": summary["created"],
    }


def on_all_images(store: Store, run: str, summary: Mapping[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what is measured of a run (MEASURED), and its layers, on all evaluation images, the sealed ones included.

    No claim is registered about these networks: rules.md says what is asked of them, and asks it of all images.
    """
    layers, sealed = store.layers(run), store.sealed_images(run)
    if sealed.empty:
        return {name: summary[name] for name in MEASURED}, layers
    images = pd.concat([store.images(run), sealed], ignore_index=True)
    labels, found = torch.from_numpy(images["label_index"].to_numpy(dtype="int64")), []
    for name in layers["layer"]:
        values = np.concatenate([store.matrix(run, name), store.sealed_matrix(run, name)])
        found.append(unit_tables.layer_metrics(torch.from_numpy(values), labels, len(summary["classes"]))["layer"])
    table = pd.DataFrame(found).assign(layer=layers["layer"].to_numpy())
    live = table[table["dead"] < table["units"]]
    measured = {
        "test_accuracy": float((images["label_index"] == images["prediction_index"]).mean()),
        **{name: float(table[name].mean()) for name in ("mean_si", "null_mean", "null_p95")},
        "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
        "dead": int(table["dead"].sum()),
        "images": len(images),
    }
    return measured, table


def _numbers(values: pd.Series) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def add_row(experiment: Experiment, row: Mapping[str, Any], folder: Path = FOLDER) -> None:
    """Append a row to the file of its experiment. Settings that are newer than a row are at their defaults in it."""
    path = path_of(experiment, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame()
    for name in REPEATED:
        if len(table) and name not in table:
            table[name] = str(SETTINGS[name].default)
    new = pd.DataFrame([row], columns=list(COLUMNS))
    temporary = path.with_suffix(".tmp")
    # Rows that are there keep their very text.
    pd.concat([table.reindex(columns=list(COLUMNS)), new.astype(object)]).to_csv(temporary, index=False)
    os.replace(temporary, path)


def add_rows(data: Path, dataset: str, folder: Path = FOLDER, key: str | None = None) -> list[str]:
    """Append the row of each run in the store at `data` that belongs to an experiment and has none; their names.

    `dataset` is the spec that the store's runs were trained with; `key` the experiment, where its images are its own.
    """
    store, added = Store(data), []
    for experiment in asked(dataset, key):
        rows = read_rows(experiment, folder)
        for config in configs(experiment, dataset):
            if not has_row(rows, config) and (row := row_of(store, experiment, config)) is not None:
                add_row(experiment, row, folder)
                added.append(run_name(config))
    return added


def planned_and_done(folder: Path = FOLDER, experiments: Sequence[Experiment] = EXPERIMENTS) -> pd.DataFrame:
    """Return one row per experiment: networks planned, networks that have a row, hours of training used.

    The hours of a network that is in two experiments (at alpha 0 no recipe of the penalty acts) are of the first.
    """
    table, counted = [], set()
    for experiment in experiments:
        rows = read_rows(experiment, folder)
        own = [row for row in rows.itertuples() if (row.created, row.seed, row.alpha) not in counted]
        counted |= {(row.created, row.seed, row.alpha) for row in own}
        hours = sum(float(row.train_seconds) for row in own if pd.notna(row.train_seconds)) / 3600
        table.append(
            {"experiment": experiment.key, "planned": experiment.networks, "done": len(rows), "hours": round(hours, 2)}
        )
    return pd.DataFrame(table)


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a row repeats, as `RunConfig` takes them beside the data set."""
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    return {name: SETTINGS[name].type(row[name]) for name in REPEATED if name in fields}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the store of the trainings")
    parser.add_argument("--dataset", required=True, help="what its runs were trained on, such as folder:cifar10")
    parser.add_argument("--experiment", help="this one alone, such as cifar10-16-superclasses with its own images")
    arguments = parser.parse_args()
    for name in add_rows(arguments.data, arguments.dataset, key=arguments.experiment):
        print(f"added {name}")
    print(planned_and_done(experiments=(*EXPERIMENTS, *DIGITS)).to_string(index=False))
