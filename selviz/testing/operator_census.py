"""List the operators that tracing of the supported networks produces: `python -m selviz.testing.operator_census`.

Prints one JSON document, {"functions", "methods", "aten", "modules", "untraced"}, each name with the number of networks
that have it; `selviz/networks/graph_operators.py` holds the reviewed list, and a test asks that it covers what is
printed here. The networks: a small member of each family of torchvision and timm, and selviz's own. They are traced in
both ways on the meta device, so no weight is drawn and nothing is computed. All of timm takes half an hour or more;
--part 1/4 takes each fourth of them, --only NAME,NAME a few. What the reviewed list does not have is "unreviewed".
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from selviz.errors import SelvizError
from selviz.networks import models, tracing
from selviz.networks.graph_operators import OPERATORS, REVIEWED_MODULES, TRACED_MODULES, allowed

SIDES = (224, 256, 32)  # pixels of the images that are tried, one after the other
SMALL = (
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "xx_small",
    "xs",
    "xsmall",
    "micro",
    "mini",
    "tiny",
    "small",
    "18",
    "_s",
)


def networks() -> dict[str, str]:
    """Return one small network of each family, by family."""
    import torchvision

    families: dict[str, list[str]] = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        families.setdefault(f"torchvision {torchvision.models.get_model_builder(name).__module__}", []).append(name)
    chosen = {family: f"torchvision:{small(names)}" for family, names in families.items()}
    try:
        import timm
    except ImportError:
        print("timm is not installed: its families are left out", file=sys.stderr)
    else:
        for module in timm.list_modules():
            if names := timm.list_models(module=module):
                chosen[f"timm {module}"] = f"timm:{small(names)}"
    return chosen | {f"selviz {name}": name for name in models.MODELS}


def small(names: list[str]) -> str:
    """Return the name that looks like the smallest network of them."""

    def rank(name: str) -> tuple[int, int, str]:
        return next((place for place, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name

    return min(names, key=rank)


def build(name: str) -> nn.Module:
    """Return the network without weights, on the meta device where it can be made there."""
    library, _, model = name.rpartition(":")

    def make() -> nn.Module:
        if library == "torchvision":
            import torchvision

            options = {"init_weights": False} if model in ("inception_v3", "googlenet") else {}
            return torchvision.models.get_model(model, **options)
        if library == "timm":
            import timm

            return timm.create_model(model, pretrained=False)
        return models.build(model, 10, 3)

    try:
        with torch.device("meta"):
            return make().eval()
    except (RuntimeError, NotImplementedError):  # some read numbers from tensors while they are made
        return make().eval()


def operators(traced: tracing.Traced) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of each step of a traced network."""
    for node in traced.graph.nodes:
        if node.op == "call_module":
            yield "modules", type(traced.root.get_submodule(str(node.target))).__name__
        elif node.op == "call_method":
            yield "methods", str(node.target)
        elif node.op == "call_function":
            yield function_name(node)


def function_name(node: fx.Node) -> tuple[str, str]:
    """Return (kind, name) of a function as a stored graph names it."""
    function = node.target
    if isinstance(function, torch._ops.OpOverload):
        return "aten", f"{function.overloadpacket.__name__}.{function._overloadname}"
    name = getattr(function, "__name__", str(function))
    module = getattr(function, "__module__", None) or "torch"
    home = {"_operator": "operator", "torch._C._nn": "torch.nn.functional", "torch.functional": "torch"}.get(
        module, module
    )
    return "functions", name if home == "builtins" else f"{home}.{name}"


def census(names: list[str]) -> dict[str, dict[str, int] | dict[str, str]]:
    """Return how many of the networks have each operator, and why some could not be traced."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("functions", "methods", "aten", "modules")}
    untraced: dict[str, str] = {}
    for name in names:
        for way in tracing.WAYS:
            seen, reason = trace_one(name, way)
            if seen is None:
                untraced[f"{name} by {way}"] = reason
                continue
            for kind, operator in set(operators(seen)):
                counts[kind][operator] += 1
        print(name, file=sys.stderr, flush=True)
    return {kind: dict(sorted(counter.items())) for kind, counter in counts.items()} | {"untraced": untraced}


def with_unreviewed(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a census with the names that no stored network may have, because nobody has reviewed them."""
    names = {plain_operator(kind, name) for kind in ("functions", "methods", "aten") for name in found[kind]}
    unreviewed = sorted(name for name in names if not allowed(name) and name not in OPERATORS)
    modules = sorted(set(found["modules"]) - {*TRACED_MODULES, *REVIEWED_MODULES})
    return {**found, "unreviewed": {"steps": unreviewed, "modules": modules}}


def plain_operator(kind: str, name: str) -> str:
    """Return the plain name that the reviewed list has for an operator: conv2d for torch.conv2d and conv2d.default."""
    return name.partition(".")[0] if kind == "aten" else name.rpartition(".")[2]


def trace_one(name: str, way: str) -> tuple[tracing.Traced | None, str]:
    """Return a network as traced one way, and why it could not be."""
    reason = ""
    for side in SIDES:
        try:
            model = build(name)
            device = next(iter(model.parameters())).device
            return tracing.trace(model, torch.zeros(1, 3, side, side, device=device), way), ""
        except SelvizError as error:
            reason = reason or str(error)[:200]
        except Exception as error:  # a library's code may raise anything
            reason = reason or f"{type(error).__name__}: {error}"[:200]
    return None, reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks such as torchvision:resnet18,timm:vit_tiny_patch16_224,cnn")
    parser.add_argument("--part", default="1/1", help="such as 2/4: the second of four parts")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    names = arguments.only.split(",") if arguments.only else list(networks().values())
    part, parts = map(int, arguments.part.split("/"))
    print(json.dumps(with_unreviewed(census(names[part - 1 :: parts])), indent=1))


if __name__ == "__main__":
    main()
