"""Every unit's SI while a network trains: `train(..., snapshot=keeper(folder, dataset))`, then `write(folder, {...})`.

Each snapshot is kept in `partial/` until all of them are written as stage `snapshots`; weights stay in `snapshots/`,
one file an epoch, so that the network of any epoch can be looked at again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from selviz.datasets import Dataset
from selviz.runs.weights import write_weights
from selviz.selectivity import unit_tables
from selviz.store import write_stage
from selviz.store.partial_results import kept
from selviz.system.listing import files_in
from selviz.training.loop import Snapshot

STAGE = "snapshots"
TABLES = ("snapshots", "snapshot_layers", "snapshot_units")


def weights_path(folder: Path, epoch: int) -> Path:
    """Return where the weights after an epoch lie; 0 is the untrained network."""
    return folder / STAGE / f"epoch-{epoch:04d}.safetensors"


def keeper(folder: Path, dataset: Dataset) -> Callable[[Snapshot], None]:
    """Return what `train` is to call with each of its snapshots, so that `write` finds them."""

    def keep(snapshot: Snapshot) -> None:
        path = folder / "partial" / STAGE / f"{snapshot.epoch:04d}-{snapshot.step:06d}.npz"
        kept(path, lambda: _tables(snapshot, dataset), again=True)
        if snapshot.step == (snapshot.steps if snapshot.epoch else 0):
            write_weights(weights_path(folder, snapshot.epoch), snapshot.network.root.state_dict())

    return keep


def write(folder: Path, provenance: dict[str, Any]) -> None:
    """Write all that was kept as stage `snapshots`, numbered in the order of training from 0."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    paths = files_in(folder / "partial" / STAGE, ".npz")
    for number, path in enumerate(paths):
        # mypy infers no type for a lambda with a default.
        snapshot = kept(path, lambda path=path: _raise_missing(path))  # type: ignore[misc]
        for name in TABLES:
            tables[name].append(snapshot[name].assign(snapshot=number))
    write_stage(folder, STAGE, {name: pd.concat(parts) for name, parts in tables.items()}, provenance)


def _raise_missing(path: Path) -> NoReturn:
    raise OSError(f"{path} was removed while the run was being written; train it again")


def _tables(snapshot: Snapshot, dataset: Dataset) -> dict[str, pd.DataFrame]:
    labels, classes = dataset.eval_labels, len(dataset.class_names)
    tables = [unit_tables.layer_metrics(layer.cpu(), labels, classes) for layer in snapshot.activations]
    correct = (snapshot.predictions.cpu() == labels).double().mean()
    done = max(0.0, snapshot.epoch - 1 + snapshot.step / max(snapshot.steps, 1))
    about = {"epoch": snapshot.epoch, "step": snapshot.step, "done": done, "test_accuracy": float(correct)}
    columns = ["unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]
    return {
        "snapshots": pd.DataFrame([{**about, "images": len(labels)}]),
        "snapshot_layers": pd.DataFrame([{"layer": at, **entry["layer"]} for at, entry in enumerate(tables)]),
        "snapshot_units": pd.concat([entry["units"][columns].assign(layer=at) for at, entry in enumerate(tables)]),
    }
