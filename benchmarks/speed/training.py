"""What the penalty costs: `python benchmarks/speed/training.py` prints step_ratio as JSON.

A training step of resnet20 at batch 128 with the penalty over one without, in this process, one after the other; the
median of the ratios of neighbours, so that a machine whose speed drifts gives the same answer.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz.config import RunConfig
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork
from selviz.system.allocation import KEPT_IN_TRAINING_MB, keep_freed_memory
from selviz.training import loop

BATCH, CLASSES = 128, 10


def step_figures(pairs: int = 30) -> dict:
    """Median, quartiles and milliseconds over `pairs` pairs of steps."""
    torch.manual_seed(0)
    keep_freed_memory(KEPT_IN_TRAINING_MB)  # as `loop.train` does
    config = RunConfig("cifar10-sized", "resnet20", alpha=-1)
    fabric = loop.fabric_for(config)
    model = models.build("resnet20", CLASSES, 3).train().to(memory_format=torch.channels_last)
    network = UnitNetwork(model, torch.zeros(1, 3, 32, 32))
    optimizer = torch.optim.SGD(network.observer.parameters(), lr=0.01, momentum=0.9)
    observer, optimizer = fabric.setup(network.observer, optimizer)
    inputs = fabric.to_device(torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    labels = fabric.to_device(torch.arange(BATCH) % CLASSES)

    def step(alpha: float) -> float:
        started = time.perf_counter()
        loop.train_step(fabric, observer, optimizer, inputs, labels, alpha, CLASSES)
        return time.perf_counter() - started

    for alpha in (-1.0, 0.0) * 3:
        step(alpha)
    with_penalty, without = [], []
    for pair in range(pairs):
        # Each of the two goes first in half of the pairs.
        for alpha in (-1.0, 0.0) if pair % 2 else (0.0, -1.0):
            (with_penalty if alpha else without).append(step(alpha))
    ratios = [a / b for a, b in zip(with_penalty, without, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "step_ratio": middle,
        "step_ratio_quartiles": [low, high],
        "step_ms": 1e3 * statistics.median(without),
        "step_with_penalty_ms": 1e3 * statistics.median(with_penalty),
        "pairs": pairs,
        "threads": torch.get_num_threads(),
        "device": str(fabric.device),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(json.dumps(step_figures()))
