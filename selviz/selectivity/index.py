"""Class selectivity of units: `index(class_means(activations, labels, classes)[0])` gives one value per unit, 0..1.

The one owner of the formula: the training penalty (`penalties`), the stored metric and its label-shuffle null call it.
Activations are [N, U]: images by units, each value the mean over the unit's positions, after the non-linearity.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

EPS = 1e-7
MANY = 64  # classes from which adding image by image takes less than a product with class membership


def class_sums(
    activations: Float[Tensor, "*runs images units"], labels: Int[Tensor, "*runs images"], classes: int
) -> tuple[Float[Tensor, "*runs {classes} units"], Float[Tensor, "*runs {classes}"]]:
    """Return sums [..., C, U] of activations [..., N, U] over each class's images, and the class counts [..., C].

    Labels are [..., N]. In float32 or better.
    """
    with torch.autocast(activations.device.type, enabled=False):
        if activations.dtype in (torch.float16, torch.bfloat16):
            activations = activations.float()
        # Not one_hot, which looks at every label and so waits for a GPU.
        known = torch.arange(classes, device=labels.device)
        membership = (labels.unsqueeze(-1) == known).to(activations.dtype)
        counts = membership.sum(dim=-2)
        if classes > MANY:
            sums = activations.new_zeros(*activations.shape[:-2], classes, activations.shape[-1])
            return sums.scatter_add(-2, labels.unsqueeze(-1).expand(activations.shape), activations), counts
        return membership.transpose(-1, -2) @ activations, counts


def class_means(
    activations: Float[Tensor, "images units"], labels: Int[Tensor, " images"], classes: int
) -> tuple[Float[Tensor, "{classes} units"], Float[Tensor, " {classes}"]]:
    """Return class-conditional means [C, U] of activations [N, U], and class counts [C]; a class without images
    has mean 0.
    """
    sums, counts = class_sums(activations, labels, classes)
    return sums / counts.clamp(min=1).unsqueeze(1), counts


def index(means: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return class selectivity index [..., U] of class means [..., C, U]; classes whose count [..., C] is 0 are
    left out.

    (mu_max - mu_rest) / (mu_max + mu_rest + eps), mu_rest the mean of the other classes' means (Leavitt & Morcos 2020,
    arXiv 2003.01262). 0..1 for non-negative activations, 0 for a dead unit, unbounded for signed ones; with fewer than
    two classes present there is nothing to compare, and it is 0.
    """
    if counts is None:
        counts = means.new_ones(means.shape[-2])
    here = (counts > 0).unsqueeze(-1)
    present = here.sum(dim=-2)
    total = means.masked_fill(~here, 0).sum(dim=-2)
    highest = means.masked_fill(~here, float("-inf")).amax(dim=-2)
    contrast = _contrast(highest, (total - highest) / (present - 1).clamp(min=1))
    return torch.where(present < 2, total * 0, contrast)


def index_of_class(means: Tensor, label: int) -> Tensor:
    """Return the same contrast [..., U] of class means [..., C, U] with a given class in the place of the
    preferred one.

    -1..1 for non-negative activations, and equal to `index` where the class is the preferred one. A class that was
    fixed on other images has no maximum in it: its expected value without selectivity is 0 (selviz's choice).
    """
    of_class = means[..., label, :]
    return _contrast(of_class, (means.sum(dim=-2) - of_class) / (means.shape[-2] - 1))


def _contrast(of_class: Tensor, rest: Tensor) -> Tensor:
    return (of_class - rest) / (of_class + rest + EPS)


def preferred_class(means: Float[Tensor, "classes units"]) -> Int[Tensor, " units"]:
    """Return the class with the largest mean, [U], of class means [C, U]; the first of equals."""
    return means.argmax(dim=0)


def mean_over_layers(indices: Sequence[Tensor]) -> Tensor:
    """Return mean over layers of each layer's mean over units, so that wide layers do not dominate (arXiv
    2003.01262).
    """
    return torch.stack([layer.mean(dim=-1) for layer in indices]).mean(dim=0)


def shuffle_null(
    activations: Float[Tensor, "images units"],
    labels: Int[Tensor, " images"],
    classes: int,
    shuffles: int = 100,
    seed: int = 0,
) -> Float[Tensor, "{shuffles} units"]:
    """Return SI [R, U] of activations [N, U] under R random shuffles of the labels: what a unit with no
    selectivity shows.

    mu_max is a maximum of noisy means, so this is above 0; every SI is to be read beside it.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.bincount(labels, minlength=classes)
    nulls = []
    for _ in range(shuffles):
        shuffled = labels[torch.randperm(len(labels), generator=generator)]
        nulls.append(index(class_means(activations, shuffled, classes)[0], counts))
    return torch.stack(nulls)
