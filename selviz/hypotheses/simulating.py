"""Pieces of the models that power is simulated from."""

import math
from collections.abc import Mapping

import numpy as np


def correlated(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    first, second = pairs(generator, facts["first"], effect)
    return {"first": first, "second": second if settings["direction"] == "positive" else -second}


def labels(settings, inside: int, of: int) -> np.ndarray:
    labels = np.full(of, settings["class_index"] + 1)
    labels[:inside] = settings["class_index"]
    return labels


def pairs(generator, size: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal pairs whose Spearman correlation is `correlation`: Pearson's is 2 sin(pi rho / 6) (Pearson 1907)."""
    r = 2 * math.sin(math.pi * min(max(correlation, -1.0), 1.0) / 6)
    first, second = generator.normal(size=(2, size))
    return first, r * first + math.sqrt(max(0.0, 1 - r**2)) * second
