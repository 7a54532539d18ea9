"""What a training may do otherwise: alpha in some epochs or layers only, wrong labels, moved images.

Each is a function of settings and a seed: `alpha_at(config, 2.5)`, `penalised("first:2", names)`, `noisy(labels, ...)`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from selviz.config import RunConfig
from selviz.errors import SelvizError, unknown


def alpha_at(config: RunConfig, done: float) -> float:
    """Alpha after `done` epochs of training (2.5: in the middle of the third), by the schedule of `config`."""
    waited = done - (config.alpha_from - 1)
    if waited < 0 or (config.alpha_until and done >= config.alpha_until):
        return 0.0
    return config.alpha * (min(1.0, waited / config.alpha_ramp) if config.alpha_ramp else 1.0)


def penalised(which: str, names: Sequence[str]) -> list[int]:
    """Positions of the layers that `penalty_layers` means, in forward order; SelvizError for one that is not there."""
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
    """A copy of labels [N] of which round(share * N), drawn by the seed, are another class, each equally likely."""
    generator = torch.Generator().manual_seed(seed)
    labels = labels.clone()
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    if len(chosen):
        labels[chosen] = (labels[chosen] + torch.randint(1, classes, (len(chosen),), generator=generator)) % classes
    return labels


def shuffled(labels: Tensor, seed: int) -> Tensor:
    """Labels [N] in another order, drawn once by the seed: every class as large as it was, and no class meant."""
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)]


def draw_moves(augment: str, images: int, side: int, generator: torch.Generator) -> Tensor | None:
    """A shift down and right, -p..p with p an eighth of `side`, and 0 or 1 for mirrored, of each image, int64 [N, 3].

    None where nothing is to be moved.
    """
    if augment == "none":
        return None
    most = max(1, side // 8)
    moves = torch.randint(-most, most + 1, (images, 3), generator=generator)
    moves[:, 2] = torch.randint(0, 2, (images,), generator=generator) if augment == "crop-flip" else 0
    return moves


def moved(inputs: Tensor, moves: Tensor | None) -> Tensor:
    """Normalised inputs [N, C, H, W] shifted and mirrored as `draw_moves` says; 0, the mean colour, comes in."""
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
    """After which of an epoch's `steps` a snapshot is due: evenly spread, the last at its end; [] for none."""
    return sorted({-(-steps * part // snapshots) for part in range(1, snapshots + 1)}) if snapshots else []
