"""Networks of many kinds, small and with weights that are not trivial: `model, inputs = family("resnet20")`."""

import random

import torch
import torchvision
from torch import Tensor, nn

from selviz.networks import models

FAMILIES = {
    "resnet20": (lambda: models.build("resnet20", 10, 3), 32),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 32),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), 64),
    "vit_b_16": (
        lambda: torchvision.models.VisionTransformer(32, 8, 3, 4, 64, 128, num_classes=10),  # its blocks, made small
        32,
    ),
    "convnext": (
        lambda: torchvision.models.ConvNeXt(
            [torchvision.models.convnext.CNBlockConfig(*sizes) for sizes in ((16, 32, 2), (32, None, 1))],
            num_classes=10,
        ),
        32,
    ),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=10), 32),
    "concatenations": (lambda: RandomNetwork(0), 16),
    **{f"random {seed}": (lambda seed=seed: RandomNetwork(seed), 16) for seed in range(1, 5)},
}


class RandomNetwork(nn.Module):
    """A chain of randomly chosen blocks (plain, residual, concatenated, depthwise) and one of three linear heads."""

    def __init__(self, seed: int, classes: int = 10):
        super().__init__()
        draw = random.Random(seed)
        width, self.blocks, self.kinds = 3, nn.ModuleList(), []
        for _ in range(3):
            kind = draw.choice(["plain", "residual", "concatenated", "depthwise"]) if seed else "concatenated"
            self.kinds.append(kind)
            out = width if kind in ("residual", "depthwise") else draw.choice([5, 8])
            self.blocks.append(nn.Conv2d(width, out, 3, padding=1, groups=width if kind == "depthwise" else 1))
            width = width + out if kind == "concatenated" else out
        self.head = draw.choice(["pooled", "convolution", "flat"]) if seed else "convolution"
        self.last = {
            "pooled": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(width, classes)),
            "convolution": lambda: nn.Sequential(nn.Conv2d(width, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
            "flat": lambda: nn.Sequential(nn.AvgPool2d(8), nn.Flatten(1), nn.Linear(4 * width, classes)),
        }[self.head]()

    def forward(self, x: Tensor) -> Tensor:
        for kind, block in zip(self.kinds, self.blocks):
            new = block(x)
            if kind == "residual":
                x = torch.relu(x + new)
            elif kind == "concatenated":
                x = torch.cat([x, torch.relu(new)], dim=1)
            else:
                x = torch.relu(new)
        return self.last(x)


def family(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model of FAMILIES in eval mode and 12 inputs; every unit moves something."""
    make, side = FAMILIES[name]
    torch.manual_seed(0)
    model, inputs = make(), torch.randn(12, 3, side, side)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                module.momentum = None  # running statistics are those of the inputs, or signals would fade away
            if type(module).__name__ == "CNBlock":
                module.layer_scale.fill_(0.5)  # 1e-6 in a new network: its units would move nothing
        if hasattr(getattr(model, "heads", None), "head"):
            nn.init.normal_(model.heads.head.weight, std=0.1)  # zero in a new network
        model.train()
        for _ in range(3):
            model(inputs)
    return model.eval(), inputs


def interpreted(network, inputs: Tensor, edits: dict) -> Tensor:
    """Return the logits the plain way: the traced model run node by node, each edited layer's map replaced at once."""
    by_node = {network.layer(name).node: (network.layer(name).axis, edit) for name, edit in edits.items()}

    class Editing(torch.fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if node.name in by_node:
                axis, edit = by_node[node.name]
                value = edit(value.movedim(axis, 1).clone()).movedim(1, axis)
            return value

    with torch.no_grad():
        return Editing(torch.fx.GraphModule(network.root, network.graph)).run(inputs)
