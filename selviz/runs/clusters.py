"""Where the runs of a sweep are trained: `with backend_of("ray", "auto", ...) as jobs: joblib.Parallel(n_jobs=jobs)`.

Processes here (loky), or the workers of a Ray or Dask cluster that runs already.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

from selviz.errors import SelvizError, first_line
from selviz.system.processes import end_with

BACKENDS = ("loky", "ray", "dask")
ANSWER_S = 10  # within which a cluster must answer


@contextlib.contextmanager
def backend_of(backend: str, address: str | None, workers: int | None, threads: int, gpus: float) -> Iterator[int]:
    """Configure joblib for a backend while the block lasts; yields the number of jobs, -1 for all workers."""
    import joblib

    if backend == "loky":
        with local_workers(threads):
            yield workers or -1
        return
    connect = {"ray": _ray, "dask": _dask}[backend]
    with connect(address, gpus) as options, joblib.parallel_config(backend, **options):
        yield workers or -1


def has_local_workers() -> bool:
    """Whether joblib can have processes of its own: not where there is no /dev/shm to make semaphores in."""
    from joblib._multiprocessing_helpers import mp

    return mp is not None


@contextlib.contextmanager
def local_workers(threads: int) -> Iterator[None]:
    """Configure joblib for processes on this machine, which end with this one, and import nothing from its folder.

    Where there can be none, it works in this one.
    """
    import joblib

    if not has_local_workers():
        with joblib.parallel_config("sequential"):
            yield
        return
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    # The same settings each time, else joblib would begin other workers.
    settings: dict[str, Any] = {"initializer": end_with, "initargs": (os.getpid(),)}
    try:
        with joblib.parallel_config("loky", inner_max_num_threads=threads, **settings):
            yield
    finally:
        if before is None:
            os.environ.pop("PYTHONSAFEPATH", None)
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end what happens inside as Ctrl-C does, and end this machine's workers with it."""
    here = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if here else None
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            _kill_local_workers()
        raise
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _kill_local_workers() -> None:
    from joblib.externals.loky import reusable_executor

    executor: Any = reusable_executor._executor
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


@contextlib.contextmanager
def _ray(address: str | None, gpus: float) -> Iterator[dict[str, Any]]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise SelvizError("Ray is not installed here; install it with: pip install 'selviz[ray]'") from error
    address = address or "auto"
    if address == "auto":
        address = _last_ray() or "auto"
    _check_answer("ray", address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise _no_answer("ray", address, error) from error
    register: Any = register_ray  # without types of its own
    register()
    try:
        yield {"ray_remote_args": {"num_gpus": gpus}} if gpus else {}
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _dask(address: str | None, gpus: float) -> Iterator[dict[str, Any]]:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise SelvizError("Dask is not installed here; install it with: pip install 'selviz[dask]'") from error
    if not address:
        raise SelvizError("Where is the Dask cluster? Give the address of its scheduler: --address tcp://host:8786")
    _check_answer("dask", address)
    try:
        connect: Any = Client  # without types of its own
        client = connect(address, timeout=ANSWER_S, set_as_default=False)
        client.wait_for_workers(1, timeout=ANSWER_S)
    except Exception as error:
        raise _no_answer("dask", address, error) from error
    try:
        yield {"client": client, **({"resources": {"GPU": gpus}} if gpus else {})}
    finally:
        client.close()


def _last_ray() -> str | None:
    """Return what Ray means by `auto`: RAY_ADDRESS, else the cluster last started here, whether or not it lives."""
    from ray._private.utils import read_ray_address  # Ray has no public way to ask before it tries for minutes

    return os.environ.get("RAY_ADDRESS") or cast("str | None", read_ray_address())


def _check_answer(backend: str, address: str) -> None:
    """Raise SelvizError if nothing listens at `[scheme://]host:port`; their own clients try for minutes."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not (host and port.isdecimal()):
        if address == "auto":
            raise _no_answer(backend, "auto", OSError("none was started on this machine"))
        raise SelvizError(f"'{address}' is no address of a cluster; write it as host:port.")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(backend, address, error) from error


def _no_answer(backend: str, address: str, error: Exception) -> SelvizError:
    start = {"ray": "ray start --head", "dask": "dask scheduler, and dask worker on each machine"}[backend]
    reason = first_line(error)
    return SelvizError(f"No {backend} cluster answers at {address} ({reason}); start one with: {start}")
