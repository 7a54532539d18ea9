"""Measure a run's units beside SI: `run_metrics(Store("data"), run)`, `run_unit_map(store, run)`.

Each writes a stage of its own; `run_metrics` goes on where it was cut off.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from selviz.errors import SelvizError, unknown
from selviz.selectivity import embedding, other_measures
from selviz.store import Store
from selviz.studies.stage_writing import Tables, capture_version, is_up_to_date, stored_settings, writing_stage
from selviz.system.progress import Report, silent

UNIT_METRICS = "unit_metrics"


def run_metrics(
    store: Store,
    run: str,
    superclasses: Mapping[str, Sequence[str]] | None = None,
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Compute every measure of `selviz.selectivity.other_measures` for every unit; return `store.unit_metrics`.

    On all evaluation images. `superclasses` (name -> class names) adds the SI on labels merged into them; None leaves
    it as it is stored. Stored as stage `unit_metrics`. A finished one is returned as it is unless the activations or
    the superclasses changed, or `again`. Raises SelvizError for superclasses that share a class, name an unknown one,
    or are fewer than two.
    """
    about, folder = store.run(run), store.run_path(run)
    if superclasses is None:
        superclasses = (stored_settings(folder, UNIT_METRICS) or {}).get("superclasses")
    merged = {name: list(members) for name, members in (superclasses or {}).items()}
    groups = class_groups(merged, about["classes"]) if merged else None
    settings = {"capture": capture_version(store, run), "superclasses": merged or None}
    if not again and is_up_to_date(folder, UNIT_METRICS, settings):
        return store.unit_metrics(run)
    with writing_stage(store, run, UNIT_METRICS, again) as stage:
        labels, names = store.images(run)["label_index"].to_numpy(), store.layers(run)["layer"]
        tables = []
        for position, name in enumerate(names):

            def measure(name: str = name) -> Tables:
                return {"units": other_measures.unit_metrics(store.matrix(run, name), labels, len(about["classes"]))}

            table = stage.part(f"{str(settings['capture'])[:16]}-{position}", measure)["units"].assign(layer=position)
            tables.append(table.assign(**_superclass_columns(store, run, name, labels, groups, list(merged))))
            report({"run": run, "stage": "unit metrics", "layer": name, "done": position + 1, "of": len(names)})
        stage.write({UNIT_METRICS: pd.concat(tables)}, settings)
    return store.unit_metrics(run)


def run_unit_map(store: Store, run: str, report: Report = silent, again: bool = False, seed: int = 0) -> pd.DataFrame:
    """Lay each layer's units out on a plane by their tuning (`embedding.layout`); return `store.unit_map`.

    Stored as stage `unit_map`. A finished one is returned as it is unless the activations changed, or `again`.
    """
    store.run(run)
    settings = {"capture": capture_version(store, run), "seed": seed}
    if not again and is_up_to_date(store.run_path(run), "unit_map", settings):
        return store.unit_map(run)
    with writing_stage(store, run, "unit_map", again) as stage:
        names, tables = store.layers(run)["layer"], []
        for position, name in enumerate(names):
            means = store.tuning(run, name)
            columns = dict(zip(("pca_x", "pca_y"), embedding.layout(means).T))
            fits = 5 <= len(means) <= embedding.MAX_TSNE
            tsne = embedding.layout(means, "tsne", seed).T if fits else (None, None)
            columns |= dict(zip(("tsne_x", "tsne_y"), tsne))
            tables.append(pd.DataFrame({"layer": position, "unit": range(len(means)), **columns}))
            report({"run": run, "stage": "unit map", "layer": name, "done": position + 1, "of": len(names)})
        stage.write({"unit_map": pd.concat(tables)}, settings)
    return store.unit_map(run)


def class_groups(superclasses: Mapping[str, Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Return the number of each class's superclass, [C], in the order of `superclasses`; -1 for a class in none."""
    groups = np.full(len(classes), -1)
    for number, (name, members) in enumerate(superclasses.items()):
        for member in members:
            if member not in classes:
                raise unknown("class", member, classes)
            position = list(classes).index(member)
            if groups[position] >= 0:
                raise SelvizError(f"Class {member!r} is in two superclasses, the second {name!r}; name it once.")
            groups[position] = number
    if len(set(groups[groups >= 0])) < 2:
        raise SelvizError("Superclasses are compared with each other: give at least two, each with a class.")
    return groups


def _superclass_columns(
    store: Store, run: str, layer: str, labels: np.ndarray, groups: np.ndarray | None, names: list[str]
) -> dict[str, Any]:
    columns = ("superclass_si", "superclass_null_mean", "superclass_null_p95", "superclass")
    if groups is None:
        return dict.fromkeys(columns)
    si, group, null = other_measures.superclass_selectivity(store.matrix(run, layer), labels, groups)
    best = np.array(names)[group]
    return dict(zip(columns, (si, null.mean(axis=0), np.quantile(null, 0.95, axis=0), best)))
