"""What boards of several pages share: `outcome(run, units)` says what silencing units does, to everybody alike."""

from typing import NamedTuple

import numpy as np

from selviz.publishing.board import class_accuracy
from selviz.store.files import WEIGHTS
from selviz.text import unit_lists

from ..board import component as board
from ..compute import ablation
from ..compute.ablation import AblationRequest, Result
from ..state import reads

Units = dict[str, list[int]]
LOOK_HEIGHT = 260  # pixels of a board that is only looked at


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


def board_of(request: AblationRequest, key: str, silent: bool = True, classes: bool = True) -> None:
    """Draw the network to be looked at: with the requested units silent, or only marked; with the bars of the classes.

    Without the bars nothing is told of which class suffers.
    """
    sizes = reads.store().units(request.run).groupby("layer", sort=False).size().to_dict()
    units, _ = unit_lists.parse_existing_units(request.units, sizes)
    able = silent and can_silence(request.run)
    seen = outcome(request) if able else untouched(request.run, request.fold)
    view = board.View(
        units if able else {},
        seen.before if classes else None,
        seen.accuracy_before,
        seen.after,
        seen.accuracy_after,
        mode="look",
        silencing=False,
        opening=False,
        selected="" if silent else request.units,
    )
    board.show(request.run, view, key=key, height=LOOK_HEIGHT)
