"""Measure how a run stands up to bad images and to an attacker: `run_robustness(Store("data"), run)`.

Stored as stage `robustness`; goes on where it was cut off.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selviz.datasets import Dataset
from selviz.errors import SelvizError, unknown
from selviz.robustness import attacks, corrupted_sets, corruptions
from selviz.robustness.bench import (
    ATTACK,
    CLEAN,
    CORRUPTION,
    STORED,
    AttackSettings,
    Bench,
    Perturbation,
    adversarial,
)
from selviz.robustness.corruptions import SEVERITIES, STANDARD
from selviz.robustness.unit_shifts import corruption_accuracy
from selviz.runs.load import load_network
from selviz.store import Store
from selviz.store.merging import merged
from selviz.store.queries import read
from selviz.studies.corrupted_pictures import CorruptedPictures
from selviz.studies.stage_writing import Tables, clear_leftovers, stored_settings, weights_version, writing_stage
from selviz.system.progress import Report, silent

__all__ = ["ATTACKS", "AttackSettings", "adversarial", "run_robustness"]

STAGE = "robustness"
IMAGES = 1000
ATTACKS = ("fgsm", "pgd")
ATTACK_SETTINGS = AttackSettings()
KEY = ("kind", "name", "level")


def run_robustness(
    store: Store,
    run: str,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    kinds: Sequence[str] = ATTACKS,
    epsilons: Sequence[float] | None = None,
    attack: AttackSettings = ATTACK_SETTINGS,
    folder: str | Path | None = None,
    images: int = IMAGES,
    seed: int = 0,
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Measure accuracy and units of a run under corruptions and attacks; return `store.robustness(run)`.

    Corruptions `names` (the 15 of ImageNet-C) at `severities` by corrupt-tta, or those in `folder`, which others made
    (`corrupted_sets`); `kinds` of attack at `epsilons`, in pixel units (0.5 to 8, and for grey images to 32); on the
    first `images` evaluation images, which are nearly balanced over classes. What is stored already for the same images
    and seed stays, and is not computed again unless `again`. Corruptions that need larger images are skipped and said
    in `report` as {"skipped": reason}.
    Raises SelvizError for a bad name, severity, epsilon or folder.
    """
    names = names if names is not None or folder is not None else STANDARD
    for severity in severities:
        for name in names if names and folder is None else STANDARD[:1]:
            corruptions.check(name, severity)
    for kind in kinds:
        if kind not in ATTACKS:
            raise unknown("attack", kind, list(ATTACKS))
    epsilons = None if epsilons is None else [attacks.check_epsilon(float(epsilon)) for epsilon in epsilons]
    if images < 2:
        raise SelvizError(f"images is {images}; at least 2 are needed, and some hundreds for narrow intervals.")
    about = store.run(run)
    if attack.target is not None and attack.target not in about["classes"]:
        raise unknown("class", attack.target, about["classes"])
    network, dataset = load_network(store, run)
    images = min(images, len(dataset.eval_labels))
    if epsilons is None:
        epsilons = attacks.EPSILONS + (attacks.STRONGER if dataset.channels == 1 else ())
    base = {"weights": weights_version(store, run), "images": images, "seed": seed}
    requested = _corruptions(dataset, names, severities, folder, report)
    aim = "" if attack.target is None else f" to {attack.target}"
    requested += [Perturbation(ATTACK, kind + aim, tuple(sorted(set(epsilons)))) for kind in kinds]
    requested = [each for each in requested if each.levels]
    stored = _stored(store.run_path(run), base, attack if kinds else None)
    missing = [each for each in requested if again or not each.keys() <= stored]
    if not missing and stored:
        clear_leftovers(store.run_path(run), STAGE)
        return store.robustness(run)
    with writing_stage(store, run, STAGE, again) as stage:
        bench = Bench(network, dataset, images, seed, CorruptedPictures(store.path, dataset, images, seed), attack)
        measured = [bench.clean()] if again or (CLEAN, CLEAN, 0.0) not in stored else []
        done, total = 0, sum(len(each.levels) for each in missing)
        for each in missing:

            def measure(each: Perturbation = each, first: int = done) -> Tables:
                levels = iter(range(first + 1, total + 1))

                def report_level(level: float) -> None:
                    layer = f"{each.name} {level:g}"
                    report({"run": run, "stage": STAGE, "layer": layer, "done": next(levels), "of": total})

                return bench.measure(each, report_level)

            tables = stage.part(_key({**base, **asdict(attack)}, each), measure)
            measured.append({name: table.assign(kind=each.kind, name=each.name) for name, table in tables.items()})
            done += len(each.levels)
        tables = {name: pd.concat([part[name] for part in measured]) for name in measured[0]}
        attacked = asdict(attack)
        if stored:
            fresh = set().union(*(each.keys() for each in missing))
            tables, attacked = _with_stored(stage.folder, tables, attacked, fresh, bool(kinds))
        tables["robustness_summary"] = _summary(tables["robustness_images"])
        stage.write(tables, {**base, "attack": attacked})
    return store.robustness(run)


def _corruptions(
    dataset: Dataset,
    names: Sequence[str] | None,
    severities: Sequence[int],
    folder: str | Path | None,
    report: Report,
) -> list[Perturbation]:
    """Return the requested corruptions: of `folder`, else those that the images are large enough for."""
    levels = tuple(sorted({float(severity) for severity in severities}))
    if folder is not None:
        known = corrupted_sets.names(folder)
        for name in names or ():
            if name not in known:
                raise unknown("corruption", name, known)
        return [Perturbation(STORED, name, levels, str(folder)) for name in names or known]
    height, width = dataset.eval_pixels.shape[2:]
    fitting, skipped = corruptions.usable(height, width, STANDARD if names is None else names)
    for reason in skipped.values():
        report({"skipped": reason})
    return [Perturbation(CORRUPTION, name, levels) for name in fitting]


def _key(settings: dict[str, Any], perturbation: Perturbation) -> str:
    item = [perturbation.kind, perturbation.name, *perturbation.levels]
    return hashlib.sha256(json.dumps({**settings, "item": item}).encode()).hexdigest()[:16]


def _stored(folder: Path, base: dict[str, Any], attack: AttackSettings | None) -> set[tuple[str, str, float]]:
    """Return KEY of what is stored already for the same images, weights and seed, and with the same attack."""
    settings = stored_settings(folder, STAGE)
    if settings is None or any(settings.get(name) != value for name, value in base.items()):
        return set()
    table = read({STAGE: folder / f"{STAGE}.duckdb"}, f"SELECT kind, name, level FROM {STAGE}.robustness")
    if attack is not None and settings["attack"] != asdict(attack):
        table = table[table["kind"] != ATTACK]
    return set(zip(table["kind"], table["name"], table["level"]))


def _with_stored(
    folder: Path, tables: Tables, attack: dict[str, Any], fresh: set[tuple[str, str, float]], attacked: bool
) -> tuple[Tables, dict[str, Any]]:
    """Return the tables with the stored rows that stay, and the attack settings of the result.

    Stored attacks that were made otherwise than the new ones go.
    """
    settings = stored_settings(folder, STAGE)
    assert settings is not None
    tables = merged(folder, STAGE, tables, KEY)
    if not attacked:
        return tables, settings["attack"]
    if settings["attack"] != attack:
        tables = {name: _without_old_attacks(table, fresh) for name, table in tables.items()}
    return tables, attack


def _without_old_attacks(table: pd.DataFrame, fresh: set[tuple[str, str, float]]) -> pd.DataFrame:
    keys = zip(*(table[name] for name in KEY))
    return table[[key[0] != ATTACK or key in fresh for key in keys]]


def _summary(images: pd.DataFrame) -> pd.DataFrame:
    """Return mean corruption accuracy, overall and by family, of corrupt-tta's pictures and of those made by others."""
    right = images.assign(right=images["label"] == images["prediction"])
    clean = right[right["kind"] == CLEAN].sort_values("image")["right"].to_numpy()
    rows = []
    for kind in (CORRUPTION, STORED):
        part = right[right["kind"] == kind]
        family = part["name"].map(corruptions.CORRUPTIONS).fillna("other")
        for name, chosen in (("all", part[family != "extra"]), *part.groupby(family)):
            if chosen.empty:
                continue
            grid = chosen.pivot(index=["name", "level"], columns="image", values="right").to_numpy(dtype=float)
            row = {"kind": kind, "family": name, "corruptions": chosen["name"].nunique(), "images": grid.shape[1]}
            row["severities"] = chosen["level"].nunique()
            measured = corruption_accuracy(grid, clean)._asdict()
            if kind == STORED:  # other images than the clean ones: their means are compared, not image by image
                measured |= {
                    "relative": measured["accuracy"] / clean.mean(),
                    "relative_low": np.nan,
                    "relative_high": np.nan,
                }
            rows.append({**row, **measured})
    columns = "kind family corruptions severities images accuracy low high relative relative_low relative_high".split()
    return pd.DataFrame(rows, columns=columns)
