"""Units' selectivity after each epoch of a training of one's own: `EpochRecording(data, name="mine", store=store)`.

What is recorded lies in `partial/` of the run that it will be, so that a training that is cut off loses no epoch;
`finish` captures the network and writes the run: its epochs, and every unit's SI after each of them.
"""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import nn

from selviz.datasets import Dataset
from selviz.datasets.in_memory import from_memory
from selviz.errors import SelvizError
from selviz.networks import tracing
from selviz.networks.activations import observe
from selviz.networks.heads import find_head
from selviz.networks.plain_run import PlainRun
from selviz.networks.proof import plain_value
from selviz.networks.unit_network import UnitNetwork
from selviz.runs import snapshots
from selviz.runs.capturing import capture_dataset, copied, facts_of, warn_of_rounding
from selviz.runs.importing import PROBES, ImportSource, read_network
from selviz.runs.stages import provenance
from selviz.selectivity import unit_tables
from selviz.selectivity.unit_tables import LayerMetrics
from selviz.store import Store, read_json, write_json
from selviz.store.files import check_name
from selviz.store.partial_results import kept
from selviz.system.listing import files_in
from selviz.training.checkpoints import EpochRow

GIVEN = ("loss", "penalty", "train_accuracy", "learning_rate")  # what a loop may tell of an epoch
COLUMNS = ["unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]


@dataclass(frozen=True)
class Epoch:
    """What the units do after an epoch: one row per layer and per unit, and the accuracy on the evaluation images.

    `layers`: layer, units, mean_si, mean_si_live, null_mean, null_p95, dead. `units`: layer, unit, si, null_p95,
    preferred_class, mean_activation, dead.
    """

    epoch: int
    test_accuracy: float
    layers: pd.DataFrame
    units: pd.DataFrame

    def metrics(self) -> dict[str, float]:
        """Return its main numbers by name, as loggers take them."""
        layers = self.layers
        live = layers[layers["dead"] < layers["units"]]
        by_layer = {f"si/{name}": float(si) for name, si in zip(layers["layer"], layers["mean_si"], strict=True)}
        return {
            "si/mean": float(layers["mean_si"].mean()),
            "si/mean_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
            "si/null_mean": float(layers["null_mean"].mean()),
            "si/dead": float(layers["dead"].sum()),
            "si/test_accuracy": self.test_accuracy,
            **by_layer,
        }


class EpochRecording:
    """Records what a network's units do on the same images after each epoch; `store` None keeps nothing.

    Raises SelvizError for images that do not fit, and for a name that a finished run has.
    """

    def __init__(
        self,
        data: object,
        name: str = "recorded",
        classes: Sequence[str] | None = None,
        layers: Sequence[str] = (),
        *,
        store: Store | None = None,
        outputs: Sequence[int] = (),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        max_images: int = 0,
    ):
        self.name, self.store, self._source = check_name("run", name), store, ("", tuple(layers), tuple(outputs))
        self.dataset: Dataset = from_memory(data, name, classes, mean, std, max_images)
        warn_of_rounding(self.dataset, stacklevel=5)
        self.epochs: dict[int, Epoch] = {}
        self._way, self._device = "", "cpu"
        self._since = time.monotonic()
        if store is not None and (store.run_path(name) / "summary.json").exists():
            raise SelvizError(f"The store has a run {name} already; give this one a name of its own: name=...")

    def record(self, model: nn.Module, epoch: int, given: Mapping[str, float] = {}) -> Epoch:
        """Look at the network, which is left as it is, after an epoch (0: before training), and keep what it does.

        `given` may hold a loop's own numbers of the epoch: loss, penalty, train_accuracy, learning_rate.
        """
        if unknown := sorted({*given} - {*GIVEN}):
            raise SelvizError(f"An epoch has no {unknown[0]!r}; it may have {', '.join(GIVEN)}.")
        seconds = time.monotonic() - self._since
        reported = self.dataset.without_sealed()
        with torch.random.fork_rng(devices=[]):  # a training that is recorded is the same training
            network = self._network(model)
            self._device = str(network.device)
            logits, activations = observe(network, reported.inputs())
        labels, classes = reported.eval_labels, len(reported.class_names)
        measured = [unit_tables.layer_metrics(values, labels, classes) for values in activations]
        accuracy = float((logits.argmax(1) == labels).double().mean())
        found = Epoch(epoch, accuracy, *_tables(measured, [layer.name for layer in network.layers]))
        self.epochs[epoch] = found
        if self.store is not None:
            self._keep(model, found, measured, {**dict.fromkeys(GIVEN, math.nan), **given, "seconds": seconds})
        self._since = time.monotonic()
        return found

    def finish(self, model: nn.Module) -> dict[str, Any]:
        """Capture the network, write all that was recorded into its run, and return the run's summary."""
        if self.store is None:
            raise SelvizError("Nothing was recorded into a store; give the recorder a name of a run: name=...")
        _, layers, outputs = self._source
        history = self._history()

        def write_snapshots(folder: Path) -> None:
            if history:
                snapshots.write(folder, provenance(self._device))

        return capture_dataset(
            self.store, model, self.dataset, self.name, layers, outputs, history=history, write_more=write_snapshots
        )

    def _network(self, model: nn.Module) -> UnitNetwork:
        """Return the network as its run will hold it: proven at its first epoch, then found the same way again."""
        plain, (_, layers, outputs) = copied(model), self._source
        if not self._way:
            source = ImportSource(type(model).__name__, lambda *_: plain, layers=layers, outputs=outputs)
            read = read_network(source, self.dataset)
            self._way = read.traced
            assert isinstance(read.network, UnitNetwork)
            return read.network
        run = PlainRun(plain)
        value = plain_value(run, self.dataset.normalise(self.dataset.eval_pixels[:PROBES]))
        head = find_head(value, len(self.dataset.class_names), "", run.made_by)
        traced = tracing.trace(plain, self.dataset.example, self._way, layers, head)
        return UnitNetwork.from_traced(tracing.with_chosen_outputs(traced, outputs)).for_inference()

    def _keep(
        self, model: nn.Module, found: Epoch, measured: Sequence[LayerMetrics], given: Mapping[str, float]
    ) -> None:
        assert self.store is not None
        folder = self.store.run_path(self.name)
        settings = folder / "config.json"
        _, layers, outputs = self._source
        source = ImportSource(type(model).__name__, lambda *_: model, layers=layers, outputs=outputs)
        facts = facts_of(source, self.dataset)
        known = read_json(settings) or {}
        if known.get("images_fingerprint") != self.dataset.fingerprint or known.get("model") != facts["model"]:
            shutil.rmtree(folder / "partial" / snapshots.STAGE, ignore_errors=True)  # of another training
            write_json(settings, facts)
        about = {"epoch": found.epoch, "step": 1, "done": float(found.epoch), "test_accuracy": found.test_accuracy}
        images = len(self.dataset.without_sealed().eval_labels)
        tables = {
            "snapshots": pd.DataFrame([{**about, "images": images}]),
            "snapshot_layers": pd.DataFrame([{"layer": at, **entry["layer"]} for at, entry in enumerate(measured)]),
            "snapshot_units": pd.concat(
                [entry["units"][COLUMNS].assign(layer=at) for at, entry in enumerate(measured)]
            ),
            "given": pd.DataFrame([given]),
        }
        kept(folder / "partial" / snapshots.STAGE / f"{found.epoch:04d}-000001.npz", lambda: tables, again=True)

    def _history(self) -> list[EpochRow]:
        """Return the rows of the training that is kept, also of a process before this one."""
        assert self.store is not None
        folder, rows = self.store.run_path(self.name) / "partial" / snapshots.STAGE, []
        for path in files_in(folder, ".npz"):
            tables = kept(path, _removed)
            about, given, layers = tables["snapshots"].iloc[0], tables["given"].iloc[0], tables["snapshot_layers"]
            if about["epoch"] == 0:
                continue
            live = layers[layers["dead"] < layers["units"]]
            row: EpochRow = {
                "epoch": int(about["epoch"]),
                "loss": float(given["loss"]),
                "cross_entropy": math.nan,
                "penalty": float(given["penalty"]),
                "train_accuracy": float(given["train_accuracy"]),
                "test_accuracy": float(about["test_accuracy"]),
                "mean_si": float(layers["mean_si"].mean()),
                "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
                "layer_si": layers["mean_si"].tolist(),
                "learning_rate": float(given["learning_rate"]),
                "seconds": float(given["seconds"]),
            }
            rows.append(row)
        return rows


def _removed() -> NoReturn:
    raise SelvizError("What was recorded of the training was removed before it was finished; train it again.")


def _tables(measured: Sequence[LayerMetrics], names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    layers = pd.DataFrame([{"layer": name, **entry["layer"]} for name, entry in zip(names, measured, strict=True)])
    units = [entry["units"][COLUMNS].assign(layer=name) for name, entry in zip(names, measured, strict=True)]
    table = pd.concat(units, ignore_index=True)
    return layers, table[["layer", *COLUMNS]]
