"""Networks by name: `build("resnet20", classes=10, channels=3)`, or "torchvision:resnet50" for those of libraries.

To add a network, write a function of (classes, channels) that returns an nn.Module and name it in MODELS.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from selviz.errors import unknown
from selviz.networks import model_hub


def build(name: str, classes: int, channels: int) -> nn.Module:
    """Return a freshly initialised network for `channels`-channel images; torch's global generator decides its
    weights.
    """
    check(name)
    return MODELS[name](classes, channels) if name in MODELS else model_hub.build(name, classes, channels)


def check(name: str) -> None:
    """Raise SelvizError with the near matches if there is no network of that name."""
    if ":" in name:
        model_hub.split(name)
    elif name not in MODELS:
        raise unknown("network", name, [*MODELS, *(f"{library}:NAME" for library in model_hub.LIBRARIES)])


class SmallCNN(nn.Module):
    """Four 3 x 3 convolutions of 16, 32, 32 and 64 channels with batch norm; the 2nd and 3rd halve the resolution."""

    if TYPE_CHECKING:  # added by name below; TorchScript refuses modules in a class's own annotations
        conv1: nn.Conv2d
        conv2: nn.Conv2d
        conv3: nn.Conv2d
        conv4: nn.Conv2d
        bn1: nn.BatchNorm2d
        bn2: nn.BatchNorm2d
        bn3: nn.BatchNorm2d
        bn4: nn.BatchNorm2d
        relu1: nn.ReLU
        relu2: nn.ReLU
        relu3: nn.ReLU
        relu4: nn.ReLU

    def __init__(self, classes: int, channels: int):
        super().__init__()
        widths, strides = (channels, 16, 32, 32, 64), (1, 2, 2, 1)
        for i in range(4):
            self.add_module(
                f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], 3, stride=strides[i], padding=1, bias=False)
            )
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
            self.add_module(f"relu{i + 1}", nn.ReLU())
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.relu4(self.bn4(self.conv4(x)))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class ShortcutA(nn.Module):
    """He et al. 2016, option A: every second position, new channels filled with zeros; no parameters."""

    def __init__(self, stride: int, new_channels: int):
        super().__init__()
        self.stride, self.pad = stride, new_channels // 2

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = ShortcutA(stride, outputs - inputs) if inputs != outputs else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        result: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))
        return result


class CifarResNet(nn.Module):
    """ResNet for small images (He et al. 2016, section 4.2): 6n + 2 layers, stages of 16, 32 and 64 channels."""

    def __init__(self, blocks: int, classes: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), *(BasicBlock(32, 32, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), *(BasicBlock(64, 64, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class SmallVGG(nn.Module):
    """VGG-16's thirteen 3 x 3 convolutions (Simonyan & Zisserman 2015, column D) with batch norm, for small images.

    The last map is averaged over positions and read out by one linear layer instead of three. `base` is the width of
    the first of its five stages; the others are 2, 4, 8 and 8 times as wide.
    """

    def __init__(self, classes: int, channels: int, base: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for width, depth in ((base, 2), (2 * base, 2), (4 * base, 3), (8 * base, 3), (8 * base, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # so that no image is too small for five of them
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return logits


def _small_stem(name: str) -> Callable[[int, int], nn.Module]:
    """Return a torchvision ResNet for small images: its first convolution is 3 x 3 and keeps the size, nothing is
    pooled.
    """

    def build(classes: int, channels: int) -> nn.Module:
        from torchvision.models import get_model

        model: nn.Module = get_model(name, weights=None, num_classes=classes)
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
        return model

    return build


def _cifar_resnet(layers: int) -> Callable[[int, int], nn.Module]:
    return lambda classes, channels: CifarResNet((layers - 2) // 6, classes, channels)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "cnn": SmallCNN,
    **{f"resnet{layers}": _cifar_resnet(layers) for layers in (20, 32, 44, 56)},
    "vgg16": SmallVGG,
    "vgg16-narrow": partial(SmallVGG, base=16),
    "resnet18": _small_stem("resnet18"),
    "resnet50": _small_stem("resnet50"),
}


def parameters(model: nn.Module) -> int:
    """Return number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def seeded(name: str, classes: int, channels: int, seed: int) -> nn.Module:
    """Return `build` from its own seed; the caller's random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(name, classes, channels)
