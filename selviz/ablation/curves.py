"""Accuracy while more and more units are silent (Morcos et al. 2018): `curves(engine, {"relu3": si})`."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from selviz.ablation.engine import Engine
from selviz.ablation.modes import changes

DRAWS, STEPS = 10, 10
COLUMNS = ["direction", "draw", "step", "removed", "images", "accuracy"]


def curves(
    engine: Engine,
    ranking: Mapping[str, Tensor],
    steps: int = STEPS,
    draws: int = DRAWS,
    seed: int = 0,
    turn=None,
    report: Callable[[dict], None] = lambda news: None,
) -> pd.DataFrame:
    """One row a point: direction (descending, ascending, random), draw, step 0..steps, units removed, accuracy 0..1.

    `ranking` gives a value [U] for each unit of each layer that takes part. At step s the same share s / steps of each
    layer is silent (mode zero), ranked within the layer, since comparing selectivity across layers is ill-advised
    (Amjad et al. 2022, arXiv 1804.06679); of equal values the lower unit comes first. `draws` random orders are
    the control.
    """
    orders = [
        ("descending", 0, {name: _order(-_doubles(values)) for name, values in ranking.items()}),
        ("ascending", 0, {name: _order(_doubles(values)) for name, values in ranking.items()}),
    ]
    generator = np.random.default_rng(seed)
    for draw in range(draws):
        orders.append(("random", draw, {name: generator.permutation(len(values)) for name, values in ranking.items()}))
    widest = max(len(values) for values in ranking.values())
    steps = min(steps, widest)
    images, rows = len(engine), []
    intact = float((engine.before().argmax(dim=1) == engine.labels).double().mean())
    nothing_left = None
    for number, (direction, draw, order) in enumerate(orders):
        for step in range(steps + 1):
            silent = {name: numbers[: round(len(numbers) * step / steps)].tolist() for name, numbers in order.items()}
            removed = sum(map(len, silent.values()))
            if not removed:
                accuracy = intact
            elif step == steps and nothing_left is not None:  # the end is the same in every order
                accuracy = nothing_left
            else:
                logits = engine.logits(changes(engine, silent), turn)
                accuracy = float((logits.argmax(dim=1) == engine.labels).double().mean())
            if step == steps:
                nothing_left = accuracy
            rows.append((direction, draw, step, removed, images, accuracy))
        report({"order": number + 1, "of": len(orders)})
    return pd.DataFrame(rows, columns=COLUMNS)


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the area under each curve of `curves`: one row per direction and draw."""
    rows = [
        {"direction": direction, "draw": draw, "area": area(curve["removed"], curve["accuracy"])}
        for (direction, draw), curve in table.groupby(["direction", "draw"], sort=False)
    ]
    return pd.DataFrame(rows)


def area(removed: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the area under one curve, 0..1: the mean accuracy over the share of units removed, by the trapezoid rule."""
    removed = np.asarray(removed, dtype=float)
    return float(np.trapezoid(accuracy, removed) / (removed[-1] - removed[0]))


def _doubles(values) -> np.ndarray:
    return torch.as_tensor(values).double().numpy()


def _order(values: np.ndarray) -> np.ndarray:
    return np.argsort(values, kind="stable")
