"""Writes docs/networks.md: unit layers found in the families of torchvision and timm, against their activation calls.

    python reproduction/network_table.py docs/networks.md               # all; add names for some, others' rows stay

Random weights, small images where a network takes them. Each network is brought as an import brings it, so every line
is proven: logits, activations and a clamped unit of each layer are those of the network itself.
"""

import argparse
import gc
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

Written by `python reproduction/network_table.py docs/networks.md`: fifteen families of torchvision and ten of timm with
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
    number = sum(calls.values())
    try:
        read = brought(model, images)
    except SelvizError as error:
        return f"| `{name}` | {side} | - | {number} | 0 | 0 | {error} |"
    layers = read.network.layers
    reasons = Counter(entry.reason for entry in read.left_out)
    first = {reason: next(e.name for e in read.left_out if e.reason == reason) for reason in reasons}
    said = [f"{count} x {reason} (`{first[reason]}`)" for reason, count in reasons.items()]
    if (rest := number - len(layers) - len(read.left_out)) > 0:
        # The rest lies inside a step that the graph keeps whole, or computes nothing of the image.
        names = {path for path, _ in calls} - {layer.name.rpartition(".")[0] or layer.name for layer in layers}
        names -= {layer.name for layer in layers}
        kinds = Counter(function for (path, function), count in calls.items() for _ in range(count) if path in names)
        listed = ", ".join(f"{count} {function}" for function, count in kinds.items())
        said.append(f"{rest} x inside a step that is kept whole, or not of the image (outside the layers: {listed})")
    left_out = "; ".join(said)
    units = sum(layer.units for layer in layers)
    return f"| `{name}` | {side} | {read.traced} | {number} | {len(layers)} | {units:,} | {left_out} |"


def activation_calls(model: torch.nn.Module, images: Tensor) -> Counter[tuple[str, str]]:
    """Return how often the network calls an activation function of torch, or a softmax: by module's path and name."""
    calls: Counter[tuple[str, str]] = Counter()

    def look(step: Step, value: Tensor) -> None:
        if step.function in SIGNED or step.function == "softmax":
            calls[step.path, step.function] += 1

    PlainRun(model)(images, look)
    return calls


def known_rows(page: Path) -> dict[str, str]:
    """Return the rows that a page has, by the network's name."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def main() -> None:
    """Write the rows of the networks that the command line names, or of all, as each is done."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page that is written, such as docs/networks.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"networks, else all: {', '.join(NETWORKS)}")
    options = parser.parse_args()
    page = options.page
    for name in options.names or NETWORKS:
        rows = {**known_rows(page), name: row(name, NETWORKS[name])}
        page.write_text("\n".join([HEAD, *(rows[key] for key in NETWORKS if key in rows)]) + "\n", encoding="utf-8")
        print(rows[name], flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
