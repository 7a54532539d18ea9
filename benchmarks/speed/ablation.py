"""What resuming saves: `python benchmarks/speed/ablation.py` prints one JSON document of speed-ups and differences.

resnet20 and 1,000 images of CIFAR-10's size, random but not trivial: batch norms hold the images' statistics, and the
head is scaled so that predictions vary. The plain way is a forward hook that zeroes the channel and a full pass over
the images by the untouched network, in batches of 250, or all at once if that is faster, in a process of its own that
never loads selviz's engine; the two take turns. The atlas is many single units of a layer together, as `selviz atlas`
does it. Differences and moves of logits are in units of their standard deviation. Times are of answers from cached
values; `cold_first_estimate_ms` computes them first. Figures that end in `_cpu` are ratios of processor time, which
other work on the machine disturbs less. `plain_64_over_plain` is the time of the plain way in batches of 64, over that
in the batches that it takes here. `convolutions_ms` is the time of the convolutions after a layer that resuming cannot
spare, each alone on channels last, and `bound` the plain way's time over it: what any engine that calls the same
convolutions can reach (null where none is left); `operators` is what the time of the first, the middle and the last of
the layers with convolutions after them goes into. `--quick` takes 200 images.
"""

import argparse
import contextlib
import copy
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a thread that waits by spinning would count as work

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.operator_shares import operator_shares
from selviz import ablation
from selviz.ablation.engine import Engine
from selviz.ablation.many_sets import set_logits
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork

CLASSES, BATCH = 10, 250


def network_and_images(images: int) -> tuple[nn.Module, torch.Tensor]:
    """A plain resnet20 in eval mode whose predictions vary, and its inputs [N, 3, 32, 32]."""
    torch.manual_seed(0)
    inputs = torch.randn(images, 3, 32, 32)
    inputs += 2 * torch.nn.functional.interpolate(torch.randn(images, 3, 4, 4), size=32, mode="bilinear")
    model = models.build("resnet20", CLASSES, 3).train()
    with torch.no_grad():
        for _ in range(20):
            model(inputs[:100])
        model.eval()
        logits = model(inputs[:100])
        model.linear.weight.mul_(3 / logits.std(dim=0).unsqueeze(1))
        model.linear.bias.zero_()
        model.linear.bias.sub_(model(inputs[:100]).mean(dim=0))
    return model, inputs


@contextlib.contextmanager
def hooked(model: nn.Module, layer: str, unit: int):
    """Within this block the channel is zeroed by a forward hook."""
    channel = torch.tensor([unit])
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, out: out.index_fill(1, channel, 0))
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def plain(model: nn.Module, inputs: torch.Tensor, batch: int) -> torch.Tensor:
    return torch.cat([model(part) for part in inputs.split(batch)])


class PlainWay:
    """The plain way in a process of its own: selviz changes how the memory of its own process is kept."""

    def __init__(self, images: int):
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_answer, args=(there, images), daemon=True)
        self._process.start()
        self._here.recv()

    def __call__(self, batch: int, layer: str = "", unit: int = 0) -> tuple[tuple[float, float], torch.Tensor]:
        """Return ((seconds, seconds of processor time), logits), with a unit of a layer silent if one is named."""
        self._here.send((batch, layer, unit))
        seconds, logits = self._here.recv()
        return seconds, torch.from_numpy(logits)

    def close(self) -> None:
        self._here.send(None)
        self._process.join()


def _answer(connection, images: int) -> None:
    model, inputs = network_and_images(images)
    connection.send(True)
    while (request := connection.recv()) is not None:
        batch, layer, unit = request
        with hooked(model, layer, unit) if layer else contextlib.nullcontext():
            seconds, logits = timed(lambda batch=batch: plain(model, inputs, batch))
        connection.send((seconds, logits.numpy()))


def timed(function):
    """(seconds, seconds of processor time), and what the function returns."""
    started, worked = time.perf_counter(), time.process_time()
    result = function()
    return (time.perf_counter() - started, time.process_time() - worked), result


def tail_shares(model: nn.Module, layers) -> tuple[list[float], list[float]]:
    """Of each layer, the share of the network's multiplications that lie after it, and that are left to the engine.

    What is left lacks the one convolution that takes the layer's map, whose output is cached. resnet20 is a chain of
    convolutions, each after its unit layer, so that the k-th layer has all from the k + 1st on after it.
    """
    costs, handles = [], []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(
                module.register_forward_hook(
                    lambda module, args, out: costs.append(module.weight[0].numel() * out[0].numel())
                )
            )
    with torch.inference_mode():
        model(torch.zeros(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    total = sum(costs)
    after = [sum(costs[position + 1 :]) / total for position in range(len(layers))]
    left = [sum(costs[position + 2 :]) / total for position in range(len(layers))]
    return after, left


@torch.inference_mode()
def convolution_times(model: nn.Module, inputs: torch.Tensor, batch: int) -> list[float]:
    """Seconds of each convolution alone on all images: no norm, activation function, addition or copy around it."""
    times, handles = [], []

    def time_alone(module, args, out):
        image = args[0][:batch].contiguous(memory_format=torch.channels_last)
        runs = -(-len(inputs) // batch)

        def alone():
            for _ in range(runs):
                module._conv_forward(image, module.weight, None)

        times.append(statistics.median(timed(alone)[0][0] for _ in range(5)) * len(inputs) / (runs * batch))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(time_alone))
    model(inputs[:batch])
    for handle in handles:
        handle.remove()
    return times


def figures(images: int, repeats: int, units_a_layer: int) -> dict:
    model, inputs = network_and_images(images)
    network = UnitNetwork(copy.deepcopy(model), inputs[:1]).for_inference()
    labels = torch.arange(images) % CLASSES
    engine = Engine(network, inputs, labels)
    plain_way = PlainWay(images)
    times = {batch: min(plain_way(batch)[0][0] for _ in range(2)) for batch in (BATCH, images)}
    batch = min(times, key=times.get)
    small = min(plain_way(64)[0][0] for _ in range(3)) / times[batch]
    intact = plain_way(batch)[1]
    std = float(intact.std())
    rows, difference, mismatches, least_moved = [], 0.0, 0, []
    estimates, cold = [], []
    plain_atlas = ours_atlas = plain_atlas_cpu = ours_atlas_cpu = 0.0
    after, left = tail_shares(model, network.layers)
    convolutions = convolution_times(copy.deepcopy(model).to(memory_format=torch.channels_last), inputs, BATCH)
    for position, layer in enumerate(network.layers):
        units = [layer.units * k // units_a_layer for k in range(units_a_layer)]
        ratios, plain_times, our_times = [], [], []
        started = time.perf_counter()
        first_estimate(Engine(network, inputs, labels), layer.name, units[0])
        cold.append(time.perf_counter() - started)
        engine.logits(ablation.changes(engine, {layer.name: [units[0]]}))
        for turn in range(repeats):
            unit = units[turn % len(units)]

            def ours(layer=layer, unit=unit):
                return engine.logits(ablation.changes(engine, {layer.name: [unit]}))

            # Each of the two goes first in half of the turns.
            if turn % 2:
                (mine, resumed), (its, brute) = timed(ours), plain_way(batch, layer.name, unit)
            else:
                (its, brute), (mine, resumed) = plain_way(batch, layer.name, unit), timed(ours)
            ratios.append(its[0] / mine[0])
            plain_times.append(its)
            our_times.append(mine)
            difference = max(difference, float((resumed - brute).abs().max()) / std)
            mismatches += int((resumed.argmax(dim=1) != brute.argmax(dim=1)).sum())
            least_moved.append(float((brute - intact).abs().max()) / std)
            estimates.append(timed(lambda layer=layer, unit=unit: first_estimate(engine, layer.name, unit))[0][0])
        speedup = statistics.median(ratios)
        plain_wall, plain_cpu = zip(*plain_times, strict=True)
        our_wall, our_cpu = zip(*our_times, strict=True)
        plain_atlas += statistics.mean(plain_wall) * layer.units
        plain_atlas_cpu += statistics.mean(plain_cpu) * layer.units
        alone_sets = layer.units if engine.tail([layer.name]).linear else repeats
        sets = [{layer.name: [layer.units * k // alone_sets]} for k in range(alone_sets)]
        together, _ = timed(lambda sets=sets: list(set_logits(engine, sets)))
        ours_atlas += together[0] / len(sets) * layer.units
        ours_atlas_cpu += together[1] / len(sets) * layer.units
        alone = sum(convolutions[position + 2 :])
        rows.append(
            {
                "layer": layer.name,
                "speedup": speedup,
                "speedup_cpu": min(plain_cpu) / min(our_cpu),
                "plain_ms": 1e3 * statistics.median(plain_wall),
                "resumed_ms": 1e3 * statistics.median(our_wall),
                "convolutions_ms": 1e3 * alone,
                "bound": statistics.median(plain_wall) / alone if alone else None,
                "fraction_of_bound": alone / statistics.median(our_wall) if alone else None,
                "flop_share": after[position],
                "flop_share_left": left[position],
                "speedup_over_limit": speedup * after[position],
            }
        )
        if position in (0, len(network.layers) // 2, len(network.layers) - 3):
            rows[-1]["operators"] = operator_shares(ours)
        print(f"{layer.name}: {speedup:.1f}", file=sys.stderr, flush=True)
    plain_way.close()
    return {
        **summary([row["speedup"] for row in rows], ""),
        **summary([row["speedup_cpu"] for row in rows], "_cpu"),
        "last_third_bound": last_third([row["bound"] or math.inf for row in rows]),
        "first_estimate_ms": 1e3 * statistics.median(estimates),
        "cold_first_estimate_ms": 1e3 * statistics.median(cold),
        "atlas_speedup": plain_atlas / ours_atlas,
        "atlas_speedup_cpu": plain_atlas_cpu / ours_atlas_cpu,
        "max_logit_difference": difference,
        "prediction_mismatches": mismatches,
        "least_move": min(least_moved),
        "predicted_classes": len(intact.argmax(dim=1).unique()),
        "cache_bytes": engine.cache.bytes,
        "plain_batch": batch,
        "plain_64_over_plain": small,
        "images": images,
        "units_a_layer": min(units_a_layer, repeats),
        "threads": torch.get_num_threads(),
        "layers": rows,
    }


def summary(speedups: list[float], ending: str) -> dict:
    return {
        f"median_speedup{ending}": statistics.median(speedups),
        f"last_third_speedup{ending}": last_third(speedups),
        f"min_speedup{ending}": min(speedups),
    }


def last_third(figures: list[float]) -> float:
    return statistics.median(figures[-round(len(figures) / 3) :])


def first_estimate(engine: Engine, layer: str, unit: int):
    return next(ablation.progress(engine, ablation.changes(engine, {layer: [unit]})))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    images = 200 if arguments.quick else 1000
    print(json.dumps(figures(images, arguments.repeats, units_a_layer=arguments.repeats)))
