"""What a unit does to the answers: `push(engine, "relu3", 7)` by class, `relevance(engine, "relu3")` by image."""

import pandas as pd
import torch
from torch import Tensor

from selviz.ablation.engine import Engine, Turn
from selviz.ablation.modes import changes
from selviz.networks import graph_nodes
from selviz.networks.graph_surgery import with_outputs

STEP = 0.02  # of the unit's map, up and down, for the slope


def push(engine: Engine, layer: str, unit: int, turn: Turn | None = None) -> pd.DataFrame:
    """Return how much one unit raises each class's logit, one row per class: class_index, removed, slope, and images.

    removed: mean over images of logit before minus logit while the unit is silent, with its standard deviation
    (removed_std). slope: mean change of the logit per unit of scale of the unit's map, at its own value, by a central
    difference over 2 % up and down; this is gradient times activation summed over the map, so it tells what a small
    change does where `removed` tells what the whole does; the two differ where later layers bend.
    """
    before = engine.before()
    removed = before - engine.logits(changes(engine, {layer: [unit]}), turn)
    up, down = (
        engine.logits(changes(engine, {layer: [unit]}, "scale", factor), turn) for factor in (1 + STEP, 1 - STEP)
    )
    slope = (up - down) / (2 * STEP)
    return pd.DataFrame(
        {
            "class_index": range(before.shape[1]),
            "removed": removed.mean(dim=0).numpy(),
            "removed_std": removed.std(dim=0).numpy(),
            "slope": slope.mean(dim=0).numpy(),
            "slope_std": slope.std(dim=0).numpy(),
            "images": len(before),
        }
    )


def relevance(engine: Engine, layer: str) -> Tensor:
    """Return [N, U]: how much each unit of a layer speaks for the class that the network predicts, image by image.

    Gradient of the predicted class's logit times activation, summed over positions: one pass forward and one back.
    Images ranked by it can tell another story than images ranked by activation. Gradient times activation as the
    relevance is selviz's choice.
    """
    network, unit_layer = engine.network, engine.network.layer(layer)
    output = graph_nodes.logits_node(network.graph).name
    module = network.graph_module(with_outputs(network.graph, [unit_layer.node, output])).eval()
    parts = []
    for rows in engine.slices:
        with torch.enable_grad():
            inputs = engine.inputs[rows].detach().clone().to(network.device)
            map_, logits = module(inputs.requires_grad_(True))
            (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), [map_])
        product = (map_ * gradient).detach().movedim(unit_layer.axis, 1)
        parts.append(product.flatten(2).sum(dim=2) if product.dim() > 2 else product)
    return torch.cat(parts).to(engine.labels.device)
