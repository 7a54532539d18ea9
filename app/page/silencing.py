"""What boards of several pages share: `outcome(run, units)` says what silencing units does, to everybody alike."""

from typing import NamedTuple

import numpy as np

from selviz.publishing.board import class_accuracy
from selviz.store.files import WEIGHTS
from selviz.text import unit_lists

from ..compute import ablation
from ..compute.ablation import AblationRequest, Result
from ..state import reads

Units = dict[str, list[int]]


class Outcome(NamedTuple):
    """Accuracies before and after, of all images and by class, 0..1; `result` is None where nothing is silent."""

    accuracy_before: float
    before: list[float | None]
    accuracy_after: float | None
    after: list[float | None] | None
    result: Result | None


def can_silence(run: str) -> bool:
    """Return whether the run's network is here to be run again."""
    return not reads.watched(run) and (reads.store().run_path(run) / WEIGHTS).exists()


def untouched(run: str, fold: int | None = None) -> Outcome:
    """Return the accuracies of the whole network, from its stored predictions."""
    images = reads.store().images(run)
    images = images if fold is None else images[images["fold"] == fold]
    by_class = class_accuracy(images, len(reads.class_names(run)))
    right = float((images["label_index"] == images["prediction_index"]).mean())
    return Outcome(right, [None if np.isnan(value) else float(value) for value in by_class], None, None, None)


def outcome(request: AblationRequest) -> Outcome:
    """Return the exact accuracies with and without the requested units, the numbers of `selviz ablate`."""
    result = ablation.ablate(request)
    return of_result(result)


def of_result(result: Result) -> Outcome:
    """Return an ablation's result as an Outcome."""
    rows = result["per_class"]
    return Outcome(
        result["accuracy_before"],
        [row["before"] for row in rows],
        result["accuracy_after"],
        [row["after"] for row in rows],
        result,
    )


def text(units: Units) -> str:
    """Return units as an address names them."""
    return unit_lists.format_units(units)
