"""What every unit does on every evaluation image: `logits, activations = observe(network, inputs, report=print)`."""

from collections.abc import Callable

import torch
from torch import Tensor

from selviz.network import UnitNetwork

BATCH = 250


@torch.inference_mode()
def observe(
    network: UnitNetwork,
    inputs: Tensor,
    report: Callable[[dict], None] = lambda progress: None,
    batch: int = BATCH,
) -> tuple[Tensor, list[Tensor]]:
    """Logits [N, C] and the activations [N, U] of each layer, float32 on CPU, of inputs [N, C, H, W].

    `report` gets {"images", "of"} after each batch.
    """
    device = next(network.root.parameters()).device
    classes = None
    layers = [torch.empty(len(inputs), layer.units) for layer in network.layers]
    for first in range(0, len(inputs), batch):
        part = inputs[first : first + batch].to(device, memory_format=torch.channels_last)
        logits, activations = network.observe(part)
        if classes is None:
            classes = torch.empty(len(inputs), logits.shape[1])
        rows = slice(first, first + len(part))
        classes[rows] = logits
        for layer, values in zip(layers, activations, strict=True):
            layer[rows] = values
        report({"images": min(first + batch, len(inputs)), "of": len(inputs)})
    return classes, layers
