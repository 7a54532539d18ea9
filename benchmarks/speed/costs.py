"""What a network costs in time, memory and disk: `python benchmarks/speed/costs.py` prints a table in Markdown.

Each row is one `selviz` command in a process of its own, from its start to its end, imports included. The photographs
are generated JPEG files of 256 pixels a side, as many as a row says; networks of torchvision have random weights, which
costs as much as trained ones. `--only ROW` measures one of them.
"""

import argparse
import json
import os
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
        random = np.random.default_rng(0)
        for part, each in (("train", 2), ("test", number // 10)):
            for label in range(10):
                place = folder / "images" / part / f"class{label}"
                place.mkdir(parents=True)
                for image in range(each):
                    small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(place / f"{image}.jpg")

    return prepare


def with_weights(model: str, number: int) -> Callable[[Path], None]:
    """Return what writes photographs, and random weights of a network of torchvision."""

    def prepare(folder: Path) -> None:
        import torch
        import torchvision

        photographs(number)(folder)
        torch.manual_seed(0)
        network = getattr(torchvision.models, model)(num_classes=10)
        torch.save(network.state_dict(), folder / "weights.pt")

    return prepare


def imported(model: str, number: int) -> Row:
    """Return the row of importing a network of torchvision with so many photographs of 224 pixels."""
    arguments = ("import", "--name", "run", "--model", f"torchvision:{model}", "--checkpoint", "weights.pt",
                 "--dataset", "folder:images", "--image-size", "224")  # fmt: skip
    return Row(
        f"`{model}`, {number:,} photographs of 224 pixels: import and capture", arguments, with_weights(model, number)
    )


TRAIN = ("train", "--model", "cnn", "--dataset")
UNTRAINED = ("train", "--model", "resnet20", "--dataset", "folder:images", "--image-size", "32", "--epochs", "0")
ROWS = {
    "digits": Row("`cnn` on digits (8 x 8): 8 epochs, capture", (*TRAIN, "digits", "--epochs", "8")),
    "mnist-5k": Row("`cnn` on 5,000 MNIST images: 8 epochs, capture", (*TRAIN, "mnist-5k", "--epochs", "8")),
    "resnet20": Row("`resnet20`, 10,000 images of 32 pixels: capture", UNTRAINED, photographs(10_000, 32)),
    "resnet18": imported("resnet18", 1000),
    "resnet50": imported("resnet50", 100),
    "resnet50-500": imported("resnet50", 500),
}


def measure(row: Row) -> dict[str, float]:
    """Return seconds, gigabytes of memory, megabytes of the store, units and evaluation images of a row."""
    with tempfile.TemporaryDirectory(prefix="selviz-costs-") as name:
        folder = Path(name)
        row.prepare(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELVIZ_CACHE": str(folder / "cache")}
        started = time.perf_counter()
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
        images = summary["images"] + summary.get("sealed_images", 0)
        return {"seconds": seconds, "gb": peak[0] / 1e9, "mb": size / 1e6, "units": summary["units"], "images": images}


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
    only = options.parse_args().only
    print("| what | images | units | time | memory | disk |\n|---|---|---|---|---|---|")
    for name, row in ROWS.items():
        if only in (None, name):
            found = measure(row)
            print(
                f"| {row.title} | {found['images']:,} | {found['units']:,} | {found['seconds']:.0f} s | "
                f"{found['gb']:.1f} GB | {found['mb']:.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
