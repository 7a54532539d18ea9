"""What many sets of units cost: `python benchmarks/speed/sets.py` prints one JSON document of ratios.

The demo's network (1,000 images of 28 pixels) and a resnet20 (1,000 of 32), random but not trivial. Sets of five units,
half of them random and half matched, at the first, the middle and the last layer. `over_hook`: the time of a hook and a
full pass for one set over that of a set among many; `over_one_by_one`: the time of a set asked for alone over that
(its own cached values are there in both); `over_convolutions`: the time of a set among many over that of the
convolutions after the layer that it cannot spare, the one over its own five channels included (null where none is
left). Each is the median over rounds in which the ways take turns. `last_layer_2000_s` is how long 2,000 sets at the
last layer take; `operators` says what a set's time goes into (`operator_shares`). `--only` measures one part.

`from_cut_over_pixels`: a resnet56, a layer of its last stage that nobody silenced before: the time to the exact answer
from the pixels over that from values at the end of a stage on disk. `--quick` takes 200 images and fewer sets.
"""

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.ablation import BATCH, CLASSES, convolution_times, hooked, plain, timed
from benchmarks.speed.operator_shares import operator_shares
from selviz import ablation
from selviz.ablation import Engine
from selviz.ablation.many_sets import set_accuracies
from selviz.ablation.matching import matched_sets, matchings
from selviz.ablation.modes import random_sets
from selviz.networks import models
from selviz.networks.unit_layers import UnitLayer
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.cut_cache import DiskCuts
from selviz.testing.toy import toy_dataset

NETWORKS = {"demo": ("cnn", 1, 28), "resnet20": ("resnet20", 3, 32)}


def network_and_images(name: str, channels: int, side: int, images: int) -> tuple[nn.Module, torch.Tensor]:
    """Return a network whose batch norms hold the images' statistics, and its inputs [N, C, H, W]."""
    torch.manual_seed(0)
    inputs = torch.randn(images, channels, side, side)
    model = models.build(name, CLASSES, channels).train()
    with torch.no_grad():
        for _ in range(20):
            model(inputs[:100])
    return model.eval(), inputs


@torch.inference_mode()
def moved_convolution_time(network: UnitNetwork, layer: UnitLayer, units: int, images: int) -> float:
    """Return the seconds of the convolution that takes the layer's map, over `units` of its channels, on all images."""
    node = next(node for node in network.graph.nodes if node.name == layer.node)
    modules = (network.root.get_submodule(str(user.target)) for user in node.users if user.op == "call_module")
    convolution = next(module for module in modules if isinstance(module, nn.Conv2d))
    maps = torch.randn(BATCH, *layer.shape[2:], units).movedim(-1, 1)
    weight = convolution.weight[:, :units].contiguous(memory_format=torch.channels_last)

    def alone() -> None:
        for _ in range(-(-images // BATCH)):
            nn.functional.conv2d(maps, weight, None, convolution.stride, convolution.padding)

    return statistics.median(timed(alone)[0][0] for _ in range(5))


def sets_figures(network_name: str, images: int, sets: int, rounds: int) -> dict:
    model, inputs = network_and_images(*NETWORKS[network_name], images)
    network = UnitNetwork(copy.deepcopy(model), inputs[:1]).for_inference()
    engine = Engine(network, inputs, torch.arange(images) % CLASSES)
    convolutions = convolution_times(copy.deepcopy(model).to(memory_format=torch.channels_last), inputs, BATCH)
    layers = network.layers
    figures: dict = {}
    for name, position in (("first", 0), ("middle", len(layers) // 2), ("last", len(layers) - 1)):
        layer = layers[position]
        few = sets if engine.tail([layer.name]).linear else max(sets // 100, 8)
        chosen = {layer.name: list(range(5))}
        drawn = [
            *random_sets(network, chosen, few // 2, 0),
            *matched_sets(matchings(network, chosen, {layer.name: engine.statistics(layer.name)}), few // 2, 0),
        ]
        list(set_accuracies(engine, drawn[:2]))
        hook, alone, together = [], [], []
        for turn in range(rounds):
            units = drawn[turn % len(drawn)]

            def hook_way(layer=layer, units=units):
                with hooked(model, layer.name, units[layer.name][0]):
                    plain(model, inputs, BATCH)

            hook.append(timed(hook_way)[0][0])
            alone.append(timed(lambda units=units: engine.logits(ablation.changes(engine, units)))[0][0])
            together.append(timed(lambda drawn=drawn: list(set_accuracies(engine, drawn)))[0][0] / len(drawn))
        left = sum(convolutions[position + 2 :])
        if left:
            left += moved_convolution_time(network, layer, len(chosen[layer.name]), images)
        ratios = {
            "over_hook": [a / b for a, b in zip(hook, together, strict=True)],
            "over_one_by_one": [a / b for a, b in zip(alone, together, strict=True)],
            "over_convolutions": [b / left for b in together] if left else [],
        }
        figures[name] = {key: statistics.median(values) if values else None for key, values in ratios.items()}
        figures[name] |= {"set_ms": 1e3 * statistics.median(together), "sets": len(drawn), "ratios": ratios}
        figures[name]["operators"] = operator_shares(lambda drawn=drawn: list(set_accuracies(engine, drawn)))
        print(f"{network_name} {name}: {figures[name]['over_hook']:.1f}", file=sys.stderr, flush=True)
    figures["last_layer_2000_s"] = 2 * figures["last"]["set_ms"]
    return figures


def cut_figures(images: int, rounds: int) -> dict:
    """Return how much sooner a layer of the last stage is exact from a cut than from the pixels."""
    import dataclasses

    model, inputs = network_and_images("resnet56", 3, 32, images)
    network = UnitNetwork(model, inputs[:1]).for_inference()
    labels = torch.arange(images) % CLASSES
    dataset = dataclasses.replace(toy_dataset(), eval_labels=labels)
    layer = network.layers[-6]
    ratios, seconds = [], []

    def answer(cuts) -> float:
        engine = Engine(network, inputs, labels, cuts=cuts)
        edits = ablation.changes(engine, {layer.name: [0]})
        started = time.perf_counter()
        for _ in ablation.progress(engine, edits):
            pass
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder:
        answer(DiskCuts(Path(folder), network, dataset))  # writes them
        for _ in range(rounds):
            from_cut, from_pixels = answer(DiskCuts(Path(folder), network, dataset)), answer(None)
            ratios.append(from_pixels / from_cut)
            seconds.append(from_cut)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.f32"))
    return {
        "from_cut_over_pixels": statistics.median(ratios),
        "ratios": ratios,
        "from_cut_s": statistics.median(seconds),
        "images": images,
        "cut_bytes": size,
    }


def figures(quick: bool, only: str | None) -> dict:
    images, sets, rounds = (200, 200, 3) if quick else (1000, 2000, 5)
    document: dict = {name: sets_figures(name, images, sets, rounds) for name in NETWORKS if only in (None, name)}
    if only in (None, "cut"):
        document["cut"] = cut_figures(200 if quick else 2000, rounds)
    return {**document, "images": images, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=[*NETWORKS, "cut"], help="one part alone")
    options = parser.parse_args()
    print(json.dumps(figures(options.quick, options.only)))
