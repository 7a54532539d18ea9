"""From settings to a finished run: `train_run(Store("data"), RunConfig("mnist-5k", "cnn", alpha=-1))`.

A run's folder is claimed by one process at a time and gets its `summary.json` last: only then is it finished. The same
call again returns a finished run, and goes on with one that was cut off.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from selviz.config import RunConfig, config_from_dict, config_to_dict, run_name
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork
from selviz.runs import snapshots
from selviz.runs.dataset_locations import named_here
from selviz.runs.load import load_dataset, network_of
from selviz.runs.stages import capture_stage, provenance, summarise, write_training
from selviz.runs.weights import write_weights
from selviz.store import Store, read_json, run_list, stage_is_whole, write_json
from selviz.store.files import WEIGHTS
from selviz.store.stage_files import clear_partial
from selviz.system.locks import Claim
from selviz.system.progress import ProgressEvent, Report, silent
from selviz.training import stacked
from selviz.training.checkpoints import EpochRow
from selviz.training.fabric import Fabric
from selviz.training.loop import TrainingDiverged, fabric_for, train, untrained_unit_si


def train_run(
    store: Store,
    config: RunConfig,
    report: Report = silent,
    device: str = "auto",
    devices: int = 1,
    gpu: int | None = None,
) -> dict[str, Any] | None:
    """Train, capture and store one run; returns its summary. A finished run is returned as it is.

    `report` gets {"run", "stage", ...} as the work goes on. Raises SelvizError for unknown names, a run that another
    process is working on, and a disk that cannot be written; the run is then listed with the command that resumes it.
    A `report` may raise background_jobs.Stopped. With several `devices` this very command runs once for each of them,
    and all but the first return None; `gpu` is the number of the only one to use.
    """
    run = run_name(config)
    folder = store.run_path(run)
    if summary := _summary(folder):
        return summary
    models.check(config.model)
    dataset = load_dataset(config_to_dict(config), lambda progress: report({"run": run, **progress}))
    fabric = fabric_for(config, device, devices, gpu)
    fabric.launch()
    if not fabric.is_global_zero:
        train(config, dataset.without_sealed(), folder / "partial", fabric=fabric)
        return None
    with Claim(folder / "claim.json", f"run {run}") as claim:
        if summary := _summary(folder):
            return summary
        tell = _teller(folder, config, claim, report)
        _begin(folder, config)
        try:
            _train_stage(folder, config, dataset.without_sealed(), tell, fabric)
            network = network_of(folder, config_to_dict(config), dataset, device=fabric.device)
            capture_stage(store, folder, network, dataset, tell)
            summary = summarise(folder, _facts(config), dataset)
            clear_partial(folder)
            write_json(folder / "summary.json", summary)
        except Exception as error:
            _record_failure(folder, error)
            raise
        report(cast(ProgressEvent, {**summary, "stage": "finished"}))
        return summary


def train_runs_stacked(
    store: Store, configs: Sequence[RunConfig], report: Report = silent, device: str = "auto"
) -> None:
    """Train the networks of several runs at once (`training.stacked`), so that `train_run` only has to capture them.

    Runs that are trained already are left out. One whose training diverges is listed as failed and ends no other.
    Raises SelvizError if another process works on one of the runs, and for runs that do not make a stack.
    """
    configs = [config for config in configs if not _is_trained(store.run_path(run_name(config)))]
    if not configs:
        return
    stacked.check(configs)
    models.check(configs[0].model)
    dataset = load_dataset(config_to_dict(configs[0]), report).without_sealed()
    folders = [store.run_path(run_name(config)) for config in configs]
    with contextlib.ExitStack() as claims:
        reports = []
        for config, folder in zip(configs, folders, strict=True):
            claim = claims.enter_context(Claim(folder / "claim.json", f"run {folder.name}"))
            _begin(folder, config)
            reports.append(_training_teller(_teller(folder, config, claim, report)))
        used = fabric_for(configs[0], device).device
        partial = [folder / "partial" for folder in folders]
        results = stacked.train_stack(configs, dataset, partial, reports, device)
        about = {**provenance(str(used)), "devices": 1, "stack": len(configs)}
        for folder, result in zip(folders, results, strict=True):
            if isinstance(result, TrainingDiverged):
                _record_failure(folder, result)
            else:
                _write_trained(folder, *result, about)


def capture_run(store: Store, run: str, report: Report = silent) -> dict[str, Any]:
    """Capture a run's units again from its weights, for instance after a file was damaged; returns its summary."""
    folder = store.run_path(run)
    settings = run_list.settings(folder)
    if not settings or not (folder / WEIGHTS).exists():
        store.run(run)  # says what is wrong, unless the run is finished
        raise SelvizError(f"Run {run} has no weights, so its units cannot be captured again; train or import it again.")

    def tell(progress: ProgressEvent) -> None:
        report({"run": run, **progress})

    with Claim(folder / "claim.json", f"run {run}"):
        made_with = read_json(folder / "summary.json") or {}
        where = named_here(store.path, run, settings, made_with.get("fingerprint"))
        dataset = load_dataset(where, tell, made_with)
        if made_with:  # an older run keeps its two folds
            dataset = dataset.with_sealed(made_with.get("sealed_images", 0))
        network = network_of(folder, settings, dataset)
        capture_stage(store, folder, network, dataset, tell, again=True)
        summary = summarise(folder, _facts(settings), dataset)
        write_json(folder / "summary.json", summary)
        return summary


def _summary(folder: Path) -> dict[str, Any] | None:
    return cast("dict[str, Any] | None", read_json(folder / "summary.json"))


def _begin(folder: Path, config: RunConfig) -> None:
    (folder / "failed.json").unlink(missing_ok=True)
    write_json(folder / "config.json", config_to_dict(config))


def _teller(folder: Path, config: RunConfig, claim: Claim, report: Report) -> Report:
    """Return what hears how far a run is: it keeps that in the run's folder, where others look, and passes it on."""

    def tell(progress: ProgressEvent) -> None:
        if claim.lost:
            raise SelvizError(f"Run {folder.name} was taken over by another process; let it finish.")
        event: dict[str, Any] = {"run": folder.name, "alpha": config.alpha, **progress}
        if "unit_si" in event:
            _write_live(folder, event)
            del event["unit_si"]
        if "step" not in event:
            write_json(folder / "partial" / "progress.json", event)
        report(cast(ProgressEvent, event))

    return tell


def _training_teller(tell: Report) -> Report:
    return lambda progress: tell({"stage": "training", **progress})


def _facts(settings: Mapping[str, Any] | RunConfig) -> dict[str, Any]:
    """Return what a run's settings say of it in its summary."""
    if isinstance(settings, Mapping) and settings.get("kind") == "imported":
        return dict(settings)
    config = settings if isinstance(settings, RunConfig) else config_from_dict(settings)
    return {"kind": "trained" if config.epochs else "untrained control", **config_to_dict(config)}


def _is_trained(folder: Path) -> bool:
    return (folder / "summary.json").exists() or ((folder / WEIGHTS).exists() and stage_is_whole(folder, "training"))


def _train_stage(folder: Path, config: RunConfig, dataset: Dataset, tell: Report, fabric: Fabric) -> None:
    if _is_trained(folder):
        return
    live = folder / "partial" / "live.json"
    if config.epochs and fabric.is_global_zero and not live.exists():
        write_json(live, {"epochs": [], "unit_si": untrained_unit_si(config, dataset)})
    network, history = train(
        config, dataset, folder / "partial", _training_teller(tell), fabric, snapshots.keeper(folder, dataset)
    )
    about = provenance(str(fabric.device))
    if config.snapshots:
        snapshots.write(folder, about)
    _write_trained(folder, network, history, {**about, "devices": fabric.world_size})


def _write_trained(folder: Path, network: UnitNetwork, history: list[EpochRow], about: dict[str, Any]) -> None:
    write_training(folder, history, about)
    write_weights(folder / WEIGHTS, network.root.state_dict())


def _write_live(folder: Path, event: Mapping[str, Any]) -> None:
    """Keep what a page can show of a training that goes on: all epochs so far, and each unit's SI after the last."""
    path = folder / "partial" / "live.json"
    earlier = (read_json(path) or {}).get("epochs", [])
    rows = [row for row in earlier if row["epoch"] < event["epoch"]]
    rows.append({name: value for name, value in event.items() if isinstance(value, int | float)})
    write_json(path, {"epochs": rows, "unit_si": event["unit_si"]})


def _record_failure(folder: Path, error: Exception) -> None:
    # A disk that cannot be written is already the error that the caller sees.
    with contextlib.suppress(SelvizError):
        write_json(folder / "failed.json", {"reason": str(error) or type(error).__name__, "kind": type(error).__name__})
