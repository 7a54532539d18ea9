"""Is the selectivity hidden in another basis? `run_similarity(Store("data"), runs, baselines)`, `run_linear_maps(...)`.

Both write a stage of their own beside each run's others and are resumable: finished parts lie in `partial/`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from selviz.errors import SelvizError
from selviz.geometry import linear_maps, similarity
from selviz.networks.activations import sample
from selviz.runs import families
from selviz.runs.load import load_network
from selviz.runs.stages import provenance
from selviz.store import Store, stage_is_whole, write_stage
from selviz.store.merging import merged
from selviz.store.partial_results import kept
from selviz.store.queries import read
from selviz.store.stage_files import record
from selviz.system.locks import Claim

Report = Callable[[dict], None]
IMAGES, POSITIONS, MAP_POSITIONS = 2000, 16, 8
MEMORY = 1e9  # bytes that the baselines' layers may take at once
FEWEST_BASELINES = 3
MEASURES = ("pwcca", "cka", "directions", "rank", "rank_other", "rows")


def baselines_of(store: Store, run: str) -> list[str]:
    """The runs that differ from `run` by alpha and seed only and have alpha 0, by seed."""
    found = families.siblings(store.runs(), run)
    return found.loc[found["alpha"] == 0, "run"].tolist()


def run_similarity(
    store: Store,
    runs: Sequence[str],
    baselines: Sequence[str],
    images: int = IMAGES,
    positions: int = POSITIONS,
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """PWCCA distance and linear CKA of every layer of the runs, and of the baselines, to that of each baseline.

    The baselines among themselves, pairs of different seeds, are the null. Rows are the first `images` evaluation
    images at a fixed sample of at most `positions` positions a layer; the baseline supplies PWCCA's weights. Stored as
    stage `similarity` of each run, which keeps what it has of other baselines; what is stored and up to date is not
    computed again. Returns `similarities` of all of them. Raises SelvizError for fewer than three baselines, and for
    networks that differ in their layers or their evaluation images.
    """
    baselines, runs = list(dict.fromkeys(baselines)), list(dict.fromkeys([*baselines, *runs]))
    check_baselines(store, baselines)
    layers = _same_layers(store, runs)
    keys = {run: _capture(store, run) for run in runs}
    wanted = {
        run: {other: _key(keys[run], keys[other], images, positions) for other in baselines if other != run}
        for run in runs
    }
    missing = {run: others if again else _not_stored(store, run, others) for run, others in wanted.items()}
    missing = {run: others for run, others in missing.items() if others}
    parts: dict[str, list[pd.DataFrame]] = {run: [] for run in missing}
    total, done, paths = len(missing) * len(layers), 0, []
    for group in _groups(layers, images * positions, len(baselines)):
        held: dict[str, dict] = {}

        def spaces(run: str, group=group, held=held) -> dict:
            if run not in held:
                network, dataset = load_network(store, run)
                values = sample(network, dataset.normalise(dataset.eval_pixels[:images]), group, positions)
                held[run] = {name: similarity.subspace(part.flatten(0, 1).numpy()) for name, part in values.items()}
            return held[run]

        for run, others in missing.items():
            for name in group:
                part = f"similarity-{_key(name, *sorted(others.values()))}.npz"
                paths.append(store.run_path(run) / "partial" / part)

                def make(run=run, name=name, others=others) -> dict[str, pd.DataFrame]:
                    return {"pairs": _pairs(spaces, run, others, name)}

                found = kept(paths[-1], make, again)["pairs"]
                about = {"layer": layers["layer"].tolist().index(name), "images": images, "positions": positions}
                parts[run].append(found.assign(**about, other=list(others), settings=list(others.values())))
                done += 1
                report({"run": run, "stage": "similarity", "layer": name, "done": done, "of": total})
            if run not in baselines:
                held.pop(run, None)
    for run, tables in parts.items():
        folder = store.run_path(run)
        with Claim(folder / "claim.json", f"run {run}"):
            table = merged(folder, "similarity", {"similarity": pd.concat(tables)}, ("layer", "other"))
            write_stage(folder, "similarity", table, provenance("cpu"))
    for path in paths:
        path.unlink(missing_ok=True)
    return similarities(store, runs, baselines)


def similarities(store: Store, runs: Sequence[str], baselines: Sequence[str]) -> pd.DataFrame:
    """`similarity.beside_null` of what these runs, the baselines among them, have stored; with alpha and seed."""
    about = {run: store.run(run) for run in [*runs, *baselines]}
    seeds = {run: facts.get("seed") for run, facts in about.items()}
    tables = [store.similarity(run).assign(run=run, seed=seeds[run]) for run in about]
    pairs = pd.concat(tables, ignore_index=True)
    found = similarity.beside_null(pairs.assign(other_seed=pairs["other"].map(seeds)), baselines)
    for place, name in enumerate(("alpha", "seed"), 1):
        found.insert(place, name, found["run"].map({run: facts.get(name) for run, facts in about.items()}))
    return found


def check_baselines(store: Store, baselines: Sequence[str]) -> None:
    """SelvizError for fewer than three baselines of different seeds: two make one pair only."""
    seeds = {store.run(run).get("seed", run) for run in baselines}
    if len(seeds) < FEWEST_BASELINES:
        raise SelvizError(
            f"The null needs at least {FEWEST_BASELINES} baselines of different seeds, and there "
            f"{'is' if len(seeds) == 1 else 'are'} {len(seeds)}; train more with --alpha=0 --seed=N, or name runs: "
            "--baseline A,B,C"
        )


def _pairs(spaces: Callable[[str], dict], run: str, others: Sequence[str], name: str) -> pd.DataFrame:
    rows = []
    for other in others:
        found = similarity.compare(spaces(other)[name], spaces(run)[name])
        values = (found.pwcca, found.cka, found.directions, found.rank_second, found.rank_first)
        rows.append(dict(zip(MEASURES, (*values, len(spaces(run)[name].axes)))))
    return pd.DataFrame(rows)


def _same_layers(store: Store, runs: Sequence[str]) -> pd.DataFrame:
    """The layers of all runs; SelvizError if they are not the same, or the evaluation images are not."""
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
    """The layers' names in groups, such that one group of all baselines and of one more run fits into MEMORY."""
    groups, size = [[]], 0.0
    for name, units in zip(layers["layer"], layers["units"]):
        need = 8.0 * rows * int(units) * (held + 1)
        if groups[-1] and size + need > MEMORY:
            groups, size = [*groups, []], 0.0
        groups[-1].append(name)
        size += need
    return groups


def _not_stored(store: Store, run: str, others: dict[str, str]) -> dict[str, str]:
    folder = store.run_path(run)
    if not stage_is_whole(folder, "similarity"):
        return others
    stored = read(
        {"similarity": folder / "similarity.duckdb"}, "SELECT DISTINCT other, settings FROM similarity.similarity"
    )
    there = set(zip(stored["other"], stored["settings"]))
    return {other: key for other, key in others.items() if (other, key) not in there}


def run_linear_maps(
    store: Store,
    run: str,
    restarts: int = linear_maps.RESTARTS,
    steps: int = linear_maps.STEPS,
    images: int = IMAGES,
    positions: int = MAP_POSITIONS,
    seed: int = 0,
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """For every layer, the best mean SI found over linear maps of its units (`linear_maps.best_map`).

    Stored as stage `linear_maps`; returns `store.linear_maps`. A finished one is returned as it is unless the
    activations or the settings changed, or `again`.
    """
    if restarts < 5 or steps < 1:
        raise SelvizError(f"restarts is {restarts} and steps is {steps}; give at least 5 restarts and 1 step.")
    folder, layers = store.run_path(run), store.layers(run)
    settings = {
        "capture": _capture(store, run),
        "restarts": restarts,
        "steps": steps,
        "images": images,
        "positions": positions,
        "seed": seed,
    }
    stored = record(folder / "linear_maps.duckdb") if stage_is_whole(folder, "linear_maps") else None
    if stored and not again and all(stored["provenance"].get(name) == value for name, value in settings.items()):
        return store.linear_maps(run)
    network, dataset = load_network(store, run)
    inputs = dataset.normalise(dataset.eval_pixels[:images])
    labels, folds = dataset.eval_labels[:images], dataset.eval_folds[:images]
    tables, paths = [], []
    with Claim(folder / "claim.json", f"run {run}"):
        for place, name in enumerate(layers["layer"]):
            paths.append(folder / "partial" / f"linear_maps-{_key(*map(str, settings.values()))}-{place}.npz")

            def make(name=name) -> dict[str, pd.DataFrame]:
                values = sample(network, inputs, [name], positions)[name]
                classes = len(dataset.class_names)
                table = linear_maps.best_map(values, labels, folds, classes, restarts, steps=steps, seed=seed).table
                return {"maps": table.assign(basis=table["basis"].map(linear_maps.BASES.index).astype(int))}

            found = kept(paths[-1], make, again)["maps"]
            names = [linear_maps.BASES[number] for number in found["basis"]]
            tables.append(found.assign(basis=names, layer=place))
            report({"run": run, "stage": "linear maps", "layer": name, "done": place + 1, "of": len(layers)})
        write_stage(folder, "linear_maps", {"linear_maps": pd.concat(tables)}, {**provenance("cpu"), **settings})
    for path in paths:
        path.unlink(missing_ok=True)
    return store.linear_maps(run)


def summary(store: Store, similar: pd.DataFrame | None, maps: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a run and layer of what `run_similarity` and `run_linear_maps` (by run) gave, either of them or both."""
    rows = [map_summary(table).assign(run=run) for run, table in maps.items()]
    if not rows:
        return similar
    found = pd.concat(rows, ignore_index=True)
    if similar is not None:
        return similar.merge(found, on=["run", "layer"], how="left")
    about = {run: store.run(run) for run in maps}
    for place, name in enumerate(("run", "alpha", "seed")):
        values = found["run"] if name == "run" else found["run"].map({run: about[run].get(name) for run in about})
        found = found.drop(columns=name, errors="ignore")
        found.insert(place, name, values)
    return found


def map_summary(maps: pd.DataFrame) -> pd.DataFrame:
    """A row a layer of `store.linear_maps`: unit_si, rotation_si (a mean) and found_si on fold 1, nulls, draws."""
    rows = []
    for layer, part in maps.groupby("layer", sort=False):
        units, found = part[part["basis"] == "units"].iloc[0], part[part["chosen"]].iloc[0]
        turned = part[part["basis"] == "rotation"]
        rows.append(
            {
                "layer": layer,
                "unit_si": units["si"],
                "unit_null": units["null_mean"],
                "rotation_si": turned["si"].mean(),
                "found_si": found["si"],
                "found_null": found["null_mean"],
                "found_si_fit": found["si_fit"],
                "restarts": int((part["basis"] == "found").sum()),
                "rotations": len(turned),
            }
        )
    return pd.DataFrame(rows)


def _capture(store: Store, run: str) -> str:
    """What changes when the run is captured anew."""
    store.run(run)
    found = record(Path(store.run_path(run)) / "capture.duckdb")
    return found["sha256"] if found else ""


def _key(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
