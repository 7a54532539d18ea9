"""What the proof of an import costs: resnet20 with random weights on images, with the proof and without.

    python benchmarks/speed/importing.py --images 10000      # the short form: --images 500 --repeats 1
    python benchmarks/speed/importing.py --before ../older --options '--dataset folder:cifar10'

Each import runs in a process of its own, the two kinds by turns; printed are seconds by the clock and of the
processor (which other work on the machine disturbs less) and the largest memory of each, and their ratios (the aim: at
most 1.1). With --before, the command `selviz import` is compared with that of another checkout of selviz, such as one
from before there was a proof, on the images of a data set.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

CLASSES = 10


def import_once(images: int, prove: bool) -> dict[str, float]:
    """Import resnet20 on so many random images and return seconds and peak memory in MB of this process."""
    from selviz import datasets
    from selviz.runs import importing
    from selviz.store import Store

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(images) % CLASSES
    few = pixels[:CLASSES], labels[:CLASSES]
    dataset = datasets.assemble("random", [str(label) for label in range(CLASSES)], *few, pixels, labels)
    datasets.DATASETS["random"] = lambda: dataset
    nothing = {
        "prove": lambda *args: None,
        "steady_logits": lambda run, head, inputs: head.logits(run(inputs)),
    }
    with tempfile.TemporaryDirectory() as folder:
        began, computed = time.perf_counter(), time.process_time()
        with contextlib.nullcontext() if prove else mock.patch.multiple(importing, **nothing):
            importing.import_run(Store(Path(folder)), "theirs", "resnet20", {"dataset": "random"})
        seconds, computed = time.perf_counter() - began, time.process_time() - computed
    return {
        "seconds": seconds,
        "processor": computed,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def import_by_command(checkout: Path, options: list[str]) -> dict[str, float]:
    """Run `selviz import` of resnet20 in a checkout; return seconds and peak memory in MB of its process."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "selviz", "import", "--name", "theirs", "--model", "resnet20"]
        words += [*options, "--data", folder]
        began = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{checkout}: {said.strip().splitlines()[-1]}")
    return {"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}


def show(results: dict[str, list[dict[str, float]]], ending: str) -> None:
    """Print the medians of two ways, and the ratio of the first to the second."""
    medians = {
        way: {name: statistics.median(one[name] for one in several) for name in ("seconds", "processor", "memory")}
        for way, several in results.items()
    }
    for way, values in medians.items():
        print(
            f"{way + ending:18}: {values['seconds']:7.2f} s ({values['processor']:.2f} s of the processor), "
            f"{values['memory']:7.0f} MB"
        )
    first, second = medians.values()
    ratio = {name: first[name] / second[name] for name in first}
    print(
        f"ratio: {ratio['seconds']:.3f} by the clock, {ratio['processor']:.3f} of the processor's time, "
        f"{ratio['memory']:.3f} of the memory"
    )


def main() -> None:
    """Run the imports by turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: its own choice)")
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    parser.add_argument("--before", type=Path, help="another checkout of selviz that is compared with this one")
    parser.add_argument("--options", default="--dataset mnist", help="of both commands (default: %(default)s)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(import_once(args.images, args.one == "with")))
        return
    if args.before:
        checkouts = {"now": Path(__file__).parents[2], "before": args.before}
        for checkout in checkouts.values():  # decoded pixels are kept from here on
            import_by_command(checkout, args.options.split())
        compared: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
        for _ in range(args.repeats):
            for name, checkout in checkouts.items():
                compared[name].append(import_by_command(checkout, args.options.split()))
        show(compared, "")
        return
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for _ in range(args.repeats):
        for kind, results in found.items():
            words = [sys.executable, "-m", "benchmarks.speed.importing", "--one", kind, "--images", str(args.images)]
            words += ["--threads", str(args.threads)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    show(found, " the proof")


if __name__ == "__main__":
    main()
