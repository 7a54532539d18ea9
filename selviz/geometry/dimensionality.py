"""How many directions a layer uses: `components(eigenvalues(x))`, `participation_ratio(eigenvalues(x))`.

Everything takes arrays [N, D]: images by units, or by all positions of all units. Memory is bounded by min(N, D)
squared: rows, or where there are fewer images than features columns, are added up in blocks.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

SHARE = 0.95
BLOCK = 512  # rows or columns that are held in double precision at once
Z = 1.959963984540054


class Covariance:
    """Mean and covariance of rows that come in blocks: `c.add(block)`, then `c.matrix()`; holds D x D numbers."""

    def __init__(self, features: int):
        self.rows, self.mean = 0, np.zeros(features)
        self.scatter = np.zeros((features, features))

    def add(self, block: np.ndarray) -> None:
        """Add rows [n, D] (Chan, Golub & LeVeque 1983, The American Statistician 37:242, equation 2.1)."""
        block = np.asarray(block, dtype=np.float64)
        if not len(block):
            return
        mean = block.mean(axis=0)
        centred, moved = block - mean, mean - self.mean
        total = self.rows + len(block)
        self.scatter += centred.T @ centred + np.outer(moved, moved) * (self.rows * len(block) / total)
        self.mean += moved * (len(block) / total)
        self.rows = total

    def matrix(self) -> np.ndarray:
        """Return the covariance [D, D], over n - 1."""
        return self.scatter / max(self.rows - 1, 1)


def streamed_eigenvalues(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the eigenvalues [D] of the covariance of rows that come in blocks [n, D], the largest first."""
    covariance: Covariance | None = None
    for block in blocks:
        covariance = covariance or Covariance(np.shape(block)[1])
        covariance.add(block)
    if covariance is None:
        raise ValueError("there are no rows")
    return _descending(covariance.matrix())


def eigenvalues(x: Float[np.ndarray, "images features"]) -> Float[np.ndarray, " components"]:
    """Return the variances along the principal components of x [N, D], min(N, D) of them, the largest first."""
    rows, features = x.shape
    if features <= rows:
        return streamed_eigenvalues(x[first : first + BLOCK] for first in range(0, rows, BLOCK))
    return _descending(_gram(x) / max(rows - 1, 1))


def components(spectrum: Float[np.ndarray, " components"], share: float = SHARE) -> int:
    """Return how many principal components hold this share of the variance; 0 where there is none."""
    spectrum = np.clip(spectrum, 0, None)
    total = spectrum.sum()
    if total <= 0:
        return 0
    return int(np.searchsorted(np.cumsum(spectrum) / total, share - 1e-12) + 1)


def participation_ratio(spectrum: Float[np.ndarray, " components"]) -> float:
    """Return (sum l)^2 / sum l^2, from 1 to the number of directions with equal variance; 0 where there is none."""
    squares = float(np.square(spectrum).sum())
    return float(spectrum.sum() ** 2 / squares) if squares > 0 else 0.0


def bootstrap(x: Float[np.ndarray, "images features"], draws: int, seed: int = 0) -> Float[np.ndarray, "{draws} 2"]:
    """Return (components, participation ratio) [draws, 2] of x [N, D] with its rows drawn again, with replacement."""
    generator = np.random.default_rng(seed)
    rows, features = x.shape
    products = _gram(x) if features > rows else None
    measured = np.empty((draws, 2))
    for draw in range(draws):
        counts = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        if products is not None:
            # Rows that were drawn k times weigh sqrt(k); centring removes the weighted mean.
            root = np.sqrt(counts)
            centre = products @ counts / rows
            centred = products - centre[:, None] - centre[None, :] + counts @ centre / rows
            matrix = root[:, None] * centred * root[None, :]
            kept = counts > 0
            matrix = matrix[np.ix_(kept, kept)]
        else:
            mean = counts @ x / rows
            matrix = (x * counts[:, None]).T @ x - rows * np.outer(mean, mean)
        spectrum = _descending(matrix)
        measured[draw] = components(spectrum), participation_ratio(spectrum)
    return measured


def shuffled(x: Float[np.ndarray, "images features"], seed: int = 0) -> Float[np.ndarray, "images features"]:
    """Return x [N, D] with each column in a random order of its own: the same variances, no correlation."""
    return np.random.default_rng(seed).permuted(x, axis=0)


def profile(x: np.ndarray, draws: int = 100, shuffles: int = 3, seed: int = 0) -> dict[str, int | float]:
    """Return one row: features, components and participation, their 95 % intervals, and both after shuffling.

    The interval is the estimate +- 1.96 standard deviations of the bootstrap, whose own values lie too low: images that
    are drawn twice add no direction. Shuffled values are means over `shuffles`.
    """
    x = np.asarray(x)
    spectrum = eigenvalues(x)
    count, ratio = components(spectrum), participation_ratio(spectrum)
    max_components = min(x.shape[0] - 1, x.shape[1])
    half = (
        Z * bootstrap(x.astype(np.float64, copy=False), draws, seed).std(axis=0, ddof=1) if draws > 1 else (np.nan,) * 2
    )
    nulls = [eigenvalues(shuffled(x, seed + number)) for number in range(shuffles)]
    row: dict[str, int | float] = {"images": x.shape[0], "features": x.shape[1]}
    for name, value, width, measure in (
        ("components", count, half[0], components),
        ("participation", ratio, half[1], participation_ratio),
    ):
        row[name] = value
        row[f"{name}_low"], row[f"{name}_high"] = max(value - width, 0.0), min(value + width, max_components)
        row[f"{name}_shuffled"] = float(np.mean([measure(null) for null in nulls])) if nulls else np.nan
    return row


def gradient_variability(
    observe: Callable[[Tensor], Tensor], inputs: Tensor, units: Iterable[int] | Int[np.ndarray, " units"]
) -> tuple[np.ndarray, dict[str, int | float]]:
    """Return norms [N, units] of d(unit)/d(input), and how much they vary: over images, and over units.

    `observe` maps inputs to one layer's activations [N, U]. A coefficient of variation is the standard deviation over
    the mean; over_images is the mean of the units', over_units that of the images', each with its t interval. Units
    without any gradient are left out.
    """
    from selviz.statistics import mean_interval

    inputs = inputs.clone().requires_grad_(True)
    with torch.enable_grad():
        activations = observe(inputs)
        norms = [
            torch.autograd.grad(activations[:, unit].sum(), inputs, retain_graph=True)[0].flatten(1).norm(dim=1)
            for unit in units
        ]
    table = torch.stack(norms, dim=1).double().detach().numpy()
    live = table[:, (table > 0).any(axis=0)]
    row: dict[str, int | float] = {
        "units": live.shape[1],
        "images": len(table),
        "norm": float(live.mean()) if live.size else np.nan,
    }
    for name, axis in (("over_images", 0), ("over_units", 1)):
        mean = live.mean(axis=axis) if live.size else np.empty(0)
        enough = live.size and live.shape[axis] > 1
        values = (live.std(axis=axis, ddof=1)[mean > 0] / mean[mean > 0]) if enough else np.empty(0)
        centre = float(values.mean()) if len(values) else np.nan
        low, high = mean_interval(centre, values.std(ddof=1), len(values)) if len(values) > 1 else (np.nan, np.nan)
        row |= {name: centre, f"{name}_low": max(float(low), 0.0), f"{name}_high": float(high)}
    return table, row


def _gram(x: np.ndarray) -> np.ndarray:
    """Return products [N, N] of the centred rows of x [N, D], in blocks of columns."""
    result = np.zeros((len(x), len(x)))
    for first in range(0, x.shape[1], BLOCK):
        part = x[:, first : first + BLOCK].astype(np.float64)
        part -= part.mean(axis=0)
        result += part @ part.T
    return result


def _descending(matrix: np.ndarray) -> np.ndarray:
    return np.clip(np.linalg.eigvalsh(matrix)[::-1], 0, None)
