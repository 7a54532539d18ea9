"""How far long work is, as its caller hears it: `report({"run": run, "stage": "atlas", "done": 3, "of": 7})`."""

from collections.abc import Callable
from typing import Any, TypedDict


class ProgressEvent(TypedDict, total=False):
    """One sign of progress: `done` of `of` parts of a stage of a run, and what the part is called."""

    run: str
    stage: str
    layer: str
    module: str
    done: int
    of: int
    skipped: str  # one sentence: what is left out, and why
    # Of a training: during an epoch its steps, at its end what was measured (`training.checkpoints.EpochRow`).
    alpha: float
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    cross_entropy: float
    penalty: float
    train_accuracy: float
    test_accuracy: float
    mean_si: float
    mean_si_live: float
    layer_si: list[float]
    unit_si: list[list[float]]
    learning_rate: float
    seconds: float
    # Of a capture, and of images that are read: how many of them.
    images: int
    # Of a sweep: `runs.sweep.RunStatus` of each run, and seconds that are left.
    runs: list[Any]
    left: float | None


Report = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Report to nobody."""
