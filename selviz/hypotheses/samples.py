"""What a claim is judged on, measured on the store: `sample = GATHER[template](store, settings, work)`.

`work.keep(name, make)` keeps finished parts, so that a test that was cut off goes on; `work.report` hears of progress.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from selviz import ablation, attribution, comparison, selectivity
from selviz.attribution import Target
from selviz.attribution.faithfulness import STEPS, pixel_curves
from selviz.attribution.targets import Response
from selviz.errors import SelvizError, unknown
from selviz.explanations import baseline_image
from selviz.hypotheses import own
from selviz.hypotheses.folds import class_indices, fold
from selviz.hypotheses.templates import control_kinds
from selviz.pipeline import load_network, open_engine
from selviz.robustness import CLEAN, CORRUPTION, run_robustness
from selviz.store import TABLES, Store
from selviz.store.parts import kept

RESAMPLES, BLOCK = 1999, 25


class Work(NamedTuple):
    """Where finished parts are kept, and who hears of the progress."""

    folder: Path
    report: Callable[[dict], None] = lambda news: None

    def keep(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays [n] by name: those that are kept under this name, else those that `make` gives, kept from now on."""
        tables = kept(self.folder / f"{name}.npz", lambda: {k: pd.DataFrame({"v": v}) for k, v in make().items()})
        return {key: table["v"].to_numpy() for key, table in tables.items()}


def necessary(store: Store, settings: Mapping, work: Work) -> dict:
    """Which images the unit, and each control, loses: 1 lost, -1 gained, 0 the same."""
    engine, layer = open_engine(store, settings["run"], 1), settings["layer"]
    units = [settings["unit"], *settings["controls"]]
    rows = [
        work.keep(f"unit-{unit}", lambda unit=unit: {"lost": _lost(engine, {layer: [unit]})})["lost"]
        for unit in _told(units, work)
    ]
    engine.close()
    return {"unit": rows[0], "controls": np.stack(rows[1:]), "labels": engine.labels.numpy()}


def sufficient(store: Store, settings: Mapping, work: Work) -> dict:
    """Which images are called the class when only the set is kept, and only each random set."""
    engine, layer, label = open_engine(store, settings["run"], 1), settings["layer"], settings["class_index"]
    generator = np.random.default_rng(settings["seed"])
    sets = [
        np.sort(generator.choice(settings["width"], len(settings["units"]), replace=False)).tolist()
        for _ in range(settings["draws"])
    ]

    def called(units) -> np.ndarray:
        rest = ablation.complement(engine.network, {layer: units})
        return (engine.logits(ablation.changes(engine, rest)).argmax(dim=1) == label).numpy().astype(np.int8)

    rows = []
    for name, block in _blocks([settings["units"], *sets]):
        found = work.keep(name, lambda block=block: {"called": np.concatenate([called(units) for units in block])})
        rows.append(found["called"].reshape(len(block), -1))
        work.report({"done": sum(map(len, rows)), "of": 1 + len(sets)})
    rows = np.concatenate(rows)
    intact = (engine.before().argmax(dim=1) == label).numpy()
    engine.close()
    return {"called": rows[0], "controls": rows[1:], "labels": engine.labels.numpy(), "intact": intact}


def selective(store: Store, settings: Mapping, work: Work) -> dict:
    """What silencing the most selective units of each layer loses, and each control set of each kind."""
    run, k = settings["run"], settings["k"]
    engine = open_engine(store, run, 1)
    names = store.run(run)["classes"]
    kinds, draws, layers = control_kinds(settings["controls"]), settings["draws"], settings["layers"]
    change, chosen, drops, typical = [], {}, {kind: [] for kind in kinds}, {kind: [] for kind in kinds}

    def measured(layer: str, name: str, sets: list) -> np.ndarray:
        """What each set loses: [sets, N]."""
        nonlocal done
        rows = []
        for place, block in _blocks(sets):

            def make(block=block) -> dict[str, np.ndarray]:
                return {"lost": np.concatenate([_lost(engine, drawn) for drawn in block])}

            rows.append(work.keep(f"{name}-{place}", make)["lost"].reshape(len(block), -1))
            done += len(block)
            work.report({"layer": layer, "done": done, "of": len(layers) * (1 + len(kinds) * draws)})
        return np.concatenate(rows)

    done = 0
    for position, layer in enumerate(layers):
        values, labels, _ = fold(store, run, layer, 0)
        si, _, _ = class_indices(values, labels, len(names))
        top = np.argsort(-si, kind="stable")[:k].tolist()
        chosen[layer] = sorted(top)
        seed, units, means = settings["seed"] + position, {layer: top}, torch.from_numpy(values.mean(axis=0))
        change.append(measured(layer, f"{position}-chosen", [units])[0])
        for kind in kinds:
            if kind == "random":
                sets = ablation.random_sets(engine.network, units, draws, seed)
            else:
                sets = ablation.matched_sets(engine.network, units, {layer: means}, draws, seed)
            lost = measured(layer, f"{position}-{kind}", list(sets))
            drops[kind].append(lost.mean(axis=1))
            typical[kind].append(lost.mean(axis=0))
    engine.close()
    return {
        "change": np.stack(change),
        "typical": {kind: np.stack(rows) for kind, rows in typical.items()},
        "drops": {kind: np.stack(rows, axis=1) for kind, rows in drops.items()},
        "units": chosen,
    }


def predicts(store: Store, settings: Mapping, work: Work) -> dict:
    """SI on fold 0 and what each live unit's silence costs on fold 1, unit by unit."""
    run = settings["run"]
    engine = open_engine(store, run, 1)
    classes, parts = len(store.run(run)["classes"]), []
    for number, layer in enumerate(settings["layers"]):
        values, labels, _ = fold(store, run, layer, 0)
        si, _, _ = class_indices(values, labels, classes)

        def make(layer=layer) -> dict[str, np.ndarray]:
            table, _ = ablation.atlas_layer(engine, layer, classes)
            return {"loss": table["loss_change"].to_numpy(), "drop": (table["before"] - table["after"]).to_numpy()}

        importance = work.keep(f"layer-{number}", make)[settings["measure"]]
        live = (values != 0).any(axis=0)
        parts.append((np.full(live.sum(), number), si[live], importance[live], np.flatnonzero(live)))
        work.report({"layer": layer, "done": number + 1, "of": len(settings["layers"])})
    engine.close()
    return dict(zip(("layer", "si", "importance", "unit"), map(np.concatenate, zip(*parts))))


def alpha(store: Store, settings: Mapping, work: Work) -> dict:
    """The test accuracies of both groups of networks."""
    return {
        "baseline": [store.run(run)["test_accuracy"] for run in settings["baseline_runs"]],
        "other": [store.run(run)["test_accuracy"] for run in settings["other_runs"]],
    }


def replicates(store: Store, settings: Mapping, work: Work) -> dict:
    """The contrast of the class on fold 1 for the unit and its matches in other networks, with shuffles of the labels
    and resampled images; units are matched by their correlation on fold 0."""
    run, layer, unit, label = (settings[name] for name in ("run", "layer", "unit", "class_index"))
    first, _, _ = fold(store, run, layer, 0)
    found, units = [], []
    for name in [run, *settings["others"]]:
        match, correlation = unit, 1.0
        if name != run:
            other, _, _ = fold(store, name, layer, 0)
            row = comparison.matches(first[:, [unit]], other).iloc[0]
            match, correlation = int(row["match"]), float(row["correlation"])
            if match < 0:
                raise SelvizError(f"No unit of {layer} in {name} can be matched: unit {unit} of {run} never changes.")
        values, labels, _ = fold(store, name, layer, 1)
        found.append(contrasts(values[:, match], labels, label, settings["permutations"], settings["seed"]))
        units.append({"run": name, "unit": match, "correlation": correlation})
        work.report({"run": name, "done": len(found), "of": 1 + len(settings["others"])})
    observed, null, resampled = zip(*found)
    names = [f"unit {row['unit']} in {row['run']}" for row in units]
    return {
        "names": names, "observed": np.array(observed), "null": np.stack(null), "resampled": np.stack(resampled),
        "images": len(labels), "of_class": int((labels == label).sum()), "units": units,
    }  # fmt: skip


def contrasts(values, labels, label: int, shuffles: int, seed: int, resamples: int = RESAMPLES) -> tuple:
    """(contrast of a class for activations [N], the same under shuffled labels [R], under resampled images [B])."""
    classes, generator = int(labels.max()) + 1, np.random.default_rng(seed)
    values = values.astype(np.float64)
    truth, column = torch.from_numpy(labels).long(), torch.from_numpy(values).unsqueeze(1)

    def contrast(means) -> np.ndarray:
        return selectivity.index_of_class(means, label).numpy()

    observed = float(contrast(selectivity.class_means(column, truth, classes)[0])[0])
    null = []
    for count in _pieces(shuffles):
        orders = generator.permuted(np.tile(values, (count, 1)), axis=1)
        null.append(contrast(selectivity.class_means(torch.from_numpy(orders.T), truth, classes)[0]))
    means = np.empty((classes, resamples))
    for number in range(classes):
        inside = values[labels == number]
        if not len(inside):
            means[number] = 0
            continue
        means[number] = inside[generator.integers(0, len(inside), (resamples, len(inside)))].mean(axis=1)
    return observed, np.concatenate(null), contrast(torch.from_numpy(means))


def explains(store: Store, settings: Mapping, work: Work) -> dict:
    """How far each image's map is from that of the network with random weights, and what deleting its pixels does."""
    network, dataset = load_network(store, settings["run"])
    numbers, method = settings["image_numbers"], settings["method"]
    inputs, start = dataset.normalise(dataset.eval_pixels[numbers]), baseline_image(dataset, "black")
    target = Target(settings["layer"], settings["unit"])

    def randomised() -> dict[str, np.ndarray]:
        table = attribution.sanity(network, [target] * len(numbers), inputs, method, start, settings["seed"])
        of_step = table.pivot(index="image", columns="step", values="rank_correlation")
        # A map that is the same everywhere in the random network has nothing of the first one; one that is so in the
        # network itself has nothing to lose.
        return {"correlation": of_step.iloc[:, -1].fillna(0.0).where(of_step.iloc[:, 0].notna()).to_numpy()}

    correlation = work.keep("random-weights", randomised)["correlation"]
    if (~np.isnan(correlation)).sum() < 2:
        raise SelvizError(f"The {method} map of the unit varies on none or one of these images; name another method.")

    def deleted() -> dict[str, np.ndarray]:
        worse = []
        for place, image in enumerate(inputs.split(1)):
            map_ = attribution.attribute(network, target, image, method, start).maps[0]
            response = Response(network, target, image)
            curve = pixel_curves(response, image, map_, start, STEPS, settings["draws"], settings["seed"] + place)
            areas, area = np.array(curve["deletion"]["random_areas"]), curve["deletion"]["area"]
            worse.append(((areas > area).sum() + (areas == area).sum() / 2) / len(areas))
            work.report({"done": place + 1, "of": len(numbers)})
        return {"worse": np.array(worse)}

    worse = work.keep("deletion", deleted)["worse"]
    return {"correlation": correlation, "worse": worse, "orders": settings["draws"]}


def single(store: Store, settings: Mapping, work: Work) -> dict:
    """The unit's activation and the readout's number on the images of fold 1; both were chosen on fold 0."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run, layer, label = settings["run"], settings["layer"], settings["class_index"]
    values, labels, _ = fold(store, run, layer, 0)
    readout = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    readout.fit(values.astype(np.float64), labels == label)
    values, labels, _ = fold(store, run, layer, 1)
    return {
        "unit": values[:, settings["unit"]],
        "readout": readout.decision_function(values.astype(np.float64)),
        "labels": labels,
    }


def robust(store: Store, settings: Mapping, work: Work) -> dict:
    """Mean SI of each network, and its accuracy under the corruption, mean over severities, relative to clean; what is
    not in the store yet is computed and stored as `selviz robustness` does."""
    first, second, name = [], [], settings["corruption"]
    for done, run in enumerate(settings["runs"]):
        table = run_robustness(store, run, [name], kinds=())
        table = table[table["kind"].isin([CLEAN, CORRUPTION])]
        clean = table[table["kind"] == CLEAN]["accuracy"].iloc[0]
        corrupted = table[(table["kind"] == CORRUPTION) & (table["name"] == name)]["accuracy"]
        if not len(corrupted) or not clean:
            raise SelvizError(f"{name} cannot be measured in {run}: its images are too small, or none is right clean.")
        first.append(store.run(run)["mean_si_live"])
        second.append(float(corrupted.mean() / clean))
        work.report({"run": run, "done": done + 1, "of": len(settings["runs"])})
    return {"first": np.array(first), "second": np.array(second)}


def own_sample(store: Store, settings: Mapping, work: Work) -> dict:
    """The rows of a claim of one's own."""
    return own_rows(store, settings)


def own_rows(store: Store, settings: Mapping) -> dict:
    """{"group", "control"} or {"first", "second"}: numbers from the stored table of all runs that are named."""
    table = settings["table"]
    method = getattr(store, table, None) if table in TABLES else None
    if method is None or table == "activations":
        raise SelvizError(f"The table {table} cannot be used in a claim; see: selviz sql --help")
    frame = pd.concat([method(run).assign(run=run) for run in settings["runs"]], ignore_index=True)
    frame = frame[own.rows(frame, settings["where"])]
    if settings["statistic"] == "rank correlation":
        pair = frame[[_numeric(frame, settings[name]) for name in ("with", "measure")]].dropna()
        first, second = (pair[settings[name]].to_numpy(float) for name in ("with", "measure"))
        if len(first) < 4 or not np.ptp(first) or not np.ptp(second):
            raise SelvizError(
                f"A rank correlation needs at least 4 rows that vary in both columns; {len(first)} are left."
            )
        return {"first": first, "second": second}
    measure = frame[_numeric(frame, settings["measure"])].to_numpy(float)
    kept_rows = {name: own.rows(frame, settings[name]) & ~np.isnan(measure) for name in ("group", "control")}
    if (kept_rows["group"] & kept_rows["control"]).any():
        raise SelvizError(
            "Some rows are in the group and in the control group; make the conditions exclude each other."
        )
    sample = {name: measure[rows] for name, rows in kept_rows.items()}
    if min(map(len, sample.values())) < 2:
        raise SelvizError(
            f"The group has {len(sample['group'])} rows and the control group {len(sample['control'])}; both need 2."
        )
    return sample


def _numeric(frame: pd.DataFrame, column: str) -> str:
    numbers = frame.select_dtypes(["number", "bool"]).columns.tolist()
    if column not in numbers:
        raise unknown("column of numbers", column, numbers)
    return column


def _lost(engine: ablation.Engine, units: Mapping) -> np.ndarray:
    """1 for each image [N] that is right only with the units, -1 for one that is right only without, else 0."""
    before = engine.before().argmax(dim=1) == engine.labels
    after = engine.logits(ablation.changes(engine, units)).argmax(dim=1) == engine.labels
    return (before.to(torch.int8) - after.to(torch.int8)).numpy()


def _told(units: list, work: Work):
    for number, unit in enumerate(units):
        yield unit
        work.report({"done": number + 1, "of": len(units)})


def _blocks(entries: list):
    for first in range(0, len(entries), BLOCK):
        yield f"sets-{first}", entries[first : first + BLOCK]


def _pieces(total: int, size: int = 500):
    for first in range(0, total, size):
        yield min(size, total - first)


GATHER = {
    "necessary": necessary,
    "sufficient": sufficient,
    "selective": selective,
    "predicts": predicts,
    "alpha": alpha,
    "replicates": replicates,
    "map": explains,
    "single": single,
    "robust": robust,
    "own": own_sample,
}
