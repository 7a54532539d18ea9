"""What one GPU does: `python benchmarks/speed/gpu.py --out FOLDER` writes one JSON document and a row per network.

At most `--minutes` (8): the tests marked gpu, the cost of the penalty per training step, capture and ablation on the
GPU over the CPU, and a stacked CIFAR-10-sized sweep with as many seeds as fit in what is left. `--small` is the same on
whatever device is here, in a minute, so that the command is tried before a GPU is lent; `device` says what it was.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.training import step_figures
from selviz import ablation, datasets
from selviz.config import RunConfig
from selviz.datasets.dataset import assemble
from selviz.errors import first_line
from selviz.networks import devices, models
from selviz.networks.activations import observe
from selviz.networks.unit_edit import silence
from selviz.networks.unit_network import UnitNetwork
from selviz.training import loop, stacked

ROOT = Path(__file__).parents[2]
CLASSES = 10
# Share of the minutes that each part may take; what is left is the sweep's.
TESTS, STEPS, FORWARD = 0.25, 0.1, 0.15


def marked_tests(seconds: float) -> dict[str, Any]:
    """Run the tests marked gpu; returns the exit status and pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
        return {"status": done.returncode, "summary": (done.stdout.strip().splitlines() or [""])[-1]}
    except subprocess.TimeoutExpired:
        return {"status": None, "summary": f"not finished in {seconds:.0f} s"}


def images(count: int, side: int, name: str = "made") -> datasets.Dataset:
    """Return made images of CIFAR-10's form with classes that can be told apart: a color and a place for each."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 120, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    at = labels * (side - side // 4) // CLASSES
    for number in range(count):
        here = slice(int(at[number]), int(at[number]) + side // 4)
        pixels[number, int(labels[number]) % 3, here, here] += 100
    held_out = count // 6
    train, test = (slice(held_out, None), slice(None, held_out))
    parts = [(pixels[part].numpy(), labels[part].numpy()) for part in (train, test)]
    return assemble(name, tuple(map(str, range(CLASSES))), *parts[0], *parts[1])


def seconds_of(work: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """Return the median of a few runs, after one that warms up."""
    taken = []
    for number in range(times + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken += [time.perf_counter() - started] if number else []
    return statistics.median(taken)


def forward_figures(device: torch.device, count: int) -> dict[str, Any]:
    """Return seconds of a capture and of an ablation on the device and on the CPU, and how far their results differ."""
    torch.manual_seed(0)
    model = models.build("resnet20", CLASSES, 3).eval()
    inputs = torch.randn(count, 3, 32, 32)
    labels = torch.arange(count) % CLASSES
    found: dict[str, Any] = {}
    results = {}
    for name, place in (("cpu", torch.device("cpu")), ("device", device)):
        network = UnitNetwork(model, inputs[:1]).for_inference(place)
        layer = network.layers[len(network.layers) // 2]
        edit = {layer.name: silence(layer, range(layer.units // 2))}
        engine = ablation.Engine(network, inputs, labels)
        with torch.inference_mode():
            found[f"capture_{name}_s"] = seconds_of(lambda network=network: observe(network, inputs), place)
            found[f"ablation_{name}_s"] = seconds_of(lambda e=engine, edit=edit: e.logits(edit), place)
            results[name] = (observe(network, inputs), engine.logits(edit))
    for name in ("capture", "ablation"):
        found[f"{name}_ratio"] = found[f"{name}_cpu_s"] / found[f"{name}_device_s"]
    (logits, layers), after = results["cpu"]
    (other_logits, other_layers), other_after = results["device"]
    found["largest_difference_of_logits"] = float((logits - other_logits).abs().max())
    found["largest_difference_of_activations"] = max(float((a - b).abs().max()) for a, b in zip(layers, other_layers))
    found["ablated_predictions_that_differ"] = float((after.argmax(1) != other_after.argmax(1)).float().mean())
    return found


def sweep_rows(
    dataset: datasets.Dataset, config: RunConfig, device: str, deadline: float, most: int
) -> list[dict[str, Any]]:
    """Train stacks of rising seeds until the time is over; returns one row per network, with its stack and seconds."""
    rows: list[dict[str, Any]] = []
    seed, size = 0, 1
    while time.monotonic() < deadline and len(rows) < most:
        started = time.monotonic()
        configs = [
            RunConfig(**{**vars(config), "alpha": alpha, "seed": seed + number})
            for number in range(size)
            for alpha in (-1.0, 0.0)
        ]
        with tempfile.TemporaryDirectory() as folder:
            folders = [Path(folder) / str(number) for number in range(len(configs))]
            results = stacked.train_stack(configs, dataset, folders, device=device)
        seconds = time.monotonic() - started
        for one, result in zip(configs, results):
            last = None if isinstance(result, loop.TrainingDiverged) else result[1][-1]
            rows.append(
                {
                    "model": one.model, "alpha": one.alpha, "seed": one.seed, "epochs": one.epochs,
                    "stack": len(configs), "seconds_of_stack": round(seconds, 2), "diverged": last is None,
                    "test_accuracy": last and last["test_accuracy"], "mean_si_live": last and last["mean_si_live"],
                }
            )  # fmt: skip
        seed += size
        # A stack twice as large takes at most twice as long: begin it only if that fits.
        size = size * 2 if time.monotonic() + 2 * seconds < deadline else size
        if time.monotonic() + seconds > deadline:
            break
    return rows


def measure(folder: Path, minutes: float, small: bool, dataset: str | None) -> dict[str, Any]:
    """Measure everything in at most `minutes`, and write gpu.json and gpu.csv into `folder`; each part is kept at
    once.
    """
    started = time.monotonic()
    device = devices.resolve("auto")
    end = started + 60 * minutes
    found: dict[str, Any] = {
        "device": str(device), "name": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__, "python": sys.version.split()[0], "small": small, "failures": {},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)

    def part(name: str, work: Callable[[], Any]) -> None:
        begun = time.monotonic()
        try:
            found[name] = work()
        except Exception as error:  # what fails must not cost the other parts their time on the machine
            found["failures"][name] = first_line(error)
        found[f"{name}_seconds"] = round(time.monotonic() - begun, 1)
        (folder / "gpu.json").write_text(json.dumps(found, indent=2))

    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    part("training_step", lambda: step_figures(4 if small else 30))
    part("forward", lambda: forward_figures(device, 100 if small else 5000))
    if not small:
        part("tests", lambda: marked_tests(60 * minutes * TESTS))
    if dataset:
        used, epochs = datasets.load(dataset), 10
    else:
        used, epochs = images(600 if small else 12_000, 16 if small else 32), 1 if small else 4
    config = RunConfig("made", "cnn" if small else "resnet20", epochs=epochs, batch_size=100)

    def sweep() -> int:
        rows = sweep_rows(used, config, str(device), end - 10, 6 if small else 10_000)
        with open(folder / "gpu.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return len(rows)

    part("networks", sweep)
    found["seconds"] = round(time.monotonic() - started, 1)
    (folder / "gpu.json").write_text(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-benchmark"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--small", action="store_true", help="the same in a minute, on whatever is here")
    parser.add_argument("--dataset", help="images to train on (default: made ones of CIFAR-10's form)")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.out, arguments.minutes, arguments.small, arguments.dataset), indent=2))
