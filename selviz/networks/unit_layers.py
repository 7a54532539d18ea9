"""The unit layers of a graph: `find_layers(root, graph, shapes, 1)`, and those that are named: `choose(layers, specs)`.

Every activation function's output is a unit layer, named by the module that computes it (`layer4.1.relu`, a second use
`layer4.1.relu_1`). Gates (sigmoid, hardsigmoid, softmax) are no unit layers, nor is the classifier's own output, nor
what does not depend on the image.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from selviz.errors import unknown
from selviz.networks.activation_functions import MODULE_SIGNED, NAME_SIGNED
from selviz.networks.graph_nodes import activation_name, called, output

SQUEEZE_CLASSES = ("SqueezeExcitation", "SqueezeExcite", "SEModule", "SELayer")

# What mixes channels decides which axis they lie on.
SECOND = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention, nn.Embedding, nn.RNNBase)
SECOND_NAMES = ("conv1d", "conv2d", "conv3d", "convolution", "batch_norm", "group_norm", "instance_norm")
LAST_NAMES = ("linear", "layer_norm", "rms_norm", "addmm", "mm", "matmul", "embedding")
# What may stand between the classifier's output and the network's: it moves numbers, it computes no new ones.
HARMLESS = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Softmax, nn.LogSoftmax,
    nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d,
)  # fmt: skip
HARMLESS_NAMES = (
    "mean", "flatten", "view", "reshape", "squeeze", "getitem", "contiguous", "clone", "dropout", "softmax", "amax",
    "log_softmax", "adaptive_avg_pool2d", "avg_pool2d", "adaptive_max_pool2d", "max_pool2d", "mean.dim", "getattr",
    "size", "sym_size",
)  # fmt: skip


@dataclass(frozen=True)
class UnitLayer:
    """A unit layer: its name in the graph, number of units, unit axis of its output, and place.

    `depth` runs from 0 (first layer) to 1 (last); `signed` says that activations can be negative; `squeeze` that the
    layer lies inside a squeeze-excitation block.
    """

    name: str
    units: int
    axis: int
    depth: float
    signed: bool
    squeeze: bool
    shape: tuple[int, ...]
    node: str


def find_layers(root: nn.Module, graph: fx.Graph, shapes: Mapping, batch: int) -> tuple[UnitLayer, ...]:
    """The unit layers in forward order; `shapes` are those of the nodes for an input of `batch` images."""
    found, used = [], {}
    of_images: set[fx.Node] = set()
    classes = shapes[output(graph).args[0].name][1]
    for node in graph.nodes:
        if node.op == "placeholder" or any(parent in of_images for parent in node.all_input_nodes):
            of_images.add(node)
        name, signed = _activation(root, node)
        if signed is None or node not in of_images:
            continue
        shape = shapes[node.name]
        axis = _unit_axis(root, node, shapes)
        if shape[0] != batch or (shape[axis] == classes and _is_output(root, node)):
            continue
        count = used[name] = used.get(name, -1) + 1
        found.append(
            UnitLayer(
                name=f"{name}_{count}" if count else name,
                units=shape[axis],
                axis=axis,
                depth=0.0,
                signed=signed,
                squeeze=_is_squeeze(node),
                shape=shape,
                node=node.name,
            )
        )
    return placed(found)


def placed(layers: Sequence[UnitLayer]) -> tuple[UnitLayer, ...]:
    """The layers in forward order with their depth, from 0 (first) to 1 (last)."""
    last = max(len(layers) - 1, 1)
    return tuple(replace(layer, depth=position / last) for position, layer in enumerate(layers))


def choose(layers: Sequence[UnitLayer], specs: Sequence[str]) -> tuple[UnitLayer, ...]:
    """The layers that any of `specs` names: a name, a glob such as `layer3*`, `first:5`, `last:5`, or all for none.

    Depths run anew from 0 to 1 over the chosen ones. SelvizError for a spec that names no layer.
    """
    names = [layer.name for layer in layers]
    wanted: set[str] = set()
    for spec in specs:
        side, _, number = spec.partition(":")
        if side in ("first", "last") and number.isdecimal() and int(number):
            wanted.update(names[: int(number)] if side == "first" else names[-int(number) :])
        elif found := [name for name in names if name == spec] or fnmatch.filter(names, spec):
            wanted.update(found)
        else:
            raise unknown("layer", spec, names, fix="Write a name, a glob such as 'layer3*', first:5 or last:5.")
    return placed([layer for layer in layers if layer.name in wanted]) if specs else tuple(layers)


def _activation(root: nn.Module, node: fx.Node) -> tuple[str, bool | None]:
    """(name of the layer that the node is, whether it can be negative); the second is None if it is none."""
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        return node.target, next((signed for kind, signed in MODULE_SIGNED.items() if type(module) is kind), None)
    function = activation_name(node)
    if function is None:
        return "", None
    path, kind = _enclosing(node)
    # torch.export puts functions in the place of modules: there the enclosing module is the activation itself.
    own = isinstance(node.target, torch._ops.OpOverload) and any(kind == module.__name__ for module in MODULE_SIGNED)
    return path if own else ".".join(part for part in (path, function) if part), NAME_SIGNED[function]


def _is_output(root: nn.Module, node: fx.Node) -> bool:
    """Whether nothing is computed from the node but the network's output, by pooling, flattening or softmax."""
    seen, ahead = set(), [node]
    while ahead:
        for user in ahead.pop().users:
            if user in seen or user.op == "output":
                continue
            if user.op == "call_module":
                harmless = isinstance(root.get_submodule(user.target), HARMLESS)
            else:
                harmless = called(user) in HARMLESS_NAMES
            if not harmless:
                return False
            seen.add(user)
            ahead.append(user)
    return True


def _enclosing(node: fx.Node) -> tuple[str, str]:
    """Dotted path of the module whose forward made the node, and its class's name."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", ""
    key, entry = list(stack.items())[-1]
    path, kind = entry if isinstance(entry, tuple) else (key, entry)
    return re.sub(r"@\d+", "", path), getattr(kind, "__name__", str(kind)).rsplit(".")[-1]


def _is_squeeze(node: fx.Node) -> bool:
    stack = node.meta.get("nn_module_stack") or {}
    kinds = (entry[1] if isinstance(entry, tuple) else entry for entry in stack.values())
    return any(getattr(kind, "__name__", str(kind)).rsplit(".")[-1] in SQUEEZE_CLASSES for kind in kinds)


def _unit_axis(root: nn.Module, node: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The axis on which the last step that mixed channels put them, followed through what moves axes since."""
    axis, way = 1, []
    for _ in range(100):
        mixed = _mixed_axis(root, node, len(shapes.get(node.name, ())))
        if mixed is not None:
            axis = mixed
            break
        way.append(node)
        if not node.all_input_nodes:
            break
        node = node.all_input_nodes[0]
    for step in reversed(way):
        axis = _moved_axis(step, axis, shapes)
    return axis


def _mixed_axis(root: nn.Module, node: fx.Node, dimensions: int) -> int | None:
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        second, last = isinstance(module, SECOND), isinstance(module, LAST)
    else:
        second, last = called(node) in SECOND_NAMES, called(node) in LAST_NAMES
    return 1 if second else max(dimensions, 1) - 1 if last else None


def _moved_axis(node: fx.Node, axis: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Where the unit axis lies after the node, if it lay at `axis` before."""
    after = shapes.get(node.name)
    before = shapes.get(node.all_input_nodes[0].name) if node.all_input_nodes else None
    if after is None or before is None:
        return axis
    name, arguments = called(node), [*node.args[1:], *node.kwargs.values()]
    flat = [part for entry in arguments for part in (entry if isinstance(entry, tuple | list) else [entry])]
    if name == "permute" and all(isinstance(part, int) for part in flat):
        return [part % len(before) for part in flat].index(axis)
    if name in ("transpose", "swapaxes", "swapdims") and all(isinstance(part, int) for part in flat[:2]):
        first, second = (part % len(before) for part in flat[:2])
        return {first: second, second: first}.get(axis, axis)
    if name == "movedim" and len(flat) == 2 and all(isinstance(part, int) for part in flat):
        order = [other for other in range(len(before)) if other != flat[0] % len(before)]
        order.insert(flat[1] % len(before), flat[0] % len(before))
        return order.index(axis)
    if len(after) == len(before) and after[axis] == before[axis]:
        return axis
    same = [position for position in range(1, len(after)) if axis < len(before) and after[position] == before[axis]]
    if axis in same:
        return axis
    return same[-1] if same else len(after) - 1 if len(after) <= 2 else min(axis, len(after) - 1)
