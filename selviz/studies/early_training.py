"""What silencing selective units did while a network was still learning: `run_early(Store("data"), run, [1, 2, 8])`.

After Ranadive et al. 2023 (arXiv 2305.17409). Needs the weights that a training with snapshots keeps after each epoch.
"""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from selviz import ablation
from selviz.errors import SelvizError
from selviz.networks.activations import observe
from selviz.runs.load import load_network, open_engine
from selviz.runs.snapshots import STAGE, weights_path
from selviz.runs.stages import provenance
from selviz.selectivity import index
from selviz.store import Store, write_stage
from selviz.store.merging import merged
from selviz.store.partial_results import kept
from selviz.store.run_list import resume_command
from selviz.system.locks import Claim

Report = Callable[[dict], None]
METRIC = "si"


def kept_epochs(store: Store, run: str) -> list[int]:
    """The epochs whose weights the run kept, 0 for the untrained network; SelvizError if it kept none."""
    about = store.run(run)
    found = [re.fullmatch(r"epoch-(\d+)", path.stem) for path in (store.run_path(run) / STAGE).glob("*.safetensors")]
    epochs = sorted(int(match[1]) for match in found if match)
    if not epochs:
        again = resume_command(store.path, {**about, "snapshots": 4}) or "selviz train --snapshots 4"
        raise SelvizError(f"Run {run} kept no weights of its epochs; train it with snapshots: {again}")
    return epochs


def default_epochs(epochs: Sequence[int]) -> list[int]:
    """At most four of them: the first two of training, the middle and the last."""
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
    report: Report = lambda news: None,
) -> pd.DataFrame:
    """Accuracy while units are silenced, most selective first, least selective first and at random, after some epochs.

    Units are ranked within each layer by their SI on fold 0 and removed from all layers alike; the accuracy is measured
    on fold 1. Returns the areas under the curves; stored as stage `early`, in which other epochs stay. Raises
    SelvizError for an epoch whose weights were not kept.
    """
    there = kept_epochs(store, run)
    wanted = list(epochs) if epochs else default_epochs(there)
    for epoch in wanted:
        if epoch not in there:
            raise SelvizError(f"Run {run} kept no weights after epoch {epoch}; it has {', '.join(map(str, there))}.")
    if draws < ablation.DRAWS or steps < 1:
        raise SelvizError(f"Curves need at least {ablation.DRAWS} random orders and 1 step.")
    folder = store.run_path(run)
    with Claim(folder / "claim.json", f"run {run}"):
        curves, areas = [], []
        for number, epoch in enumerate(wanted):
            path = folder / "partial" / f"early-{epoch}-{steps}-{draws}-{seed}.npz"
            numbers = kept(path, lambda epoch=epoch: {"curves": _coded(_curves(store, run, epoch, steps, draws, seed))})
            found = _decoded(numbers["curves"]).assign(epoch=epoch, metric=METRIC)
            curves.append(found)
            for (direction, draw), curve in found.groupby(["direction", "draw"], sort=False):
                area = ablation.area(curve["removed"], curve["accuracy"])
                areas.append({"epoch": epoch, "metric": METRIC, "direction": direction, "draw": draw, "area": area})
            report({"run": run, "stage": "early", "done": number + 1, "of": len(wanted)})
        tables = {"early_curves": pd.concat(curves), "early_areas": pd.DataFrame(areas)}
        tables = merged(folder, "early", tables, ("epoch",))
        write_stage(folder, "early", tables, {**provenance("cpu"), "steps": steps, "draws": draws, "seed": seed})
        for epoch in wanted:
            (folder / "partial" / f"early-{epoch}-{steps}-{draws}-{seed}.npz").unlink(missing_ok=True)
    table = store.early_areas(run)
    return table[table["epoch"].isin(wanted)].reset_index(drop=True)


DIRECTIONS = ("descending", "ascending", "random")


def _coded(table: pd.DataFrame) -> pd.DataFrame:
    """Parts hold numbers only."""
    return table.assign(direction=table["direction"].map(DIRECTIONS.index))


def _decoded(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(direction=[DIRECTIONS[number] for number in table["direction"]])


def _curves(store: Store, run: str, epoch: int, steps: int, draws: int, seed: int) -> pd.DataFrame:
    network, dataset = load_network(store, run, weights_path(store.run_path(run), epoch))
    here = dataset.eval_folds == 0
    _, activations = observe(network, dataset.view(here))
    labels, classes = dataset.eval_labels[here], len(dataset.class_names)
    ranking = {
        layer.name: index.index(*index.class_means(values, labels, classes))
        for layer, values in zip(network.layers, activations, strict=True)
    }
    engine = open_engine(store, run, 1, None, (network, dataset))
    try:
        return ablation.curves(engine, ranking, steps, draws, seed)
    finally:
        engine.close()
