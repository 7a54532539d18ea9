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

import torch
from torch import nn

from selviz import datasets, models
from selviz.config import RunConfig

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
    """Twelve images, four a class; the normalised inputs are the pixel values themselves."""
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
    """Within this block `toy` is a data set and a network like any other."""
    models.MODELS["toy"] = ToyNetwork
    datasets.DATASETS["toy"] = toy_dataset
    try:
        yield TOY
    finally:
        del models.MODELS["toy"], datasets.DATASETS["toy"]
