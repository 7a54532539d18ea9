"""A training that goes on after it was cut off: `save(path, config, ...)` after each epoch, `read(path, config)`."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from selviz.config import RunConfig, config_to_dict
from selviz.errors import SelvizError, system_problem, unreadable
from selviz.system.durable_files import move_into_place


class EpochRow(TypedDict):
    """What is known after an epoch (1 is the first); mean_si and layer_si are those of the evaluation images.

    `loss` holds the penalty; `cross_entropy` does not. `penalty` is the mean over minibatches of what alpha acts on.
    """

    epoch: int
    loss: float
    cross_entropy: float
    penalty: float
    train_accuracy: float
    test_accuracy: float
    mean_si: float
    mean_si_live: float
    layer_si: list[float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training stood at the end of an epoch: state of network and optimizer, and one row per epoch."""

    weights: Mapping[str, Tensor]
    optimizer: dict[str, Any]
    history: list[EpochRow]


def save(path: Path, config: RunConfig, checkpoint: Checkpoint) -> None:
    """Write a whole checkpoint, or leave the one that was there; SelvizError where the disk cannot take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        torch.save(
            {
                "config": config_to_dict(config),
                "weights": dict(checkpoint.weights),
                "optimizer": checkpoint.optimizer,
                "history": checkpoint.history,
            },
            temporary,
        )
        move_into_place(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        # torch names a line of C++ where less came to the disk than was written.
        reason = getattr(error, "strerror", None) or "it is not whole"
        raise SelvizError(
            f"Cannot write the checkpoint {path} ({reason}); free some space and start the same training again, it "
            "goes on from the last finished epoch."
        ) from error


def read(path: Path, config: RunConfig) -> Checkpoint | None:
    """Return the checkpoint of a training with these settings; None where there is none to use."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not check the checksums that it writes
            if archive.testzip() is not None:
                return None
        saved = torch.load(path, weights_only=True, map_location="cpu")
        # Settings that a newer selviz added are at their defaults in a checkpoint that does not name them.
        known = {**config_to_dict(RunConfig(config.dataset, config.model)), **saved["config"]}
        checkpoint = Checkpoint(saved["weights"], saved["optimizer"], saved["history"])
    except Exception as error:  # a damaged checkpoint costs its epochs, not the run
        if system_problem(error):  # one that cannot be read now is not damaged
            raise unreadable(path, error) from error
        return None
    return checkpoint if known == config_to_dict(config) else None
