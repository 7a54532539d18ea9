"""The stages of a run, written from what its network gives: `capture_stage(store, folder, network, dataset, tell)`.

Each is written as a whole, with its provenance beside it; `summarise(folder, facts, dataset)` is made from them.
"""

import datetime
import io
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from selviz import statistics
from selviz.config import SETTINGS, config_from_dict
from selviz.datasets import SEALED, Dataset
from selviz.errors import SelvizError
from selviz.networks import devices
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.capture import record
from selviz.selectivity import unit_tables
from selviz.store import Store, read_json, stage_is_whole, write_activations, write_images, write_stage
from selviz.store.files import WEIGHTS, checksum
from selviz.store.integrity import LISTED, checksums
from selviz.system.image_pixels import as_bytes
from selviz.system.progress import Report
from selviz.training.checkpoints import EpochRow
from selviz.training.schedules import alpha_at

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "duckdb")


def write_training(folder: Path, history: Sequence[EpochRow], provenance: dict[str, Any]) -> None:
    """Write the stage of a training's history, one row per epoch; an imported run's has no rows."""
    columns = ["epoch", "loss", "penalty", "train_accuracy", "test_accuracy", "mean_si", "mean_si_live"]
    layer_rows = [
        {"epoch": row["epoch"], "layer": position, "mean_si": si}
        for row in history
        for position, si in enumerate(row["layer_si"])
    ]
    tables = {
        "epochs": pd.DataFrame(history, columns=[*columns, "learning_rate", "seconds"]),
        "epoch_layers": pd.DataFrame(layer_rows, columns=["epoch", "layer", "mean_si"]),
    }
    write_stage(folder, "training", tables, provenance)


def capture_stage(
    store: Store, folder: Path, network: UnitNetwork, dataset: Dataset, tell: Report, again: bool = False
) -> None:
    """Store what `network` does on the evaluation images, its measures, and their pictures; what is whole stays."""
    pictures = thumbnails(dataset.eval_pixels)  # made as they are written, if they are
    write_images(store.path, dataset.fingerprint, pictures, dataset.eval_labels, dataset.class_names)
    if not again and stage_is_whole(folder, "capture") and stage_is_whole(folder, "metrics"):
        return
    classes = len(dataset.class_names)
    recorded = record(
        network,
        dataset.view(),
        classes,
        folder / "partial" / "capture",
        _capture_key(folder, dataset),
        lambda progress: tell({"stage": "capture", **progress}),
    )
    _check_finite(recorded.logits, "outputs")
    layers = pd.DataFrame(
        {
            "layer": range(len(network.layers)),
            "name": [layer.name for layer in network.layers],
            "units": [layer.units for layer in network.layers],
            "depth": [layer.depth for layer in network.layers],
            "signed": [layer.signed for layer in network.layers],
            "squeeze": [layer.squeeze for layer in network.layers],
        }
    )
    images = pd.DataFrame(
        {
            "image": range(len(dataset.eval_labels)),
            "label": dataset.eval_labels.int().numpy(),
            "prediction": recorded.logits.argmax(axis=1).astype(np.int32),
            "fold": dataset.eval_folds.numpy(),
        }
    )
    write_activations(folder, layers, images, enumerate(recorded.layers), provenance(str(network.device)))
    measured, labels = [], dataset.without_sealed().eval_labels
    for position, values in enumerate(recorded.layers):
        tell({"stage": "metrics", "done": position, "of": len(recorded.layers)})
        entry = unit_tables.layer_metrics(torch.from_numpy(values[: len(labels)]), labels, classes)
        # A sum is finite where all its values are, so they need not be read once more; sealed images are in no sum.
        if not np.isfinite(entry["units"]["mean_activation"]).all() or not np.isfinite(values[len(labels) :]).all():
            _check_finite(values, f"activations in layer {network.layers[position].name}")
        measured.append(entry)
    tables = {
        "layers": pd.DataFrame([{"layer": position, **entry["layer"]} for position, entry in enumerate(measured)]),
        **{
            name: pd.concat([entry[name].assign(layer=position) for position, entry in enumerate(measured)])
            for name in ("units", "class_means")
        },
        # Of the run: means over layers, shuffle by shuffle (all layers have the same shuffles).
        "null_draws": pd.concat([entry["null"] for entry in measured]).groupby("draw", as_index=False).mean(),
    }
    write_stage(folder, "metrics", tables, {**provenance(str(network.device)), "shuffles": unit_tables.SHUFFLES})
    recorded.discard()


def _check_finite(values: np.ndarray, what: str) -> None:
    """Raise SelvizError names the first image on which values [N, ...] are not numbers."""
    if not (fine := np.isfinite(values).all(axis=1)).all():
        raise SelvizError(f"The network's {what} are not finite on image {fine.argmin()}: its weights are damaged.")


def _capture_key(folder: Path, dataset: Dataset) -> str:
    """Change with the weights, the evaluation images and how they are normalised."""
    return f"{checksum(folder / WEIGHTS)[:16]} {dataset.fingerprint} {dataset.mean} {dataset.std}"


def thumbnails(pixels: Tensor, largest: int = 96) -> Iterator[bytes]:
    """Yield small pictures of pixels [N, C, H, W]: PNG up to `largest` pixels a side, else WebP of that size."""
    for image in map(as_bytes, pixels.numpy()):
        picture = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1))
        picture.thumbnail((largest, largest))
        buffer = io.BytesIO()
        small = max(image.shape[1:]) <= largest
        picture.save(buffer, format="PNG" if small else "WEBP", quality=85)
        yield buffer.getvalue()


def summarise(folder: Path, facts: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return what lists and the overview show of the run, from its stage files; accuracy is that of folds 0 and 1."""
    from selviz.store.queries import read

    captured = read({"capture": folder / "capture.duckdb"}, "SELECT * FROM capture.images")
    images = captured[captured["fold"] != SEALED]
    layers = read({"metrics": folder / "metrics.duckdb"}, "SELECT * FROM metrics.layers ORDER BY layer")
    live = layers[layers["dead"] < layers["units"]]
    null = _run_null(folder)
    correct = int((images["label"] == images["prediction"]).sum())
    low, high = statistics.wilson(correct, len(images))
    epochs = read({"training": folder / "training.duckdb"}, "SELECT * FROM training.epochs ORDER BY epoch")
    return {
        "run": folder.name,
        **facts,
        "test_accuracy": correct / len(images),
        "test_accuracy_low": float(low),
        "test_accuracy_high": float(high),
        "mean_si": float(layers["mean_si"].mean()),
        "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
        "null_mean": float(layers["null_mean"].mean()),
        "null_p95": float(null["mean_si"].quantile(0.95)),
        "null_live_mean": float(live["null_live_mean"].mean()) if len(live) else 0.0,
        "null_live_p95": float(null["mean_si_live"].quantile(0.95)) * len(layers) / max(len(live), 1),
        "dead": int(layers["dead"].sum()),
        "units": int(layers["units"].sum()),
        "layers": len(layers),
        "images": len(images),
        "sealed_images": len(captured) - len(images),
        "classes": list(dataset.class_names),
        "fingerprint": dataset.fingerprint,
        "origin": dataset.origin,
        "transform": dataset.origin.get("transform"),
        "available_images": dataset.origin.get("available", len(captured)),
        "skipped_images": dataset.origin.get("skipped_images", 0),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "train_images": None if facts["kind"] == "imported" else len(dataset.train_labels),
        "train_seconds": float(epochs["seconds"].sum()),
        "diverged": has_diverged(facts, epochs, len(dataset.class_names)),
        LISTED: checksums(folder),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        **provenance((read_json(folder / "training.json") or {}).get("provenance", {}).get("device", "cpu")),
    }


def _run_null(folder: Path) -> pd.DataFrame:
    """Return the run's mean SI under each shuffle of the labels, of all units and of live ones."""
    from selviz.store.queries import read

    return read({"metrics": folder / "metrics.duckdb"}, "SELECT * FROM metrics.null_draws")


def has_diverged(settings: Mapping[str, Any], epochs: pd.DataFrame, classes: int) -> bool | None:
    """Return whether a training ended worse than guessing: cross-entropy of its last epoch above ln(classes).

    `epochs` are its rows in order, of which the loss holds the penalty. One of fewer than three epochs has hardly begun
    and is not called so. None for what was not trained here.
    """
    if settings["kind"] == "imported" or epochs.empty:
        return None
    if len(epochs) < 3:
        return False
    config = config_from_dict({name: value for name, value in settings.items() if name in SETTINGS})
    last = epochs.iloc[-1]
    cross_entropy = float(last["loss"] + alpha_at(config, config.epochs - 0.5) * last["penalty"])
    return not cross_entropy <= math.log(classes)


def provenance(device: str | None = None) -> dict[str, Any]:
    """Return where and with what something was computed, for the record beside a stage."""
    return {
        "device": device or str(devices.chosen()),
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
