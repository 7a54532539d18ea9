"""A classifier as a graph of single steps, and its unit layers found in it: `traced = trace(model, example)`.

Every activation function's output is a unit layer, named by the module that computes it (`layer4.1.relu`, a second use
`layer4.1.relu_1`). Gates (sigmoid, hardsigmoid, softmax) are no unit layers, nor is the classifier's own output, nor
what does not depend on the image. There are two ways in: "fx" follows the Python code and keeps its modules; "export"
(torch.export) also follows code that looks at shapes or writes into tensors, for evaluation only.
"""

import contextlib
import copy
import fnmatch
import io
import linecache
import logging
import operator
import re
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, fx, nn
from torch.utils import _pytree

from selviz.errors import SelvizError, unknown

WAYS = ("fx", "export")

# Each activation function as torch writes it: module class, functions and methods; the last tells whether its output
# can be negative.
ACTIVATIONS: tuple[tuple[type[nn.Module], tuple[str, ...], bool], ...] = (
    (nn.ReLU, ("relu", "relu_"), False),
    (nn.ReLU6, ("relu6",), False),
    (nn.Softplus, ("softplus",), False),
    (nn.GELU, ("gelu",), True),
    (nn.SiLU, ("silu",), True),
    (nn.Hardswish, ("hardswish",), True),
    (nn.LeakyReLU, ("leaky_relu", "leaky_relu_"), True),
    (nn.ELU, ("elu", "elu_"), True),
    (nn.CELU, ("celu", "celu_"), True),
    (nn.SELU, ("selu", "selu_"), True),
    (nn.PReLU, ("prelu",), True),
    (nn.Mish, ("mish",), True),
    (nn.Tanh, ("tanh", "tanh_"), True),
)
MODULE_SIGNED = {module: signed for module, _, signed in ACTIVATIONS}
NAME_SIGNED = {name: signed for _, names, signed in ACTIVATIONS for name in names}
FUNCTION_NAMES = {
    getattr(home, name): name for home in (F, torch) for name in NAME_SIGNED if callable(getattr(home, name, None))
}
SQUEEZE_CLASSES = ("SqueezeExcitation", "SqueezeExcite", "SEModule", "SELayer")
LOGITS_KEYS = ("logits", "output", "out", "scores", "pred", "prediction")

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


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as the modules and tensors of `root`, the `graph` over them, and its unit layers in forward order.

    `shapes` holds the output shape of each tensor-valued node for one input [1, C, H, W].
    """

    root: nn.Module
    graph: fx.Graph
    shapes: dict[str, tuple[int, ...]]
    layers: tuple[UnitLayer, ...]


def trace(model: nn.Module, example: Tensor, way: str = "fx") -> Traced:
    """The traced model, activations out of place; by "fx", dropout and batch norm obey train() and eval().

    `example` is one input [1, C, H, W]. Raises SelvizError, naming the line at fault, if the model cannot be traced,
    does not take the example, has no unit layer, or gives no logits [N, C].
    """
    root, graph, logits = (_by_fx if way == "fx" else _by_export)(model, example)
    shapes = node_shapes(root, graph, example)
    is_logits = lambda part: isinstance(part, fx.Node) and len(shapes.get(part.name, ())) == 2  # noqa: E731
    _output(graph).args = (pick_logits(logits, is_logits),)
    for node in list(graph.nodes):
        # They check the size of the input, which is the same for all images.
        if node.op == "call_function" and _name(node).startswith(("_assert", "sym_constrain_range")) and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    layers = _find_layers(root, graph, shapes, len(example))
    if not layers:
        raise SelvizError("The network has no activation function between image and output, so it has no units.")
    return Traced(root, graph, shapes, layers)


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


# ---------------------------------------------------------------------------------------------------------- two ways in


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        # Its functional form would freeze the training switch into the graph.
        return isinstance(module, torchvision.ops.StochasticDepth) or super().is_leaf_module(module, path)


def _by_fx(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph, object]:
    was_training = model.training
    try:
        # Auxiliary heads exist in training mode only; the graph is the network that is evaluated.
        graph = _Tracer().trace(model.eval())
    except Exception as error:
        raise _untraceable(model, error) from error
    finally:
        model.train(was_training)
    root = fx.GraphModule(_with_free_names(model, graph), graph)
    _out_of_place(root, graph)
    root.train(was_training)
    return root, graph, _output(graph).args[0]


def _with_free_names(model: nn.Module, graph: fx.Graph) -> nn.Module:
    """The model, its parts called otherwise (`code_`) that a GraphModule has an attribute of the same name for."""

    def free(path: str) -> str:
        head, dot, rest = path.partition(".")
        return f"{head}_{dot}{rest}" if hasattr(fx.GraphModule, head) else path

    model = copy.copy(model)
    for parts in ("_modules", "_parameters", "_buffers"):
        setattr(model, parts, {free(name): part for name, part in getattr(model, parts).items()})
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = free(node.target)
    return model


def _by_export(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph, object]:
    # A batch of one image would be taken for a constant.
    pair, shapes = example.expand(2, *example.shape[1:]).contiguous(), ({0: torch.export.Dim.DYNAMIC},)
    try:
        with _quiet():
            program = torch.export.export(copy.deepcopy(model).eval(), (pair,), dynamic_shapes=shapes, strict=False)
            module = program.module(check_guards=False)
    except Exception as error:
        raise _untraceable(model, error) from error
    graph = copy.deepcopy(module.graph)
    graph.set_codegen(fx.graph.CodeGen())
    root = fx.GraphModule(module, graph)  # the exported one refuses train() and eval()
    _out_of_place(root, graph)
    values = _output(graph).args[0]
    if isinstance(values, tuple | list):
        values = _pytree.tree_unflatten(list(values), program.call_spec.out_spec)
    return root, graph, values


@contextlib.contextmanager
def _quiet():
    """torch.export prints the graph at which it gave up, and logs why; the error says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _untraceable(model: nn.Module, error: Exception) -> SelvizError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    place = fault(error)
    return SelvizError(
        f"The network {type(model).__name__} cannot be traced{f': {place}' if place else ''} ({reason.rstrip('.')})."
    )


def fault(error: BaseException, inside: Path | None = None) -> str:
    """`net.py line 12, "if x.sum() > 0:"`, the last line of code that is neither torch's nor selviz's; "" if none is.

    `inside` limits it to one file.
    """
    ours = [str(Path(file).parent) for file in (torch.__file__, __file__)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        library = frame.filename.startswith((*ours, "<", f"{Path(traceback.__file__).parent}/"))
        library = library and not ("site-packages" in frame.filename and not frame.filename.startswith(tuple(ours)))
        if Path(frame.filename) == inside or (inside is None and not library):
            text = linecache.getline(frame.filename, frame.lineno).strip()
            return f'{Path(frame.filename).name} line {frame.lineno}, "{text}"'
    return ""


# ---------------------------------------------------------------------------------------------------------- the graph


def _name(node: fx.Node) -> str:
    """The plain name of what a node calls: relu, conv2d, getitem, a method's name; "" for modules and values."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.overloadpacket.__name__
    if node.op == "call_function":
        return getattr(node.target, "__name__", "")
    return node.target if node.op == "call_method" else ""


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "output")


def _out_of_place(root: nn.Module, graph: fx.Graph) -> None:
    """No step writes into a value that another one holds: what reads it later reads the step's own result."""
    latest: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        for old in node.all_input_nodes:
            if old in latest:
                node.replace_input_with(old, latest[old])
        if node.op == "call_function" and node.target is F.dropout:
            _dropout_as_module(root, graph, node)
        elif _made_out_of_place(root, node) and isinstance(source := node.args[0] if node.args else None, fx.Node):
            latest.update({old: node for old, new in latest.items() if new is source})
            latest[source] = node


def _made_out_of_place(root: nn.Module, node: fx.Node) -> bool:
    """Whether the node did write into its first argument."""
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        wrote = bool(getattr(module, "inplace", False))
        if wrote:  # in the graph's own copy: the model that was brought stays as it was
            module = copy.copy(module)
            module.inplace = False
            root.set_submodule(node.target, module)
        return wrote
    if node.op not in ("call_function", "call_method"):
        return False
    wrote = bool(node.kwargs.get("inplace", False))
    node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if node.target in FUNCTION_NAMES and len(node.args) > 1 and isinstance(node.args[-1], bool):
        wrote, node.args = wrote or node.args[-1], node.args[:-1]
    name = _name(node)
    plain = name[:-1]
    if not name.endswith("_") or name.endswith("__"):
        return wrote
    if isinstance(node.target, torch._ops.OpOverload):
        packet = getattr(torch.ops.aten, plain, None)
        if packet is not None and node.target._overloadname in packet.overloads():
            node.target = getattr(packet, node.target._overloadname)
            return True
    elif node.op == "call_method" and hasattr(Tensor, plain):
        node.target = plain
        return True
    elif node.op == "call_function" and (function := getattr(torch, plain, None) or getattr(F, plain, None)):
        node.target = function
        return True
    return wrote


def _dropout_as_module(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    path = f"selviz_{node.name}"
    root.add_module(path, nn.Dropout(share))
    with graph.inserting_before(node):
        module = graph.call_module(path, (node.args[0],))
    node.replace_all_uses_with(module)
    graph.erase_node(node)


def node_shapes(root: nn.Module, graph: fx.Graph, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape of each tensor-valued node for the example input [1, C, H, W]; SelvizError if it does not fit."""
    shapes: dict[str, tuple[int, ...]] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if isinstance(value, Tensor):
                shapes[node.name] = tuple(value.shape)
            return value

    was_training = root.training
    try:
        with torch.no_grad():
            Recorder(fx.GraphModule(root.eval(), graph)).run(example)
    except Exception as error:  # the network's own code may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SelvizError(f"The network does not take inputs of shape {tuple(example.shape)}: {reason}") from error
    finally:
        root.train(was_training)
    return shapes


def pick_logits(value, fits=lambda part: isinstance(part, Tensor) and part.dim() == 2):
    """The logits in what a network returns: the value itself, or the part of a dict or tuple that `fits` them.

    SelvizError if none does, or several do and none is called logits (or one of LOGITS_KEYS).
    """
    if isinstance(value, Mapping):
        entries = dict(value)
    elif isinstance(value, tuple | list):
        entries = dict(enumerate(value))
    else:
        entries = {"output": value}
    fitting = {key: part for key, part in entries.items() if fits(part)}
    named = [key for key in LOGITS_KEYS if key in fitting]
    if not named and len(fitting) != 1:
        raise SelvizError(
            "The network must return logits, one tensor [images, classes], or a dict that holds them as 'logits'"
            + (f"; it returns {', '.join(map(str, entries))}." if len(entries) > 1 else ".")
        )
    return fitting[named[0]] if named else next(iter(fitting.values()))


def chosen_outputs(logits: Tensor, outputs: Sequence[int]) -> Tensor:
    """Some columns of logits [N, C] in this order, or all of them for none; SelvizError for one that is not there."""
    if wrong := [number for number in outputs if not 0 <= number < logits.shape[1]]:
        raise SelvizError(f"The network has no output {wrong[0]}; its outputs are 0 to {logits.shape[1] - 1}.")
    return logits[:, list(outputs)] if outputs else logits


def with_chosen_outputs(traced: Traced, outputs: Sequence[int]) -> Traced:
    """The same network with `chosen_outputs` alone."""
    if not outputs:
        return traced
    graph = copy.deepcopy(traced.graph)
    output = _output(graph)
    with graph.inserting_before(output):
        node = graph.call_function(operator.getitem, (output.args[0], (slice(None), list(outputs))))
    output.args = (node,)
    return replace(traced, graph=graph, shapes={**traced.shapes, node.name: (1, len(outputs))})


# ---------------------------------------------------------------------------------------------------------- unit layers


def activation_name(node: fx.Node) -> str | None:
    """The activation that a node calls as a function or method, without a final underscore; None for others."""
    if node.op == "call_function":
        name = FUNCTION_NAMES.get(node.target)
        if name is None and isinstance(node.target, torch._ops.OpOverload):
            name = _name(node)
    else:
        name = node.target if node.op == "call_method" else None
    return name.rstrip("_") if name in NAME_SIGNED else None


def is_relu(root: nn.Module, node: fx.Node) -> bool:
    """Whether the node is a ReLU."""
    if node.op == "call_module":
        return type(root.get_submodule(node.target)) is nn.ReLU
    return activation_name(node) == "relu"


def _find_layers(root: nn.Module, graph: fx.Graph, shapes: Mapping, batch: int) -> tuple[UnitLayer, ...]:
    found, used = [], {}
    of_images: set[fx.Node] = set()
    classes = shapes[_output(graph).args[0].name][1]
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
                harmless = _name(user) in HARMLESS_NAMES
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
        second, last = _name(node) in SECOND_NAMES, _name(node) in LAST_NAMES
    return 1 if second else max(dimensions, 1) - 1 if last else None


def _moved_axis(node: fx.Node, axis: int, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Where the unit axis lies after the node, if it lay at `axis` before."""
    after = shapes.get(node.name)
    before = shapes.get(node.all_input_nodes[0].name) if node.all_input_nodes else None
    if after is None or before is None:
        return axis
    name, arguments = _name(node), [*node.args[1:], *node.kwargs.values()]
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
