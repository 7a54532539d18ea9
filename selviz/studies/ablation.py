"""What silencing a run's units does: `run_ablation(store, run, {"relu2": [5]})`; `run_curves(store, run)`, `run_atlas`.

The first answers at once. The other two are stored: both write a stage of their own beside the run's others. The atlas
is resumable: each finished layer lies in `partial/`.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from selviz import ablation
from selviz.datasets import Dataset
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network, open_engine
from selviz.runs.stages import provenance
from selviz.selectivity import unit_tables
from selviz.statistics import rank_correlation
from selviz.store import Store, stage_is_whole, write_stage
from selviz.store.files import WEIGHTS, checksum
from selviz.store.merging import merged
from selviz.store.partial_results import kept
from selviz.system.locks import Claim

Report = Callable[[dict], None]
NETWORK = "network"  # the name that the whole network has among the layers of the curves


def run_ablation(
    store: Store,
    run: str,
    units: Mapping[str, Sequence[int]],
    mode: str = "zero",
    fold: int | None = None,
    draws: int = 20,
    seed: int = 0,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
    *,
    factor: float | None = None,
    keep: bool = False,
    matched: int | None = None,
    cache: ablation.BoundaryCache | None = None,
    engine: ablation.Engine | None = None,
    turn=None,
    report: Report = lambda news: None,
    watch: Callable[[ablation.Estimate], None] = lambda estimate: None,
) -> dict:
    """What silencing units (layer -> numbers) of a run does: `ablation.ablate`'s result, with its controls.

    Adds {"run", "fold"}; fold None means all images. `engine` is what `open_engine` gave for this run and fold, for
    callers that keep it. `keep` silences all units of these layers but the given ones. `watch` gets every Estimate on
    the way, `report` every draw.
    """
    ours = engine is None
    engine = engine or open_engine(store, run, fold, cache, loaded)
    try:
        chosen = ablation.check_choice(engine.network, units)
        result = ablation.ablate(
            engine,
            chosen,
            store.run(run)["classes"],
            mode,
            factor,
            keep,
            draws,
            matched,
            unit_statistics(store, run, list(chosen)),
            seed,
            turn,
            report,
            watch,
        )
    finally:
        if ours:
            engine.close()
    return {"run": run, "fold": fold, **result}


def unit_statistics(store: Store, run: str, layers: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each layer's stored means and standard deviations of activations, ([U], [U]), for the modes of ablation."""
    columns = ("mean_activation", "std")
    tables = {name: store.units(run, name) for name in layers}
    return {
        name: tuple(torch.tensor(table[column].to_numpy(), dtype=torch.float32) for column in columns)
        for name, table in tables.items()
    }


def run_curves(
    store: Store,
    run: str,
    metric: str = "si",
    layers: Sequence[str] | None = None,
    steps: int = ablation.STEPS,
    draws: int = ablation.DRAWS,
    seed: int = 0,
    cache: ablation.BoundaryCache | None = None,
    report: Report = lambda news: None,
) -> pd.DataFrame:
    """Accuracy while units are silenced in order of a metric and in random orders; returns the areas under the curves.

    `layers` names layers, or "network" for the same share of every layer; all of these by default. The metric is
    computed on fold 0, the accuracy measured on fold 1. Stored as stage `ablation`: `store.curves(run)` and
    `store.areas(run)`; curves of other metrics and layers that are there stay.
    """
    network, dataset = load_network(store, run)
    names = [layer.name for layer in network.layers]
    wanted = list(layers) if layers else [*names, NETWORK]
    for name in wanted:
        if name != NETWORK:
            network.layer(name)
    if draws < ablation.DRAWS or steps < 1:
        raise SelvizError(f"Curves need at least {ablation.DRAWS} random orders and 1 step.")
    engine = open_engine(store, run, 1, cache, (network, dataset))
    ranked = names if NETWORK in wanted else wanted
    ranking = {name: _ranking(store, run, name, dataset, metric) for name in ranked}
    frames, areas = [], []
    for number, name in enumerate(wanted):
        chosen = ranking if name == NETWORK else {name: ranking[name]}
        place = {"layer": -1 if name == NETWORK else names.index(name), "metric": metric}
        found = ablation.curves(engine, chosen, steps, draws, seed)
        frames.append(found.assign(**place, ranked_on="fold 0", measured_on="fold 1"))
        for (direction, draw), curve in found.groupby(["direction", "draw"], sort=False):
            area = ablation.area(curve["removed"], curve["accuracy"])
            areas.append({**place, "direction": direction, "draw": draw, "area": area})
        report({"run": run, "stage": "curves", "done": number + 1, "of": len(wanted)})
    engine.close()
    folder = store.run_path(run)
    with Claim(folder / "claim.json", f"run {run}"):
        tables = {"curves": pd.concat(frames), "areas": pd.DataFrame(areas)}
        tables = merged(folder, "ablation", tables, ("layer", "metric"))
        write_stage(folder, "ablation", tables, {**provenance("cpu"), "steps": steps, "seed": seed})
    table = store.areas(run)
    return table[(table["metric"] == metric) & table["layer"].isin(wanted)].reset_index(drop=True)


def _ranking(store: Store, run: str, name: str, dataset, metric: str) -> torch.Tensor:
    """A unit metric [U] on the images of fold 0."""
    here = dataset.eval_folds == 0
    values = torch.from_numpy(store.matrix(run, name).copy())[here]
    shuffles = unit_tables.SHUFFLES if metric.startswith("null") else 1
    table = unit_tables.layer_metrics(values, dataset.eval_labels[here], len(dataset.class_names), shuffles)["units"]
    numbers = [column for column in table.select_dtypes("number").columns if column not in ("unit", "preferred_class")]
    if metric not in numbers:
        raise unknown("unit metric", metric, numbers)
    return torch.tensor(table[metric].to_numpy(), dtype=torch.float64)


def run_atlas(
    store: Store,
    run: str,
    cache: ablation.BoundaryCache | None = None,
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """The exact effect of silencing every single unit, on all evaluation images; returns one row a layer.

    Stored as stage `atlas`: `store.atlas(run)`, `store.atlas_classes(run)`, `store.atlas_layers(run)`. A finished atlas
    is returned as it is unless `again`; one that was cut off goes on with the layer at which it stopped.
    """
    folder = store.run_path(run)
    store.run(run)
    if not again and stage_is_whole(folder, "atlas"):
        return store.atlas_layers(run)
    with Claim(folder / "claim.json", f"run {run}"):
        network, dataset = load_network(store, run)
        engine = open_engine(store, run, None, cache, (network, dataset))
        classes, total = len(dataset.class_names), sum(layer.units for layer in network.layers)
        estimates = ablation.gradient_estimates(engine, classes)
        counts = torch.bincount(dataset.eval_labels, minlength=classes)
        weights = checksum(folder / WEIGHTS)[:16]
        tables: dict[str, list] = {"atlas": [], "atlas_classes": [], "atlas_layers": []}
        paths, done = [], 0
        for position, layer in enumerate(network.layers):
            path = folder / "partial" / f"atlas-{weights}-{position}.npz"
            paths.append(path)

            def tell(news: dict, layer=layer, done=done) -> None:
                report({"run": run, "stage": "atlas", "layer": layer.name, "done": done + news["unit"], "of": total})

            def make(layer=layer, tell=tell) -> dict[str, pd.DataFrame]:
                found = ablation.atlas_layer(engine, layer.name, classes, report=tell)
                return dict(zip(("units", "by_class"), found))

            found = kept(path, make, again)
            units, by_class = found["units"], found["by_class"]
            done += layer.units
            report({"run": run, "stage": "atlas", "layer": layer.name, "done": done, "of": total})
            estimate = estimates[layer.name]
            units["estimate"] = ((estimate * counts.unsqueeze(1)).sum(dim=0) / counts.sum()).numpy()
            by_class["estimate"] = estimate.T.reshape(-1).numpy()
            drop = units["before"] - units["after"]
            si = store.units(run, layer.name)["si"]
            row = {
                "units": layer.units,
                "estimate_to_loss": rank_correlation(units["estimate"], units["loss_change"]),
                "estimate_to_drop": rank_correlation(units["estimate"], drop),
                "si_to_drop": rank_correlation(si, drop),
            }
            for name, table in (("atlas", units), ("atlas_classes", by_class), ("atlas_layers", pd.DataFrame([row]))):
                tables[name].append(table.assign(layer=position))
        engine.close()
        write_stage(folder, "atlas", {name: pd.concat(parts) for name, parts in tables.items()}, provenance("cpu"))
        for path in paths:
            path.unlink(missing_ok=True)
    return store.atlas_layers(run)
