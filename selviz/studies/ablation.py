"""Silence units of a run: `run_ablation(store, run, {"relu2": [5]})`, `run_curves(store, run)`, `run_atlas`.

The first answers at once and stores nothing. The other two write a stage each; the atlas goes on where it was cut off.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from selviz import ablation
from selviz.ablation import effects
from selviz.datasets import Dataset
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network, open_engine
from selviz.selectivity import unit_tables
from selviz.statistics import rank_correlation
from selviz.store import Store, stage_is_whole
from selviz.studies.stage_writing import Tables, clear_leftovers, weights_version, writing_stage
from selviz.system.progress import Report, silent

NETWORK = "network"  # the name that the whole network has among the layers of the curves


def run_ablation(
    store: Store,
    run: str,
    units: Mapping[str, Sequence[int]],
    mode: str = "zero",
    fold: int | None = None,
    draws: int = effects.DRAWS,
    seed: int = 0,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
    *,
    factor: float | None = None,
    keep: bool = False,
    matched: int | None = None,
    cache: ablation.BoundaryCache | None = None,
    engine: ablation.Engine | None = None,
    turn: ablation.Turn | None = None,
    report: Report = silent,
    watch: Callable[[ablation.Estimate], None] = lambda estimate: None,
) -> dict[str, Any]:
    """Return what silencing units (layer -> numbers) of a run does: the result of `ablation.ablate`, with its controls.

    Adds {"run", "fold"}; fold None means all images. `engine` is what `open_engine` gave for this run and fold, for
    callers that keep it. `keep` silences all units of these layers but the given ones. `watch` gets every Estimate on
    the way, `report` every draw.
    """
    opened_here = engine is None
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
        if opened_here:
            engine.close()
    return {"run": run, "fold": fold, **result}


def unit_statistics(store: Store, run: str, layers: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each layer's stored means and standard deviations of activations, ([U], [U]), for the modes."""
    tables = {name: store.units(run, name) for name in layers}
    return {name: (_tensor(table["mean_activation"]), _tensor(table["std"])) for name, table in tables.items()}


def _tensor(column: pd.Series) -> Tensor:
    return torch.tensor(column.to_numpy(), dtype=torch.float32)


def run_curves(
    store: Store,
    run: str,
    metric: str = "si",
    layers: Sequence[str] | None = None,
    steps: int = ablation.STEPS,
    draws: int = ablation.DRAWS,
    seed: int = 0,
    cache: ablation.BoundaryCache | None = None,
    report: Report = silent,
) -> pd.DataFrame:
    """Measure accuracy while units are silenced in order of a metric and in random orders; return the areas under it.

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
        position = -1 if name == NETWORK else names.index(name)
        curves = ablation.curves(engine, chosen, steps, draws, seed)
        frames.append(curves.assign(layer=position, metric=metric, ranked_on="fold 0", measured_on="fold 1"))
        areas.append(ablation.areas(curves).assign(layer=position, metric=metric))
        report({"run": run, "stage": "curves", "done": number + 1, "of": len(wanted)})
    engine.close()
    with writing_stage(store, run, "ablation") as stage:
        tables = {"curves": pd.concat(frames), "areas": pd.concat(areas)}
        stage.write(tables, {"steps": steps, "seed": seed}, merge_on=("layer", "metric"))
    table = store.areas(run)
    return table[(table["metric"] == metric) & table["layer"].isin(wanted)].reset_index(drop=True)


def _ranking(store: Store, run: str, name: str, dataset: Dataset, metric: str) -> torch.Tensor:
    """Return a unit metric [U] on the images of fold 0."""
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
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Measure the exact effect of silencing every single unit, on all evaluation images; return one row per layer.

    Stored as stage `atlas`: `store.atlas(run)`, `store.atlas_classes(run)`, `store.atlas_layers(run)`. A finished atlas
    is returned as it is unless `again`; one that was cut off goes on with the layer at which it stopped.
    """
    store.run(run)
    if not again and stage_is_whole(store.run_path(run), "atlas"):
        clear_leftovers(store.run_path(run), "atlas")
        return store.atlas_layers(run)
    with writing_stage(store, run, "atlas", again) as stage:
        network, dataset = load_network(store, run)
        engine = open_engine(store, run, None, cache, (network, dataset))
        classes, total = len(dataset.class_names), sum(layer.units for layer in network.layers)
        estimates = ablation.gradient_estimates(engine, classes)
        counts = torch.bincount(dataset.eval_labels, minlength=classes)
        weights = weights_version(store, run)
        parts: dict[str, list[pd.DataFrame]] = {"atlas": [], "atlas_classes": [], "atlas_layers": []}
        done = 0
        for position, layer in enumerate(network.layers):

            def report_units(units: int, name: str = layer.name, done: int = done) -> None:
                report({"run": run, "stage": "atlas", "layer": name, "done": done + units, "of": total})

            def measure(name: str = layer.name, report_units: Callable[[int], None] = report_units) -> Tables:
                units, by_class = ablation.atlas_layer(engine, name, classes, report=report_units)
                return {"units": units, "by_class": by_class}

            tables = stage.part(f"{weights}-{position}", measure)
            units, by_class = tables["units"], tables["by_class"]
            done += layer.units
            report_units(layer.units)
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
                parts[name].append(table.assign(layer=position))
        engine.close()
        stage.write({name: pd.concat(tables) for name, tables in parts.items()}, {})
    return store.atlas_layers(run)
