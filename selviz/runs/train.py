"""From settings to a finished run: `train_run(Store("data"), RunConfig("mnist-5k", "cnn", alpha=-1))`.

A run's folder is claimed by one process at a time and gets its `summary.json` last: only then is it finished. The same
call again returns a finished run, and goes on with one that was cut off.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from lightning_fabric import Fabric

from selviz.config import RunConfig, config_from_dict, config_to_dict, run_name
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.runs import snapshots
from selviz.runs.dataset_locations import named_here
from selviz.runs.load import load_dataset, network_of
from selviz.runs.stages import capture_stage, provenance, summarise, write_training
from selviz.runs.weights import write_weights
from selviz.store import Store, read_json, run_list, stage_is_whole, write_json
from selviz.store.files import WEIGHTS
from selviz.store.stage_files import clear_partial
from selviz.system.locks import Claim
from selviz.system.progress import Report, silent
from selviz.training.loop import fabric_for, train


def train_run(
    store: Store,
    config: RunConfig,
    report: Report = silent,
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
        train(config, dataset.without_sealed(), folder / "partial", fabric=fabric)
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
            _train_stage(folder, config, dataset.without_sealed(), tell, fabric)
            network = network_of(folder, config_to_dict(config), dataset)
            capture_stage(store, folder, network, dataset, tell)
            summary = summarise(folder, _facts(config), dataset)
            clear_partial(folder)
            write_json(folder / "summary.json", summary)
        except Exception as error:
            _record_failure(folder, error)
            raise
        report({"stage": "finished", **summary})
        return summary


def capture_run(store: Store, run: str, report: Report = silent) -> dict:
    """Capture a run's units again from its weights, for instance after a file was damaged; its summary."""
    folder = store.run_path(run)
    settings = run_list.settings(folder)
    if not settings or not (folder / WEIGHTS).exists():
        store.run(run)  # says what is wrong, unless the run is finished
        raise SelvizError(f"Run {run} has no weights, so its units cannot be captured again; train or import it anew.")
    with Claim(folder / "claim.json", f"run {run}"):
        made_with = read_json(folder / "summary.json") or {}
        where = named_here(store.path, run, settings, made_with.get("fingerprint"))
        dataset = load_dataset(where, lambda news: report({"run": run, **news}), made_with)
        if made_with:  # an older run keeps its two folds
            dataset = dataset.with_sealed(made_with.get("sealed_images", 0))
        network = network_of(folder, settings, dataset)
        capture_stage(store, folder, network, dataset, lambda news: report({"run": run, **news}), again=True)
        summary = summarise(folder, _facts(settings), dataset)
        write_json(folder / "summary.json", summary)
        return summary


def _facts(settings: Mapping | RunConfig) -> dict:
    """What a run's settings say of it in its summary."""
    if isinstance(settings, Mapping) and settings.get("kind") == "imported":
        return dict(settings)
    config = settings if isinstance(settings, RunConfig) else config_from_dict(settings)
    return {"kind": "trained" if config.epochs else "untrained control", **config_to_dict(config)}


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


def _tell_live(folder: Path, news: dict) -> None:
    """Keep what a page can show of a training that goes on: all epochs so far, and each unit's SI after the last."""
    path = folder / "partial" / "live.json"
    earlier = (read_json(path) or {}).get("epochs", [])
    rows = [row for row in earlier if row["epoch"] < news["epoch"]]
    rows.append({name: value for name, value in news.items() if isinstance(value, int | float)})
    write_json(path, {"epochs": rows, "unit_si": news["unit_si"]})


def _record_failure(folder: Path, error: Exception) -> None:
    # A disk that cannot be written is already the error that the caller sees.
    with contextlib.suppress(SelvizError):
        write_json(folder / "failed.json", {"reason": str(error) or type(error).__name__, "kind": type(error).__name__})
