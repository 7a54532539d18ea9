"""What every unit does on every evaluation image: `logits, activations = observe(network, inputs, report=print)`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from selviz.networks.unit_layers import UnitLayer
from selviz.networks.unit_network import UnitNetwork
from selviz.system.progress import Report, silent

BATCH = 250  # at most
MAP_BYTES = 4 * 2**20  # of the largest map of a batch on a processor: what is much larger leaves its cache


def batch_size(network: UnitNetwork) -> int:
    """Return how many images to pass at once, 8..250: large images take less memory, and small ones less time."""
    if network.device.type != "cpu":
        return BATCH
    largest = max(math.prod(layer.shape[1:]) for layer in network.layers)
    return min(max(MAP_BYTES // (4 * largest), 8), BATCH)


@torch.inference_mode()
def observe(
    network: UnitNetwork,
    inputs: Tensor,
    report: Report = silent,
    batch: int | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return logits [N, C] and the activations [N, U] of each layer, float32 on CPU, of inputs [N, C, H, W].

    `report` gets {"images", "of"} after each batch, of `batch_size` images by default.
    """
    batch = batch or batch_size(network)
    classes = torch.empty(0, 0)
    layers = [torch.empty(len(inputs), layer.units) for layer in network.layers]
    for first in range(0, len(inputs), batch):
        part = inputs[first : first + batch].contiguous(memory_format=torch.channels_last)
        logits, activations = network.observe(part)
        if not len(classes):
            classes = torch.empty(len(inputs), logits.shape[1])
        rows = slice(first, first + len(part))
        classes[rows] = logits
        for layer, values in zip(layers, activations, strict=True):
            layer[rows] = values
        report({"images": min(first + batch, len(inputs)), "of": len(inputs)})
    return classes, layers


@torch.inference_mode()
def sample(
    network: UnitNetwork, inputs: Tensor, layers: Sequence[str], positions: int, seed: int = 0, batch: int | None = None
) -> dict[str, Tensor]:
    """Return layer -> the values [N, P, U] of its units at a fixed sample of at most `positions` positions,
    float32 on CPU.

    The sample depends on the layer's number of positions and on the seed, so networks of one kind are sampled alike.
    """
    places = {layer.name: _places(layer, positions, seed) for layer in network.in_order(layers)}
    parts: dict[str, list[Tensor]] = {name: [] for name in places}
    batch = batch or batch_size(network)
    for first in range(0, len(inputs), batch):
        part = inputs[first : first + batch].contiguous(memory_format=torch.channels_last)
        for name, values in zip(places, network.sampled(part, places), strict=True):
            parts[name].append(values.float().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _places(layer: UnitLayer, positions: int, seed: int) -> list[int] | None:
    there = math.prod(layer.shape[1:]) // layer.units
    if there <= positions:
        return None
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(there, generator=generator)[:positions].tolist())
