"""Measure how a run stands up to bad images and to an attacker: `run_robustness(Store("data"), run)`.

Stored as stage `robustness`; goes on where it was cut off.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
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
    CIFAR,
    CLEAN,
    CORRUPTION,
    KIND_OF_CONSTANTS,
    RAYS,
    STORED,
    TRANSFER,
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
from selviz.text.perturbations import TRANSFERRED

__all__ = ["ATTACKS", "AttackSettings", "adversarial", "run_robustness"]

STAGE = "robustness"
IMAGES = 1000
ATTACKS = ("fgsm", "pgd")  # unless others are asked for
ALL_ATTACKS = (*ATTACKS, TRANSFER, RAYS)
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
    sources: Sequence[str] = (),
    constants: str = corruptions.IMAGENET,
) -> pd.DataFrame:
    """Measure accuracy and units of a run under corruptions and attacks; return `store.robustness(run)`.

    Corruptions `names` (the 15 of ImageNet-C) at `severities` by corrupt-tta, with the constants of photographs or, as
    kind `corruption_cifar`, those of CIFAR-10-C (`constants`); or those in `folder`, which others made
    (`corrupted_sets`); `kinds` of attack (ALL_ATTACKS) at `epsilons`, in pixel units (0.5 to 8, and for grey images to
    32), transferred ones made by PGD on the runs `sources` of the same images; on the
    first `images` evaluation images, which are nearly balanced over classes. What is stored already for the same images
    and seed stays, and is not computed again unless `again`. Corruptions that need larger images are skipped and said
    in `report` as {"skipped": reason}.
    Raises SelvizError for a bad name, severity, epsilon or folder.
    """
    if folder is not None and constants != corruptions.IMAGENET:
        raise SelvizError("--constants is about corruptions that are made here; those of --folder were made by others.")
    names = names if names is not None or folder is not None else STANDARD
    for severity in severities:
        for name in names if names and folder is None else STANDARD[:1]:
            corruptions.check(name, severity)
    for kind in kinds:
        if kind not in ALL_ATTACKS:
            raise unknown("attack", kind, list(ALL_ATTACKS))
    epsilons = None if epsilons is None else [attacks.check_epsilon(float(epsilon)) for epsilon in epsilons]
    if images < 2:
        raise SelvizError(f"images is {images}; at least 2 are needed, and some hundreds for narrow intervals.")
    about = store.run(run)
    if attack.target is not None and attack.target not in about["classes"]:
        raise unknown("class", attack.target, about["classes"])
    others = _sources(store, run, kinds, sources, attack)
    network, dataset = load_network(store, run)
    images = min(images, len(dataset.eval_labels))
    if epsilons is None:
        epsilons = attacks.EPSILONS + (attacks.STRONGER if dataset.channels == 1 else ())
    base = {"weights": weights_version(store, run), "images": images, "seed": seed}
    requested = _corruptions(dataset, names, severities, folder, report, constants)
    aim = "" if attack.target is None else f" to {attack.target}"
    levels = tuple(sorted(set(epsilons)))
    requested += [Perturbation(ATTACK, kind + aim, levels) for kind in kinds if kind != TRANSFER]
    requested += [Perturbation(ATTACK, f"{TRANSFERRED}{source}", levels) for source in others]
    requested = [each for each in requested if each.levels]
    made = _Made(kinds, attack, {source: weights_version(store, source) for source in others})
    stored = _stored(store.run_path(run), base, made)
    missing = [each for each in requested if again or not each.keys() <= stored]
    if not missing and stored:
        clear_leftovers(store.run_path(run), STAGE)
        return store.robustness(run)
    with writing_stage(store, run, STAGE, again) as stage:
        networks = {source: load_network(store, source) for source in others}
        pictures = CorruptedPictures(store.path, dataset, images, seed)
        bench = Bench(network, dataset, images, seed, pictures, attack, networks)
        corrupted = [each for each in missing if each.kind in (CORRUPTION, CIFAR)]
        pictures.make(
            [(each.name, int(level)) for each in corrupted for level in each.levels],
            bench.pixels,
            constants,
            lambda done, of: report({"run": run, "stage": "corrupted pictures", "done": done, "of": of}),
        )
        measured = [bench.clean()] if again or (CLEAN, CLEAN, 0.0) not in stored else []
        done, total = 0, sum(len(each.levels) for each in missing)
        for each in missing:

            def measure(each: Perturbation = each, first: int = done) -> Tables:
                levels = iter(range(first + 1, total + 1))

                def report_level(level: float) -> None:
                    layer = f"{each.name} {level:g}"
                    report({"run": run, "stage": STAGE, "layer": layer, "done": next(levels), "of": total})

                return bench.measure(each, report_level)

            tables = stage.part(_key({**base, **made.of(each.name)}, each), measure)
            measured.append({name: table.assign(kind=each.kind, name=each.name) for name, table in tables.items()})
            done += len(each.levels)
        tables = {name: pd.concat([part[name] for part in measured]) for name in measured[0]}
        provenance = made.provenance(None)
        if stored:
            fresh = set().union(*(each.keys() for each in missing))
            tables, provenance = _with_stored(stage.folder, tables, made, fresh)
        tables["robustness_summary"] = _summary(tables["robustness_images"])
        stage.write(tables, {**base, **provenance})
    return store.robustness(run)


def _corruptions(
    dataset: Dataset,
    names: Sequence[str] | None,
    severities: Sequence[int],
    folder: str | Path | None,
    report: Report,
    constants: str,
) -> list[Perturbation]:
    """Return the requested corruptions: of `folder`, else those that the images are large enough for."""
    levels = tuple(sorted({float(severity) for severity in severities}))
    if folder is not None:
        known = corrupted_sets.names(folder)
        for name in names or ():
            if name not in known:
                raise unknown("corruption", name, known)
        return [Perturbation(STORED, name, levels, str(folder)) for name in (known if names is None else names)]
    height, width = dataset.eval_pixels.shape[2:]
    fitting, skipped = corruptions.usable(height, width, STANDARD if names is None else names, constants)
    for reason in skipped.values():
        report({"skipped": reason})
    return [Perturbation(KIND_OF_CONSTANTS[constants], name, levels) for name in fitting]


def _key(settings: dict[str, Any], perturbation: Perturbation) -> str:
    item = [perturbation.kind, perturbation.name, *perturbation.levels]
    return hashlib.sha256(json.dumps({**settings, "item": item}).encode()).hexdigest()[:16]


class _Made:
    """How the requested attacks are made, and which stored ones were made otherwise.

    In a stage's provenance: `attack`, settings of the attacks by gradients; `queries` of RayS; `sources`, the weights
    of the networks that transferred attacks were made on. What is not requested stays as it is stored.
    """

    def __init__(self, kinds: Sequence[str], attack: AttackSettings, sources: Mapping[str, str]):
        settings = asdict(attack)
        queries = settings.pop("queries")
        self.queries = queries if RAYS in kinds else None
        self.attack, self.sources = settings, sources
        self.by_gradients = any(kind != RAYS for kind in kinds)

    def of(self, name: str) -> dict[str, Any]:
        """Return what a part of this name depends on besides the images and the weights."""
        if name == RAYS:
            return {"queries": self.queries}
        if name.startswith(TRANSFERRED):
            return {**self.attack, "source": self.sources[name.removeprefix(TRANSFERRED)]}
        return self.attack

    def differs(self, stored: Mapping[str, Any], name: str) -> bool:
        """Return whether the attack of this name was made otherwise than it is made now; `stored`: its provenance."""
        if name == RAYS:
            return self.queries is not None and stored.get("queries") != self.queries
        if self.by_gradients and stored["attack"] != self.attack:
            return True
        source = name.removeprefix(TRANSFERRED)
        return source in self.sources and (stored.get("sources") or {}).get(source) != self.sources[source]

    def provenance(self, stored: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the provenance of what is requested, together with what is stored."""
        before = stored or {}
        attack = self.attack if self.by_gradients or stored is None else before["attack"]
        queries = before.get("queries") if self.queries is None else self.queries
        sources = {**(before.get("sources") or {}), **self.sources}
        more = {"queries": queries, "sources": sources}
        return {"attack": attack, **{name: value for name, value in more.items() if value}}


def _sources(store: Store, run: str, kinds: Sequence[str], sources: Sequence[str], attack: AttackSettings) -> list[str]:
    """Return the runs that transferred attacks are made on; SelvizError for one of other images, and for none."""
    if attack.target is not None and (wrong := [kind for kind in kinds if kind in (RAYS, TRANSFER)]):
        raise SelvizError(f"Only fgsm and pgd aim at a class; leave out --target for --attack {wrong[0]}.")
    names = list(dict.fromkeys(store.run(source)["run"] for source in sources))
    if (TRANSFER in kinds) != bool(names):
        if names:
            raise SelvizError(f"--from {names[0]} names the network of a transferred attack; add --attack transfer.")
        raise SelvizError(
            "A transferred attack is made on another network: name a run of the same images, --from RUN (see: selviz "
            "runs)."
        )
    for name in names:
        if name == run:
            raise SelvizError(
                f"{run} is the network that is attacked; name another run of the same images with --from."
            )
        if store.run(name)["fingerprint"] != store.run(run)["fingerprint"]:
            raise SelvizError(
                f"{name} was measured on other images than {run}; name a run of the same ones with --from."
            )
    return names


def _stored(folder: Path, base: dict[str, Any], made: _Made) -> set[tuple[str, str, float]]:
    """Return KEY of what is stored already for the same images, weights and seed, and with the same attacks."""
    settings = stored_settings(folder, STAGE)
    if settings is None or any(settings.get(name) != value for name, value in base.items()):
        return set()
    table = read({STAGE: folder / f"{STAGE}.duckdb"}, f"SELECT kind, name, level FROM {STAGE}.robustness")
    keys = zip(table["kind"], table["name"], table["level"])
    return {key for key in keys if key[0] != ATTACK or not made.differs(settings, key[1])}


def _with_stored(
    folder: Path, tables: Tables, made: _Made, fresh: set[tuple[str, str, float]]
) -> tuple[Tables, dict[str, Any]]:
    """Return the tables with the stored rows that stay, and the provenance of the result.

    Stored attacks that were made otherwise than the new ones go.
    """
    settings = stored_settings(folder, STAGE)
    assert settings is not None
    tables = merged(folder, STAGE, tables, KEY)

    def stays(key: tuple[str, str, float]) -> bool:
        return key[0] != ATTACK or key in fresh or not made.differs(settings, key[1])

    kept = dict(tables)
    for name, table in tables.items():
        keys = list(zip(*(table[column] for column in KEY)))
        known = {key: stays(key) for key in set(keys)}
        if not all(known.values()):
            kept[name] = table[[known[key] for key in keys]]
    return kept, made.provenance(settings)


def _summary(images: pd.DataFrame) -> pd.DataFrame:
    """Return mean corruption accuracy, overall and by family, of corrupt-tta's pictures and of those made by others."""
    right = images.assign(right=images["label"] == images["prediction"])
    clean = right[right["kind"] == CLEAN].sort_values("image")["right"].to_numpy()
    rows = []
    for kind in (CORRUPTION, CIFAR, STORED):
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
