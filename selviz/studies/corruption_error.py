"""Corruption errors of networks like one, relative to their baselines: `corruption_errors(Store("data"), run)`.

Read from the stored stage `robustness` of each; nothing is computed on a network.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selviz.robustness.bench import CLEAN, CORRUPTION, STORED
from selviz.robustness.corruption_error import mean_corruption_error
from selviz.robustness.corruptions import CORRUPTIONS
from selviz.robustness.unit_shifts import corruption_accuracy
from selviz.runs.families import by_alpha, siblings
from selviz.statistics import chance, wilson
from selviz.store import Store
from selviz.store.queries import read
from selviz.studies.stage_writing import stored_settings

STAGE = "robustness"
COLUMNS = (
    "run alpha seed mean_si baseline corruptions severities images mce mce_low mce_high above_chance above_chance_low "
    "above_chance_high why"
).split()
Level = tuple[str, float]  # a corruption and its severity


class Answers(NamedTuple):
    """Which images [N] a network is right on: clean, and by corruption and severity; `made` is how they were made."""

    labels: np.ndarray
    clean: np.ndarray
    right: dict[Level, np.ndarray]
    made: dict[str, Any]

    @property
    def chance(self) -> float:
        """Return the accuracy of always naming the commonest class of these images, 0..1."""
        return chance(self.labels)


def corruption_errors(
    store: Store, run: str, baseline: str | None = None, kind: str = CORRUPTION, family: str = "all"
) -> pd.DataFrame:
    """Return one row per network like `run` whose robustness is stored, by alpha and seed: COLUMNS.

    mce is relative to the network of alpha 0 with the same seed, or to `baseline` for all; above_chance is the mean
    accuracy above chance over that on clean images. Both over the corruptions (of a `family`; all but the extra ones)
    and severities that `run` was measured under, with 95 % intervals for new images; `why` says why one is missing,
    else "".
    """
    store.run(run)
    everyone = siblings(store.runs(), run)
    rows = {str(row["run"]): {str(name): value for name, value in row.items()} for row in everyone.to_dict("records")}
    baselines = {row["seed"]: name for name, row in rows.items() if row["alpha"] == 0}
    answers: dict[str, Answers | None] = {}

    def answers_of(name: str) -> Answers | None:
        if name not in answers:
            answers[name] = _answers(store.run_path(name), kind)
        return answers[name]

    own = answers_of(run)
    levels = [level for level in own.right if _is_of(level[0], family)] if own else []
    if own is None or not levels:
        return pd.DataFrame(columns=COLUMNS)
    if baseline is not None and store.run(baseline)["fingerprint"] != store.run(run)["fingerprint"]:
        return pd.DataFrame(
            [_row(rows[run], baseline, levels, len(own.labels)) | {"why": f"{baseline} was measured on other images"}],
            columns=COLUMNS,
        )
    table = []
    for name, about in rows.items():
        theirs = answers_of(name)
        if theirs is None:
            continue
        reference = baselines.get(about["seed"]) if baseline is None else baseline
        row = _row(about, reference, levels, len(theirs.labels))
        table.append(row)
        if why := _lacking(name, theirs, levels):
            row["why"] = why
            continue
        if kind != STORED:  # pictures that others made are not the clean ones, perturbed
            row |= _above_chance(theirs, levels)
        if reference is None:
            row["why"] = _no_baseline(about)
        elif (base := answers_of(reference)) is None:
            row["why"] = f"its baseline {reference} was not measured"
        elif why := _lacking(reference, base, levels) or _made_otherwise(reference, theirs, base):
            row["why"] = why
        else:
            row |= _relative(theirs, base, levels, reference)
    return pd.DataFrame(table, columns=COLUMNS)


def over_seeds(errors: pd.DataFrame) -> pd.DataFrame:
    """Return one row per alpha of `corruption_errors`: mean over seeds of mce, each network beside the baseline of its
    own seed, with the interval over seeds and n; and of above_chance likewise."""
    parts = []
    for column in ("mce", "above_chance"):
        known = errors[errors["alpha"].notna()].astype({column: float})
        parts.append(by_alpha(known.dropna(subset=[column]), column).assign(measure=column))
    return pd.concat(parts, ignore_index=True)


def _row(about: dict[str, Any], reference: str | None, levels: list[Level], images: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {name: about.get(name) for name in ("run", "alpha", "seed", "mean_si")}
    counts = {"corruptions": len({name for name, _ in levels}), "severities": len({level for _, level in levels})}
    return row | counts | {"baseline": reference, "images": images, "why": ""}


def _no_baseline(about: dict[str, Any]) -> str:
    if pd.isna(about["alpha"]) or pd.isna(about["seed"]):
        return "a network that was not trained here has no baseline of its own; name one: --baseline RUN"
    return f"no network of alpha 0 with seed {about['seed']:g} is in the store"


def _answers(folder: Path, kind: str) -> Answers | None:
    if (settings := stored_settings(folder, STAGE)) is None:
        return None
    query = (
        f"SELECT kind, name, level, label, label = prediction AS correct FROM {STAGE}.robustness_images "
        "WHERE kind IN (?, ?) ORDER BY kind, name, level, image"
    )
    table = read({STAGE: folder / f"{STAGE}.duckdb"}, query, (CLEAN, kind))
    clean = table[table["kind"] == CLEAN]
    groups: Any = table[table["kind"] == kind].groupby(["name", "level"], sort=True)["correct"]
    right = {(str(name), float(level)): values.to_numpy(dtype=bool) for (name, level), values in groups}
    made = {name: settings.get(name) for name in ("images", "seed")}
    return Answers(clean["label"].to_numpy(), clean["correct"].to_numpy(dtype=bool), right, made) if right else None


def _is_of(corruption: str, family: str) -> bool:
    own = CORRUPTIONS.get(corruption, "other")
    return own != "extra" if family == "all" else own == family


def _lacking(name: str, answers: Answers, levels: list[Level]) -> str | None:
    missing = sorted({corruption for corruption, level in levels if (corruption, level) not in answers.right})
    return f"{name} was not measured under {', '.join(missing)} at the same severities" if missing else None


def _made_otherwise(reference: str, ours: Answers, theirs: Answers) -> str | None:
    words = {"images": "on another number of images", "seed": "with another seed of the corruptions"}
    different = [told for name, told in words.items() if ours.made[name] != theirs.made[name]]
    return f"its baseline {reference} was measured {different[0]}" if different else None


def _relative(ours: Answers, theirs: Answers, levels: list[Level], reference: str) -> dict[str, Any]:
    names = sorted({name for name, _ in levels})
    errors, base = (
        np.stack([np.mean([~each.right[level] for level in levels if level[0] == name], axis=0) for name in names])
        for each in (ours, theirs)
    )
    found = mean_corruption_error(errors, base)
    if found.undefined:
        zero = ", ".join(names[row] for row in found.undefined)
        return {"why": f"not defined: its baseline {reference} makes no error under {zero}"}
    return {"mce": found.mce, "mce_low": found.low, "mce_high": found.high}


def _above_chance(answers: Answers, levels: list[Level]) -> dict[str, Any]:
    """Return the mean accuracy above chance over that on clean images; nothing for a network within noise of chance."""
    clean = answers.clean
    if wilson(clean.sum(), len(clean))[0] <= answers.chance:
        return {}
    found = corruption_accuracy(np.stack([answers.right[level] for level in levels]), clean, answers.chance)
    return {"above_chance": found.relative, "above_chance_low": found.relative_low,
            "above_chance_high": found.relative_high}  # fmt: skip
