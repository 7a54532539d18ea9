"""Silence selective units of a network that is still learning: `run_early(Store("data"), run, [1, 2, 8])`.

After Ranadive et al. 2023 (arXiv 2305.17409). Needs the weights that a training with snapshots keeps after each epoch.
"""

import re
from collections.abc import Sequence

import pandas as pd

from selviz import ablation
from selviz.errors import SelvizError
from selviz.networks.activations import observe
from selviz.runs.load import load_network, open_engine
from selviz.runs.snapshots import STAGE, weights_path
from selviz.selectivity import index
from selviz.store import Store
from selviz.store.run_list import resume_command
from selviz.studies.stage_writing import Tables, writing_stage
from selviz.system.listing import files_in
from selviz.system.progress import Report, silent

METRIC = "si"


def kept_epochs(store: Store, run: str) -> list[int]:
    """Return the epochs whose weights the run kept, 0 for the untrained network; SelvizError if it kept none."""
    about = store.run(run)
    matches = [
        re.fullmatch(r"epoch-(\d+)", path.stem) for path in files_in(store.run_path(run) / STAGE, ".safetensors")
    ]
    epochs = sorted(int(match[1]) for match in matches if match)
    if not epochs:
        again = resume_command(store.path, {**about, "snapshots": 4}) or "selviz train --snapshots 4"
        raise SelvizError(f"Run {run} kept no weights of its epochs; train it with snapshots: {again}")
    return epochs


def default_epochs(epochs: Sequence[int]) -> list[int]:
    """Return at most four of them: the first two of training, the middle and the last."""
    trained = [epoch for epoch in epochs if epoch]
    if not trained:
        return list(epochs)
    return sorted({*trained[:2], trained[len(trained) // 2], trained[-1]})


def run_early(
    store: Store,
    run: str,
    epochs: Sequence[int] | None = None,
    steps: int = ablation.STEPS,
    draws: int = ablation.DRAWS,
    seed: int = 0,
    report: Report = silent,
) -> pd.DataFrame:
    """Measure accuracy while units are silenced, by selectivity, its reverse and at random, after some epochs.

    Units are ranked within each layer by their SI on fold 0 and removed from all layers alike; the accuracy is measured
    on fold 1. Returns the areas under the curves; stored as stage `early`, in which other epochs stay. Raises
    SelvizError for an epoch whose weights were not kept.
    """
    kept = kept_epochs(store, run)
    chosen = list(epochs) if epochs else default_epochs(kept)
    for epoch in chosen:
        if epoch not in kept:
            raise SelvizError(f"Run {run} kept no weights after epoch {epoch}; it has {', '.join(map(str, kept))}.")
    if draws < ablation.DRAWS or steps < 1:
        raise SelvizError(f"Curves need at least {ablation.DRAWS} random orders and 1 step.")
    with writing_stage(store, run, "early") as stage:
        curves, areas = [], []
        for number, epoch in enumerate(chosen):

            def measure(epoch: int = epoch) -> Tables:
                return {"curves": _coded(_curves(store, run, epoch, steps, draws, seed))}

            curve = _decoded(stage.part(f"{epoch}-{steps}-{draws}-{seed}", measure)["curves"])
            curves.append(curve.assign(epoch=epoch, metric=METRIC))
            areas.append(ablation.areas(curve).assign(epoch=epoch, metric=METRIC))
            report({"run": run, "stage": "early", "done": number + 1, "of": len(chosen)})
        tables = {"early_curves": pd.concat(curves), "early_areas": pd.concat(areas)}
        stage.write(tables, {"steps": steps, "draws": draws, "seed": seed}, merge_on=("epoch",))
    table = store.early_areas(run)
    return table[table["epoch"].isin(chosen)].reset_index(drop=True)


DIRECTIONS = ("descending", "ascending", "random")


def _coded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with directions as numbers: finished parts hold numbers only."""
    return table.assign(direction=table["direction"].map(DIRECTIONS.index))


def _decoded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with directions as words again."""
    return table.assign(direction=[DIRECTIONS[number] for number in table["direction"]])


def _curves(store: Store, run: str, epoch: int, steps: int, draws: int, seed: int) -> pd.DataFrame:
    network, dataset = load_network(store, run, weights_path(store.run_path(run), epoch))
    here = dataset.eval_folds == 0
    _, activations = observe(network, dataset.view(here))  # type: ignore[arg-type]  # sliced as a tensor is
    labels, classes = dataset.eval_labels[here], len(dataset.class_names)
    ranking = {
        layer.name: index.index(*index.class_means(values, labels, classes))
        for layer, values in zip(network.layers, activations, strict=True)
    }
    engine = open_engine(store, run, 1, None, (network, dataset), weights_of_run=False)
    try:
        return ablation.curves(engine, ranking, steps, draws, seed)
    finally:
        engine.close()
