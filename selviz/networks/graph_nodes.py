"""Single steps of a traced graph: `called(node)` is what one calls; `out_of_place(root, graph)` lets none overwrite."""

import copy
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from selviz.errors import SelvizError, first_line
from selviz.networks.activation_functions import FUNCTION_NAMES, LINEAR_MODULES, MODULE_NAMES, SIGNED

HEAD_STEP = "selviz_head"  # in a node's meta: a step that was added to read the logits
SAME_STEP = {
    "truediv": "div", "true_divide": "div", "divide": "div", "itruediv": "div", "multiply": "mul", "imul": "mul",
    "iadd": "add", "isub": "sub", "subtract": "sub", "imatmul": "matmul", "clip": "clamp", "absolute": "abs",
    "ipow": "pow", "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul", "__add__": "add", "__radd__": "add",
    "__iadd__": "add", "__sub__": "sub", "__rsub__": "rsub", "__isub__": "sub", "__truediv__": "div",
    "__itruediv__": "div", "__pow__": "pow", "__matmul__": "matmul", "__neg__": "neg", "__and__": "and",
}  # fmt: skip
# Steps whose result may share memory with their first argument: writing into one writes into the other.
SHARING = frozenset(
    "view reshape getitem chunk split unbind narrow select slice transpose permute swapaxes swapdims movedim moveaxis "
    "squeeze unsqueeze expand expand_as view_as t T mT flatten unflatten diagonal detach contiguous to float type_as "
    "dropout identity as_strided unfold split_with_sizes tensor_split hsplit vsplit numpy_T alias ravel getattr "
    "broadcast_to swapdims".split()
)
SPLITTING = ("chunk", "split", "unbind", "split_with_sizes", "tensor_split", "hsplit", "vsplit")
SEVERAL = ("topk", "max", "min", "sort", "kthvalue", "median", "mode", "cummax", "cummin")
SHARING_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def called(node: fx.Node) -> str:
    """Return the plain name of what a node calls: relu, conv2d, getitem, a method's; "" for modules and values."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target.overloadpacket.__name__)
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", ""))
    return str(node.target) if node.op == "call_method" else ""


def plain_name(name: str) -> str:
    """Return one name for the ways in which torch writes a step: `mul` for `__rmul__`, `mul_`, `imul`, `multiply`."""
    name = SAME_STEP.get(name, name)
    if not name.startswith("__"):
        name = name.removeprefix("special_").rstrip("_")  # of torch.special
    return SAME_STEP.get(name, name)


def step_name(root: nn.Module, node: fx.Node) -> str:
    """Return the `plain_name` of a step; modules of activation functions count as their functions, others as ""."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        return "identity" if isinstance(module, LINEAR_MODULES) else MODULE_NAMES.get(type(module), "")
    return plain_name(called(node))


def activation_name(node: fx.Node) -> str | None:
    """Return the activation that a node calls as a function or method, without final underscore; None for others."""
    if node.op == "call_function":
        name = FUNCTION_NAMES.get(node.target)
        if name is None and isinstance(node.target, torch._ops.OpOverload):
            name = called(node)
    else:
        name = str(node.target) if node.op == "call_method" else None
    return plain_name(name) if name in SIGNED else None


def is_relu(root: nn.Module, node: fx.Node) -> bool:
    """Return whether the node is a ReLU."""
    if node.op == "call_module":
        return type(root.get_submodule(str(node.target))) is nn.ReLU
    return activation_name(node) == "relu"


def before_moves(node: fx.Node) -> fx.Node:
    """Return the node whose value this one holds in another form: with axes moved, split or joined."""
    while node.op == "call_method" and node.target in ("movedim", "unflatten", "flatten"):
        (node,) = node.all_input_nodes
    return node


def named_parts_as_items(graph: fx.Graph) -> None:
    """Put `x[0]`, `x[1]` in place of the values and indices of a result of topk, max, min, sort and others."""
    positions = {"values": 0, "indices": 1}
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is getattr and len(node.args) == 2:
            source, name = node.args
            several = isinstance(source, fx.Node) and called(source) in SEVERAL
            if several and isinstance(name, str) and name in positions:
                node.target, node.args = operator.getitem, (source, positions[name])


def output(graph: fx.Graph) -> fx.Node:
    """Return the node that says what the graph returns."""
    end: fx.Node = next(node for node in graph.nodes if node.op == "output")
    return end


def result(graph: fx.Graph) -> fx.Node:
    """Return the node whose value the graph returns, the logits of a traced network."""
    node = output(graph).args[0]
    assert isinstance(node, fx.Node)
    return node


def module_path(node: fx.Node) -> str:
    """Return the path, in the network that was traced, of the module that a node calls."""
    return str(node.meta.get("selviz_path", node.target))


def enclosing(node: fx.Node) -> tuple[str, str, str]:
    """Return path and class name of the module whose forward made the node, and a key of that one call of it.

    All are "" where the tracer did not say, and path and key are "" for the network itself.
    """
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", "", ""
    key, entry = list(stack.items())[-1]
    path, kind = entry if isinstance(entry, tuple) else (key, entry)
    name = kind.__name__ if isinstance(kind, type) else str(kind).rsplit(".")[-1]
    return re.sub(r"@\d+", "", path), name, str(key)


def enclosing_calls(node: fx.Node) -> list[tuple[str, str]]:
    """Return (path, key of that one call) of all modules around the node, the outermost first."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = (entry[0] if isinstance(entry, tuple) else key for key, entry in stack.items())
    return [(re.sub(r"@\d+", "", path), str(key)) for path, key in zip(paths, stack)]


def logits_node(graph: fx.Graph) -> fx.Node:
    """Return the node whose value the graph returns."""
    (node,) = output(graph).all_input_nodes
    return node


def out_of_place(root: nn.Module, graph: fx.Graph) -> None:
    """Let no step write into a value that another one holds: what reads it later reads the step's own result.

    SelvizError for a step that writes into a part of a value, or a view of it, that is read again.
    """
    latest: dict[fx.Node, fx.Node] = {}
    shared: dict[fx.Node, set[fx.Node]] = {}
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        for old in node.all_input_nodes:
            if old in latest:
                node.replace_input_with(old, latest[old])
        if shares(root, node) and node.all_input_nodes:
            group = shared.setdefault(node.all_input_nodes[0], {node.all_input_nodes[0]})
            group.add(node)
            shared[node] = group
        if node.op == "call_function" and node.target is F.dropout:
            _dropout_as_module(root, graph, node)
        elif _made_out_of_place(root, node) and isinstance(source := node.args[0] if node.args else None, fx.Node):
            for other in shared.get(source, {source}) - {source, node}:
                if _other_part(source, other):
                    continue
                if any(order.get(user, 0) > order[node] for user in other.users):
                    raise SelvizError(
                        f"The step {node.name} writes into a part of the value {other.name}, which is read again later."
                    )
            latest.update({old: node for old, new in latest.items() if new is source})
            latest[source] = node


def _other_part(one: fx.Node, other: fx.Node) -> bool:
    """Return whether two nodes are different parts of a value that was split: what is written into one stays in it."""
    if not all(called(node) == "getitem" and isinstance(node.args[1], int) for node in (one, other)):
        return False
    whole = one.args[0]
    split = isinstance(whole, fx.Node) and whole is other.args[0] and called(whole) in SPLITTING
    return split and bool(one.args[1] != other.args[1])


def shares(root: nn.Module, node: fx.Node) -> bool:
    """Return whether the node's value may share memory with that of its first input."""
    if node.op == "call_module":
        return isinstance(root.get_submodule(str(node.target)), SHARING_MODULES)
    return plain_name(called(node)) in SHARING


def _made_out_of_place(root: nn.Module, node: fx.Node) -> bool:
    """Return whether the node did write into its first argument; it does not any more."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        wrote = bool(getattr(module, "inplace", False))
        if wrote:  # in the graph's own copy: the model that was brought stays as it was
            module = copy.copy(module)
            module.inplace = False  # type: ignore[assignment]
            root.set_submodule(str(node.target), module)
        return wrote
    if node.op not in ("call_function", "call_method"):
        return False
    wrote = bool(node.kwargs.get("inplace", False))
    node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    if node.target in FUNCTION_NAMES and len(node.args) > 1 and isinstance(node.args[-1], bool):
        wrote, node.args = wrote or node.args[-1], node.args[:-1]
    name = called(node)
    plain = name[:-1]
    if name in ("iadd", "isub", "imul", "itruediv", "ipow", "imatmul"):
        node.target = _plain_function(name[1:])
        return True
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


def _plain_function(name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(operator, name)
    return function


def contiguous_where_needed(graph: fx.Graph) -> None:
    """Let no step depend on how values lie in memory: views become reshapes, `as_strided` reads contiguous values.

    The network runs with channels last here, which its author may never have tried.
    """
    for node in list(graph.nodes):
        name = called(node)
        if node.target is getattr and node.args[1:] == ("data",):
            node.op, node.target, node.args = "call_method", "detach", node.args[:1]
        if node.op == "call_method" and name == "view" and not any(isinstance(a, torch.dtype) for a in node.args):
            node.target = "reshape"
        elif node.op == "call_method" and name == "view_as":
            node.target = "reshape_as"
        elif node.target is torch.ops.aten.view.default or node.target is torch.ops.aten._unsafe_view.default:
            node.target = torch.ops.aten.reshape.default
        elif name in ("as_strided", "stride", "is_contiguous") and isinstance(source := node.args[0], fx.Node):
            with graph.inserting_before(node):
                plain = graph.call_method("contiguous", (source,))
            node.replace_input_with(source, plain)


def _dropout_as_module(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    path = f"selviz_{node.name}"
    root.add_module(path, nn.Dropout(share))  # type: ignore[arg-type]
    with graph.inserting_before(node):
        module = graph.call_module(path, (node.args[0],))
    module.meta = dict(node.meta)
    node.replace_all_uses_with(module)
    graph.erase_node(node)


class ValueRecorder(fx.Interpreter):
    """Run a graph and keep the values of some nodes, or of all: `ValueRecorder(root, graph).values(inputs)`."""

    def __init__(self, root: nn.Module, graph: fx.Graph, keep: Iterable[str] | None = None):
        super().__init__(fx.GraphModule(root, graph))
        self._keep = None if keep is None else set(keep)
        self.kept: dict[str, object] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if self._keep is None or n.name in self._keep:
            self.kept[n.name] = value
        return value

    def values(self, inputs: Tensor) -> dict[str, object]:
        """Return the kept nodes' values for these inputs [N, C, H, W]."""
        with torch.no_grad():
            self.run(inputs)
        return self.kept


def node_shapes(root: nn.Module, graph: fx.Graph, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor-valued node for inputs [N, C, H, W]; SelvizError if the network refuses them."""
    shapes: dict[str, tuple[int, ...]] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                shapes[n.name] = tuple(value.shape)
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


def with_public_operators(graph: fx.Graph) -> None:
    """Put what torch documents in place of the private operators that torch.export leaves; the numbers stay the same.

    A stored network may have no private ones.
    """
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.op != "call_function" or not (name := called(node)).startswith("_"):
            continue
        x, *rest = node.args or (None,)
        if name == "_native_batch_norm_legit_no_training":
            weight, bias, mean, variance, momentum, epsilon = rest
            settings = (x, weight, bias, mean, variance, False, momentum, epsilon, False)
            _replace_first_part(graph, node, aten.batch_norm.default, settings)
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            key, value, *others = rest
            dropout, causal = [*others, 0.0, False][:2] if len(others) < 2 else others[:2]
            mask = node.kwargs.get("attn_mask")
            attention = aten.scaled_dot_product_attention.default
            scale = {"scale": node.kwargs["scale"]} if node.kwargs.get("scale") is not None else {}
            _replace_first_part(graph, node, attention, (x, key, value, mask, dropout, causal), scale)
        elif name in ("_softmax", "_log_softmax") and rest[1:2] != [True]:
            node.target, node.args = getattr(aten, name[1:]).int, (x, rest[0])
        elif name in ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"):
            node.target = getattr(aten, name[1:]).default
        elif name == "_unsafe_view":
            node.target = aten.view.default
    for node in list(graph.nodes):
        if node.target is aten.empty_like.default:  # its numbers are written before they are read
            node.target = aten.zeros_like.default
        elif node.target is aten.empty.memory_format:
            node.target = aten.zeros.default
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != "memory_format"}
    graph.eliminate_dead_code()


def _replace_first_part(
    graph: fx.Graph, node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] = {}
) -> None:
    """Put a call in place of `node[0]`; a graph that uses another part of the result keeps the node."""
    users = list(node.users)
    if any(called(user) != "getitem" or user.args[1] != 0 for user in users):
        return
    with graph.inserting_before(node):
        whole = graph.call_function(target, args, dict(kwargs))
    whole.meta = dict(users[0].meta) if users else {}
    for user in users:
        user.replace_all_uses_with(whole)
        graph.erase_node(user)
    graph.erase_node(node)
