"""Accuracy while more and more units are silent (Morcos et al. 2018): `curves(engine, {"relu3": si})`."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from selviz.ablation.engine import Engine, Turn
from selviz.ablation.many_sets import set_accuracies
from selviz.system.progress import Report
from selviz.system.progress import silent as report_to_nobody

DRAWS, STEPS = 10, 10
Order = dict[str, np.ndarray]  # numbers of units by layer
Point = tuple[str, int, int, Order]  # direction, draw, step, silent units
COLUMNS = ["direction", "draw", "step", "removed", "images", "accuracy"]


def curves(
    engine: Engine,
    ranking: Mapping[str, Tensor],
    steps: int = STEPS,
    draws: int = DRAWS,
    seed: int = 0,
    turn: Turn | None = None,
    report: Report = report_to_nobody,
) -> pd.DataFrame:
    """Return one row per point: direction (descending, ascending, random), draw, step, units removed, accuracy 0..1.

    `ranking` gives a value [U] for each unit of each layer that takes part. At step s the same share s / steps of each
    layer is silent (mode zero), ranked within the layer, since comparing selectivity across layers is ill-advised
    (Amjad et al. 2022, arXiv 1804.06679); of equal values the lower unit comes first. `draws` random orders are
    the control.
    """
    every = orders(ranking, draws, seed)
    steps = min(steps, max(len(values) for values in ranking.values()))
    points = [
        (direction, draw, step, silent_at(order, step, steps))
        for direction, draw, order in every
        for step in range(steps + 1)
    ]
    accuracies = _accuracies(engine, points, steps, turn)
    rows = []
    for (direction, draw, step, silent), accuracy in zip(points, accuracies):
        rows.append((direction, draw, step, sum(map(len, silent.values())), len(engine), accuracy))
        if step == steps:
            report({"done": len(rows) // (steps + 1), "of": len(every)})
    return pd.DataFrame(rows, columns=COLUMNS)


def orders(ranking: Mapping[str, Tensor], draws: int = DRAWS, seed: int = 0) -> list[tuple[str, int, Order]]:
    """Return (direction, draw, units of each layer in the order of their removal) of every curve of `curves`."""
    found: list[tuple[str, int, Order]] = [
        ("descending", 0, {name: _order(-_doubles(values)) for name, values in ranking.items()}),
        ("ascending", 0, {name: _order(_doubles(values)) for name, values in ranking.items()}),
    ]
    generator = np.random.default_rng(seed)
    for draw in range(draws):
        found.append(("random", draw, {name: generator.permutation(len(values)) for name, values in ranking.items()}))
    return found


def silent_at(order: Order, step: int, steps: int) -> Order:
    """Return the units of each layer that are silent at a step of a curve: the first step / steps of its order."""
    return {name: units[: round(len(units) * step / steps)] for name, units in order.items()}


def _accuracies(engine: Engine, points: Sequence[Point], steps: int, turn: Turn | None) -> Iterator[float]:
    """Return the accuracy at each point; where nothing or everything is silent, it is computed once for all orders."""
    intact = float((engine.before().argmax(dim=1) == engine.labels).double().mean())
    ends = [number for number, (_, _, step, _) in enumerate(points) if step == steps]
    computed = [
        any(map(len, silent.values())) and not (step == steps and number != ends[0])
        for number, (_, _, step, silent) in enumerate(points)
    ]
    sets = ({name: units.tolist() for name, units in silent.items()} for _, _, _, silent in compress(points, computed))
    measured = set_accuracies(engine, sets, turn=turn)
    nothing_left = intact
    for number, (_, _, step, _) in enumerate(points):
        if computed[number]:
            accuracy = next(measured)
            nothing_left = accuracy if step == steps else nothing_left
            yield accuracy
        else:
            yield nothing_left if step == steps else intact


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the area under each curve of `curves`: one row per direction and draw."""
    rows = [
        {"direction": direction, "draw": draw, "area": area(curve["removed"], curve["accuracy"])}
        for (direction, draw), curve in table.groupby(["direction", "draw"], sort=False)
    ]
    return pd.DataFrame(rows)


def area(removed: ArrayLike, accuracy: ArrayLike) -> float:
    """Return the area under one curve, 0..1: the mean accuracy over the share of units removed (trapezoid rule)."""
    x, y = np.asarray(removed, dtype=float), np.asarray(accuracy, dtype=float)
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def _doubles(values: Tensor) -> np.ndarray:
    return torch.as_tensor(values).double().numpy()


def _order(values: np.ndarray) -> np.ndarray:
    return np.argsort(values, kind="stable")
