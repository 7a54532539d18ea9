"""The evaluation images of a run that had them in memory, kept in the store: `write(store, dataset)`, `read(...)`.

They lie with the pictures of the data set, `data/images/<fingerprint>/pixels.safetensors`, so that another process, and
the dashboard, can silence units of the run. A copied store has them, and a zip that was made with `--pixels`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from selviz.datasets import Dataset, folds
from selviz.datasets.in_memory import SPEC, no_training_images
from selviz.datasets.preparation import Options, choose
from selviz.errors import SelvizError, told_by_system
from selviz.store import Store
from selviz.store.files import writing
from selviz.store.images import PIXELS, image_folder
from selviz.system.durable_files import move_into_place
from selviz.system.image_fingerprint import fingerprint


def is_stored(spec: str) -> bool:
    """Return whether a run's data set is one whose images are in the store."""
    return spec.startswith(f"{SPEC}:")


def write(store: Store, dataset: Dataset) -> None:
    """Write the pixels and labels of a data set whose pictures are in the store; what is there stays."""
    path = _path(store.path, dataset.fingerprint)
    if path.exists():
        return
    temporary = path.with_suffix(".partial")
    tensors = {"pixels": dataset.eval_pixels.contiguous(), "labels": dataset.eval_labels.contiguous()}
    with writing(path, temporary):
        safetensors.torch.save_file(tensors, temporary)
        move_into_place(temporary, path)


def read(store: Store, run: str, about: Mapping[str, Any]) -> Dataset:
    """Return the data set of a finished run; SelvizError where its pixels are missing or not those of the run."""
    path = _path(store.path, about["fingerprint"])
    try:
        with told_by_system(path):
            tensors = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise SelvizError(
            f"The images of run {run} were in memory when it was captured, and {path} is not here: a zip holds them "
            "if it was made with selviz export --pixels. Copy that file, or call selviz.capture(...) with the images "
            "again."
        ) from None
    except (safetensors.SafetensorError, OSError) as error:
        raise SelvizError(f"{path} is damaged ({error}); call selviz.capture(...) with the images again.") from error
    pixels, labels = tensors["pixels"], tensors["labels"]
    if fingerprint(pixels.numpy(), labels.numpy(), tuple(about["classes"])) != about["fingerprint"]:
        raise SelvizError(f"{path} is damaged: its pixels are not those of run {run}; capture the network again.")
    return Dataset(
        name=about["dataset"],
        class_names=tuple(about["classes"]),
        eval_pixels=pixels,
        eval_labels=labels,
        eval_folds=torch.from_numpy(folds(labels.numpy())),
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        fingerprint=about["fingerprint"],
        training=no_training_images,
        preparation=choose(Options(channels=pixels.shape[1]), [(pixels.shape[3], pixels.shape[2])]),
        origin=dict(about.get("origin") or {}),
    )


def _path(data: Path, name: str) -> Path:
    return image_folder(data, name) / PIXELS
