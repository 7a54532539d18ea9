"""What a test reads: activations by fold, what silencing units loses, and which images a test is for.

Units are chosen and matched on fold 0. The test reads fold 2, which is sealed, or fold 1 where a run has no sealed
fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from selviz.errors import SelvizError
from selviz.hypotheses.template import Work
from selviz.store import Store

if TYPE_CHECKING:  # torch is imported by what needs it: commands that list things start without
    from selviz import ablation

CHOOSING, REPORTING, SEALED = 0, 1, 2
Array = npt.NDArray[Any]
Entry = TypeVar("Entry")


def test_fold(store: Store, runs: Sequence[str]) -> int:
    """Return the fold that a test of these finished runs reads: 2 if all of them have a sealed one, else 1."""
    return SEALED if all(len(store.sealed_images(run)) for run in runs) else REPORTING


def activations(store: Store, run: str, layer: str, fold: int) -> tuple[Array, Array, Array]:
    """Return activations [N, U], labels [N] and image numbers [N] of a layer on the images of one fold."""
    images = images_of(store, run, fold)
    if fold == SEALED:
        values = store.sealed_matrix(run, layer)
    else:
        values = store.matrix(run, layer)[(store.images(run)["fold"] == fold).to_numpy()]
    return values, images["label_index"].to_numpy(), images["image"].to_numpy()


def images_of(store: Store, run: str, fold: int) -> Any:
    """Return the table of the images of one fold: image, label_index, prediction_index."""
    if fold == SEALED:
        return store.sealed_images(run)
    images = store.images(run)
    return images[images["fold"] == fold]


def image_counts(store: Store, run: str, fold: int, label: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Return the numbers of images that a test reads: {"of_images"}, and "images" of the class if one is given."""
    labels = images_of(store, run, fold)["label_index"]
    counts = {"of_images": len(labels)}
    if label is not None:
        counts["images"] = int((labels == label["class_index"]).sum())
        if not counts["images"]:
            raise SelvizError(f"Class {label['class']} has no image on fold {fold}.")
    return counts


def class_indices(values: Array, labels: Array, classes: int) -> tuple[Array, Array, Array]:
    """Return (SI [U], preferred class [U], contrast of each class [C, U]) of activations [N, U]."""
    import torch

    from selviz.selectivity import index

    means, counts = index.class_means(torch.tensor(values).double(), torch.tensor(labels).long(), classes)
    by_class = torch.stack([index.index_of_class(means, label) for label in range(classes)])
    return index.index(means, counts).numpy(), index.preferred_class(means).numpy(), by_class.numpy()


def matching(store: Store, run: str, layer: str, chosen: Sequence[int]) -> ablation.Matching:
    """Return the units of a layer that may stand in for the chosen ones: alike on fold 0 and in outgoing weight."""
    import torch

    from selviz import ablation
    from selviz.runs.load import load_network

    values, _, _ = activations(store, run, layer, CHOOSING)
    network, _ = load_network(store, run)
    table = torch.tensor(values).double()
    known = ablation.covariates(table.mean(dim=0), table.std(dim=0), ablation.outgoing_weights(network, layer))
    return ablation.Matching(known, chosen, (values != 0).any(axis=0))


def test_engine(store: Store, run: str, fold: int) -> ablation.Engine:
    """Return the run's network with the images that the test reads."""
    from selviz.runs.load import open_engine, open_sealed_engine

    return open_sealed_engine(store, run) if fold == SEALED else open_engine(store, run, fold)


def lost(engine: ablation.Engine, units: Mapping[str, Sequence[int]]) -> Array:
    """Return 1 for each image [N] that is right only with the units, -1 for one right only without, else 0."""
    (lost_share,) = lost_by_each(engine, [units])
    return lost_share


def lost_by_each(engine: ablation.Engine, sets: Sequence[Mapping[str, Sequence[int]]]) -> list[Array]:
    """Return `lost` for each of several sets, which are silenced together."""
    import torch

    from selviz import ablation

    before = (engine.before().argmax(dim=1) == engine.labels).to(torch.int8)
    return [
        (before - (logits.argmax(dim=1) == engine.labels).to(torch.int8)).numpy()
        for logits in ablation.set_logits(engine, sets)
    ]


def lost_by_sets(
    engine: ablation.Engine, sets: Sequence[Mapping[str, Sequence[int]]], name: str, work: Work, tell: Any
) -> Array:
    """Return what silencing each set loses, int8 [sets, N]; `tell` gets how many sets were done at each step."""
    from selviz.hypotheses.template import blocks

    rows = []
    for place, block in blocks(sets):

        def make(block: Sequence[Mapping[str, Sequence[int]]] = block) -> dict[str, Array]:
            return {"lost": np.stack(lost_by_each(engine, block))}

        rows.append(work.keep(f"{name}-{place}", make)["lost"])
        tell(len(block))
    return np.concatenate(rows)


def with_progress(entries: Sequence[Entry], work: Work) -> Iterator[Entry]:
    """Yield the entries, and report after each that it was done."""
    for number, entry in enumerate(entries):
        yield entry
        work.report({"done": number + 1, "of": len(entries)})


def accuracy(store: Store, run: str, everything: bool) -> Array:
    """Return a run's accuracy, 0..1, computed from its weights: on all evaluation images, or on folds 0 and 1."""
    import torch

    from selviz.networks.activations import batch_size
    from selviz.runs.load import load_network

    network, dataset = load_network(store, run, sealed=everything)
    step, inputs, device = batch_size(network), dataset.view(), next(network.root.parameters()).device
    with torch.inference_mode():
        accuracies = [
            network.logits(inputs[first : first + step].to(device)).argmax(dim=1).cpu()
            for first in range(0, len(inputs), step)
        ]
    return np.array(float((torch.cat(accuracies) == dataset.eval_labels).double().mean()))
