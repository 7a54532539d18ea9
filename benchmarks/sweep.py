"""What a second worker brings: `python benchmarks/sweep.py` prints speedup_2_workers as JSON.

The same 8 small runs by the same command, on one torch thread each, with 1 worker and with 2; both times count from the
start of the process to its end. Weights and rows must be the same.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from selviz.store import Store

ROOT = Path(__file__).parents[1]
SWEEP = "sweep --model cnn --dataset mnist-5k --alphas=-1,0,1,2 --seeds 0-1 --threads 1 --device cpu --json".split()
KEPT = ("run", "alpha", "seed", "state", "accuracy", "mean_si", "dead")


def sweep(data: str, *options: str) -> tuple[float, list[dict]]:
    """Seconds and rows of the sweep in a store of its own."""
    started = time.perf_counter()
    argv = [sys.executable, "-m", "selviz", *SWEEP, "--data", data, *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, [{name: row[name] for name in KEPT} for row in json.loads(done.stdout)]


def weights(data: str) -> dict[str, bytes]:
    """Each run's weights."""
    store = Store(data)
    return {run: (store.run_path(run) / "weights.safetensors").read_bytes() for run in store.names()}


def sweep_figures(epochs: int = 12) -> dict:
    """Seconds with 1 and 2 workers, their ratio, and whether both left the same."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        alone, rows = sweep(one, "--workers", "1", "--epochs", str(epochs))
        together, rows_together = sweep(two, "--workers", "2", "--epochs", str(epochs))
        return {
            "speedup_2_workers": alone / together,
            "seconds_1_worker": alone,
            "seconds_2_workers": together,
            "runs": len(rows),
            "epochs": epochs,
            "same_rows": rows == rows_together,
            "same_weights": weights(one) == weights(two),
        }


if __name__ == "__main__":
    print(json.dumps(sweep_figures(*map(int, sys.argv[1:2]))))
