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

import pandas as pd

from selviz.config import RunConfig, config_to_dict, image_settings, run_name
from selviz.errors import SelvizError, first_line, unknown
from selviz.runs import background_jobs
from selviz.store import Store, read_json
from selviz.system.locks import Claim, holder
from selviz.system.processes import end_soon
from selviz.system.progress import Report, silent

BACKENDS = ("loky", "ray", "dask")
ANSWER = 10  # seconds within which a cluster must answer
LOOK = 1.0  # seconds between two looks at how far the runs are
_ALONE = threading.Lock()  # torch's threads and random state belong to a process: one run at a time in each


def grid(settings: Mapping[str, Sequence], **fixed) -> list[RunConfig]:
    """One RunConfig for each combination of values, the first setting outermost.

    Baselines that differ only in settings of the penalty are one run. Raises SelvizError for an empty list, and for a
    value that stands twice.
    """
    for name, values in settings.items():
        if not len(values):
            raise SelvizError(f"The sweep has no run: {name} has no value; give one or more, such as --alphas=-1,0,1.")
        twice = [value for number, value in enumerate(values) if value in values[:number]]
        if twice:
            raise SelvizError(f"The sweep has the same run twice: {name} {twice[0]} is named twice; name each once.")
    configs = (RunConfig(**dict(zip(settings, values)), **fixed) for values in itertools.product(*settings.values()))
    return list({run_name(config): config for config in configs}.values())


def sweep_name(configs: Sequence[RunConfig]) -> str:
    """`sweep-<hash>` of the runs, whatever their order."""
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
) -> pd.DataFrame:
    """Train what is missing of `configs`; one row a run as `run_status`, whatever became of it.

    `backend` loky has `workers` processes on this machine (default: one a core), ray and dask the workers of the
    cluster at `address`. Each run has `threads` threads of torch (default: the cores shared out; 1 on a cluster) and
    `gpus` of a GPU: 0.5 lets two runs share one. `report` gets {"runs": rows, "left": seconds or None} about once a
    second. `arguments` is the command that starts the same sweep again, for the list of jobs. Raises SelvizError for an
    unknown name, for a cluster that does not answer, for a worker that died, and if the sweep was stopped; finished
    runs are kept whatever happens.
    """
    _check(configs, backend, gpus)
    data = store.path.resolve()
    with _starting(sum(not is_finished(data, config) for config in configs), backend, workers, threads, gpus):
        _check_parts(configs)
    place = background_jobs.place(data, sweep_name(configs))
    with background_jobs.working(place, "this sweep"):
        background_jobs.describe(place, shape(configs, arguments))
        with watching(data, configs, report):
            missing = [config for config in configs if not is_finished(data, config)]
            reasons = work_off(data, missing, place, backend, workers, threads, address, gpus, device)
    rows = [run_status(data, config) for config in configs]
    if background_jobs.is_stopped(place):
        done = sum(row["state"] == "finished" for row in rows)
        raise SelvizError(f"The sweep was stopped; {done} of {len(rows)} runs are finished. Typed again, it goes on.")
    return pd.DataFrame([_with_reason(row, reasons.get(row["run"])) for row in rows])


def _with_reason(row: dict, reason: str | None) -> dict:
    """A run that could not even begin has no record of its own."""
    begun = row["state"] in ("finished", "running", "failed")
    return row if begun or reason is None else {**row, "state": "failed", "reason": reason}


def work_off(
    data: Path,
    configs: Sequence[RunConfig],
    place: Path,
    backend: str = "loky",
    workers: int | None = None,
    threads: int | None = None,
    address: str | None = None,
    gpus: float = 0,
    device: str = "auto",
) -> dict[str, str]:
    """Train `configs` on the workers of a backend until all are done or the job at `place` was stopped.

    Gives the reason of each run that failed, by its name.
    """
    if not configs:
        return {}
    import joblib

    if backend == "loky":
        workers, threads = _shared_out(len(configs), workers, threads, gpus)
    told = {"threads": threads or 1, "device": device, "gpus": gpus if backend == "loky" else 0}
    told["parent"] = os.getpid() if backend == "loky" else None
    with _backend(backend, address, workers, told["threads"], gpus) as count:
        try:
            reasons = joblib.Parallel(n_jobs=count, batch_size=1)(
                joblib.delayed(_one)(str(data), config, str(place), **told) for config in configs
            )
        except (SelvizError, KeyboardInterrupt):
            raise
        except Exception as error:  # each backend has its own for a worker that was killed
            raise SelvizError(
                f"A worker of the sweep was lost ({type(error).__name__}); finished runs are kept, type the same sweep "
                "again and it goes on."
            ) from error
    return {run_name(config): reason for config, reason in zip(configs, reasons) if reason is not None}


def run_status(data, config: RunConfig) -> dict:
    """{"run", "alpha", "seed", "state", "reason", "epoch", "epochs", "loss", "accuracy", "mean_si", "dead"}.

    `state` is finished, running, failed, unfinished (cut off) or waiting; `mean_si` is without dead units.
    """
    run = run_name(config)
    folder = Path(data) / "runs" / run
    row = {"run": run, "alpha": config.alpha, "seed": config.seed, "state": "waiting", "reason": None, "epoch": 0}
    row |= {"epochs": config.epochs, "loss": None, "accuracy": None, "mean_si": None, "dead": None}
    try:
        summary, progress = read_json(folder / "summary.json"), read_json(folder / "partial" / "progress.json")
        failure = read_json(folder / "failed.json")
    except SelvizError as error:
        return row | {"state": "failed", "reason": str(error)}
    if summary:
        facts = {"accuracy": summary.get("test_accuracy"), "mean_si": summary.get("mean_si_live")}
        return row | facts | {"dead": summary.get("dead"), "state": "finished", "epoch": config.epochs}
    if holder(folder / "claim.json"):
        row["state"] = "running"
    elif failure:
        row |= {"state": "failed", "reason": failure.get("reason")}
    elif (folder / "config.json").exists():
        row["state"] = "unfinished"
    if progress:
        facts = {"accuracy": progress.get("test_accuracy"), "mean_si": progress.get("mean_si_live")}
        row |= {key: value for key, value in facts.items() if value is not None}
        row |= {key: progress[key] for key in ("epoch", "loss") if key in progress}
    return row


def done_share(rows: Iterable[dict]) -> float:
    """How much of the training of these runs is done, 0..1; what failed counts as done."""
    shares = [1.0 if row["state"] in ("finished", "failed") else row["epoch"] / (row["epochs"] + 1) for row in rows]
    return sum(shares) / len(shares) if shares else 1.0


def _one(data: str, config: RunConfig, place: str, threads: int, device: str, gpus: float, parent) -> str | None:
    """One run, in a worker; the reason if it failed, which must not end the others."""
    import torch

    from selviz.runs.train import train_run

    end_soon()  # the sweep waits for its workers

    def look(news: dict) -> None:
        # A worker whose parent was killed would go on unseen, and hold its run.
        orphan = parent is not None and parent not in (os.getpid(), os.getppid())
        if orphan or background_jobs.is_stopped(Path(place)):
            raise background_jobs.Stopped

    with _ALONE:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            look({})
            own = {"device": "cuda", "gpu": _own_gpu(Path(data), gpus)} if gpus else {"device": device}
            train_run(Store(data), config, look, **own)
        except background_jobs.Stopped:
            return None
        except Exception as error:
            return str(error) or type(error).__name__
        finally:
            torch.set_num_threads(before)
    return None


_gpu: list[tuple[int, Claim]] = []  # the GPU of this process, held as long as it lives


def _own_gpu(data: Path, share: float) -> int:
    """The number of the GPU that this process may use: the first with a free place, of 1 / share places each."""
    import torch

    if not _gpu:
        places = max(1, math.floor(1 / share))
        for slot in range(torch.cuda.device_count() * places):
            claim = Claim(data / "jobs" / f"gpu-{socket.gethostname()}-{slot}.claim", "this GPU")
            try:
                claim.__enter__()
            except SelvizError:
                continue
            _gpu.append((slot // places, claim))
            break
        else:
            raise SelvizError("Every GPU of this machine is taken; use fewer --workers, or a smaller --gpus.")
    return _gpu[0][0]


def _shared_out(runs: int, workers: int | None, threads: int | None, gpus: float) -> tuple[int, int]:
    """Workers of this machine for so many runs, and torch's threads in each."""
    import joblib

    cores = joblib.cpu_count()
    workers = min(workers or _local_workers(cores, gpus), runs)
    return workers, threads or max(1, cores // workers)


@contextlib.contextmanager
def _starting(runs: int, backend: str, workers: int | None, threads: int | None, gpus: float) -> Iterator[None]:
    """While the block looks for networks and images, the workers of this machine start and import what they need."""
    workers, threads = _shared_out(runs, workers, threads, gpus) if backend == "loky" and runs else (1, 1)
    if workers == 1:  # that is this process
        yield
        return
    import joblib

    def start() -> None:
        with (
            contextlib.suppress(Exception),  # the runs themselves will tell
            joblib.parallel_config("loky", inner_max_num_threads=threads),
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
def _backend(backend: str, address: str | None, workers: int | None, threads: int, gpus: float) -> Iterator[int]:
    """joblib's configuration for a backend while the block lasts; gives the number of jobs, -1 for all workers."""
    import joblib

    if backend == "loky":
        with joblib.parallel_config("loky", inner_max_num_threads=threads):
            yield workers
        return
    connect = {"ray": _ray, "dask": _dask}[backend]
    with connect(address, gpus) as options, joblib.parallel_config(backend, **options):
        yield workers or -1


@contextlib.contextmanager
def _ray(address: str | None, gpus: float) -> Iterator[dict]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise SelvizError("Ray is not installed here; install it with: pip install 'selviz[ray]'") from error
    address = address or "auto"
    if address == "auto":
        address = _last_ray() or "auto"
    _answers("ray", address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise _silent("ray", address, error) from error
    register_ray()
    try:
        yield {"ray_remote_args": {"num_gpus": gpus}} if gpus else {}
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _dask(address: str | None, gpus: float) -> Iterator[dict]:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise SelvizError("Dask is not installed here; install it with: pip install 'selviz[dask]'") from error
    if not address:
        raise SelvizError("Where is the Dask cluster? Give the address of its scheduler: --address tcp://host:8786")
    _answers("dask", address)
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False)
        client.wait_for_workers(1, timeout=ANSWER)
    except Exception as error:
        raise _silent("dask", address, error) from error
    try:
        yield {"client": client, **({"resources": {"GPU": gpus}} if gpus else {})}
    finally:
        client.close()


def _last_ray() -> str | None:
    """What Ray means by `auto`: RAY_ADDRESS, else the cluster that was last started here, whether or not it lives."""
    from ray._private.utils import read_ray_address  # Ray has no public way to ask before it tries for minutes

    return os.environ.get("RAY_ADDRESS") or read_ray_address()


def _answers(backend: str, address: str) -> None:
    """SelvizError if nothing listens at `[scheme://]host:port`; their own clients try for minutes."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not (host and port.isdecimal()):
        if address == "auto":
            raise _silent(backend, "auto", OSError("none was started on this machine"))
        raise SelvizError(f"'{address}' is no address of a cluster; write it as host:port.")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _silent(backend, address, error) from error


def _silent(backend: str, address: str, error: Exception) -> SelvizError:
    start = {"ray": "ray start --head", "dask": "dask scheduler, and dask worker on each machine"}[backend]
    reason = first_line(error)
    return SelvizError(f"No {backend} cluster answers at {address} ({reason}); start one with: {start}")


@contextlib.contextmanager
def watching(data: Path, configs: Sequence[RunConfig], report: Report) -> Iterator[None]:
    """Tells `report` about once a second how far the runs are, and once more at the end."""
    ended, begun = threading.Event(), time.monotonic()
    kept: dict[str, dict] = {}

    def look() -> float:
        for config in configs:
            if kept.get(run_name(config), {}).get("state") != "finished":
                kept[run_name(config)] = run_status(data, config)
        return done_share(kept.values())

    at_first = look()

    def tell() -> None:
        share = look()
        gained = share - at_first
        left = (time.monotonic() - begun) * (1 - share) / gained if gained > 0 else None
        report({"runs": list(kept.values()), "left": left})

    def watch() -> None:
        while not ended.wait(LOOK):
            tell()

    thread = threading.Thread(target=watch, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell()


def _check(configs: Sequence[RunConfig], backend: str, gpus: float) -> None:
    if not configs:
        raise SelvizError("The sweep has no run; give at least one alpha and one seed: --alphas=-1,0,1 --seeds 0-2")
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    if not 0 <= gpus <= 1:
        raise SelvizError(f"A run of a sweep uses at most one GPU, not {gpus:g}; give --gpus 0 to 1.")
    names = [run_name(config) for config in configs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SelvizError(f"The sweep has the same run twice: {twice}.")


def _check_parts(configs: Sequence[RunConfig]) -> None:
    """The networks and the images that the runs need."""
    from selviz.networks import models
    from selviz.runs.load import load_dataset

    for model in {config.model for config in configs}:
        models.check(model)
    images = {(config.dataset, *image_settings(vars(config)).items()): config for config in configs}
    for config in images.values():
        load_dataset(config_to_dict(config))


def is_finished(data: Path, config: RunConfig) -> bool:
    """Whether the run of these settings is in the store."""
    return (data / "runs" / run_name(config) / "summary.json").exists()


def shape(configs: Sequence[RunConfig], arguments: Sequence[str]) -> dict:
    """What a list of jobs says of a sweep: its command, runs and settings."""
    runs = [{"run": run_name(config), **config_to_dict(config)} for config in configs]
    return {"arguments": list(arguments), "runs": runs}
