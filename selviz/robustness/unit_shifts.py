"""What perturbed images do to a network: `unit_changes(clean, values, labels, classes)`, `corruption_accuracy(...)`.

Everything here takes arrays. A unit's shift is the mean over images of |perturbed - clean|, in standard deviations of
its clean activation; a dead unit, or one that does not vary, has none.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from selviz.selectivity import index
from selviz.statistics import correlation_interval, mean_interval, rank_correlation


def unit_changes(
    values: Float[Tensor, "images units"],
    labels: Int[Tensor, " images"],
    classes: int,
    clean: Float[Tensor, "images units"] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (units, class means) of activations [N, U] of any layers on perturbed images, labels [N] in 0..C-1.

    Units: si and preferred_class on these images, their mean; and, where the `clean` activations [N, U] of the same
    images are given, shift and change, its signed counterpart. Class means: unit, class, mean.
    """
    values = values.double()
    means, counts = index.class_means(values, labels, classes)
    shift = change = torch.full((values.shape[1],), torch.nan, dtype=torch.float64)
    if clean is not None:
        clean = clean.double()
        spread = clean.std(dim=0)
        moved = values - clean
        shift = torch.where(spread > 0, moved.abs().mean(dim=0) / spread, torch.nan)
        change = torch.where(spread > 0, moved.mean(dim=0) / spread, torch.nan)
    units = pd.DataFrame(
        {
            "unit": range(values.shape[1]),
            "si": index.index(means, counts).numpy(),
            "preferred_class": index.preferred_class(means).int().numpy(),
            "mean": values.mean(dim=0).numpy(),
            "shift": shift.numpy(),
            "change": change.numpy(),
        }
    )
    by_class = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(len(units)), classes),
            "class": np.tile(np.arange(classes), len(units)),
            "mean": means.T.reshape(-1).float().numpy(),
        }
    )
    return units, by_class


def layer_change(units: pd.DataFrame, clean: pd.DataFrame) -> dict[str, int | float]:
    """Return one layer's row: do its selective units shift more? Both tables are those of `unit_changes`.

    units (those that vary on clean images), mean_si over all units, shift, kept_class (share whose preferred class is
    that on clean images), si_to_shift (Spearman's rank correlation of clean SI with shift) and its 95 % interval.
    """
    si, shift, preferred = (units[name].to_numpy() for name in ("si", "shift", "preferred_class"))
    live = ~np.isnan(shift)
    rho = rank_correlation(clean["si"].to_numpy()[live], shift[live])
    low, high = correlation_interval(rho, int(live.sum())) if not np.isnan(rho) else (np.nan, np.nan)
    same = (preferred == clean["preferred_class"].to_numpy())[live]
    return {
        "units": int(live.sum()),
        "mean_si": float(si.mean()),
        "shift": float(shift[live].mean()) if live.any() else np.nan,
        "kept_class": float(same.mean()) if live.any() else np.nan,
        "si_to_shift": rho,
        "low": low,
        "high": high,
    }


class Summary(NamedTuple):
    """A mean accuracy over settings, and relative to clean, with 95 % intervals for new images."""

    accuracy: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float


def corruption_accuracy(correct: np.ndarray, clean: np.ndarray, chance: float = 0.0) -> Summary:
    """Return the mean corruption accuracy of `correct` [settings, N], and over that of `clean` [N] (both 0/1).

    With `chance`, 0..1, `relative` is what of the accuracy above it is left. The plain mean over corruptions and
    severities. Settings share their images, so an image counts once, with its mean over settings: t interval of that
    mean, and of the ratio by the delta method (Cochran 1977, section 6.3).
    """
    share, clean = np.asarray(correct, dtype=float).mean(axis=0), np.asarray(clean, dtype=float)
    n = len(share)
    spread = share.std(ddof=1) if n > 1 else np.nan
    low, high = mean_interval(share.mean(), spread, n)
    if clean.mean() <= chance:
        return Summary(float(share.mean()), max(float(low), 0.0), min(float(high), 1.0), np.nan, np.nan, np.nan)
    above = clean.mean() - chance
    ratio = (share.mean() - chance) / above
    spread = (share - ratio * clean).std(ddof=1) / above if n > 1 else np.nan
    ratio_low, ratio_high = mean_interval(ratio, spread, n)
    return Summary(
        float(share.mean()),
        max(float(low), 0.0),
        min(float(high), 1.0),
        float(ratio),
        float(ratio_low),
        float(ratio_high),
    )
