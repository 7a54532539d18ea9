"""Every unit alone: the exact effect of its silence, and a gradient estimate of it in one pass for all of them.

estimates = gradient_estimates(engine, classes)           # layer -> [C, U]
units, by_class = atlas_layer(engine, "relu3", classes)   # two tables
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from selviz.ablation.engine import Engine, Turn
from selviz.ablation.many_sets import set_logits
from selviz.networks import graph_nodes
from selviz.networks.graph_surgery import with_outputs
from selviz.system.progress import Report, silent


def gradient_estimates(engine: Engine, classes: int, report: Report = silent) -> dict[str, Tensor]:
    """Return layer -> [C, U]: a first-order estimate of how each unit's silence changes each class's cross entropy.

    Minus gradient times activation, summed over positions, mean over the class's images (selviz's choice): one forward
    and one backward pass over the images.
    """
    network = engine.network
    nodes = [layer.node for layer in network.layers]
    output = graph_nodes.logits_node(network.graph).name
    module = network.graph_module(with_outputs(network.graph, [*nodes, output])).eval()
    sums = {layer.name: torch.zeros(classes, layer.units) for layer in network.layers}
    for rows in engine.slices:
        labels = engine.labels[rows]
        membership = F.one_hot(labels, classes).float()
        with torch.enable_grad():
            inputs = engine.inputs[rows].detach().clone().to(network.device)
            *maps, logits = module(inputs.requires_grad_(True))
            loss = F.cross_entropy(logits, labels.to(network.device), reduction="sum")
            gradients = torch.autograd.grad(loss, maps, allow_unused=True)
        for layer, map_, gradient in zip(network.layers, maps, gradients):
            if gradient is not None:
                product = (map_ * gradient).detach().movedim(layer.axis, 1).flatten(2) if map_.dim() > 2 else None
                effect = (map_ * gradient).detach() if product is None else product.sum(dim=2)
                sums[layer.name] -= membership.T @ effect.to(labels.device)
        report({"done": rows.stop, "of": len(engine)})
    counts = torch.bincount(engine.labels, minlength=classes).clamp(min=1).unsqueeze(1)
    return {name: total / counts for name, total in sums.items()}


def atlas_layer(
    engine: Engine,
    name: str,
    classes: int,
    turn: Turn | None = None,
    report: Callable[[int], None] = lambda units: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the exact effect of zeroing each unit of a layer: (one row per unit, one row per unit and class).

    Columns: images, before, after (accuracy 0..1), lost, gained, and loss_change, the change of the mean cross entropy.
    """
    labels, before = engine.labels, engine.before()
    right = before.argmax(dim=1) == labels
    loss = F.cross_entropy(before, labels, reduction="none")
    counts = np.bincount(labels.numpy(), minlength=classes)
    sums = []
    units = range(engine.network.layer(name).units)
    for unit, after in enumerate(set_logits(engine, ({name: [unit]} for unit in units), turn=turn)):
        still = after.argmax(dim=1) == labels
        change = F.cross_entropy(after, labels, reduction="none") - loss
        for value in (right, still, right & ~still, ~right & still, change):
            sums.append(torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, value.double()).numpy())
        report(unit + 1)
    table = np.stack(sums).reshape(-1, 5, classes)  # [U, quantity, C], sums over images
    overall = _frame(table.sum(axis=2, keepdims=True), counts.sum(keepdims=True))
    return overall.drop(columns="class"), _frame(table, counts)


def _frame(table: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    units, _, classes = table.shape
    shares = table / np.maximum(counts, 1)
    columns = {
        "unit": np.repeat(np.arange(units), classes),
        "class": np.tile(np.arange(classes), units),
        "images": np.tile(counts, units),
        "before": shares[:, 0].ravel(),
        "after": shares[:, 1].ravel(),
        "lost": table[:, 2].ravel().astype(int),
        "gained": table[:, 3].ravel().astype(int),
        "loss_change": shares[:, 4].ravel(),
    }
    return pd.DataFrame(columns)
