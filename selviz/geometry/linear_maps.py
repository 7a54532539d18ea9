"""How selective a layer could look in another basis: `best_map(values, labels, folds, classes)` of one layer.

`values` [N, P, U] are a layer's units on N images at P positions. A linear map mixes the units at each position, a ReLU
follows, and the mean over positions is what SI is taken of: the identity gives the units as they are.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from selviz.selectivity import index

RESTARTS = 6
ROTATIONS = 20
STEPS = 200
LEARNING_RATE = 0.05
PENALTY = 10.0
SHUFFLES = 100
BASES = ("units", "rotation", "found")


class BestMap(NamedTuple):
    """What `best_map` found: the table, and the map [U, U] that was chosen, one row per new unit."""

    table: pd.DataFrame
    map: Tensor
    live: Tensor  # numbers of the units that it mixes


def mapped(
    values: Float[Tensor, "images positions units"], maps: Float[Tensor, "maps new units"]
) -> Float[Tensor, "images maps new"]:
    """Return activations [N, R, V] of R maps [R, V, U] of values [N, P, U]: linear, ReLU, mean over positions."""
    number, rows, _ = maps.shape
    new = torch.relu(values @ maps.flatten(0, 1).T)
    return new.mean(dim=1).reshape(len(values), number, rows)


def best_map(
    values: Tensor,
    labels: Tensor,
    folds: Tensor,
    classes: int,
    restarts: int = RESTARTS,
    rotations: int = ROTATIONS,
    steps: int = STEPS,
    seed: int = 0,
) -> BestMap:
    """Return the largest mean SI that gradient ascent finds over linear maps of a layer, next to units and rotations.

    Maps are fit, and one is chosen, on fold 0; every basis is read on fold 1. What an optimizer finds is a lower bound
    of the maximum. Ascent (Adam) on mean SI - penalty x ||W W' - I||^2 / U, one restart from the units as they are, the
    others from random rotations; units that are dead on fold 0 are left out of every basis. After Leavitt & Morcos 2020
    (arXiv 2003.01262), whose details could not be re-read: these are selviz's.

    Table: basis ("units", "rotation", "found"), draw, si_fit (fold 0), si (fold 1), null_mean and null_p95 of si under
    shuffled labels (units and the chosen map only), deviation (largest entry of |W W' - I|), chosen. Fewer than five
    restarts raise ValueError; a layer without live units has an empty table.
    """
    if restarts < 5:
        raise ValueError("at least five restarts, or nothing is known of how good the best one is")
    fit, read = folds == 0, folds == 1
    live = (values[fit] != 0).flatten(0, 1).any(dim=0).nonzero().flatten()
    if not len(live):
        columns = ["basis", "draw", "si_fit", "si", "null_mean", "null_p95", "deviation", "chosen"]
        return BestMap(pd.DataFrame(columns=columns), torch.zeros(0, 0), live)
    values = values[..., live].float()
    values = values / values.square().mean().sqrt()  # SI has no scale; the optimizer's steps do
    units = len(live)
    identity = torch.eye(units).unsqueeze(0)
    turned = _rotations(restarts - 1 + rotations, units, seed)
    ascended = _ascend(values[fit], labels[fit], classes, torch.cat([identity, turned[: restarts - 1]]), steps)
    maps = torch.cat([identity, turned[restarts - 1 :], ascended])
    kinds = np.repeat(BASES, [1, rotations, restarts])
    si_fit, si = (_mean_si(values[part], labels[part], classes, maps) for part in (fit, read))
    chosen = int(si_fit[-restarts:].argmax()) + 1 + rotations
    nulls = np.full((2, len(maps)), np.nan)
    for row in (0, chosen):
        new = mapped(values[read], maps[row : row + 1])[:, 0].double()
        null = index.shuffle_null(new, labels[read], classes, SHUFFLES, seed).mean(dim=1)
        nulls[:, row] = float(null.mean()), float(null.quantile(0.95))
    table = pd.DataFrame(
        {
            "basis": kinds,
            "draw": np.concatenate([[0], np.arange(rotations), np.arange(restarts)]),
            "si_fit": si_fit.numpy(),
            "si": si.numpy(),
            "null_mean": nulls[0],
            "null_p95": nulls[1],
            "deviation": (maps @ maps.mT - identity).abs().amax(dim=(1, 2)).numpy(),
            "chosen": np.arange(len(maps)) == chosen,
        }
    )
    return BestMap(table, maps[chosen], live)


def _mean_si(values: Tensor, labels: Tensor, classes: int, maps: Tensor) -> Tensor:
    """Return the mean SI [R] of maps [R, V, U], one map at a time, in double precision."""
    scores = []
    for one in maps:
        means, counts = index.class_means(mapped(values, one[None])[:, 0].double(), labels, classes)
        scores.append(index.index(means, counts).mean())
    return torch.stack(scores)


def _ascend(values: Tensor, labels: Tensor, classes: int, start: Tensor, steps: int) -> Tensor:
    """Return maps [R, U, U] after gradient ascent from `start`; the restarts know nothing of each other."""
    maps = start.clone().requires_grad_()
    identity = torch.eye(start.shape[-1])
    optimizer = torch.optim.Adam([maps], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        means, counts = index.class_means(mapped(values, maps).flatten(1), labels, classes)
        si = index.index(means, counts).view(*maps.shape[:2]).mean(dim=1)
        apart = (maps @ maps.mT - identity).square().sum(dim=(1, 2)) / maps.shape[-1]
        optimizer.zero_grad()
        loss = (PENALTY * apart - si).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        optimizer.step()
        schedule.step()
    return maps.detach()


def _rotations(number: int, size: int, seed: int) -> Tensor:
    """Return uniformly drawn orthogonal matrices [R, U, U] (Mezzadri 2007, arXiv math-ph/0609050)."""
    normal = torch.randn(number, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turned, upper = torch.linalg.qr(normal)
    rotations: Tensor = (turned * upper.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)).float()
    return rotations
