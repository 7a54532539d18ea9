"""A network and images that are in memory as a run: `capture_model(store, model, (images, labels), "mine")`."""

import copy
import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selviz.datasets import Dataset
from selviz.datasets.in_memory import from_memory
from selviz.errors import SelvizError, first_line
from selviz.runs import stored_images
from selviz.runs.importing import ImportSource, read_network, store_network
from selviz.store import Store, read_json
from selviz.store.files import check_name
from selviz.system.progress import Report, silent
from selviz.training.checkpoints import EpochRow

ROUNDED = 0.01  # of a channel's mean deviation; a tenth of that is usual


def capture_model(
    store: Store,
    model: nn.Module,
    data: object,
    name: str,
    classes: Sequence[str] | None = None,
    layers: Sequence[str] = (),
    outputs: Sequence[int] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    max_images: int = 0,
    report: Report = silent,
) -> dict[str, Any]:
    """Store what every unit of `model` does on the images in `data` as the run `name`; return its summary.

    The images go into the store as well (`datasets.in_memory` says how), so that the run can be silenced and explained
    by any process. `model` is left as it is, on its device and in its mode: a copy on the CPU, in evaluation mode, is
    captured. The same call again returns the run, and goes on with one that was cut off. Raises SelvizError for images
    or labels that do not fit, for a network that cannot be traced, and for a name that another run has.
    """
    check_name("run", name)
    dataset = from_memory(data, name, classes, mean, std, max_images)
    warn_of_rounding(dataset, stacklevel=4)
    return capture_dataset(store, model, dataset, name, layers, outputs, report)


def capture_dataset(
    store: Store,
    model: nn.Module,
    dataset: Dataset,
    name: str,
    layers: Sequence[str] = (),
    outputs: Sequence[int] = (),
    report: Report = silent,
    history: Sequence[EpochRow] = (),
    write_more: Callable[[Path], None] = lambda folder: None,
) -> dict[str, Any]:
    """Store what every unit of `model` does on a data set that `from_memory` made; see `capture_model`.

    `history` is what is known of the epochs of its training; `write_more` writes further stages into the run's folder.
    """
    plain = copied(model)
    source = ImportSource(type(model).__name__, lambda *_: plain, layers=tuple(layers), outputs=tuple(outputs))
    facts = {**facts_of(source, dataset), "state_sha256": _digest(plain)}
    folder = store.run_path(name)
    if (finished := read_json(folder / "summary.json")) is not None:
        known = read_json(folder / "config.json") or {}
        if all(known.get(key) == value for key, value in facts.items()):
            return dict(finished)
        raise SelvizError(f"The store has another run {name} already; give this one a name of its own: name=...")

    def finish() -> None:
        stored_images.write(store, dataset)
        write_more(folder)

    with torch.random.fork_rng(devices=[]):  # what the caller draws next stays what it was
        read = read_network(source, dataset)
        return store_network(store, folder, facts, read, dataset, report, finish=finish, history=history)


def facts_of(source: ImportSource, dataset: Dataset) -> dict[str, Any]:
    """Return what a run records of a network and images in memory, whatever the weights."""
    return {
        "kind": "imported",
        "dataset": dataset.name,
        "model": source.model,
        **dict.fromkeys(("alpha", "seed", "epochs", "weights", "checkpoint", "checkpoint_sha256", "code_sha256")),
        "images_fingerprint": dataset.fingerprint,
        "chosen_layers": " ".join(source.layers) or None,
        "watched": None,
        "outputs": ",".join(map(str, source.outputs)) or None,
    }


def warn_of_rounding(dataset: Dataset, stacklevel: int = 3) -> None:
    """Warn where keeping images in half precision changes them by more than ROUNDED of their mean deviation."""
    if (share := dataset.origin["rounded_share"]) > ROUNDED:
        warnings.warn(
            f"Half precision changes these images by {100 * share:.2g} % of their mean deviation, as a few values lie "
            "far from all others: clip those first. The run is of the images as they are stored.",
            stacklevel=stacklevel,
        )


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU, in evaluation mode; SelvizError where it cannot be copied."""
    if not isinstance(model, nn.Module):
        raise SelvizError(f"model is a {type(model).__name__}; give a torch.nn.Module that takes images [N, C, H, W].")
    try:
        return copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    except Exception as error:  # somebody else's code may raise anything
        raise SelvizError(f"The model cannot be copied ({first_line(error)[:200]}); bring one that can.") from error


def _digest(model: nn.Module) -> str:
    """Return SHA-256 over the names, shapes and numbers of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
