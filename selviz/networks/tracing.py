"""A classifier as a graph of single steps, and its unit layers found in it: `traced = trace(model, example)`.

There are two ways in: "fx" follows the Python code and keeps its modules; "export" (torch.export) also follows code
that looks at shapes or writes into parts of tensors, for evaluation only.
"""

import builtins
import contextlib
import copy
import io
import keyword
import linecache
import logging
import operator
import re
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import HigherOrderOperator

from selviz.errors import SelvizError, first_line
from selviz.networks.activation_nodes import LeftOut
from selviz.networks.graph_nodes import (
    called,
    contiguous_where_needed,
    named_parts_as_items,
    node_shapes,
    out_of_place,
    output,
    with_public_operators,
)
from selviz.networks.heads import Head, Reader, find_head, with_head
from selviz.networks.memory_steps import masked_writes_as_fills, strides_as_lookups
from selviz.networks.unit_layers import Source, UnitLayer, find_layers, with_depths

WAYS = ("fx", "export")
LENGTH = builtins.len
# Modules of torch whose activation functions lie inside, out of sight of torch.fx.
HIDING = (
    nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder, nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)  # fmt: skip


# Names of operators that hold graphs of their own -> what made them.
KEPT_WHOLE = {
    "wrap_with_autocast": "torch.autocast inside its forward (leave it out; selviz computes in float32)",
    "wrap_with_set_grad_enabled": "torch.no_grad or torch.enable_grad inside its forward",
    "cond": "torch.cond",
    "while_loop": "torch.while_loop",
}


class Untraceable(SelvizError):
    """The network's code cannot be followed, or does something that a graph cannot hold."""


class KeptWhole(Untraceable):
    """The network's code holds something that torch.export does not look into, which the message names."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as the modules and tensors of `root`, the `graph` over them, and its unit layers in forward order.

    `shapes` holds the output shape of each tensor-valued node for one input [1, C, H, W]. `sources` says for each
    layer where its values come up in the plain network; `left_out` are steps that look like layers and are none.
    """

    root: nn.Module
    graph: fx.Graph
    shapes: dict[str, tuple[int, ...]]
    layers: tuple[UnitLayer, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def trace(
    model: nn.Module, example: Tensor, way: str = "fx", specs: Sequence[str] = (), head: Head | None = None
) -> Traced:
    """Return the traced model, activations out of place; by "fx", dropout and batch norm obey train() and eval().

    `example` is one input [1, C, H, W]; `specs` name unit layers (`unit_layers.find_layers`); `head` says how to read
    the logits from what the model returns, found by one pass if it is not given. Raises SelvizError, naming the line
    at fault, if the model cannot be traced, does not take the example, has no unit layer, or gives no logits [N, C].
    """
    if head is None:
        head = replace(find_head(_one_pass(model, example)), probabilities="")
    with _ONE_AT_A_TIME:
        root, graph = (_by_fx if way == "fx" else _by_export)(model, example, head.reader)
    contiguous_where_needed(graph)
    named_parts_as_items(graph)
    strides_as_lookups(root, graph, example[:1])
    for node in list(graph.nodes):
        # They check the size of the input, which is the same for all images.
        if (
            node.op == "call_function"
            and called(node).startswith(("_assert", "sym_constrain_range"))
            and not node.users
        ):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    with_head(root, graph, head)
    try:
        one, three = (node_shapes(root, graph, example[:1].expand(images, *example.shape[1:])) for images in (1, 3))
    except SelvizError as error:  # the network itself ran
        reason = first_line(error.__cause__ or error)[:200].rstrip(".")
        raise Untraceable(f"The network {type(model).__name__} cannot be traced ({reason}).") from error
    layers = find_layers(root, graph, example, one, three, specs)
    if not layers.layers:
        seen = "; ".join(f"{entry.name}: {entry.reason}" for entry in layers.left_out[:3])
        raise SelvizError(
            "The network has no activation function between image and output, so it has no units"
            f"{f' (left out: {seen})' if seen else ''}. Name the modules whose outputs are units: --layers MODULE"
        )
    graph.lint()
    moved = any(layer.node not in one for layer in layers.layers)
    shapes = node_shapes(root, graph, example[:1]) if moved else one
    return Traced(root, graph, shapes, layers.layers, layers.sources, layers.left_out)


def _one_pass(model: nn.Module, example: Tensor) -> object:
    """Return what the model returns for the example; SelvizError if it refuses it."""
    was_training = model.training
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.eval()(example)
    except Exception as error:  # the network's own code may raise anything
        reason = first_line(error)
        raise SelvizError(f"The network does not take inputs of shape {tuple(example.shape)}: {reason}") from error
    finally:
        model.train(was_training)


# ---------------------------------------------------------------------------------------------------------- two ways in


# While it traces, torch.fx replaces `nn.Module.__call__` for the whole process, and puts back what it found: the tracer
# of another thread, where two trace at once.
_ONE_AT_A_TIME = threading.RLock()


class _Tracer(fx.Tracer):
    """A tracer of this thread: modules that other threads call meanwhile are called."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # Its functional form would freeze the training switch into the graph. Told by its name: importing torchvision
        # takes as long as importing torch.
        kind = type(m)
        depth = kind.__name__ == "StochasticDepth" and kind.__module__.startswith("torchvision.")
        if isinstance(m, HIDING):
            return False
        return depth or super().is_leaf_module(m, module_qualified_name)


def _by_fx(model: nn.Module, example: Tensor, reader: Reader) -> tuple[nn.Module, fx.Graph]:
    was_training = model.training
    try:
        # Auxiliary heads exist in training mode only; the graph is the network that is evaluated.
        with _quiet(), _lengths_followed():
            graph = _Tracer().trace(model.eval())
        end = output(graph)
        end.args = (_logits_node(end.args[0], reader),)
    except Exception as error:  # the network's own code may raise anything
        raise _untraceable(model, error) from error
    finally:
        model.train(was_training)
    _drop_defaults(graph)
    parts = {str(node.target): _part(model, str(node.target)) for node in graph.nodes if node.op in PARTS}
    root = fx.GraphModule(_with_plain_paths(parts, graph), graph)
    out_of_place(root, graph)
    root.train(was_training)
    return root, graph


@contextlib.contextmanager
def _lengths_followed() -> Iterator[None]:
    """Let `len(x)` be x.size(0) while a network is traced, in whatever file: Python insists on a number there."""

    def length(value: Any) -> Any:
        return value.size(0) if isinstance(value, fx.Proxy) else LENGTH(value)

    builtins.len = length
    try:
        yield
    finally:
        builtins.len = LENGTH


PARTS = ("call_module", "get_attr")


def _drop_defaults(graph: fx.Graph) -> None:
    """Let the graph have one input, the images: others keep the defaults that the network's forward gives them."""
    first, *others = [node for node in graph.nodes if node.op == "placeholder"]
    for node in others:
        if not node.args:
            raise SelvizError(f"The network takes more than images: it needs {node.target}.")
        default = node.args[0]

        def replaced(part: fx.Node, node: fx.Node = node, default: Any = default) -> Any:
            return default if part is node else part

        for user in list(node.users):
            user.args = tuple(fx.node.map_arg(part, replaced) for part in user.args)
            user.kwargs = {key: fx.node.map_arg(part, replaced) for key, part in user.kwargs.items()}
        graph.erase_node(node)
    first.args = ()


def _logits_node(value: object, reader: Reader) -> fx.Node:
    """Return the node of the logits in what a traced forward returns."""
    for key in reader.keys:
        if isinstance(value, fx.Node):
            if value.op == "call_function" and isinstance(value.target, type):  # a dataclass is made from its fields
                value = value.kwargs[str(key)]
                continue
            raise TypeError(f"its logits are the part {key!r} of a value that was computed")
        if isinstance(value, Mapping):
            value = value[key]
        elif hasattr(value, "_fields") and isinstance(key, str):
            value = getattr(value, key)
        else:
            value = value[key]  # type: ignore[index]
    if not isinstance(value, fx.Node):
        raise TypeError("its logits do not depend on the image")
    return value


def _part(model: nn.Module, path: str) -> object:
    """Return the module or tensor at a path whose names may be any text."""
    value: object = model
    names = path.split(".")
    while names:
        for count in range(1, len(names) + 1):
            name = ".".join(names[:count])
            if isinstance(value, nn.Module) and (
                name in value._modules or name in value._parameters or name in value._buffers or hasattr(value, name)
            ):
                value, names = getattr(value, name), names[count:]
                break
        else:
            raise AttributeError(path)
    return value


def plain_path(path: str, taken: Sequence[str] | set[str] = ()) -> str:
    """Return a path of plain names for one of any names: letters, digits, single underscores, no Python keywords."""
    parts = []
    for depth, part in enumerate(path.split(".")):
        plain = re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]", "_", part)) or "_"
        if keyword.iskeyword(plain) or (depth == 0 and hasattr(fx.GraphModule, plain)):
            plain = f"{plain}_"
        parts.append(plain)
    chosen, count = ".".join(parts), 1
    while chosen in taken:
        count += 1
        chosen = f"{'.'.join(parts)}-{count}"
    return chosen


def _with_plain_paths(parts: Mapping[str, object], graph: fx.Graph) -> nn.Module:
    """Return a module that holds these parts at paths that source code can name; the graph calls them there."""
    paths: dict[str, str] = {}
    taken: set[str] = set()
    for path in sorted(parts, key=lambda name: plain_path(name) != name):  # those that may stay as they are come first
        paths[path] = plain_path(path, taken)
        taken.add(paths[path])
    root = nn.Module()
    for path in parts:  # in the order of the graph
        *parents, last = paths[path].split(".")
        home = root
        for name in parents:
            if name not in home._modules:
                home.add_module(name, nn.Module())
            home = home._modules[name]  # type: ignore[assignment]
        part = parts[path]
        if isinstance(part, nn.Module):
            home.add_module(last, part)
        elif isinstance(part, nn.Parameter):
            home.register_parameter(last, part)
        elif isinstance(part, Tensor):
            home.register_buffer(last, part)
        else:
            setattr(home, last, part)
    for node in graph.nodes:
        if node.op in PARTS:
            node.meta["selviz_path"], node.target = str(node.target), paths[str(node.target)]
    return root


class _OnlyLogits(nn.Module):
    def __init__(self, network: nn.Module, reader: Reader):
        super().__init__()
        self.network, self.reader = network, reader

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.network(x))


def _by_export(model: nn.Module, example: Tensor, reader: Reader) -> tuple[nn.Module, fx.Graph]:
    # A batch of one image would be taken for a constant.
    pair, shapes = example.expand(2, *example.shape[1:]).contiguous(), ({0: torch.export.Dim.DYNAMIC},)
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        with _quiet(), _any_names():
            torch.backends.mha.set_fastpath_enabled(False)  # else the activations of a Transformer are inside one step
            whole = _OnlyLogits(copy.deepcopy(model).eval(), reader)
            program = torch.export.export(whole, (pair,), dynamic_shapes=shapes, strict=False)
            if any(_writes(node) for node in program.graph_module.graph.nodes):
                program = program.run_decompositions({})
    except Exception as error:
        raise _untraceable(model, error) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    graph = copy.deepcopy(program.graph_module.graph)
    if kept := next((node for node in graph.nodes if isinstance(node.target, HigherOrderOperator)), None):
        raise KeptWhole(
            f"The network {type(model).__name__} cannot be traced: it holds {KEPT_WHOLE.get(called(kept), 'a step')}, "
            f"which torch.export keeps whole ({called(kept)})."
        )
    graph.set_codegen(fx.graph.CodeGen())
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = signature.inputs_to_lifted_tensor_constants
    parts: dict[str, object] = {}
    for node in list(graph.nodes):
        if node.op != "placeholder" or not (node.name in stored or node.name in constants):
            continue
        name = stored.get(node.name) or constants[node.name]
        value = program.state_dict.get(name, program.constants.get(name))
        path = str(name).removeprefix("network.")
        parts[path] = value
        with graph.inserting_before(node):
            tensor = graph.get_attr(path)
        tensor.meta = dict(node.meta)
        node.replace_all_uses_with(tensor)
        graph.erase_node(node)
    for node in graph.nodes:
        if stack := node.meta.get("nn_module_stack"):
            node.meta["nn_module_stack"] = {
                key: (str(path).removeprefix("network").removeprefix("."), kind)
                for key, (path, kind) in list(stack.items())[1:]
            }
    end = output(graph)
    returned = end.args[0]
    while isinstance(returned, tuple | list):
        if len(returned) != 1:  # values of buffers that the network wrote come before its own
            returned = returned[-1:]
        (returned,) = returned
    end.args = (returned,)
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
            parts.pop(str(node.target), None)
    with_public_operators(graph)
    masked_writes_as_fills(graph)
    root = fx.GraphModule(_with_plain_paths(parts, graph), graph)
    out_of_place(root, graph)
    return root, graph


@contextlib.contextmanager
def _any_names() -> Iterator[None]:
    """Let torch.export follow modules whose names are Python's keywords: it writes source code with their names in
    it.
    """
    format_target = getattr(fx.graph, "_format_target", None)

    def formatted(base: str, target: str) -> str:
        for part in target.split("."):
            plain = part.isidentifier() and not keyword.iskeyword(part)
            base = f"{base}.{part}" if plain else f"getattr({base}, {part!r})"
        return base

    if format_target is not None:
        fx.graph._format_target = formatted
    try:
        yield
    finally:
        if format_target is not None:
            fx.graph._format_target = format_target


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch.export prints and logs: it shows the graph at which it gave up, and logs why; the error
    says enough.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        silent = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _untraceable(model: nn.Module, error: Exception) -> Untraceable:
    reason = first_line(error)[:200]
    place = fault(error)
    return Untraceable(
        f"The network {type(model).__name__} cannot be traced{f': {place}' if place else ''} ({reason.rstrip('.')})."
    )


def fault(error: BaseException, inside: Path | None = None) -> str:
    """Return `net.py line 12, "if x.sum() > 0:"`, the last line of code that is neither torch's nor selviz's; ""
    if none is.

    `inside` limits it to one file.
    """
    ours = [str(Path(file).parent) for file in (torch.__file__, __file__)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        library = frame.filename.startswith((*ours, "<", f"{Path(traceback.__file__).parent}/"))
        library = library and not ("site-packages" in frame.filename and not frame.filename.startswith(tuple(ours)))
        if Path(frame.filename) == inside or (inside is None and not library):
            text = linecache.getline(frame.filename, frame.lineno or 0).strip()
            return f'{Path(frame.filename).name} line {frame.lineno}, "{text}"'
    return ""


# ------------------------------------------------------------------------------------------------------ what it returns


def with_chosen_outputs(traced: Traced, outputs: Sequence[int]) -> Traced:
    """Return the same network with these of its outputs alone, in this order."""
    if not outputs:
        return traced
    graph = copy.deepcopy(traced.graph)
    end = output(graph)
    with graph.inserting_before(end):
        node = graph.call_function(operator.getitem, (end.args[0], (slice(None), list(outputs))))
    end.args = (node,)
    return replace(traced, graph=graph, shapes={**traced.shapes, node.name: (1, len(outputs))})


def without_layers(traced: Traced, names: Sequence[str], reason: str) -> Traced:
    """Return the same network without these unit layers, listed as left out for this reason."""
    layers = with_depths([layer for layer in traced.layers if layer.name not in names])
    left_out = (*traced.left_out, *(LeftOut(name, reason) for name in names))
    return replace(traced, layers=layers, left_out=left_out)
