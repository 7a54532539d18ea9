"""From a run to its network: `network, dataset = load_network(store, run)`; to ablations: `open_engine(store, run)`.

The data set must be the one that the run was made with; no file that a run names is executed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selviz import ablation, datasets
from selviz.config import image_settings
from selviz.datasets import SEALED, Dataset
from selviz.errors import SelvizError
from selviz.networks import graph_format, models
from selviz.networks.unit_network import UnitNetwork
from selviz.runs import stored_images
from selviz.runs.cut_cache import DiskCuts, is_worthwhile
from selviz.runs.dataset_locations import named_here
from selviz.runs.weights import read_weights
from selviz.store import Store, read_json, run_list
from selviz.store.files import NETWORK, WEIGHTS
from selviz.system.progress import Report, silent

MOST_INPUTS = 2**30  # bytes of normalised images that an engine holds; more are normalised batch by batch


def load_dataset(settings: Mapping[str, Any], report: Report = silent, statistics: Mapping[str, Any] = {}) -> Dataset:
    """Return the data set of a run's settings (`dataset` and the IMAGE_SETTINGS).

    `statistics`, the summary of a finished run, holds the mean and std that it was made with.
    """
    made_with = {name: statistics[name] for name in ("mean", "std") if statistics.get(name)}
    return datasets.load(settings["dataset"], **{**image_settings(settings), **made_with}, report=report)


def load_network(
    store: Store, run: str, weights: Path | None = None, *, sealed: bool = False
) -> tuple[UnitNetwork, Dataset]:
    """Return a finished run's network, for evaluation only, and its data set; `weights` is a file of others for it.

    The data set lacks the run's sealed images unless `sealed`, which is for tests of registered claims alone. Raises
    SelvizError if weights are missing or damaged, or if the data set is not the one that the run was made with.
    """
    about = store.run(run)
    where = _where(store, run, about)
    try:
        dataset = _dataset(store, run, where, about)
    except SelvizError as error:
        raise SelvizError(_missing(store, run, where["dataset"], error)) from error
    if dataset.fingerprint != about["fingerprint"]:
        raise SelvizError(
            f"The images of {about['dataset']} are not those that run {run} was made with "
            f"(fingerprint {dataset.fingerprint}, not {about['fingerprint']}); restore them or train the run again."
        )
    dataset = dataset.with_sealed(about.get("sealed_images", 0))  # 0: older runs have none
    network = network_of(store.run_path(run), about, dataset, weights)
    return network, dataset if sealed else dataset.without_sealed()


def network_of(
    folder: Path,
    settings: Mapping[str, Any],
    dataset: Dataset,
    weights: Path | None = None,
    device: torch.device | None = None,
) -> UnitNetwork:
    """Return the network of a run. An imported one is rebuilt from its stored graph: no file that a run names is
    executed.
    """
    if settings.get("traced") == "watched":
        raise SelvizError(
            f"The network of run {folder.name} could not be traced: its units were watched while it ran, so they can "
            "be looked at, and not silenced, explained or captured again. Only importing it again can change that."
        )
    if (document := read_json(folder / NETWORK)) is not None:
        tensors = read_weights(folder, folder / WEIGHTS, "import the run again")
        return UnitNetwork.from_traced(graph_format.rebuilt(document, tensors, dataset.example)).for_inference(device)
    weights = weights or folder / WEIGHTS
    model = models.build(settings["model"], len(dataset.class_names), dataset.channels)
    tensors = read_weights(folder, weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise SelvizError(f"{weights} is damaged ({error}); train or import the run again.") from error
    return UnitNetwork(model.eval(), dataset.example).for_inference(device)


def images_changed(store: Store, run: str) -> str | None:
    """Return one sentence where the evaluation images on disk are not those of a finished run; None where they are.

    Files that were written since are read again, to see whether their pixels are the same.
    """
    about = store.run(run)
    known = (about.get("origin") or {}).get("files")
    try:
        where = _where(store, run, about)
    except SelvizError as error:
        return str(error)
    try:
        if stored_images.is_stored(where["dataset"]):
            stored_images.read(store, run, about)
            return None
        folders = {name: str(where.get(name) or "") for name in ("train_folder", "test_folder")}
        if known is None or known == datasets.files_digest(where["dataset"], **folders):
            return None
        dataset = _dataset(store, run, where, about)
    except SelvizError as error:
        return _missing(store, run, where["dataset"], error)
    if dataset.fingerprint == about["fingerprint"]:
        return None
    return (
        f"The images in {where['dataset'].partition(':')[2]} are no longer those that this run was captured on "
        f"({len(dataset.eval_labels):,} now, {about['images'] + about.get('sealed_images', 0):,} then, or other "
        "pixels); "
        "what is stored is shown as it "
        "was. Put the old images back, or train or import the run again."
    )


def _dataset(store: Store, run: str, where: Mapping[str, Any], about: Mapping[str, Any]) -> Dataset:
    if stored_images.is_stored(where["dataset"]):
        return stored_images.read(store, run, about)
    return load_dataset(where, statistics=about)


def _where(store: Store, run: str, about: Mapping[str, Any]) -> dict[str, Any]:
    settings = read_json(store.run_path(run) / "config.json") or about
    return named_here(store.path, run, settings, about["fingerprint"])


def _missing(store: Store, run: str, spec: str, error: SelvizError) -> str:
    path = spec.partition(":")[2]
    if stored_images.is_stored(spec) or not path or Path(path).exists():
        return str(error)
    return (
        f"The images of run {run} are not in {path} any more, and silencing or explaining units needs them; put them "
        f"back, or say where they are now: selviz relink {run} --dataset {spec.partition(':')[0]}:/new/place"
        + "".join(f" {part}" for part in run_list.data_option(store.path))
    )


def open_engine(
    store: Store,
    run: str,
    fold: int | None = None,
    cache: ablation.BoundaryCache | None = None,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
    most: int | None = None,
    weights_of_run: bool = True,
) -> ablation.Engine:
    """Return the engine that answers ablations of a run on the evaluation images of one fold, or of 0 and 1 (None).

    Engines may share a `cache`. `loaded` is what `load_network` returned, for callers that keep it; `weights_of_run`
    is false where that was with other weights. `most` takes the first images alone, which are nearly balanced over
    classes. Fold 2 is sealed: `open_sealed_engine`.
    """
    if fold == SEALED:
        raise SelvizError(
            "Fold 2 is sealed: only the test of a registered claim reads it (selviz hypothesis register); use "
            "fold 0 or "
            "1, or none for both."
        )
    if fold not in (None, 0, 1):
        raise SelvizError(f"fold is {fold!r}; use 0, 1, or none for both.")
    network, dataset = loaded or load_network(store, run)
    cuts = predictions = None
    if weights_of_run:
        predictions = torch.tensor(store.images(run)["prediction_index"].to_numpy())
        if is_worthwhile(network, len(dataset.eval_labels)):
            cuts = DiskCuts(store.run_path(run), network, dataset)
    return _engine(network, dataset, fold, cache, most, cuts, predictions)


def open_sealed_engine(store: Store, run: str) -> ablation.Engine:
    """Return the engine of a run on its sealed images, for the test of a registered claim and nothing else."""
    network, dataset = load_network(store, run, sealed=True)
    return _engine(network, dataset, SEALED)


def _engine(
    network: UnitNetwork,
    dataset: Dataset,
    fold: int | None,
    cache: ablation.BoundaryCache | None = None,
    most: int | None = None,
    cuts: DiskCuts | None = None,
    predictions: Tensor | None = None,
) -> ablation.Engine:
    images = torch.arange(len(dataset.eval_labels))
    images = (images if fold is None else images[dataset.eval_folds == fold])[:most]
    inputs = dataset.view(images)
    return ablation.Engine(
        network,
        inputs[:] if inputs.nbytes <= MOST_INPUTS else inputs,
        dataset.eval_labels[images],
        cache,
        images=images.tolist(),
        cuts=cuts,
        predictions=None if predictions is None else predictions[images],
    )
