"""What the proof of an import costs: resnet20 with random weights on images, with the proof and without.

    python benchmarks/speed/importing.py --images 10000      # the short form: --images 500 --repeats 1

Each import runs in a process of its own, the two kinds by turns; printed are seconds by the clock and of the
processor (which other work on the machine disturbs less) and the largest memory of each, and their ratios (the aim: at
most 1.1).
"""

import argparse
import contextlib
import json
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


def main() -> None:
    """Run the imports by turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: its own choice)")
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(import_once(args.images, args.one == "with")))
        return
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for _ in range(args.repeats):
        for kind, results in found.items():
            words = [sys.executable, "-m", "benchmarks.speed.importing", "--one", kind, "--images", str(args.images)]
            words += ["--threads", str(args.threads)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        kind: {
            name: statistics.median(result[name] for result in results) for name in ("seconds", "processor", "memory")
        }
        for kind, results in found.items()
    }
    for kind, values in medians.items():
        print(
            f"{kind:8} the proof: {values['seconds']:7.2f} s ({values['processor']:.2f} s of the processor), "
            f"{values['memory']:7.0f} MB"
        )
    ratio = {name: medians["with"][name] / medians["without"][name] for name in medians["with"]}
    print(
        f"ratio: {ratio['seconds']:.3f} by the clock, {ratio['processor']:.3f} of the processor's time, "
        f"{ratio['memory']:.3f} of the memory"
    )


if __name__ == "__main__":
    main()
