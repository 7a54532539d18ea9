"""What a network does on the evaluation images while it trains: `observe_all(observer, pixels, prepare)`."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from selviz.selectivity import index

EVAL_BATCH = 250


class Selectivity(TypedDict):
    """Mean SI over layers of the mean over units, with and without dead ones; the same by layer, and each unit's SI."""

    mean_si: float
    mean_si_live: float
    layer_si: list[float]
    unit_si: list[list[float]]


@torch.no_grad()
def observe_all(
    observer: nn.Module, pixels: Tensor, prepare: Callable[[Tensor], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return predictions [N] and each layer's activations [N, U] of all pixels, batch by batch, in eval mode."""
    was_training = observer.training
    observer.eval()
    predictions, activations = [], []
    for start in range(0, len(pixels), EVAL_BATCH):
        batch = pixels[start : start + EVAL_BATCH]
        logits, layers = observer(prepare(batch))
        predictions.append(logits.argmax(dim=1))
        activations.append([layer.float() for layer in layers])
    observer.train(was_training)
    return torch.cat(predictions), [torch.cat(parts) for parts in zip(*activations, strict=True)]


def layer_selectivity(activations: Sequence[Tensor], labels: Tensor, classes: int) -> Selectivity:
    """Return the SI of activations [N, U] per layer, over all units and over those that are not dead."""
    indices = [index.index(*index.class_means(layer, labels, classes)) for layer in activations]
    live = [si[(layer != 0).any(dim=0)] for si, layer in zip(indices, activations, strict=True)]
    live = [si for si in live if len(si)]
    return {
        "mean_si": float(index.mean_over_layers(indices)),
        "mean_si_live": float(index.mean_over_layers(live)) if live else 0.0,
        "layer_si": [float(si.mean()) for si in indices],
        "unit_si": [si.tolist() for si in indices],
    }
