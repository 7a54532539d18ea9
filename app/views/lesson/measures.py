"""What the lesson is taught on, and the answers to its questions, measured on this store: `drop(start(run))`."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selviz.statistics import LEVEL, holm, mcnemar
from selviz.text import numbers, unit_lists

from ...compute import ablation, scheduler
from ...compute.ablation import AblationRequest
from ...page import unit_selection
from ...state import reads

MANY, DRAWS = 10, 100
FEW = 20  # random units that the plain sentence of step 3 counts
RANDOM_SETS = 5  # of as many units as prefer a class, whose middle is told
HIGH = 0.5  # SI over which a unit is called selective: its class mean is over three times that of the others
MORE, SAME, LESS = "more", "about as much", "less"
BREAKS = (MORE, SAME, LESS)
WORSE, AS_GOOD, BETTER = "clearly worse", "about as good", "clearly better"
NONE = "none clearly"


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
    def request(self) -> AblationRequest:
        return AblationRequest(self.run, unit_lists.format_units(self.star))


class ClassSilenced(NamedTuple):
    """What silencing all units that prefer a class does to its images; shares 0..1."""

    name: str
    units: int
    images: int
    before: float
    after: float
    random: float  # the middle of `RANDOM_SETS` random sets of as many units


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


def baseline(run: dict[str, Any]) -> dict[str, Any]:
    """Return the run of the same kind with alpha 0, or `run` where there is none."""
    if run["alpha"] == 0 and run["epochs"] != 0:
        return run
    table = reads.runs()
    same = (table["dataset"] == run["dataset"]) & (table["model"] == run["model"]) & (table["state"] == "finished")
    found = table[same & (table["alpha"] == 0) & (table["epochs"] != 0)]
    return {"name": found["run"].iloc[0], **found.iloc[0].to_dict()} if len(found) else run


def selective(lesson: Lesson) -> int:
    """Return how many units have an SI over HIGH."""
    return int((lesson.units["si"] > HIGH).sum())


def strength(lesson: Lesson) -> float | None:
    """Return how many times as strong the unit's answer to its class is as to the mean other class."""
    means = reads.store().class_means(lesson.run, lesson.layer, int(lesson.unit["unit"]))["mean"].to_numpy(dtype=float)
    rest = float(np.delete(means, int(lesson.unit["preferred_index"])).mean())
    return float(means.max()) / rest if rest > 0 else None


def drop(lesson: Lesson) -> float:
    """Return the points of accuracy lost without the most selective unit."""
    return round(-100 * ablation.ablate(lesson.request)["change"], 1)


def random_units_that_hurt_more(lesson: Lesson) -> tuple[int, int]:
    """Return how many of how many random units of the layer cost more accuracy than the most selective one."""
    accuracies = ablation.control_accuracies(lesson.request, "control", FEW)["accuracies"]
    after = ablation.ablate(lesson.request)["accuracy_after"]
    return sum(accuracy < after for accuracy in accuracies), len(accuracies)


def size(lesson: Lesson) -> int:
    """Return how many units the step with many at once silences."""
    return max(1, min(MANY, int((lesson.units["layer"] == lesson.layer).sum()) // 2))


def many(lesson: Lesson) -> AblationRequest:
    """Return the most selective units of the layer, `size` of them, chosen on fold 0 and judged on fold 1."""
    table = unit_selection.metrics(lesson.run)
    inside = table[table["layer"] == lesson.layer].sort_values(["si", "unit"], ascending=[False, True])
    units = {lesson.layer: sorted(inside["unit"].head(size(lesson)).astype(int))}
    return AblationRequest(lesson.run, unit_lists.format_units(units), fold=1)


def verdict(lesson: Lesson) -> str:
    """Return what breaks without `many`, held against random sets: one of BREAKS."""
    rank = ablation.control_accuracies(many(lesson), "control", DRAWS)
    return SAME if rank["p"] > LEVEL else MORE if rank["quantile"] < 0.5 else LESS


def random_many(lesson: Lesson) -> float:
    """Return the accuracy 0..1 without as many random units: the middle of DRAWS sets."""
    return float(np.median(ablation.control_accuracies(many(lesson), "control", DRAWS)["accuracies"]))


def lovers(lesson: Lesson) -> AblationRequest:
    """Return all live units of the layer that prefer the class of the most selective one, on fold 0; judged on 1."""
    table = unit_selection.metrics(lesson.run)
    inside = table[(table["layer"] == lesson.layer) & ~table["dead"]]
    chosen = inside[inside["preferred_index"] == int(lesson.unit["preferred_index"])]["unit"].astype(int)
    units = sorted(chosen) or [int(lesson.unit["unit"])]
    return AblationRequest(lesson.run, unit_lists.format_units({lesson.layer: units}), fold=1)


def class_silenced(lesson: Lesson) -> ClassSilenced:
    """Return what becomes of the images of a class without all units that prefer it, and without as many random."""
    request, index = lovers(lesson), int(lesson.unit["preferred_index"])
    row = ablation.ablate(request)["per_class"][index]
    every = lesson.units.loc[lesson.units["layer"] == lesson.layer, "unit"].astype(int).to_numpy()
    count = len(unit_lists.parse_existing_units(request.units, {lesson.layer: len(every)})[0][lesson.layer])
    random = []
    for seed in range(RANDOM_SETS):
        units = sorted(int(unit) for unit in np.random.default_rng(seed).choice(every, count, replace=False))
        other = request._replace(units=unit_lists.format_units({lesson.layer: units}))
        random.append(ablation.ablate(other)["per_class"][index]["after"])
    return ClassSilenced(
        lesson.names[index], count, int(row["images"]), float(row["before"]), float(row["after"]), np.median(random)
    )


def still_right(lesson: Lesson) -> float:
    """Return how many of 100 images of the class are still recognized without the units that prefer it."""
    return round(100 * class_silenced(lesson).after, 0)


def suppressed(lesson: Lesson) -> dict[str, Any] | None:
    """Return the run with the least selectivity that no test tells from the baseline, else the most accurate one.

    Of those in which selectivity was suppressed; None where there is none.
    """
    runs = lesson.others[lesson.others["alpha"] < 0].sort_values("mean_si_live")
    for row in runs.to_dict("records"):
        if mcnemar(*_differing(lesson.run, row["run"])) > LEVEL:
            return row
    return runs.loc[runs["test_accuracy"].idxmax()].to_dict() if len(runs) else None


def without_selectivity(lesson: Lesson) -> str | None:
    """Return how good the network with suppressed selectivity is beside the baseline, on the same images."""
    run = suppressed(lesson)
    if run is None:
        return None
    lost, gained = _differing(lesson.run, run["run"])
    if mcnemar(lost, gained) > LEVEL:
        return AS_GOOD
    return WORSE if lost > gained else BETTER


def _differing(run: str, other: str) -> tuple[int, int]:
    """Return on how many images the first is right and the second wrong, and the other way round."""
    right = []
    for name in (run, other):
        images = reads.store().images(name)
        right.append((images["label_index"] == images["prediction_index"]).to_numpy())
    count = min(map(len, right))  # an older run has more
    ours, theirs = (part[:count] for part in right)
    return int((ours & ~theirs).sum()), int((~ours & theirs).sum())


def told_apart(lesson: Lesson) -> tuple[list[float], int]:
    """Return the alphas whose networks differ from the most accurate one on the same images, and how many were
    tested.
    """
    runs = lesson.others
    best = runs.loc[runs["test_accuracy"].idxmax(), "run"]
    rest = runs[runs["run"] != best]
    p_values = [float(mcnemar(*_differing(best, run))) for run in rest["run"]]
    corrected = holm(p_values)
    return [float(alpha) for alpha, p in zip(rest["alpha"], corrected) if p <= LEVEL], len(p_values)


def hurt(lesson: Lesson) -> str:
    """Return the class that loses most accuracy without the most selective unit, NONE where no loss is clear."""
    rows = ablation.ablate(lesson.request)["per_class"]
    losses = [row["change"] if row["change"] is not None else 0.0 for row in rows]
    worst = int(np.argmin(losses))
    clear = losses[worst] < 0 and rows[worst]["mcnemar_p_holm"] <= LEVEL
    return lesson.names[worst] if clear else NONE


def worst_classes(run: str, layer: str) -> pd.DataFrame:
    """Return each unit's class with the largest loss when it is silent alone: unit, worst (its index), change."""
    key = ("worst classes", reads.data(), reads.run_version(run), run, layer)
    message = "Silencing every unit of the layer ..."
    return scheduler.cached(key, partial(_silence_each, run, layer), message, long=True)


def _silence_each(run: str, layer: str) -> pd.DataFrame:
    from selviz.ablation import atlas_layer

    _, table = atlas_layer(ablation.engine(run, None), layer, len(reads.class_names(run)))
    table = table.assign(change=table["after"] - table["before"])
    worst = table.loc[table.groupby("unit")["change"].idxmin()]
    return worst.rename(columns={"class": "worst"})[["unit", "worst", "change"]]


def picture_and_need(lesson: Lesson) -> tuple[int, int, int]:
    """Return of how many live units of the layer, how many cost some class an image, and in how many it is theirs."""
    live = lesson.units[(lesson.units["layer"] == lesson.layer) & ~lesson.units["dead"]]
    table = live.merge(worst_classes(lesson.run, lesson.layer), on="unit")
    losing = table[table["change"] < 0]
    return len(table), len(losing), int((losing["worst"] == losing["preferred_index"]).sum())


def of_hundred(share: float) -> str:
    """Return a share 0..1 as a number of a hundred: `96.4 of 100`."""
    return f"{100 * share:.1f}".removesuffix(".0") + " of 100"


def alpha_in_words(row: dict) -> str:
    """Return the name of a network by its alpha."""
    return f"alpha {numbers.alpha(row['alpha'])}"
