"""Many runs from one grid of settings: `run_sweep(Store("data"), grid({"alpha": [-1, 0, 1], "seed": [0, 1]}, ...))`.

joblib hands runs to workers: processes here (loky), or an existing Ray or Dask cluster. Workers share nothing but the
store's folder, in which every run tells how far it is; so a finished run is skipped, one that was cut off goes on, and
the same sweep again continues.
"""

import contextlib
import hashlib
import itertools
import math
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from selviz.config import RunConfig, config_from_dict, config_to_dict, image_settings, run_name
from selviz.errors import SelvizError, unknown
from selviz.runs import background_jobs
from selviz.runs.clusters import BACKENDS, backend_of, ended_by_sigterm, has_local_workers, local_workers
from selviz.store import Store, read_json
from selviz.system.locks import Claim, holder
from selviz.system.processes import end_soon
from selviz.system.progress import ProgressEvent, Report, silent

POLL_S = 1.0  # between two looks at how far the runs are
DIVERGED = "TrainingDiverged"  # what failed.json calls it
_ALONE = threading.Lock()  # torch's threads and random state belong to a process: one run at a time in each


class RunStatus(TypedDict):
    """How far a run of a sweep is. `state`: finished, running, failed, unfinished (cut off) or waiting.

    `mean_si` is without dead units; `diverged` is None where it is not known yet.
    """

    run: str
    alpha: float
    seed: int
    state: str
    reason: str | None
    epoch: int
    epochs: int
    loss: float | None
    accuracy: float | None
    mean_si: float | None
    dead: int | None
    diverged: bool | None


def grid(settings: Mapping[str, Sequence[Any]], **fixed: Any) -> list[RunConfig]:
    """Return one RunConfig for each combination of values, the first setting outermost.

    Baselines that differ only in settings of the penalty are one run. Raises SelvizError for an empty list, and for a
    value that stands twice.
    """
    for name, values in settings.items():
        if not len(values):
            raise SelvizError(f"The sweep has no run: {name} has no value; give one or more, such as --alphas=-1,0,1.")
        twice = [value for number, value in enumerate(values) if value in values[:number]]
        if twice:
            raise SelvizError(f"The sweep has the same run twice: {name} {twice[0]} is named twice; name each once.")
    combinations = itertools.product(*settings.values())
    configs = (RunConfig(**dict(zip(settings, values, strict=True)), **fixed) for values in combinations)
    return list({run_name(config): config for config in configs}.values())


def sweep_name(configs: Sequence[RunConfig]) -> str:
    """Return `sweep-<hash>` of the runs, whatever their order."""
    return f"sweep-{hashlib.sha256(' '.join(sorted(map(run_name, configs))).encode()).hexdigest()[:10]}"


def run_sweep(
    store: Store,
    configs: Sequence[RunConfig],
    backend: str = "loky",
    workers: int | None = None,
    threads: int | None = None,
    address: str | None = None,
    gpus: float = 0,
    device: str = "auto",
    report: Report = silent,
    arguments: Sequence[str] = (),
    stack: int = 1,
) -> pd.DataFrame:
    """Train what is missing of `configs`; returns one row per run as `run_status`, whatever became of it.

    `backend` loky has `workers` processes on this machine (default: one a core), ray and dask the workers of the
    cluster at `address`. Each run has `threads` threads of torch (default: the cores shared out; 1 on a cluster) and
    `gpus` of a GPU: 0.5 lets two runs share one. A worker trains `stack` networks of one shape at once. `report` gets
    {"runs": rows, "left": seconds or None} about once a second. `arguments` is the command that starts the same sweep
    again, for the list of jobs. Raises SelvizError for an unknown name, for a cluster that does not answer, for a
    worker that died, and if the sweep was stopped; finished runs are kept whatever happens.
    """
    _check(configs, backend, gpus, stack)
    data = store.path.resolve()
    with _starting(sum(not is_finished(data, config) for config in configs), backend, workers, threads, gpus):
        _check_parts(configs)
    job = background_jobs.place(data, sweep_name(configs))
    with ended_by_sigterm(), background_jobs.working(job, "this sweep"):
        background_jobs.describe(job, shape(configs, arguments))
        with watching(data, configs, report):
            missing = [config for config in configs if not is_finished(data, config)]
            reasons = train_all(data, missing, job, backend, workers, threads, address, gpus, device, stack)
    rows = [run_status(data, config) for config in configs]
    if background_jobs.is_stopped(job):
        done = sum(row["state"] == "finished" for row in rows)
        raise SelvizError(f"The sweep was stopped; {done} of {len(rows)} runs are finished. Typed again, it goes on.")
    return pd.DataFrame([_with_reason(row, reasons.get(row["run"])) for row in rows])


def _with_reason(row: RunStatus, reason: str | None) -> RunStatus:
    """Return the row; a run that could not even begin has no record of its own."""
    begun = row["state"] in ("finished", "running", "failed")
    return row if begun or reason is None else {**row, "state": "failed", "reason": reason}


def train_all(
    data: Path,
    configs: Sequence[RunConfig],
    job: Path,
    backend: str = "loky",
    workers: int | None = None,
    threads: int | None = None,
    address: str | None = None,
    gpus: float = 0,
    device: str = "auto",
    stack: int = 1,
) -> dict[str, str]:
    """Train `configs` on the workers of a backend until all are done or the job was stopped.

    Returns the reason of each run that failed, by its name.
    """
    if not configs:
        return {}
    import joblib

    from selviz.training.stacked import stacks

    parts = stacks(configs, stack) if stack > 1 else [[config] for config in configs]
    if backend == "loky":
        workers, threads = _shared_out(len(parts), workers, threads, gpus)
    threads = threads or 1
    own_gpus, parent = (gpus, os.getpid()) if backend == "loky" else (0, None)
    with backend_of(backend, address, workers, threads, gpus) as count:
        try:
            reasons = joblib.Parallel(n_jobs=count, batch_size=1)(
                joblib.delayed(_train_part)(str(data), part, str(job), threads, device, own_gpus, parent)
                for part in parts
            )
        except (SelvizError, KeyboardInterrupt):
            raise
        except Exception as error:  # each backend has its own for a worker that was killed
            raise SelvizError(
                f"A worker of the sweep was lost ({type(error).__name__}); finished runs are kept, type the same sweep "
                "again and it goes on."
            ) from error
    return {run: reason for part in reasons for run, reason in part.items()}


def run_status(data: str | Path, config: RunConfig) -> RunStatus:
    """Return how far the run of these settings is."""
    run = run_name(config)
    folder = Path(data) / "runs" / run
    row: RunStatus = {
        "run": run, "alpha": config.alpha, "seed": config.seed, "state": "waiting", "reason": None, "epoch": 0,
        "epochs": config.epochs, "loss": None, "accuracy": None, "mean_si": None, "dead": None, "diverged": None,
    }  # fmt: skip
    try:
        summary, progress = read_json(folder / "summary.json"), read_json(folder / "partial" / "progress.json")
        failure = read_json(folder / "failed.json")
    except SelvizError as error:
        return {**row, "state": "failed", "reason": str(error)}
    if summary:
        row["accuracy"], row["mean_si"] = summary.get("test_accuracy"), summary.get("mean_si_live")
        row["dead"], row["diverged"] = summary.get("dead"), summary.get("diverged")
        row["state"], row["epoch"] = "finished", config.epochs
        return row
    if holder(folder / "claim.json"):
        row["state"] = "running"
    elif failure:
        row["state"], row["reason"] = "failed", failure.get("reason")
        row["diverged"] = failure.get("kind") == DIVERGED
    elif (folder / "config.json").exists():
        row["state"] = "unfinished"
    if progress:
        if "test_accuracy" in progress:
            row["accuracy"], row["mean_si"] = progress["test_accuracy"], progress.get("mean_si_live")
        row["epoch"], row["loss"] = progress.get("epoch", row["epoch"]), progress.get("loss", row["loss"])
    return row


def job_configs(data: str | Path, name: str) -> list[RunConfig]:
    """Return the runs of a sweep that was started as a job; [] where its list is of another selviz, or damaged."""
    try:
        rows = (background_jobs.about(background_jobs.place(data, name)) or {}).get("runs", [])
        return [config_from_dict({key: value for key, value in row.items() if key != "run"}) for row in rows]
    except SelvizError:
        return []


def job_status(data: str | Path, name: str) -> list[RunStatus]:
    """Return how far each run of a sweep is that was started as a job."""
    return [run_status(data, config) for config in job_configs(data, name)]


def done_share(rows: Iterable[RunStatus]) -> float:
    """Return how much of the training of these runs is done, 0..1; what failed counts as done."""
    shares = [1.0 if row["state"] in ("finished", "failed") else row["epoch"] / (row["epochs"] + 1) for row in rows]
    return sum(shares) / len(shares) if shares else 1.0


def _train_part(
    data: str, configs: list[RunConfig], job: str, threads: int, device: str, gpus: float, parent: int | None
) -> dict[str, str]:
    """Train runs, in a worker, several as one stack; returns the reason of each that failed: it must not end others."""
    import torch

    from selviz.runs.train import train_run, train_runs_stacked

    end_soon()  # the sweep waits for its workers
    store, reasons = Store(data), {}

    def check_wanted(progress: ProgressEvent | None = None) -> None:
        # A worker whose parent was killed would go on unseen, and hold its run.
        orphan = parent is not None and parent not in (os.getpid(), os.getppid())
        if orphan or background_jobs.is_stopped(Path(job)):
            raise background_jobs.Stopped

    with _ALONE:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            check_wanted()
            gpu = _own_gpu(Path(data), gpus) if gpus else None
            used = "cuda" if gpus else device
            if len(configs) > 1:
                train_runs_stacked(store, configs, check_wanted, used)
            for config in configs:
                failure = read_json(store.run_path(run_name(config)) / "failed.json")
                if len(configs) > 1 and failure:  # it diverged in the stack
                    reasons[run_name(config)] = str(failure.get("reason"))
                    continue
                try:
                    train_run(store, config, check_wanted, used, gpu=gpu)
                except Exception as error:
                    reasons[run_name(config)] = str(error) or type(error).__name__
        except background_jobs.Stopped:
            pass
        except Exception as error:
            reasons |= {run_name(config): str(error) or type(error).__name__ for config in configs}
        finally:
            torch.set_num_threads(before)
    return reasons


_gpu: list[tuple[int, Claim]] = []  # the GPU of this process, held as long as it lives


def _own_gpu(data: Path, share: float) -> int:
    """Return the number of the GPU that this process may use: the first with a free slot, of 1 / share slots each."""
    import torch

    if not _gpu:
        slots = max(1, math.floor(1 / share))
        for slot in range(torch.cuda.device_count() * slots):
            claim = Claim(data / "jobs" / f"gpu-{socket.gethostname()}-{slot}.claim", "this GPU")
            try:
                claim.__enter__()
            except SelvizError:
                continue
            _gpu.append((slot // slots, claim))
            break
        else:
            raise SelvizError("Every GPU of this machine is taken; use fewer --workers, or a smaller --gpus.")
    return _gpu[0][0]


def _shared_out(runs: int, workers: int | None, threads: int | None, gpus: float) -> tuple[int, int]:
    """Return how many workers of this machine so many runs get, and torch's threads in each."""
    import joblib

    cores = joblib.cpu_count()
    workers = min(workers or _local_workers(cores, gpus), runs) if has_local_workers() else 1
    return workers, threads or max(1, cores // workers)


@contextlib.contextmanager
def _starting(runs: int, backend: str, workers: int | None, threads: int | None, gpus: float) -> Iterator[None]:
    """Start the workers of this machine, and their imports, while the block looks for networks and images."""
    workers, threads = _shared_out(runs, workers, threads, gpus) if backend == "loky" and runs else (1, 1)
    if workers == 1:  # that is this process
        yield
        return
    import joblib

    def start() -> None:
        with (
            contextlib.suppress(Exception),  # the runs themselves will tell
            local_workers(threads),
        ):
            joblib.Parallel(n_jobs=workers, batch_size=1)(joblib.delayed(_ready)() for _ in range(workers))

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _ready() -> None:
    import selviz.runs.train  # noqa: F401


def _local_workers(cores: int, gpus: float) -> int:
    if not gpus:
        return cores
    import torch

    return max(1, torch.cuda.device_count() * max(1, math.floor(1 / gpus)))


@contextlib.contextmanager
def watching(data: Path, configs: Sequence[RunConfig], report: Report) -> Iterator[None]:
    """Tell `report` about once a second how far the runs are, and once more at the end."""
    ended, begun = threading.Event(), time.monotonic()
    latest: dict[str, RunStatus] = {}

    def share_now() -> float:
        for config in configs:
            if run_name(config) not in latest or latest[run_name(config)]["state"] != "finished":
                latest[run_name(config)] = run_status(data, config)
        return done_share(latest.values())

    at_first = share_now()

    def tell() -> None:
        share = share_now()
        gained = share - at_first
        left = (time.monotonic() - begun) * (1 - share) / gained if gained > 0 else None
        report({"runs": list(latest.values()), "left": left})

    def watch() -> None:
        while not ended.wait(POLL_S):
            tell()

    thread = threading.Thread(target=watch, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell()


def _check(configs: Sequence[RunConfig], backend: str, gpus: float, stack: int) -> None:
    if not configs:
        raise SelvizError("The sweep has no run; give at least one alpha and one seed: --alphas=-1,0,1 --seeds 0-2")
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    if not 0 <= gpus <= 1:
        raise SelvizError(f"A run of a sweep uses at most one GPU, not {gpus:g}; give --gpus 0 to 1.")
    if stack < 1:
        raise SelvizError(f"A stack has at least one network, not {stack}; give --stack 1 or more.")
    names = [run_name(config) for config in configs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SelvizError(f"The sweep has the same run twice: {twice}.")


def _check_parts(configs: Sequence[RunConfig]) -> None:
    """Raise SelvizError where a network or the images that the runs need are not there."""
    from selviz.networks import models
    from selviz.runs.load import load_dataset

    for model in {config.model for config in configs}:
        models.check(model)
    images = {(config.dataset, *image_settings(vars(config)).items()): config for config in configs}
    for config in images.values():
        load_dataset(config_to_dict(config))


def is_finished(data: Path, config: RunConfig) -> bool:
    """Return whether the run of these settings is in the store."""
    return (data / "runs" / run_name(config) / "summary.json").exists()


def shape(configs: Sequence[RunConfig], arguments: Sequence[str]) -> dict[str, Any]:
    """Return what a list of jobs says of a sweep: its command, runs and settings."""
    runs = [{"run": run_name(config), **config_to_dict(config)} for config in configs]
    return {"arguments": list(arguments), "runs": runs}
