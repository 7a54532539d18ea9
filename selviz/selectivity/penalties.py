"""What a training can be penalized or rewarded for: `penalty(activations, labels, classes, metric="si")`, a scalar.

Each measure is a function of the batch's sums by class, so processes that train together exchange one tensor a step.
The default is the class selectivity index, whose formula `selviz.selectivity.index` owns.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selviz.selectivity import index


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums of activations by class: `sums` and `squares` [..., C, U] (of squared activations), `counts` [..., C]."""

    sums: Tensor
    squares: Tensor | None
    counts: Tensor

    @property
    def means(self) -> Tensor:
        """Return class-conditional means [..., C, U]; 0 for a class without images."""
        return self.sums / self.counts.clamp(min=1).unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class _Contrast:
    """Per unit [..., U]: means and mean squares on the class with the largest mean, and over all other images."""

    mean: Tensor
    other_mean: Tensor
    mean_square: Tensor | None
    other_mean_square: Tensor | None


def _largest_class(sums: ClassSums) -> _Contrast:
    here = (sums.counts > 0).unsqueeze(-1)
    largest = sums.means.masked_fill(~here, float("-inf")).argmax(dim=-2, keepdim=True)
    counts = sums.counts.unsqueeze(-1).expand(sums.sums.shape)
    inside, total = counts.gather(-2, largest).squeeze(-2), sums.counts.sum(dim=-1, keepdim=True)
    outside = (total - inside).clamp(min=1)

    def both(values: Tensor) -> tuple[Tensor, Tensor]:
        of_class = values.gather(-2, largest).squeeze(-2)
        return of_class / inside.clamp(min=1), (values.sum(dim=-2) - of_class) / outside

    mean, other_mean = both(sums.sums)
    squares, other_squares = (None, None) if sums.squares is None else both(sums.squares)
    return _Contrast(mean, other_mean, squares, other_squares)


def si(sums: ClassSums) -> Tensor:
    """Return class selectivity index [..., U], 0..1 (Leavitt & Morcos 2020, arXiv 2003.01262)."""
    return index.index(sums.means, sums.counts)


def ccmas(sums: ClassSums) -> Tensor:
    """Return CCMAS of the class with the largest mean, [..., U]: as SI, but the other images' mean is pooled over
    images.

    Gale et al. 2020, arXiv 2007.01062. 0..1 for non-negative activations.
    """
    largest = _largest_class(sums)
    return (largest.mean - largest.other_mean) / (largest.mean + largest.other_mean + index.EPS)


def d_prime(sums: ClassSums) -> Tensor:
    """Return d' of the class with the largest mean, [..., U]: (mu_c - mu_notc) / sqrt((s_c^2 + s_notc^2) / 2), 0
    or above.

    Variances are over n, and 1e-4 is added under the root, so that a unit with one activation has 0 (selviz's choice).
    """
    largest = _largest_class(sums)
    assert largest.mean_square is not None and largest.other_mean_square is not None
    variance = largest.mean_square - largest.mean.square() + largest.other_mean_square - largest.other_mean.square()
    return (largest.mean - largest.other_mean) / (variance.clamp(min=0) / 2 + 1e-4).sqrt()


def class_information(sums: ClassSums) -> Tensor:
    """Return information about the class in a unit's activation, [..., U]: sum_c p_c (mu_c / mu) log(mu_c / mu) /
    log C, 0..1.

    The spatial information of Skaggs et al. 1993 with classes in the place of positions (selviz's choice): a form of
    mutual information that has a gradient, where a binned one has none. p_c is a class's share of the batch, mu the
    mean over images, C the number of classes present. Negative means count as 0.
    """
    share = (sums.counts / sums.counts.sum(dim=-1, keepdim=True)).unsqueeze(-1)
    means = sums.means.clamp(min=0)
    ratio = means / ((share * means).sum(dim=-2, keepdim=True) + index.EPS)
    present = (sums.counts > 0).sum(dim=-1).clamp(min=2).unsqueeze(-1)
    return (share * ratio * (ratio + index.EPS).log()).sum(dim=-2) / present.to(means.dtype).log()


METRICS: dict[str, Callable[[ClassSums], Tensor]] = {
    "si": si,
    "dprime": d_prime,
    "class-mi": class_information,
    "ccmas": ccmas,
}


def penalty(
    activations: Sequence[Tensor],
    labels: Tensor,
    classes: int,
    gather: Callable[[Tensor], Tensor] = lambda sums: sums,
    metric: str = "si",
    floor: float = 0.0,
) -> Tensor:
    """Return the mean of a measure of a minibatch, a differentiable scalar, over the classes present in it.

    `activations` holds one [N, U] per layer, or [K, N, U] of K networks with labels [K, N], for a result [K]; the mean
    is over units first, then over layers. The loss is `cross_entropy - alpha * penalty` (arXiv 2003.01262). Where
    several processes hold parts of the batch, `gather` adds a tensor up over them, with gradients. `floor`: see
    `bounded`.
    """
    widths = [layer.shape[-1] for layer in activations]
    together = torch.cat(list(activations), dim=-1)
    sums, counts = index.class_sums(together, labels, classes)
    parts = [sums]
    if metric == "dprime":
        parts.append(index.class_sums(together.to(sums.dtype).square(), labels, classes)[0])
    # One tensor, so that processes exchange one message a step.
    everything = gather(torch.cat([*parts, counts.unsqueeze(-1).to(sums.dtype)], dim=-1))
    units = sums.shape[-1]
    squares = everything[..., units : 2 * units] if len(parts) > 1 else None
    by_class = ClassSums(everything[..., :units], squares, everything[..., -1])
    values = bounded(METRICS[metric](by_class), by_class, floor)
    return index.mean_over_layers(torch.split(values, widths, dim=-1))


def bounded(values: Tensor, sums: ClassSums, floor: float) -> Tensor:
    """Return `values` [..., U] unchanged, with a gradient that stays bounded for units that hardly ever fire.

    The gradient of an index grows as 1 / t where a unit's mean activation t goes to 0, t the sum over its class means
    (largest, and mean of the others). Below `floor` it is scaled by t / floor, so that it cannot exceed what it is
    there; the value, and the direction of the gradient, are as without (selviz's choice). 0 leaves all as it is.
    """
    if not floor:
        return values
    means = sums.means.detach()
    present = (sums.counts > 0).sum(dim=-1, keepdim=True)
    highest = means.amax(dim=-2)
    total = highest + (means.sum(dim=-2) - highest) / (present - 1).clamp(min=1)
    weight = (total / floor).clamp(min=0, max=1)
    return values.detach() + weight * (values - values.detach())


def largest_loss(classes: int) -> float:
    """Return the cross-entropy of guessing, ln(classes): training that ends above it has diverged."""
    return math.log(classes)
