"""Whether the gradients of a run mislead its white-box attacks: `gradient_masking(Store("data"), run)`.

Read from the stored stage `robustness`; nothing is computed on a network.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selviz.robustness.bench import ATTACK, RAYS, TRANSFER
from selviz.robustness.gradient_masking import Masking, masking
from selviz.statistics import LEVEL, holm
from selviz.store import Store
from selviz.store.queries import read
from selviz.studies.stage_writing import stored_settings
from selviz.text.numbers import counted, percent, points, signed
from selviz.text.perturbations import called

STAGE = "robustness"
WHITE_BOX, NEEDED = ("pgd", "fgsm"), "pgd"
COLUMNS = ["epsilon", "attack", *Masking._fields, "p_holm", "masked"]


class Answer(NamedTuple):
    """`table`, one row per epsilon and attack without gradients (COLUMNS), and what it says in a sentence."""

    table: pd.DataFrame
    sentence: str


def gradient_masking(store: Store, run: str) -> Answer:
    """Compare, at each epsilon, the stored white-box attacks with those that use no gradient of this network.

    An image survives the white-box attacks if it is right under each of them; PGD must be among them, for one step
    (FGSM) may fail for its shortness. masked: the whole 95 % interval lies above 0, and p, Holm-corrected over the
    table, is below 0.05.
    """
    right = _right(store, run)
    rows = []
    for epsilon in sorted({level for _, level in right if level > 0}):
        white = [right[name, epsilon] for name in WHITE_BOX if (name, epsilon) in right]
        others = [name for name, level in right if level == epsilon and name.partition(" ")[0] in (RAYS, TRANSFER)]
        if (NEEDED, epsilon) in right:
            survived = np.logical_and.reduce(white)
            rows += [
                {"epsilon": epsilon, "attack": name, **masking(survived, right[name, epsilon])._asdict()}
                for name in others
            ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        table["p_holm"] = holm(table["p"])
        table["masked"] = (table["low"] > 0) & (table["p_holm"] < LEVEL)
    return Answer(table, _sentence(table, run))


def _right(store: Store, run: str) -> dict[tuple[str, float], np.ndarray]:
    """Return by attack and epsilon which images are taken for what they are."""
    folder = store.run_path(run)
    if stored_settings(folder, STAGE) is None:
        return {}
    query = (
        f"SELECT name, level, label = prediction AS correct FROM {STAGE}.robustness_images WHERE kind = ? "
        "ORDER BY name, level, image"
    )
    table = read({STAGE: folder / f"{STAGE}.duckdb"}, query, (ATTACK,))
    names, levels = table["name"].to_numpy(), table["level"].to_numpy(dtype=float)
    correct = table["correct"].to_numpy(dtype=bool)
    pairs = sorted(set(zip(names.tolist(), levels.tolist())))
    return {(name, level): correct[(names == name) & (levels == level)] for name, level in pairs}


def _sentence(table: pd.DataFrame, run: str) -> str:
    if table.empty:
        return (
            "Not tested for gradient masking: that needs PGD and an attack without gradients at the same epsilon: "
            f"selviz robustness {run} --attack pgd --attack rays"
        )
    images = counted(int(table["images"].iloc[0]), "image")
    masked = table[table["masked"].astype(bool)]
    if masked.empty:
        top = _largest(table)
        return (
            f"No gradient masking was found: at no epsilon do the white-box attacks leave significantly more images "
            f"right than the attacks without gradients. The largest difference, to {called(top['attack'])} at epsilon "
            f"{top['epsilon']:g}, is {points(top['difference'])} (95 % interval {_between(top)}; {images})."
        )
    top = _largest(masked)
    also = sorted(set(masked["epsilon"]) - {top["epsilon"]})
    return (
        f"Gradients are masked: at epsilon {top['epsilon']:g} the white-box attacks leave "
        f"{percent(top['white_box'])} of {images} right and {called(top['attack'])} {percent(top['without'])}, "
        f"{points(top['difference'])} (95 % interval {_between(top)}). An attack "
        "that uses gradients can do all that one without them can, so the white-box figure is too high and not to be "
        "trusted" + (f" (likewise at {', '.join(f'{level:g}' for level in also)})." if also else ".")
    )


def _largest(table: pd.DataFrame) -> dict[Any, Any]:
    return max(table.to_dict("records"), key=lambda row: float(row["difference"]))


def _between(row: dict[Any, Any]) -> str:
    return f"{signed(100 * row['low'])} to {signed(100 * row['high'])}"
