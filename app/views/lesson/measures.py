"""What the lesson is taught on, and the answers to its questions, measured on this store: `drop(start(run))`."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from selviz.statistics import LEVEL, holm, mcnemar
from selviz.text import numbers, unit_lists

from ...compute import ablation, scheduler
from ...compute.ablation import AblationRequest
from ...page import unit_selection
from ...state import reads

MANY, DRAWS = 10, 100
HIGH = 0.5
NO_CLASS = "no class"
BREAKS = {-1: "more", 0: "not told apart", 1: "less"}


class Lesson(NamedTuple):
    """What the lesson is taught on: a baseline run, its units, and in its last layer the most selective unit."""

    run: str
    units: pd.DataFrame
    names: list[str]
    layer: str
    unit: dict
    others: pd.DataFrame  # all finished runs of the same data set and network

    @property
    def star(self) -> dict[str, list[int]]:
        return {self.layer: [int(self.unit["unit"])]}

    @property
    def asked(self) -> AblationRequest:
        return AblationRequest(self.run, unit_lists.format_units(self.star))


def start(run: dict) -> Lesson:
    """Return the lesson on a run; the run should be a baseline, which `baseline` finds."""
    units = reads.store().units(run["name"])
    layer = units["layer"].iloc[-1]
    inside = units[(units["layer"] == layer) & ~units["dead"]]
    inside = inside if len(inside) else units[units["layer"] == layer]
    star = inside.sort_values(["si", "unit"], ascending=[False, True]).iloc[0].to_dict()
    table = reads.runs()
    same = (table["dataset"] == run["dataset"]) & (table["model"] == run["model"]) & (table["epochs"] != 0)
    others = table[same & (table["state"] == "finished") & table["alpha"].notna()].sort_values("alpha")
    return Lesson(run["name"], units, reads.class_names(run["name"]), layer, star, others)


def baseline(run: dict) -> str | None:
    """Return the name of the run of the same kind with alpha 0, where `run` is not one itself."""
    if run["alpha"] == 0 and run["epochs"] != 0:
        return None
    table = reads.runs()
    same = (table["dataset"] == run["dataset"]) & (table["model"] == run["model"]) & (table["state"] == "finished")
    candidates = table[same & (table["alpha"] == 0) & (table["epochs"] != 0)]["run"]
    return candidates.iloc[0] if len(candidates) else None


def selective(lesson: Lesson) -> int:
    """Return how many units have an SI over HIGH."""
    return int((lesson.units["si"] > HIGH).sum())


def drop(lesson: Lesson) -> float:
    """Point of accuracy lost without the most selective unit."""
    return round(-100 * ablation.ablate(lesson.asked)["change"], 1)


def random_drop(lesson: Lesson) -> float:
    """Return the same without one random unit of its layer: the median over `DRAWS` draws."""
    accuracies = ablation.control_accuracies(lesson.asked, "control", DRAWS)["accuracies"]
    return round(100 * (ablation.ablate(lesson.asked)["accuracy_before"] - float(np.median(accuracies))), 1)


def alphas(lesson: Lesson) -> list[str]:
    """Return every alpha of the networks of this kind, in order."""
    return [numbers.alpha(alpha) for alpha in dict.fromkeys(lesson.others["alpha"])]


def best(lesson: Lesson) -> str:
    """Return the alpha with the highest mean test accuracy."""
    return numbers.alpha(lesson.others.groupby("alpha")["test_accuracy"].mean().idxmax())


def many(lesson: Lesson) -> AblationRequest:
    """Return the most selective units of the layer, `size` of them, judged on fold 1."""
    table = unit_selection.metrics(lesson.run)
    inside = table[table["layer"] == lesson.layer].sort_values(["si", "unit"], ascending=[False, True])
    units = {lesson.layer: sorted(inside["unit"].head(size(lesson)).astype(int))}
    return AblationRequest(lesson.run, unit_lists.format_units(units), fold=1)


def told_apart(lesson: Lesson) -> tuple[list[float], int]:
    """Return the alphas whose networks differ from the most accurate one on the same images, and how many were
    tested.
    """
    runs = lesson.others
    best = runs.loc[runs["test_accuracy"].idxmax(), "run"]
    ours = reads.store().images(best)
    right = (ours["label_index"] == ours["prediction_index"]).to_numpy()
    alphas, p_values = [], []
    for row in runs[runs["run"] != best].itertuples():
        images = reads.store().images(row.run)
        count = min(len(images), len(right))  # an older run has more
        theirs = (images["label_index"] == images["prediction_index"]).to_numpy()[:count]
        p_values.append(float(mcnemar((right[:count] & ~theirs).sum(), (~right[:count] & theirs).sum())))
        alphas.append(float(row.alpha))
    corrected = holm(p_values)
    return [alpha for alpha, p in zip(alphas, corrected) if p <= LEVEL], len(p_values)


def size(lesson: Lesson) -> int:
    return max(1, min(MANY, int((lesson.units["layer"] == lesson.layer).sum()) // 2))


def verdict(lesson: Lesson) -> str:
    """Return what breaks without `many` beside random sets: one of BREAKS."""
    rank = ablation.control_accuracies(many(lesson), "control", DRAWS)
    return BREAKS[0 if rank["p"] > 0.05 else -1 if rank["quantile"] < 0.5 else 1]


def hurt(lesson: Lesson) -> str:
    """Return the class that loses most accuracy without the most selective unit; NO_CLASS where none loses an image."""
    changes = [
        row["change"] if row["change"] is not None else 0.0 for row in ablation.ablate(lesson.asked)["per_class"]
    ]
    return lesson.names[int(np.argmin(changes))] if min(changes) < 0 else NO_CLASS


def worst_classes(run: str, layer: str) -> pd.DataFrame:
    """Return each unit's class with the largest loss when it is silent alone: unit, worst (its index), change."""
    key = ("worst classes", reads.data(), reads.run_version(run), run, layer)
    label = "Silencing every unit of the layer ..."
    return scheduler.cached(key, partial(_silence_each, run, layer), label, long=True)


def _silence_each(run: str, layer: str) -> pd.DataFrame:
    from selviz.ablation import atlas_layer

    _, table = atlas_layer(ablation.engine(run, None), layer, len(reads.class_names(run)))
    table = table.assign(change=table["after"] - table["before"])
    worst = table.loc[table.groupby("unit")["change"].idxmin()]
    return worst.rename(columns={"class": "worst"})[["unit", "worst", "change"]]
