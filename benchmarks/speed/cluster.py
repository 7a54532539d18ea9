"""Sweeps on real local clusters: `python benchmarks/speed/cluster.py [ray] [dask]` prints what held, as JSON.

For each backend, two workers train a sweep of 6 runs; one worker is killed with SIGKILL in the middle; the sweep is
typed again. No finished run may be made twice, all must finish, and the weights must be those of the same sweep on
processes of this machine, at the same number of threads.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.sweep import weights

ROOT = Path(__file__).parents[2]
EPOCHS = 6
SWEEP = "sweep --model cnn --dataset digits --alphas=-1,0,1 --seeds 0-1 --threads 1 --device cpu --json".split()
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
BIN = Path(sys.executable).parent
QUIET = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def ray_cluster():
    """The address of a Ray cluster of one node with two workers."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    start = f"start --head --num-cpus 2 --port {port} --node-ip-address 127.0.0.1 --include-dashboard false --block"
    node = subprocess.Popen([BIN / "ray", *start.split(), "--object-store-memory", "200000000"], **QUIET)
    try:
        wait_for(port)
        yield address
    finally:
        end(node)


@contextlib.contextmanager
def dask_cluster():
    """The address of a Dask scheduler with two workers."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    common = ["--no-dashboard"]
    processes = [subprocess.Popen([BIN / "dask", "scheduler", "--port", str(port), "--host", "127.0.0.1", *common],
                                  **QUIET)]  # fmt: skip
    try:
        wait_for(port)
        worker = [BIN / "dask", "worker", address, "--nthreads", "1", "--no-nanny", *common]
        processes += [subprocess.Popen(worker, **QUIET) for _ in range(2)]
        yield address
    finally:
        for process in processes[::-1]:
            end(process)


def wait_for(port: int, seconds: float = 120) -> None:
    """Until something listens there."""
    for _ in range(int(seconds / 0.2)):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.2)
    raise SystemExit("the cluster did not start")


def end(process: subprocess.Popen) -> None:
    """End a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sweep(data: str, *options: str) -> subprocess.Popen:
    """The sweep, started."""
    argv = [sys.executable, "-m", "selviz", *SWEEP, "--epochs", str(EPOCHS), "--data", data, *options]
    return subprocess.Popen(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(data: str) -> dict[str, int]:
    """The finished runs and when they were."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(data).glob("runs/*/summary.json")}


def kill_a_worker(data: str, process: subprocess.Popen) -> int | None:
    """SIGKILL to a worker that holds a run, once another run is finished; its pid."""
    while process.poll() is None:
        for claim in Path(data).glob("runs/*/claim.json") if finished(data) else ():
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads(claim.read_text())["pid"]
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.05)
    return None


def cluster_figures(backend: str, cluster, reference: dict[str, bytes]) -> dict:
    """What held on a cluster of this backend."""
    with tempfile.TemporaryDirectory() as data, cluster() as address:
        options = ("--backend", backend, "--address", address, "--workers", "2")
        first = sweep(data, *options)
        killed = kill_a_worker(data, first)
        at_kill = finished(data)
        _, told = first.communicate()
        in_between = finished(data)
        status, said = first.returncode, told.strip().splitlines()[-1:]
        if first.returncode:
            again = sweep(data, *options)
            _, told = again.communicate()
            status = again.returncode
        after = finished(data)
        return {
            "killed_a_worker": killed is not None,
            "finished_at_the_kill": len(at_kill),
            "finished_before_typed_again": len(in_between),
            "first_status": first.returncode,
            "first_last_words": said[0] if said else "",
            "last_status": status,
            "finished": len(after),
            "none_made_twice": all(after.get(run) == when for run, when in in_between.items()),
            "weights_as_loky": weights(data) == reference,
            **({"told": told[-2000:]} if status else {}),
        }


def all_figures(backends: list[str]) -> dict:
    """The figures of each backend, beside the same sweep on processes of this machine."""
    clusters = {"ray": ray_cluster, "dask": dask_cluster}
    with tempfile.TemporaryDirectory() as data:
        here = sweep(data, "--workers", "2")
        _, told = here.communicate()
        if here.returncode:
            raise SystemExit(told)
        reference = weights(data)
    return {backend: cluster_figures(backend, clusters[backend], reference) for backend in backends}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", nargs="*", help="ray, dask (default: both)")
    args = parser.parse_args()
    print(json.dumps(all_figures(args.backend or ["ray", "dask"])))
