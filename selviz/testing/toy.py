"""A network whose every number can be worked out on paper: three classes, four units, three dense units, no training.

Images have 2 x 2 pixels and a channel for each class: 2 in the channel of their own class and 1 in the others. The
units of layer `relu` are, for an image of class a, b or c:

    unit 0   channel a                     2 1 1    SI (2 - 1) / (2 + 1) = 1/3, prefers a
    unit 1   channel b - 1, not below 0    0 1 0    SI 1, prefers b
    unit 2   -channel a, not below 0       0 0 0    dead
    unit 3   the sum of the channels       4 4 4    SI 0

and the dense layer `relu_1` turns them into one unit a class (1 for its own class, 0 for the others), which are the
logits. So without unit 1 every image of class b is taken for c, without unit 0 every image of class a, and without unit
2 or 3 nothing changes.
"""

import contextlib
import functools
import itertools

import torch
from torch import nn

from selviz import datasets
from selviz.config import RunConfig
from selviz.networks import models

PER_CLASS = 4
UNIT_SI = [1 / 3, 1.0, 0.0, 0.0]


class ToyNetwork(nn.Module):
    def __init__(self, classes: int = 3, channels: int = 3):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()
        self.dense, self.head = nn.Linear(4, 3), nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [1, 1, 1]])[:, :, None, None])
            self.conv.bias.copy_(torch.tensor([0.0, -1, 0, 0]))
            self.dense.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [-1, -1, 0, 0]]))
            self.dense.bias.copy_(torch.tensor([-1.0, 0, 2]))
            self.head.weight.copy_(torch.eye(3))

    def forward(self, x):
        x = self.relu(self.conv(x)).mean(dim=(2, 3))
        return self.head(self.relu(self.dense(x)))


def toy_dataset() -> datasets.Dataset:
    """Return twelve images, four a class; the normalised inputs are the pixel values themselves."""
    labels = torch.arange(3).repeat(PER_CLASS)
    pixels = (torch.ones(len(labels), 3, 2, 2) + torch.eye(3)[labels][:, :, None, None]).to(torch.uint8)
    return datasets.Dataset(
        name="toy",
        class_names=("a", "b", "c"),
        training=lambda: (pixels, labels),
        eval_pixels=pixels,
        eval_labels=labels,
        eval_folds=torch.from_numpy(datasets.folds(labels.numpy())),
        mean=(0.0, 0.0, 0.0),
        std=(1 / 255, 1 / 255, 1 / 255),
        fingerprint=datasets.fingerprint(pixels.numpy(), labels.numpy(), ("a", "b", "c")),
    )


TOY = RunConfig("toy", "toy", epochs=0)


@contextlib.contextmanager
def toy_known():
    """Make `toy` a data set and a network like any other within the block."""
    models.MODELS["toy"] = ToyNetwork
    datasets.DATASETS["toy"] = toy_dataset
    try:
        yield TOY
    finally:
        del models.MODELS["toy"], datasets.DATASETS["toy"]


_MADE = itertools.count()
WIDE, WIDE_PER_CLASS, WIDE_UNITS = "wide", 60, 96


class WideToy(nn.Module):
    """A layer of 96 units, wide enough for tests with controls; the images are those of `wide_dataset`.

    For an image of class a, b or c, with 90 more units that are 1 on every image and lead nowhere:

        units 0 to 2   channel - 1, not below 0    1 on the own class, 0 on others    SI 1
        units 3 to 5   channel + 10                12 on the own class, 11 on others  SI 1/23

    `selective` classifies by units 0 to 2, `weak` by units 3 to 5: so the network needs the most selective units, or
    does not. In `mixed` only two units count, 10 - channel a and 10 - channel c, and class b is where both are 9: no
    single unit tells it. In `equal` all weights are 1, so that random weights are the same weights.
    """

    def __init__(self, kind: str, classes: int = 3, channels: int = 3):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, WIDE_UNITS, 1), nn.ReLU()
        self.dense, self.head = nn.Linear(WIDE_UNITS, 3), nn.Linear(3, 3, bias=False)
        weight, bias = torch.zeros(WIDE_UNITS, 3), torch.ones(WIDE_UNITS)
        dense, shift = torch.zeros(3, WIDE_UNITS), torch.zeros(3)
        if kind in ("selective", "weak"):
            weight[:3], weight[3:6] = torch.eye(3), torch.eye(3)
            bias[:3], bias[3:6] = -1, 10
            first = 0 if kind == "selective" else 3
            dense[:, first : first + 3] = torch.eye(3)
            shift[:] = 0 if kind == "selective" else -11
        elif kind == "mixed":
            weight[0, 0], weight[1, 2], bias[:2] = -1, -1, 10
            dense[0, 0], dense[1, :2], dense[2, 1] = -1, 1, -1
            shift[:] = torch.tensor([9.0, -17, 9])
        else:
            weight[:], bias[:] = 1, 0
        with torch.no_grad():
            self.conv.weight.copy_(weight[:, :, None, None])
            self.conv.bias.copy_(bias)
            self.dense.weight.copy_(dense)
            self.dense.bias.copy_(shift)
            # No two networks have equal weights, or they would be one network under two names; all decide alike.
            self.head.weight.copy_(torch.eye(3) * (1 + 0.02 * (next(_MADE) % 200)))

    def forward(self, x):
        x = self.relu(self.conv(x)).mean(dim=(2, 3))
        return self.head(self.relu(self.dense(x)))


def wide_dataset() -> datasets.Dataset:
    """Return 180 images of 4 x 4 pixels: 1 everywhere, but 3 in the upper half of the own class's channel (2 on
    average).
    """
    labels = torch.arange(3).repeat(WIDE_PER_CLASS)
    upper = torch.zeros(1, 1, 4, 4)
    upper[:, :, :2] = 2
    pixels = (torch.ones(len(labels), 3, 4, 4) + torch.eye(3)[labels][:, :, None, None] * upper).to(torch.uint8)
    return datasets.Dataset(
        name=WIDE,
        class_names=("a", "b", "c"),
        training=lambda: (pixels, labels),
        eval_pixels=pixels,
        eval_labels=labels,
        eval_folds=torch.from_numpy(datasets.folds(labels.numpy())),
        mean=(0.0, 0.0, 0.0),
        std=(1 / 255, 1 / 255, 1 / 255),
        fingerprint=datasets.fingerprint(pixels.numpy(), labels.numpy(), ("a", "b", "c")),
    )


@contextlib.contextmanager
def wide_known():
    """Make the data set `wide` and the networks `wide-selective`, `wide-weak`, ... like any others within the block."""
    kinds = {f"wide-{kind}": functools.partial(WideToy, kind) for kind in ("selective", "weak", "mixed", "equal")}
    models.MODELS.update(kinds)
    datasets.DATASETS[WIDE] = wide_dataset
    try:
        yield
    finally:
        for name in kinds:
            del models.MODELS[name]
        del datasets.DATASETS[WIDE]
