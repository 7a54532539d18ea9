"""What a second worker brings: `python benchmarks/speed/sweep.py` prints speedup_2_workers as JSON.

The same 8 small runs by the same command, on one torch thread each, with 1 worker and with 2; both times count from the
start of the process to its end. Weights and rows must be the same.

Beside it, what bounds the figure on this machine: `bound_by_machine` is the speedup of two commands that know nothing
of each other (four runs each, one after the other and then at once): two cores share memory and clock, so it need not
be 2. `seconds_without_a_run` is what the command takes when every run is there, which no second worker shortens.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz.store import Store

ROOT = Path(__file__).parents[2]
SWEEP = "sweep --model cnn --dataset mnist-5k --alphas=-1,0,1,2 --threads 1 --device cpu --json".split()
KEPT = ("run", "alpha", "seed", "state", "accuracy", "mean_si", "dead")


def begin(data: str, seeds: str, epochs: int, workers: int = 1) -> subprocess.Popen:
    """The sweep over four alphas and `seeds` in the store `data`, in a process of its own."""
    options = ["--data", data, "--seeds", seeds, "--epochs", str(epochs), "--workers", str(workers)]
    argv = [sys.executable, "-m", "selviz", *SWEEP, *options]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen) -> list[dict]:
    """The rows that it printed, without times; ends the benchmark where it failed."""
    printed, complaint = process.communicate()
    if process.returncode:
        raise SystemExit(complaint)
    return [{name: row[name] for name in KEPT} for row in json.loads(printed)]


def sweep(data: str, epochs: int, workers: int) -> tuple[float, list[dict]]:
    """Seconds and rows of all 8 runs."""
    started = time.perf_counter()
    rows = end(begin(data, "0-1", epochs, workers))
    return time.perf_counter() - started, rows


def unaware(epochs: int) -> dict[str, float]:
    """Seconds of two commands of four runs each, one after the other and at once."""
    seconds = {}
    for name in ("in_turn", "at_once"):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            started = time.perf_counter()
            first = begin(one, "0", epochs)
            if name == "in_turn":
                end(first)
            second = begin(two, "1", epochs)
            for process in (first, second) if name == "at_once" else (second,):
                end(process)
            seconds[name] = time.perf_counter() - started
    return seconds


def weights(data: str) -> dict[str, bytes]:
    """Each run's weights."""
    store = Store(data)
    return {run: (store.run_path(run) / "weights.safetensors").read_bytes() for run in store.names()}


def sweep_figures(epochs: int = 12) -> dict:
    """Seconds with 1 and 2 workers, their ratio, whether both left the same, and what the machine allows."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        alone, rows = sweep(one, epochs, 1)
        together, rows_together = sweep(two, epochs, 2)
        nothing, _ = sweep(two, epochs, 2)
        plain = unaware(epochs)
        return {
            "speedup_2_workers": alone / together,
            "bound_by_machine": plain["in_turn"] / plain["at_once"],
            "seconds_1_worker": alone,
            "seconds_2_workers": together,
            "seconds_without_a_run": nothing,
            "seconds_two_commands": plain,
            "runs": len(rows),
            "epochs": epochs,
            "same_rows": rows == rows_together,
            "same_weights": weights(one) == weights(two),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="of each run (default: %(default)s)")
    args = parser.parse_args()
    print(json.dumps(sweep_figures(args.epochs)))
