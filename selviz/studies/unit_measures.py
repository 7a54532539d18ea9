"""Stored studies of a run that leave its network as it is: `run_metrics(Store("data"), run)`.

Each writes a stage of its own beside the run's others and is resumable: finished parts lie in `partial/`.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from selviz.errors import SelvizError, unknown
from selviz.networks.unit_edit import check_units
from selviz.runs.load import load_network
from selviz.runs.stages import provenance
from selviz.selectivity import embedding, other_measures
from selviz.store import Store, stage_is_whole, write_stage
from selviz.store.files import WEIGHTS, checksum, writing
from selviz.store.partial_results import kept
from selviz.store.stage_files import record
from selviz.system.locks import Claim
from selviz.system.write_access import read_only

Report = Callable[[dict], None]
UNIT_METRICS = "unit_metrics"


def run_metrics(
    store: Store,
    run: str,
    superclasses: Mapping[str, Sequence[str]] | None = None,
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """Every measure of `selviz.selectivity.other_measures` for every unit, on all evaluation images; returns `store.unit_metrics`.

    `superclasses` (name -> class names) adds the SI on labels merged into them; None leaves it as it is stored. Stored
    as stage `unit_metrics`. A finished one is returned as it is unless the activations or the superclasses changed, or
    `again`. Raises SelvizError for superclasses that share a class, name an unknown one, or are fewer than two.
    """
    about, folder = store.run(run), store.run_path(run)
    captured = record(folder / "capture.duckdb")
    stored = record(folder / f"{UNIT_METRICS}.duckdb") if stage_is_whole(folder, UNIT_METRICS) else None
    earlier = stored["provenance"].get("superclasses") if stored else None
    superclasses = earlier if superclasses is None else {name: list(names) for name, names in superclasses.items()}
    groups = class_groups(superclasses, about["classes"]) if superclasses else None
    settings = {"capture": captured and captured["sha256"], "superclasses": superclasses or None}
    if stored and not again and all(stored["provenance"].get(name) == value for name, value in settings.items()):
        return store.unit_metrics(run)
    with Claim(folder / "claim.json", f"run {run}"):
        labels, names = store.images(run)["label_index"].to_numpy(), store.layers(run)["layer"]
        tables, paths = [], []
        for position, name in enumerate(names):
            key = str(settings["capture"])[:16]
            paths.append(folder / "partial" / f"{UNIT_METRICS}-{key}-{position}.npz")

            def make(name=name) -> dict[str, pd.DataFrame]:
                return {"units": other_measures.unit_metrics(store.matrix(run, name), labels, len(about["classes"]))}

            table = kept(paths[-1], make, again)["units"].assign(layer=position)
            tables.append(table.assign(**_superclass_columns(store, run, name, labels, groups, superclasses)))
            report({"run": run, "stage": "unit metrics", "layer": name, "done": position + 1, "of": len(names)})
        write_stage(folder, UNIT_METRICS, {UNIT_METRICS: pd.concat(tables)}, {**provenance("cpu"), **settings})
        for path in paths:
            path.unlink(missing_ok=True)
    return store.unit_metrics(run)


def run_unit_map(
    store: Store, run: str, report: Report = lambda news: None, again: bool = False, seed: int = 0
) -> pd.DataFrame:
    """Each unit's place on a map of its layer by its tuning (`unit_map.layout`); returns `store.unit_map`.

    Stored as stage `unit_map`. A finished one is returned as it is unless the activations changed, or `again`.
    """
    folder = store.run_path(run)
    store.run(run)
    captured = record(folder / "capture.duckdb")
    stored = record(folder / "unit_map.duckdb") if stage_is_whole(folder, "unit_map") else None
    settings = {"capture": captured and captured["sha256"], "seed": seed}
    if stored and not again and all(stored["provenance"].get(name) == value for name, value in settings.items()):
        return store.unit_map(run)
    with Claim(folder / "claim.json", f"run {run}"):
        names, tables = store.layers(run)["layer"], []
        for position, name in enumerate(names):
            means = store.class_means(run, name).pivot(index="unit", columns="class_index", values="mean").to_numpy()
            places = dict(zip(("pca_x", "pca_y"), embedding.layout(means).T))
            fits = 5 <= len(means) <= embedding.MOST_TSNE
            places |= dict(zip(("tsne_x", "tsne_y"), embedding.layout(means, "tsne", seed).T if fits else (None, None)))
            tables.append(pd.DataFrame({"layer": position, "unit": range(len(means)), **places}))
            report({"run": run, "stage": "unit map", "layer": name, "done": position + 1, "of": len(names)})
        write_stage(folder, "unit_map", {"unit_map": pd.concat(tables)}, {**provenance("cpu"), **settings})
    return store.unit_map(run)


def run_visualisation(store: Store, run: str, layer: str, unit: int, seed: int = 0, loaded=None) -> dict:
    """The picture made for a unit (`visualisation.synthesise`): {"pixels" uint8 [C, H, W], "activation", "at_start"}.

    Kept as a PNG in the run's folder `pictures/`, under the weights, the unit and the seed; a second call reads it.
    Where a store is for reading only it is made anew each time.
    `loaded` is what `load_network` gave, for callers that keep it.
    """
    from selviz.attribution.feature_visualization import synthesise

    network, dataset = loaded or load_network(store, run)
    check_units(network.layer(layer), [unit])
    folder = store.run_path(run)
    weights = checksum(folder / WEIGHTS)[:12]
    position = [found.name for found in network.layers].index(layer)
    path = folder / "pictures" / f"{weights}-{position}-{unit}-{seed}.png"
    if (kept_picture := _picture(path)) is not None:
        return kept_picture
    found = synthesise(network, layer, unit, dataset.normalise, tuple(dataset.eval_pixels.shape[1:]), seed=seed)
    if read_only():
        return {"pixels": found.pixels, "activation": found.activation, "at_start": found.at_start}
    about = PngInfo()
    for name in ("activation", "at_start"):
        about.add_text(name, repr(getattr(found, name)))
    picture = Image.fromarray(found.pixels[0] if len(found.pixels) == 1 else np.moveaxis(found.pixels, 0, -1))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(exist_ok=True)
        picture.save(temporary, format="PNG", pnginfo=about)
        temporary.replace(path)
    return {"pixels": found.pixels, "activation": found.activation, "at_start": found.at_start}


def _picture(path: Path) -> dict | None:
    """What lies at `path`; None if there is nothing, or nothing whole."""
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
            numbers = {name: float(picture.text[name]) for name in ("activation", "at_start")}
    except (OSError, KeyError, ValueError, SyntaxError):
        return None
    return {"pixels": pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0), **numbers}


def class_groups(superclasses: Mapping[str, Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """The number of each class's superclass, [C], in the order of `superclasses`; -1 for a class that is in none."""
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


def _superclass_columns(store, run, name, labels, groups, superclasses) -> dict:
    columns = ("superclass_si", "superclass_null_mean", "superclass_null_p95", "superclass")
    if groups is None:
        return dict.fromkeys(columns)
    si, group, null = other_measures.superclass_selectivity(store.matrix(run, name), labels, groups)
    best = np.array(list(superclasses))[group]
    return dict(zip(columns, (si, null.mean(axis=0), np.quantile(null, 0.95, axis=0), best)))
