"""What people bring: a network in a file of their own (`FILE`), checkpoints as others write them, folders of images."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

# A network as people write them: F.relu, one nn.ReLU for several places, in place, a dict that holds the logits, a
# dense head; and its relatives, which look at shapes (torch.export can follow that) and at values (nothing can).
# The file leaves a trace when it is run.
FILE = """
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

Path(__file__).with_suffix(".was_run").touch()


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.act, self.skip = nn.ReLU(inplace=True), nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        y = self.conv2(self.act(self.conv1(x)))
        y += self.skip(x)
        return self.act(y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1, self.block2 = Block(1, 8), Block(8, 12)
        self.fc1, self.fc2 = nn.Linear(12, 20), nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(self.block1(x), 2)
        y = x - 0.01
        F.relu(y, inplace=True)
        features = F.relu(self.fc1(self.block2(y).mean((2, 3))))
        return {"features": features, "logits": self.fc2(features)}


class LooksAtShapes(Net):
    def forward(self, x):
        if x.shape[2] == 8:
            x = x * 2
        return super().forward(x)


class LooksAtValues(Net):
    def forward(self, x):
        if x.isnan().any():
            x = x * 2
        return super().forward(x)


def make_model():
    return Net()


def looks_at_shapes():
    return LooksAtShapes()


def looks_at_values(num_classes, channels):
    assert (num_classes, channels) == (10, 1)
    return LooksAtValues()


def fails():
    return Net().no_such_thing
"""
LAYERS = ["block1.act", "block1.act_1", "relu", "block2.act", "block2.act_1", "relu_1"]

# ResNet-20 for small images as its users write it, to hold selviz's own against: option A as a slice and a padding.
RESNET20 = """
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        out += x
        return F.relu(out)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for number, (inputs, outputs) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            first = BasicBlock(inputs, outputs, 1 if number == 1 else 2)
            blocks = nn.Sequential(first, BasicBlock(outputs, outputs, 1), BasicBlock(outputs, outputs, 1))
            setattr(self, f"layer{number}", blocks)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        out = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(out, out.size()[3]).view(out.size(0), -1))
"""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def made(source: str, name: str):
    """What the source of a file calls `name`."""
    place = {"__file__": "/dev/null/file.py"}
    exec(source.replace('Path(__file__).with_suffix(".was_run").touch()', ""), place)
    return place[name]


def trained_elsewhere(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The model with weights and batch norm statistics that are not those of a fresh one, in eval mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def image_folder(folder: Path, classes: int = 10, each: int = 3, side: int = 32) -> Path:
    """Class folders test/class0, ... of random pictures in colour."""
    random = np.random.default_rng(0)
    for label in range(classes):
        place = folder / "test" / f"class{label}"
        place.mkdir(parents=True)
        for number in range(each):
            Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return folder


def inputs_by_hand(folder: Path) -> dict[str, torch.Tensor]:
    """Each picture's normalised input [1, 3, H, W] by its path below the folder, with nothing of selviz."""
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    found = {}
    for path in sorted(folder.rglob("*.png")):
        pixels = torch.from_numpy(np.asarray(Image.open(path)).copy()).movedim(-1, 0)[None]
        found[str(path.relative_to(folder))] = (pixels / 255 - mean) / std
    return found
