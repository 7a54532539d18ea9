"""Ask whether selectivity hides in another basis: `run_similarity(store, runs, baselines)`, `run_linear_maps`.

Each writes a stage of every run that it measures and goes on where it was cut off.
"""

import hashlib
import json
from collections.abc import Sequence

import pandas as pd

from selviz.errors import SelvizError
from selviz.geometry import linear_maps, similarity
from selviz.geometry.similarity import Subspace
from selviz.networks.activations import sample
from selviz.runs import families
from selviz.runs.load import load_network
from selviz.store import Store, stage_is_whole
from selviz.store.queries import read
from selviz.studies.stage_writing import Parts, Tables, capture_version, is_up_to_date, writing_stage
from selviz.system.progress import Report, silent

IMAGES, POSITIONS, MAP_POSITIONS = 2000, 16, 8
MEMORY = 1e9  # bytes that the baselines' layers may take at once
MIN_BASELINES = 3
MEASURES = ("pwcca", "cka", "directions", "rank", "rank_other", "rows")


def baselines_of(store: Store, run: str) -> list[str]:
    """Return the runs that differ from `run` by alpha and seed only and have alpha 0, by seed."""
    siblings = families.siblings(store.runs(), run)
    return [str(name) for name in siblings.loc[siblings["alpha"] == 0, "run"]]


def run_similarity(
    store: Store,
    runs: Sequence[str],
    baselines: Sequence[str],
    images: int = IMAGES,
    positions: int = POSITIONS,
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Measure PWCCA distance and linear CKA of every layer of the runs, and of the baselines, to that of each baseline.

    The baselines among themselves, pairs of different seeds, are the null. Rows are the first `images` evaluation
    images at a fixed sample of at most `positions` positions a layer; the baseline supplies PWCCA's weights. Stored as
    stage `similarity` of each run, which keeps what it has of other baselines; what is stored and up to date is not
    computed again. Returns `similarities` of all of them. Raises SelvizError for fewer than three baselines, and for
    networks that differ in their layers or their evaluation images.
    """
    baselines, runs = list(dict.fromkeys(baselines)), list(dict.fromkeys([*baselines, *runs]))
    check_baselines(store, baselines)
    layers = _same_layers(store, runs)
    images = min([images, *(store.run(run)["images"] for run in runs)])  # older runs show more than newer ones
    versions = {run: capture_version(store, run) for run in runs}
    keys = {
        run: {other: _key(versions[run], versions[other], images, positions) for other in baselines if other != run}
        for run in runs
    }
    missing = {run: others if again else _not_stored(store, run, others) for run, others in keys.items()}
    missing = {run: others for run, others in missing.items() if others}
    parts = {run: Parts(store.run_path(run), "similarity", again) for run in missing}
    tables: dict[str, list[pd.DataFrame]] = {run: [] for run in missing}
    total, done, positions_of = len(missing) * len(layers), 0, layers["layer"].tolist().index
    for group in _groups(layers, images * positions, len(baselines)):
        spaces = _Subspaces(store, group, images, positions)
        for run, others in missing.items():
            for name in group:

                def measure(
                    spaces: _Subspaces = spaces, run: str = run, name: str = name, others: dict[str, str] = others
                ) -> Tables:
                    return {"pairs": _pairs(spaces, run, list(others), name)}

                pairs = parts[run].part(_key(name, *sorted(others.values())), measure)["pairs"]
                pairs = pairs.assign(layer=positions_of(name), images=images, positions=positions)
                tables[run].append(pairs.assign(other=list(others), settings=list(others.values())))
                done += 1
                report({"run": run, "stage": "similarity", "layer": name, "done": done, "of": total})
            if run not in baselines:
                spaces.forget(run)
    for run, measured in tables.items():
        with writing_stage(store, run, "similarity") as stage:
            stage.write({"similarity": pd.concat(measured)}, {}, merge_on=("layer", "other"))
        parts[run].discard()
    return similarities(store, runs, baselines)


class _Subspaces:
    """What the layers of one group span, run by run, computed when first needed and held until forgotten."""

    def __init__(self, store: Store, layers: list[str], images: int, positions: int):
        self.store, self.layers, self.images, self.positions = store, layers, images, positions
        self._held: dict[str, dict[str, Subspace]] = {}

    def of_run(self, run: str) -> dict[str, Subspace]:
        """Return each layer's subspace on the first images."""
        if run not in self._held:
            network, dataset = load_network(self.store, run)
            inputs = dataset.normalise(dataset.eval_pixels[: self.images])
            values = sample(network, inputs, self.layers, self.positions)
            self._held[run] = {name: similarity.subspace(part.flatten(0, 1).numpy()) for name, part in values.items()}
        return self._held[run]

    def forget(self, run: str) -> None:
        """Give the memory of a run's subspaces back."""
        self._held.pop(run, None)


def similarities(store: Store, runs: Sequence[str], baselines: Sequence[str]) -> pd.DataFrame:
    """Return `similarity.beside_null` of what these runs and baselines have stored; with alpha and seed."""
    about = {run: store.run(run) for run in [*runs, *baselines]}
    seeds = {run: facts.get("seed") for run, facts in about.items()}
    tables = [store.similarity(run).assign(run=run, seed=seeds[run]) for run in about]
    pairs = pd.concat(tables, ignore_index=True)
    table = similarity.beside_null(pairs.assign(other_seed=pairs["other"].map(seeds)), baselines)
    for position, name in enumerate(("alpha", "seed"), 1):
        table.insert(position, name, table["run"].map({run: facts.get(name) for run, facts in about.items()}))
    return table


def check_baselines(store: Store, baselines: Sequence[str]) -> None:
    """Raise SelvizError for fewer than three baselines of different seeds: two make one pair only."""
    seeds = {store.run(run).get("seed", run) for run in baselines}
    if len(seeds) < MIN_BASELINES:
        raise SelvizError(
            f"The null needs at least {MIN_BASELINES} baselines of different seeds, and there "
            f"{'is' if len(seeds) == 1 else 'are'} {len(seeds)}; train more with --alpha=0 --seed=N, or name runs: "
            "--baseline A,B,C"
        )


def _pairs(spaces: _Subspaces, run: str, others: Sequence[str], layer: str) -> pd.DataFrame:
    rows = []
    for other in others:
        pair = similarity.compare(spaces.of_run(other)[layer], spaces.of_run(run)[layer])
        values = (pair.pwcca, pair.cka, pair.directions, pair.rank_second, pair.rank_first)
        rows.append(dict(zip(MEASURES, (*values, len(spaces.of_run(run)[layer].axes)))))
    return pd.DataFrame(rows)


def _same_layers(store: Store, runs: Sequence[str]) -> pd.DataFrame:
    """Return the layers of all runs; SelvizError if they are not the same, or the evaluation images are not."""
    layers = store.layers(runs[0])
    first = store.run(runs[0])
    for run in runs[1:]:
        about = store.run(run)
        if about["fingerprint"] != first["fingerprint"]:
            raise SelvizError(f"{run} and {runs[0]} were evaluated on different images; compare runs of one data set.")
        if about["model"] != first["model"] or store.layers(run)["layer"].tolist() != layers["layer"].tolist():
            raise SelvizError(f"{run} and {runs[0]} have different layers; compare runs of one kind of network.")
    return layers


def _groups(layers: pd.DataFrame, rows: int, held: int) -> list[list[str]]:
    """Return the layers' names in groups, such that one group of all baselines and of one more run fits into MEMORY."""
    groups: list[list[str]] = [[]]
    size = 0.0
    for name, units in zip(layers["layer"], layers["units"]):
        need = 8.0 * rows * int(units) * (held + 1)
        if groups[-1] and size + need > MEMORY:
            groups, size = [*groups, []], 0.0
        groups[-1].append(name)
        size += need
    return groups


def _not_stored(store: Store, run: str, others: dict[str, str]) -> dict[str, str]:
    """Return those of `others` (baseline -> key) that the run's stage lacks."""
    folder = store.run_path(run)
    if not stage_is_whole(folder, "similarity"):
        return others
    stored = read(
        {"similarity": folder / "similarity.duckdb"}, "SELECT DISTINCT other, settings FROM similarity.similarity"
    )
    known = set(zip(stored["other"], stored["settings"]))
    return {other: key for other, key in others.items() if (other, key) not in known}


def run_linear_maps(
    store: Store,
    run: str,
    restarts: int = linear_maps.RESTARTS,
    steps: int = linear_maps.STEPS,
    images: int = IMAGES,
    positions: int = MAP_POSITIONS,
    seed: int = 0,
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Find the best mean SI over linear maps of every layer's units (`linear_maps.best_map`).

    Stored as stage `linear_maps`; returns `store.linear_maps`. A finished one is returned as it is unless the
    activations or the settings changed, or `again`.
    """
    if restarts < 5 or steps < 1:
        raise SelvizError(f"restarts is {restarts} and steps is {steps}; give at least 5 restarts and 1 step.")
    layers = store.layers(run)
    settings = {
        "capture": capture_version(store, run),
        "restarts": restarts,
        "steps": steps,
        "images": images,
        "positions": positions,
        "seed": seed,
    }
    if not again and is_up_to_date(store.run_path(run), "linear_maps", settings):
        return store.linear_maps(run)
    network, dataset = load_network(store, run)
    inputs = dataset.normalise(dataset.eval_pixels[:images])
    labels, folds = dataset.eval_labels[:images], dataset.eval_folds[:images]
    tables, key = [], _key(*map(str, settings.values()))
    with writing_stage(store, run, "linear_maps", again) as stage:
        for position, name in enumerate(layers["layer"]):

            def measure(name: str = name) -> Tables:
                values = sample(network, inputs, [name], positions)[name]
                classes = len(dataset.class_names)
                table = linear_maps.best_map(values, labels, folds, classes, restarts, steps=steps, seed=seed).table
                return {"maps": table.assign(basis=table["basis"].map(linear_maps.BASES.index).astype(int))}

            maps = stage.part(f"{key}-{position}", measure)["maps"]
            bases = [linear_maps.BASES[number] for number in maps["basis"]]
            tables.append(maps.assign(basis=bases, layer=position))
            report({"run": run, "stage": "linear maps", "layer": name, "done": position + 1, "of": len(layers)})
        stage.write({"linear_maps": pd.concat(tables)}, settings)
    return store.linear_maps(run)


def summary(store: Store, similar: pd.DataFrame | None, maps: dict[str, pd.DataFrame]) -> pd.DataFrame | None:
    """Return one row per run and layer of `run_similarity`'s and `run_linear_maps`'s (by run) results.

    Either of them may be missing; None without both.
    """
    rows = [map_summary(table).assign(run=run) for run, table in maps.items()]
    if not rows:
        return similar
    by_layer = pd.concat(rows, ignore_index=True)
    if similar is not None:
        return similar.merge(by_layer, on=["run", "layer"], how="left")
    about = {run: store.run(run) for run in maps}
    for position, name in enumerate(("run", "alpha", "seed")):
        runs = by_layer["run"]
        values = runs if name == "run" else runs.map({run: about[run].get(name) for run in about})
        by_layer = by_layer.drop(columns=name, errors="ignore")
        by_layer.insert(position, name, values)
    return by_layer


def map_summary(maps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per layer: unit_si, rotation_si (a mean) and found_si on fold 1, nulls, draws."""
    rows = []
    for layer, part in maps.groupby("layer", sort=False):
        units, best = part[part["basis"] == "units"].iloc[0], part[part["chosen"]].iloc[0]
        turned = part[part["basis"] == "rotation"]
        rows.append(
            {
                "layer": layer,
                "unit_si": units["si"],
                "unit_null": units["null_mean"],
                "rotation_si": turned["si"].mean(),
                "found_si": best["si"],
                "found_null": best["null_mean"],
                "found_si_fit": best["si_fit"],
                "restarts": int((part["basis"] == "found").sum()),
                "rotations": len(turned),
            }
        )
    return pd.DataFrame(rows)


def _key(*parts: str | int) -> str:
    """Return a short hash of the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
