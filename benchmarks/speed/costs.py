"""What a network costs in time, memory and disk: `python benchmarks/speed/costs.py` prints a table in Markdown.

Each row is one `selviz` command in a process of its own, from its start to its end, imports included. The photographs
are generated JPEG files of 256 pixels a side (of 32 where a row says so), as many as it says; networks of torchvision
have random weights, whose passes take as long as those of trained ones. "Processor" adds up what all cores worked,
which other work on the machine changes least. The last column is the median time to read one unit's activations on all
images, of units drawn from all layers. `--only ROW` measures one row, in DIR with `--keep DIR`, which stays.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """A command to measure: its options, and what has to be there before."""

    title: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda folder: None


def photographs(number: int, side: int = 256) -> Callable[[Path], None]:
    """Return what writes so many generated photographs in ten classes, two of each for training."""

    def prepare(folder: Path) -> None:
        dice = np.random.default_rng(0)
        for part, each in (("train", 2), ("test", number // 10)):
            for label in range(10):
                place = folder / "images" / part / f"class{label}"
                place.mkdir(parents=True)
                for image in range(each):
                    small = dice.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(place / f"{image}.jpg")

    return prepare


def with_weights(model: str, number: int, side: int) -> Callable[[Path], None]:
    """Return what writes photographs of a side, and random weights of a network of torchvision."""

    def prepare(folder: Path) -> None:
        import torch
        import torchvision

        photographs(number, side)(folder)
        torch.manual_seed(0)
        network = getattr(torchvision.models, model)(num_classes=10)
        torch.save(network.state_dict(), folder / "weights.pt")

    return prepare


def imported(model: str, number: int, side: int = 224) -> Row:
    """Return the row of importing a network of torchvision with so many photographs of 224 pixels, or of `side`."""
    arguments = ("import", "--name", "run", "--model", f"torchvision:{model}", "--checkpoint", "weights.pt",
                 "--dataset", "folder:images", "--image-size", str(side))  # fmt: skip
    prepare = with_weights(model, number, 256 if side == 224 else side)
    return Row(f"`{model}`, {number:,} photographs of {side} pixels: import and capture", arguments, prepare)


TRAIN = ("train", "--model", "cnn", "--dataset")
UNTRAINED = ("train", "--model", "resnet20", "--dataset", "folder:images", "--image-size", "32", "--epochs", "0")
ROWS = {
    "digits": Row("`cnn` on digits (8 x 8): 8 epochs, capture", (*TRAIN, "digits", "--epochs", "8")),
    "mnist-5k": Row("`cnn` on 5,000 MNIST images: 8 epochs, capture", (*TRAIN, "mnist-5k", "--epochs", "8")),
    "resnet20": Row("`resnet20`, 10,000 images of 32 pixels: capture", UNTRAINED, photographs(10_000, 32)),
    "resnet18": imported("resnet18", 1000),
    "resnet50": imported("resnet50", 100),
    "resnet50-500": imported("resnet50", 500),
    "resnet50-50000": imported("resnet50", 50_000, 32),
}


def measure(row: Row, keep: Path | None = None) -> dict[str, float]:
    """Return seconds, gigabytes of memory, megabytes of the store, units, images and the milliseconds of a unit.

    The store lies in `keep`, or in a folder that is deleted.
    """
    with tempfile.TemporaryDirectory(prefix="selviz-costs-") as name:
        folder = Path(name) if keep is None else keep
        row.prepare(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELVIZ_CACHE": str(folder / "cache")}
        started, worked = time.perf_counter(), _worked()
        command = [sys.executable, "-m", "selviz", *row.arguments, "--json"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        answer, complaint = process.communicate()
        seconds = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(complaint.decode())
        summary = json.loads(answer)
        size = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())
        return {
            "seconds": seconds,
            "processor": _worked() - worked,
            "gb": peak[0] / 1e9,
            "mb": size / 1e6,
            "units": summary["units"],
            "images": summary["images"] + summary.get("sealed_images", 0),
            "unit_ms": _unit_ms(folder / "data", summary["run"]),
        }


def _worked() -> float:
    """Return the processor seconds of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _unit_ms(data: Path, run: str, units: int = 15) -> float:
    """Return the median milliseconds to read one unit's activations."""
    from selviz.store import Store

    store, times = Store(data), []
    table = store.units(run)
    for number in random.Random(0).choices(range(len(table)), k=units):
        layer, unit = table.iloc[number][["layer", "unit"]]
        started = time.perf_counter()
        assert len(store.activations(run, layer, int(unit)))
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def _watch(pid: int, peak: list[int]) -> None:
    try:
        process = psutil.Process(pid)
        while True:
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.05)
    except psutil.Error:
        return


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=ROWS, help="one row")
    options.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder that keeps the row's store")
    given = options.parse_args()
    print("| what | images | units | time | processor | memory | disk | one unit |\n|---|---|---|---|---|---|---|---|")
    for name, row in ROWS.items():
        if given.only in (None, name):
            found = measure(row, given.keep)
            print(
                f"| {row.title} | {found['images']:,} | {found['units']:,} | {found['seconds']:.0f} s | "
                f"{found['processor']:.0f} s | "
                f"{found['gb']:.1f} GB | {found['mb']:,.0f} MB | {found['unit_ms']:.0f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
