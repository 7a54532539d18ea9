"""Tables of unit metrics from captured activations: `layer_metrics(activations, labels, classes)`.

Everything here takes one layer's activations [N, U] and is vectorized over its units.
"""

from typing import NamedTuple, TypedDict

import pandas as pd
import torch
from torch import Tensor

from selviz.selectivity import index

SHUFFLES = 100
BLOCK = 16_000_000  # values that are looked at together; in double precision, with their squares, half a gigabyte


class LayerMetrics(TypedDict):
    """What `layer_metrics` returns; `null` has a row per shuffle: the layer's mean_si and mean_si_live under it."""

    layer: dict[str, float]
    units: pd.DataFrame
    class_means: pd.DataFrame
    null: pd.DataFrame


class _Block(NamedTuple):
    """Metrics of some K units of a layer; the sums [R] of the null are over all of them, and over those not dead."""

    units: pd.DataFrame
    means: Tensor  # [C, K]
    deviations: Tensor  # [C, K]
    null: Tensor
    live_null: Tensor


def layer_metrics(
    activations: Tensor, labels: Tensor, classes: int, shuffles: int = SHUFFLES, seed: int = 0
) -> LayerMetrics:
    """Return the layer's row and the tables of its units of activations [N, U] with labels [N] in 0..C-1.

    Units: si with the mean and 95th percentile of its label-shuffle null, p (of an SI this high under shuffled labels),
    preferred_class, mean_activation, std, max_activation, zero_share 0..1, dead (zero on every image). Layer: mean_si
    over all units with its null, and mean_si_live over those that are not dead (0 if all are) with the null of these.
    The order of the labels in a shuffle depends on `seed` and N alone, so shuffles of several layers belong together.
    """
    step = max(1, BLOCK // max(len(labels), 1))
    parts = [
        _block(activations[:, first : first + step].double(), labels, classes, shuffles, seed)
        for first in range(0, activations.shape[1], step)
    ]
    units = pd.concat([part.units for part in parts], ignore_index=True).assign(unit=range(activations.shape[1]))
    si, dead = (torch.tensor(units[name].to_numpy(copy=True)) for name in ("si", "dead"))
    total = torch.stack([part.null for part in parts]).sum(dim=0)
    live_total = torch.stack([part.live_null for part in parts]).sum(dim=0)
    of_layer, live = total / len(units), int((~dead).sum())
    of_live = live_total / max(live, 1)
    layer = {
        "units": len(units),
        "mean_si": float(si.mean()),
        "mean_si_live": float(si[~dead].mean()) if (~dead).any() else 0.0,
        "null_mean": float(of_layer.mean()),
        "null_p95": float(of_layer.quantile(0.95)),
        "null_live_mean": float(of_live.mean()),
        "null_live_p95": float(of_live.quantile(0.95)),
        "dead": int(dead.sum()),
    }
    means = torch.cat([part.means for part in parts], dim=1)
    spread = torch.cat([part.deviations for part in parts], dim=1)
    by_class = pd.DataFrame(
        {
            "unit": torch.arange(len(units)).repeat_interleave(classes).numpy(),
            "class": torch.arange(classes).repeat(len(units)).numpy(),
            "mean": means.T.reshape(-1).numpy(),
            "std": spread.T.reshape(-1).numpy(),
            "images": torch.bincount(labels, minlength=classes).int().repeat(len(units)).numpy(),
        }
    )
    null = pd.DataFrame({"draw": range(len(of_layer)), "mean_si": of_layer.numpy(), "mean_si_live": of_live.numpy()})
    return {"layer": layer, "units": units, "class_means": by_class, "null": null}


def _block(values: Tensor, labels: Tensor, classes: int, shuffles: int, seed: int) -> _Block:
    """Return the metrics of some units' activations [N, K]."""
    means, counts = index.class_means(values, labels, classes)
    squares, _ = index.class_means(values.square(), labels, classes)
    si = index.index(means, counts)
    null = index.shuffle_null(values, labels, classes, shuffles, seed)
    dead = (values == 0).all(dim=0)
    spread = (squares - means.square()).clamp(min=0).sqrt() * (counts / (counts - 1).clamp(min=1)).sqrt().unsqueeze(1)
    units = pd.DataFrame(
        {
            "unit": range(values.shape[1]),
            "si": si.numpy(),
            "null_mean": null.mean(dim=0).numpy(),
            "null_p95": null.quantile(0.95, dim=0).numpy(),
            "p": ((1 + (null >= si - 1e-9).sum(dim=0)) / (1 + len(null))).numpy(),
            "preferred_class": index.preferred_class(means).int().numpy(),
            "mean_activation": values.mean(dim=0).numpy(),
            "std": values.std(dim=0).numpy(),
            "max_activation": values.amax(dim=0).numpy(),
            "zero_share": (values == 0).double().mean(dim=0).numpy(),
            "dead": dead.numpy(),
        }
    )
    return _Block(units, means, spread, null.sum(dim=1), null[:, ~dead].sum(dim=1))
