"""Single steps of a traced graph: `called(node)` is what one calls; `out_of_place(root, graph)` lets none overwrite."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from selviz.errors import SelvizError, first_line
from selviz.networks.activation_functions import FUNCTION_NAMES, NAME_SIGNED


def called(node: fx.Node) -> str:
    """The plain name of what a node calls: relu, conv2d, getitem, a method's name; "" for modules and values."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.overloadpacket.__name__
    if node.op == "call_function":
        return getattr(node.target, "__name__", "")
    return node.target if node.op == "call_method" else ""


def activation_name(node: fx.Node) -> str | None:
    """The activation that a node calls as a function or method, without a final underscore; None for others."""
    if node.op == "call_function":
        name = FUNCTION_NAMES.get(node.target)
        if name is None and isinstance(node.target, torch._ops.OpOverload):
            name = called(node)
    else:
        name = node.target if node.op == "call_method" else None
    return name.rstrip("_") if name in NAME_SIGNED else None


def is_relu(root: nn.Module, node: fx.Node) -> bool:
    """Whether the node is a ReLU."""
    if node.op == "call_module":
        return type(root.get_submodule(node.target)) is nn.ReLU
    return activation_name(node) == "relu"


def output(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "output")


def out_of_place(root: nn.Module, graph: fx.Graph) -> None:
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
    name = called(node)
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
        reason = first_line(error)
        raise SelvizError(f"The network does not take inputs of shape {tuple(example.shape)}: {reason}") from error
    finally:
        root.train(was_training)
    return shapes
