"""Writes docs/networks.md: unit layers found in the families of torchvision and timm, against their activation calls.

    python -m reproduction.network_table docs/networks.md

Random weights, small images where a network takes them. Each network is brought as an import brings it, so every line
is proven: logits, activations and a clamped unit of each layer are those of the network itself.
"""

import gc
import sys
import warnings
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from selviz.errors import SelvizError
from selviz.networks import model_hub
from selviz.networks.activation_functions import SIGNED
from selviz.networks.plain_run import PlainRun, Step
from selviz.testing.imports import brought

# Name -> side of its images.
NETWORKS = {
    "torchvision:resnet18": 64, "torchvision:vgg11": 64, "torchvision:mobilenet_v3_small": 64,
    "torchvision:efficientnet_b0": 64, "torchvision:convnext_tiny": 64, "torchvision:vit_b_16": 224,
    "torchvision:densenet121": 64, "torchvision:swin_v2_t": 64, "torchvision:inception_v3": 96,
    "torchvision:googlenet": 64, "torchvision:regnet_y_400mf": 64, "torchvision:shufflenet_v2_x0_5": 64,
    "torchvision:alexnet": 64, "torchvision:squeezenet1_1": 64, "torchvision:maxvit_t": 224,
    "timm:mobilevit_xxs": 64, "timm:levit_128s": 224, "timm:ghostnet_050": 64, "timm:tf_efficientnetv2_b0": 64,
    "timm:vit_tiny_patch16_224": 224, "timm:mixer_s32_224": 224, "timm:efficientvit_b0": 64, "timm:resnest14d": 64,
    "timm:edgenext_xx_small": 64, "timm:mobilenetv4_conv_small": 64,
}  # fmt: skip
HEAD = """# Networks of two libraries, and the unit layers found in them

Written by `python -m reproduction.network_table docs/networks.md`: fifteen families of torchvision and ten of timm with
random weights, each brought as `selviz import` brings it. *Calls* are the calls of activation functions while the
network runs as its library wrote it; each is a unit layer or is named with the reason why it is none. *Way* is how the
code was followed.

| network | image side | way | calls | unit layers | units | calls that are no layer |
|---|---|---|---|---|---|---|"""


def row(name: str, side: int) -> str:
    """Return a network's line of the table; SelvizError's sentence where it cannot be brought."""
    torch.manual_seed(0)
    images = torch.randn(8, 3, side, side)
    model = model_hub.build(name, 10, 3).eval().requires_grad_(False)
    calls = activation_calls(model, images[:1])
    try:
        read = brought(model, images)
    except SelvizError as error:
        return f"| `{name}` | {side} | - | {calls} | 0 | 0 | {error} |"
    layers = read.network.layers
    reasons = Counter(entry.reason for entry in read.left_out)
    first = {reason: next(e.name for e in read.left_out if e.reason == reason) for reason in reasons}
    left_out = "; ".join(f"{count} x {reason} (`{first[reason]}`)" for reason, count in reasons.items())
    units = sum(layer.units for layer in layers)
    return f"| `{name}` | {side} | {read.traced} | {calls} | {len(layers)} | {units:,} | {left_out} |"


def activation_calls(model: torch.nn.Module, images: Tensor) -> int:
    """Return how often the network calls an activation function of torch, or a softmax, on these images."""
    count = 0

    def look(step: Step, value: Tensor) -> None:
        nonlocal count
        count += step.function in SIGNED or step.function == "softmax"

    PlainRun(model)(images, look)
    return count


def main() -> None:
    """Write the page to the file that the command line names."""
    warnings.simplefilter("ignore")
    lines = [HEAD]
    for name, side in NETWORKS.items():
        lines.append(row(name, side))
        print(lines[-1], flush=True)
        gc.collect()
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
