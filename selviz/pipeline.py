"""From settings to a finished run, and from a run to its network: `train_run(Store("data"), RunConfig(...))`.

A run's folder is claimed by one process at a time and gets its `summary.json` last: only then is it finished. The same
call again returns a finished run, and goes on with one that was cut off.
"""

import contextlib
import datetime
import io
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from selviz import ablation, datasets, graphs, metrics, models, snapshots, statistics
from selviz.claims import Claim
from selviz.config import RunConfig, config_from_dict, config_to_dict, image_settings, run_name
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.network import UnitNetwork
from selviz.places import named_here
from selviz.recording import record
from selviz.store import (
    Store,
    listing,
    read_json,
    stage_is_whole,
    write_activations,
    write_images,
    write_json,
    write_stage,
)
from selviz.store.checks import LISTED, checksums
from selviz.store.files import checksum
from selviz.store.stages import clear_partial
from selviz.training import fabric_for, train
from selviz.weights import read_weights, write_weights

Report = Callable[[dict], None]
WEIGHTS = "weights.safetensors"
NETWORK = "network.json"  # an imported run's network, as `selviz.graphs` stores it
MOST_INPUTS = 2**30  # bytes of normalised images that an engine holds; more are normalised batch by batch
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "duckdb")


def train_run(
    store: Store,
    config: RunConfig,
    report: Report = lambda news: None,
    device: str = "auto",
    devices: int = 1,
    gpu: int | None = None,
) -> dict | None:
    """Train, capture and store one run; its summary. A finished run is returned as it is.

    `report` gets {"run", "stage", ...} as the work goes on. Raises SelvizError for unknown names, a run that another
    process is working on, and a disk that cannot be written; the run is then listed with the command that resumes it.
    A `report` may raise jobs.Stopped. With several `devices` this very command runs once for each of them, and all but
    the first return None; `gpu` is the number of the only one to use.
    """
    run = run_name(config)
    folder = store.run_path(run)
    if summary := read_json(folder / "summary.json"):
        return summary
    models.check(config.model)
    dataset = load_dataset(config_to_dict(config), lambda news: report({"run": run, **news}))
    fabric = fabric_for(config, device, devices, gpu)
    fabric.launch()
    if not fabric.is_global_zero:
        train(config, dataset, folder / "partial", fabric=fabric)
        return None
    with Claim(folder / "claim.json", f"run {run}") as claim:

        def tell(news: dict) -> None:
            if claim.lost:
                raise SelvizError(f"Run {run} was taken over by another process; let it finish.")
            news = {"run": run, "alpha": config.alpha, **news}
            if "unit_si" in news:
                _tell_live(folder, news)
                del news["unit_si"]
            if "step" not in news:
                write_json(folder / "partial" / "progress.json", news)
            report(news)

        if summary := read_json(folder / "summary.json"):
            return summary
        (folder / "failed.json").unlink(missing_ok=True)
        write_json(folder / "config.json", config_to_dict(config))
        try:
            _train_stage(folder, config, dataset, tell, fabric)
            network = _load_network(folder, config_to_dict(config), dataset)
            capture_stage(store, folder, network, dataset, tell)
            summary = summarise(folder, _facts(config), dataset)
            clear_partial(folder)
            write_json(folder / "summary.json", summary)
        except Exception as error:
            _record_failure(folder, error)
            raise
        report({"stage": "finished", **summary})
        return summary


def capture_run(store: Store, run: str, report: Report = lambda news: None) -> dict:
    """Capture a run's units again from its weights, for instance after a file was damaged; its summary."""
    folder = store.run_path(run)
    settings = listing.settings(folder)
    if not settings or not (folder / WEIGHTS).exists():
        store.run(run)  # says what is wrong, unless the run is finished
        raise SelvizError(f"Run {run} has no weights, so its units cannot be captured again; train or import it anew.")
    with Claim(folder / "claim.json", f"run {run}"):
        made_with = read_json(folder / "summary.json") or {}
        where = named_here(store.path, run, settings, made_with.get("fingerprint"))
        dataset = load_dataset(where, lambda news: report({"run": run, **news}), made_with)
        network = _load_network(folder, settings, dataset)
        capture_stage(store, folder, network, dataset, lambda news: report({"run": run, **news}), again=True)
        summary = summarise(folder, _facts(settings), dataset)
        write_json(folder / "summary.json", summary)
        return summary


def load_dataset(settings: Mapping, report: Report = lambda news: None, statistics: Mapping = {}) -> Dataset:
    """The data set of a run's settings (`dataset` and the IMAGE_SETTINGS).

    `statistics`, the summary of a finished run, holds the mean and std that it was made with.
    """
    made_with = {name: statistics[name] for name in ("mean", "std") if statistics.get(name)}
    return datasets.load(settings["dataset"], **{**image_settings(settings), **made_with}, report=report)


def load_network(store: Store, run: str, weights: Path | None = None) -> tuple[UnitNetwork, Dataset]:
    """A finished run's network, for evaluation only, and its data set; `weights` is a file of others for it.

    Raises SelvizError if weights are missing or damaged, or if the data set is not the one that the run was made with.
    """
    about = store.run(run)
    where = _where(store, run, about)
    try:
        dataset = load_dataset(where, statistics=about)
    except SelvizError as error:
        raise SelvizError(_missing(store, run, where["dataset"], error)) from error
    if dataset.fingerprint != about["fingerprint"]:
        raise SelvizError(
            f"The images of {about['dataset']} are not those that run {run} was made with "
            f"(fingerprint {dataset.fingerprint}, not {about['fingerprint']}); restore them or train the run again."
        )
    return _load_network(store.run_path(run), about, dataset, weights), dataset


def images_changed(store: Store, run: str) -> str | None:
    """One sentence where the evaluation images on disk are not those of a finished run; None where they are.

    Files that were written since are read again, to see whether their pixels are the same.
    """
    about = store.run(run)
    known = (about.get("origin") or {}).get("files")
    try:
        where = _where(store, run, about)
    except SelvizError as error:
        return str(error)
    try:
        if known is None or known == datasets.files_digest(where["dataset"]):
            return None
        dataset = load_dataset(where, statistics=about)
    except SelvizError as error:
        return _missing(store, run, where["dataset"], error)
    if dataset.fingerprint == about["fingerprint"]:
        return None
    return (
        f"The images in {where['dataset'].partition(':')[2]} are no longer those that this run was captured on "
        f"({len(dataset.eval_labels):,} now, {about['images']:,} then, or other pixels); what is stored is shown as it "
        "was. Put the old images back, or train or import the run again."
    )


def _where(store: Store, run: str, about: Mapping) -> dict:
    settings = read_json(store.run_path(run) / "config.json") or about
    return named_here(store.path, run, settings, about["fingerprint"])


def _missing(store: Store, run: str, spec: str, error: SelvizError) -> str:
    path = spec.partition(":")[2]
    if not path or Path(path).exists():
        return str(error)
    return (
        f"The images of run {run} are not in {path} any more, and silencing or explaining units needs them; put them "
        f"back, or say where they are now: selviz relink {run} --dataset {spec.partition(':')[0]}:/new/place"
        + "".join(f" {part}" for part in listing.data_option(store.path))
    )


def open_engine(
    store: Store,
    run: str,
    fold: int | None = None,
    cache: ablation.BoundaryCache | None = None,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
    most: int | None = None,
) -> ablation.Engine:
    """The engine that answers ablations of a run on the evaluation images of one fold, or of both (None).

    Engines may share a `cache`. `loaded` is what `load_network` gave, for callers that keep it. `most` takes the first
    images alone, which are nearly balanced over classes.
    """
    if fold not in (None, 0, 1):
        raise SelvizError(f"fold is {fold!r}; use 0, 1, or none for all images.")
    network, dataset = loaded or load_network(store, run)
    images = torch.arange(len(dataset.eval_labels))
    images = (images if fold is None else images[dataset.eval_folds == fold])[:most]
    inputs = dataset.view(images)
    if inputs.nbytes <= MOST_INPUTS:
        inputs = inputs[:]
    return ablation.Engine(network, inputs, dataset.eval_labels[images], cache, images=images.tolist())


def unit_statistics(store: Store, run: str, layers: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each layer's stored means and standard deviations of activations, ([U], [U]), for the modes of ablation."""
    columns = ("mean_activation", "std")
    tables = {name: store.units(run, name) for name in layers}
    return {
        name: tuple(torch.tensor(table[column].to_numpy(), dtype=torch.float32) for column in columns)
        for name, table in tables.items()
    }


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


def _facts(settings: Mapping | RunConfig) -> dict:
    """What a run's settings say of it in its summary."""
    if isinstance(settings, Mapping) and settings.get("kind") == "imported":
        return dict(settings)
    config = settings if isinstance(settings, RunConfig) else config_from_dict(settings)
    return {"kind": "trained" if config.epochs else "untrained control", **config_to_dict(config)}


def _load_network(folder: Path, settings: Mapping, dataset: Dataset, weights: Path | None = None) -> UnitNetwork:
    """The network of a run. An imported one is rebuilt from its stored graph: no file that a run names is executed."""
    if settings.get("traced") == "watched":
        raise SelvizError(
            f"The network of run {folder.name} could not be traced: its units were watched while it ran, so they can "
            "be looked at, and not silenced, explained or captured again. Only importing it anew can change that."
        )
    if (document := read_json(folder / NETWORK)) is not None:
        tensors = read_weights(folder, folder / WEIGHTS, "import the run again")
        return UnitNetwork.of(graphs.rebuilt(document, tensors, dataset.example)).frozen()
    weights = weights or folder / WEIGHTS
    model = models.build(settings["model"], len(dataset.class_names), dataset.channels)
    tensors = read_weights(folder, weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise SelvizError(f"{weights} is damaged ({error}); train or import the run again.") from error
    return UnitNetwork(model.eval(), dataset.example).frozen()


def _train_stage(folder: Path, config: RunConfig, dataset: Dataset, tell: Report, fabric: Fabric) -> None:
    if (folder / WEIGHTS).exists() and stage_is_whole(folder, "training"):
        return
    network, history = train(
        config,
        dataset,
        folder / "partial",
        lambda news: tell({"stage": "training", **news}),
        fabric,
        snapshots.keeper(folder, dataset),
    )
    if config.snapshots:
        snapshots.write(folder, provenance(str(fabric.device)))
    write_training(folder, history, {**provenance(str(fabric.device)), "devices": fabric.world_size})
    write_weights(folder / WEIGHTS, network.root.state_dict())


def write_training(folder: Path, history: list[dict], provenance: dict) -> None:
    """The stage of a training's history, one row an epoch; an imported run's has no rows."""
    columns = ["epoch", "loss", "penalty", "train_accuracy", "test_accuracy", "mean_si", "mean_si_live"]
    layer_rows = [
        {"epoch": row["epoch"], "layer": position, "mean_si": si}
        for row in history
        for position, si in enumerate(row["layer_si"])
    ]
    tables = {
        "epochs": pd.DataFrame(history, columns=[*columns, "learning_rate", "seconds"]),
        "epoch_layers": pd.DataFrame(layer_rows, columns=["epoch", "layer", "mean_si"]),
    }
    write_stage(folder, "training", tables, provenance)


def _tell_live(folder: Path, news: dict) -> None:
    """Keep what a page can show of a training that goes on: all epochs so far, and each unit's SI after the last."""
    path = folder / "partial" / "live.json"
    earlier = (read_json(path) or {}).get("epochs", [])
    rows = [row for row in earlier if row["epoch"] < news["epoch"]]
    rows.append({name: value for name, value in news.items() if isinstance(value, int | float)})
    write_json(path, {"epochs": rows, "unit_si": news["unit_si"]})


def capture_stage(store: Store, folder: Path, network, dataset: Dataset, tell: Report, again: bool = False) -> None:
    """What `network` does on the evaluation images, its measures, and their pictures; what is whole stays."""
    pictures = thumbnails(dataset.eval_pixels)  # made as they are written, if they are
    write_images(store.path, dataset.fingerprint, pictures, dataset.eval_labels, dataset.class_names)
    if not again and stage_is_whole(folder, "capture") and stage_is_whole(folder, "metrics"):
        return
    classes = len(dataset.class_names)
    found = record(
        network,
        dataset.view(),
        classes,
        folder / "partial" / "capture",
        _capture_key(folder, dataset),
        lambda news: tell({"stage": "capture", **news}),
    )
    _check_finite(found.logits, "outputs")
    layers = pd.DataFrame(
        {
            "layer": range(len(network.layers)),
            "name": [layer.name for layer in network.layers],
            "units": [layer.units for layer in network.layers],
            "depth": [layer.depth for layer in network.layers],
            "signed": [layer.signed for layer in network.layers],
            "squeeze": [layer.squeeze for layer in network.layers],
        }
    )
    images = pd.DataFrame(
        {
            "image": range(len(dataset.eval_labels)),
            "label": dataset.eval_labels.int().numpy(),
            "prediction": found.logits.argmax(axis=1).astype(np.int32),
            "fold": dataset.eval_folds.numpy(),
        }
    )
    write_activations(folder, layers, images, enumerate(found.layers), provenance("cpu"))
    measured = []
    for position, values in enumerate(found.layers):
        tell({"stage": "metrics", "done": position, "of": len(found.layers)})
        _check_finite(values, f"activations in layer {network.layers[position].name}")
        measured.append(metrics.layer_metrics(torch.from_numpy(values), dataset.eval_labels, classes))
    tables = {
        "layers": pd.DataFrame([{"layer": position, **entry["layer"]} for position, entry in enumerate(measured)]),
        **{
            name: pd.concat([entry[name].assign(layer=position) for position, entry in enumerate(measured)])
            for name in ("units", "class_means")
        },
    }
    write_stage(folder, "metrics", tables, {**provenance("cpu"), "shuffles": metrics.SHUFFLES})
    found.discard()


def _check_finite(values: np.ndarray, what: str) -> None:
    """SelvizError names the first image on which values [N, ...] are not numbers."""
    if not (fine := np.isfinite(values).all(axis=1)).all():
        raise SelvizError(f"The network's {what} are not finite on image {fine.argmin()}: its weights are damaged.")


def _capture_key(folder: Path, dataset: Dataset) -> str:
    """Changes with the weights, the evaluation images and how they are normalised."""
    return f"{checksum(folder / WEIGHTS)[:16]} {dataset.fingerprint} {dataset.mean} {dataset.std}"


def summarise(folder: Path, facts: Mapping, dataset: Dataset) -> dict:
    """What lists and the overview show of the run, from its stage files."""
    from selviz.store.reading import read

    images = read({"capture": folder / "capture.duckdb"}, "SELECT * FROM capture.images")
    layers = read({"metrics": folder / "metrics.duckdb"}, "SELECT * FROM metrics.layers ORDER BY layer")
    live = layers[layers["dead"] < layers["units"]]
    correct = int((images["label"] == images["prediction"]).sum())
    low, high = statistics.wilson(correct, len(images))
    epochs = read({"training": folder / "training.duckdb"}, "SELECT sum(seconds) AS seconds FROM training.epochs")
    return {
        "run": folder.name,
        **facts,
        "test_accuracy": correct / len(images),
        "test_accuracy_low": float(low),
        "test_accuracy_high": float(high),
        "mean_si": float(layers["mean_si"].mean()),
        "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
        "null_mean": float(layers["null_mean"].mean()),
        "null_p95": float(layers["null_p95"].mean()),
        "dead": int(layers["dead"].sum()),
        "units": int(layers["units"].sum()),
        "layers": len(layers),
        "images": len(images),
        "classes": list(dataset.class_names),
        "fingerprint": dataset.fingerprint,
        "origin": dataset.origin,
        "transform": dataset.origin.get("transform"),
        "available_images": dataset.origin.get("available", len(images)),
        "skipped_images": dataset.origin.get("skipped_images", 0),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "train_images": None if facts["kind"] == "imported" else len(dataset.train_labels),
        "train_seconds": float(np.nan_to_num(epochs["seconds"][0])),
        LISTED: checksums(folder),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **provenance((read_json(folder / "training.json") or {}).get("provenance", {}).get("device", "cpu")),
    }


def provenance(device: str) -> dict:
    """Where and with what something was computed, for the record beside a stage."""
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _record_failure(folder: Path, error: Exception) -> None:
    # A disk that cannot be written is already the error that the caller sees.
    with contextlib.suppress(SelvizError):
        write_json(folder / "failed.json", {"reason": str(error) or type(error).__name__, "kind": type(error).__name__})


def thumbnails(pixels: Tensor, largest: int = 96) -> Iterator[bytes]:
    """Small pictures of uint8 pixels [N, C, H, W]: PNG up to `largest` pixels a side, else WebP of that size."""
    for image in pixels.numpy():
        picture = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1))
        picture.thumbnail((largest, largest))
        buffer = io.BytesIO()
        small = max(image.shape[1:]) <= largest
        picture.save(buffer, format="PNG" if small else "WEBP", quality=85)
        yield buffer.getvalue()
