"""What a training may do otherwise: alpha on some layers only, wrong labels, permuted labels, moved images.

Each is a function of settings and a seed: `penalized_layers("first:2", names)`, `noisy(labels, ...)`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from selviz.errors import SelvizError, unknown


def penalized_layers(which: str, names: Sequence[str]) -> list[int]:
    """Return the positions of the layers of `penalty_layers`, in forward order; SelvizError for an unknown one."""
    if which == "all":
        return list(range(len(names)))
    end, _, count = which.partition(":")
    if count:
        if int(count) > len(names):
            raise SelvizError(f"penalty_layers is {which}, but the network has only {len(names)} layers; take fewer.")
        return list(range(int(count))) if end == "first" else list(range(len(names) - int(count), len(names)))
    for name in which.split("+"):
        if name not in names:
            raise unknown("layer", name, names)
    return [position for position, name in enumerate(names) if name in which.split("+")]


def noisy(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Return labels [N] of which round(share * N), drawn by the seed, are another class, each equally likely."""
    generator = torch.Generator().manual_seed(seed)
    labels = labels.clone()
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    if len(chosen):
        labels[chosen] = (labels[chosen] + torch.randint(1, classes, (len(chosen),), generator=generator)) % classes
    return labels


def shuffled(labels: Tensor, seed: int) -> Tensor:
    """Return labels [N] in another order, drawn by the seed: each class as large as it was, and no class meant."""
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)]


def draw_moves(augment: str, images: int, side: int, generator: torch.Generator) -> Tensor | None:
    """Return each image's shift down and right, -p..p with p an eighth of `side`, and 1 for mirrored, int64 [N, 3].

    None where nothing is to be moved.
    """
    if augment == "none":
        return None
    largest = max(1, side // 8)
    moves = torch.randint(-largest, largest + 1, (images, 3), generator=generator)
    moves[:, 2] = torch.randint(0, 2, (images,), generator=generator) if augment == "crop-flip" else 0
    return moves


def moved(inputs: Tensor, moves: Tensor | None) -> Tensor:
    """Return normalized inputs [N, C, H, W] shifted and mirrored as `draw_moves` says; 0, the mean colour, comes in."""
    if moves is None:
        return inputs
    moves = moves.to(inputs.device)
    height, width = inputs.shape[2:]
    pad = int(moves[:, :2].abs().max()) if len(moves) else 0
    columns = torch.arange(width, device=inputs.device).expand(len(moves), width)
    columns = torch.where(moves[:, 2:] == 1, columns.flip(1), columns) - moves[:, 1:2] + pad
    rows = torch.arange(height, device=inputs.device) - moves[:, :1] + pad
    images = torch.arange(len(moves), device=inputs.device)[:, None, None]
    # Indices on both sides of the channels put these last: channels-last memory, as the network wants it.
    return F.pad(inputs, (pad,) * 4)[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def snapshot_steps(steps: int, snapshots: int) -> list[int]:
    """Return after which of an epoch's `steps` a snapshot is due: evenly spread, the last at its end; [] for none."""
    return sorted({-(-steps * part // snapshots) for part in range(1, snapshots + 1)}) if snapshots else []
