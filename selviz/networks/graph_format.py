"""A traced network as a JSON document and its tensors: `graph_document(traced)`, `rebuilt(document, tensors, example)`.

An imported run must open in the dashboard, and in somebody else's, without the code that made its network: a file that
a run names is never executed there. So the traced graph is stored. Not as torch.export's `.pt2` archive: reading one
falls back to unpickling (`weights_only=False`) and evaluates its shape expressions as Python, so an archive from a
stranger may run anything. Not as a pickle or as source text either. The document lists steps, and a step may be
nothing but: a module of torch.nn made from numbers and words, a function or method of tensors, each by a name that
`graph_operators` lists, one of OPERATORS and WRAPPED, or a stored tensor. What is looked up by an index is looked up by
one that no image decides. torch.fx turns a graph into Python source and runs it, so every name in a document must be a
plain identifier. Before a stranger's network is used, `first_run` runs it in a process of its own.
"""

import inspect
import keyword
import math
import operator
import re
import secrets
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
import torch.overrides
from torch import Tensor, fx, nn

from selviz.errors import SelvizError
from selviz.networks.activation_functions import FUNCTION_NAMES
from selviz.networks.graph_indices import check_indices
from selviz.networks.graph_nodes import node_shapes
from selviz.networks.graph_operators import OPERATORS, REVIEWED_MODULES, TRACED_MODULES, allowed
from selviz.networks.graph_writes import check_writes
from selviz.networks.tracing import Traced
from selviz.networks.unit_layers import UnitLayer, with_depths

FORMAT = 1
MOST_NODES = 100_000
# Those that may count with plain numbers, where no tensor takes part.
COUNTING = {getattr(operator, name) for name in "add sub mul pow iadd isub imul".split()}
LARGEST = 2**40
LARGEST_SETTING, LARGEST_COUNT = 2**26, 1000  # of a module; of its layers, each of which is made
MOST_BYTES = 8 * 10**9  # of all steps together, for one image
MANY_IMAGES = 256  # as many as are computed together
ATTRIBUTES = ("shape", "dtype", "device", "ndim", "T", "mT", "requires_grad")
FACTORIES = ("arange", "zeros", "ones", "full", "linspace")
MEMORY_FORMATS = ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format")
DTYPES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool float half double int long".split()
# Of torchvision, whose import takes as long as torch's: it is left until a network has one of these.
WRAPPED = {
    "torchvision.models.swin_transformer": (
        "_get_relative_position_bias",
        "shifted_window_attention",
        "_patch_merging_pad",
    ),
    "torchvision.ops": ("stochastic_depth",),
}
MODULES: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in (*TRACED_MODULES, *REVIEWED_MODULES) if hasattr(nn, name)
}
ATEN_WORDS = ("gelu", "einsum", "div", "scatter_reduce", "pad")  # aten operators that take words, none of them a path
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@cache
def functions() -> dict[str, object]:
    """Return the functions of tensors by qualified name, such as torch.nn.functional.relu."""
    by_name: dict[str, object] = {f"operator.{name}": getattr(operator, name) for name in OPERATORS}
    for function, name in FUNCTION_NAMES.items():  # torch does not list all of them
        if getattr(torch.nn.functional, name, None) is function and not name.endswith("_"):
            by_name[f"torch.nn.functional.{name}"] = function
    # They take no tensor, so torch does not list them among those that may be overridden.
    by_name |= {f"torch.{name}": getattr(torch, name) for name in FACTORIES}
    homes = (torch, torch.nn.functional, torch.linalg, torch.fft, torch.special)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overridable = torch.overrides.get_overridable_functions()
    for home in homes:
        for function in [*overridable.get(home, ()), *(overridable[torch.functional] if home is torch else ())]:
            name = getattr(function, "__name__", "")
            if _plain(name) and getattr(home, name, None) is function:
                by_name[f"{home.__name__}.{name}"] = function
    return by_name


@cache
def wrapped() -> dict[str, object]:
    """Return the functions of WRAPPED by qualified name."""
    homes = {home: import_module(home) for home in WRAPPED}
    return {f"{home}.{name}": getattr(homes[home], name) for home, names in WRAPPED.items() for name in names}


def _kind(name: str) -> type[nn.Module] | None:
    """Return the class of modules of that name, if a graph may hold it."""
    if name == "StochasticDepth":
        kind: type[nn.Module] = import_module("torchvision.ops").StochasticDepth
        return kind
    return MODULES.get(name)


@cache
def methods() -> frozenset[str]:
    """Return the methods of tensors that a graph may call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = (getattr(function, "__name__", "") for function in torch.overrides.get_overridable_functions()[Tensor])
        return frozenset(name for name in names if _plain(name)) | {
            "to",
            "size",
            "dim",
            "contiguous",
            "float",
            "unflatten",
        }


def _plain(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and allowed(name)


# ------------------------------------------------------------------------------------------------------------- writing


def graph_document(traced: Traced) -> dict[str, Any]:
    """Return the graph, its modules and its unit layers as what JSON can hold; the tensors are
    `tensors_of(traced.root)`.

    SelvizError names the step that a document cannot hold.
    """
    nodes, modules, parameters = [], {}, []
    # Only where torchvision is imported can a network have a function of it.
    everything = functions() | (wrapped() if "torchvision" in sys.modules else {})
    known = {function: name for name, function in everything.items()}
    for node in traced.graph.nodes:
        target = node.target
        if node.op == "call_module":
            modules[target] = _module_entry(target, traced.root.get_submodule(target))
        elif node.op == "get_attr":
            value = operator.attrgetter(target)(traced.root)
            if not isinstance(value, Tensor):
                raise _unstorable(node, f"{target} is no tensor")
            parameters += [target] * isinstance(value, nn.Parameter)
        elif node.op == "call_function":
            target = _function_name(node, known)
        elif node.op == "call_method" and target not in methods():
            raise _unstorable(node, f"the method {target}")
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "target": target,
                "args": [_encoded(part, node) for part in node.args],
                "kwargs": {key: _encoded(part, node) for key, part in node.kwargs.items()},
            }
        )
    if (used := 4 * sum(math.prod(shape) for shape in traced.shapes.values())) > MOST_BYTES:
        raise Unstorable(f"The network needs {used / 1e9:.0f} GB for one image, more than {MOST_BYTES / 1e9:g} GB.")
    try:
        check_indices(traced.graph)
    except ValueError as error:
        raise Unstorable(f"The network cannot be stored: {error}.") from error
    layers = [
        {name: getattr(layer, name) for name in ("name", "node", "axis", "signed", "squeeze", "activation")}
        for layer in traced.layers
    ]
    shape = next((traced.shapes.get(node.name, ()) for node in traced.graph.nodes if node.op == "placeholder"), ())
    return {
        "format": FORMAT,
        "input": list(shape[1:]),
        "nodes": nodes,
        "modules": modules,
        "parameters": parameters,
        "layers": layers,
    }


def tensors_of(traced: Traced) -> dict[str, Tensor]:
    """Return every tensor that the graph's steps use, by its path, each with memory of its own."""
    tensors: dict[str, Tensor] = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            tensors[node.target] = operator.attrgetter(node.target)(traced.root)
        elif node.op == "call_module":
            module = traced.root.get_submodule(node.target)
            named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
            tensors |= {f"{node.target}.{name}": value for name, value in named}
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _module_entry(path: str, module: nn.Module) -> dict[str, Any]:
    """Return the class and settings that make a module again; torch.nn keeps most of them as attributes of the same
    names.
    """
    kind = type(module)
    settings = {}
    if _kind(kind.__name__) is not kind:
        raise Unstorable(f"The module {path} ({kind.__name__}) is none that a stored graph can hold.")
    signature = dict(inspect.signature(kind.__init__).parameters)
    if issubclass(kind, nn.RNNBase):
        signature = dict(inspect.signature(nn.RNNBase.__init__).parameters)
        del signature["mode"]
        if kind is not nn.LSTM:
            del signature["proj_size"]
        if kind is nn.RNN:
            settings["nonlinearity"] = "relu" if module.mode == "RNN_RELU" else "tanh"
    for name, parameter in signature.items():
        if name in ("self", "device", "dtype", "inplace") or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        if name == "bias":
            value = getattr(module, "bias", getattr(module, "in_proj_bias", None))
            value = value if isinstance(value, bool) else value is not None
        elif hasattr(module, name):
            value = getattr(module, name)
        elif parameter.default is not parameter.empty:
            continue
        else:
            raise Unstorable(f"The module {path} ({kind.__name__}) is none that a stored graph can hold.")
        if isinstance(value, Tensor):
            continue
        settings[name] = _encoded(value, path)
    return {"class": kind.__name__, "settings": settings}


def _function_name(node: fx.Node, known: Mapping[object, str]) -> str:
    function = node.target
    if function is getattr:
        if len(node.args) == 2 and node.args[1] in ATTRIBUTES:
            return "getattr"
        raise _unstorable(node, f"the attribute {node.args[1]}")
    if isinstance(function, torch._ops.OpOverload) and function.namespace == "aten" and _computes(function):
        return f"aten.{function.overloadpacket.__name__}.{function._overloadname}"
    if function not in known:
        raise _unstorable(node, f"the function {getattr(function, '__name__', function)}")
    return known[function]


def _computes(function: torch._ops.OpOverload) -> bool:
    """Return whether an aten operator is a listed one that writes into no argument and takes no words, such as names of
    files.
    """
    if not allowed(function.overloadpacket.__name__) or function._schema.is_mutable:
        return False
    words = any(str(argument.type) in ("str", "Optional[str]") for argument in function._schema.arguments)
    return not words or function.overloadpacket.__name__ in ATEN_WORDS


class Unstorable(SelvizError):
    """The network has a step that a stored one may not have."""


class Damaged(SelvizError):
    """A document is none that `graph_document` wrote; `why` says what is wrong with it."""

    def __init__(self, why: str):
        super().__init__(f"The stored network is damaged ({why}); import the run again.")
        self.why = why


def _unstorable(node: fx.Node | str, what: str) -> Unstorable:
    return Unstorable(f"The step {getattr(node, 'name', node)} of the network is none that can be stored: {what}.")


def _encoded(value: Any, node: fx.Node | str) -> Any:
    """Return a step's argument as what JSON can hold; `_decoded` is the way back."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, tuple | list):
        parts = [_encoded(part, node) for part in value]
        return {"tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, slice):
        return {"slice": [_encoded(part, node) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, dict):
        return {"dict": {str(key): _encoded(part, node) for key, part in value.items()}}
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return {type(value).__name__: str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    if value is Ellipsis:
        return {"ellipsis": True}
    raise _unstorable(node, f"an argument of type {type(value).__name__}")


# ------------------------------------------------------------------------------------------------------------- reading


def rebuilt(document: Any, tensors: Mapping[str, Tensor], example: Tensor, sizes_known: bool = False) -> Traced:
    """Return the traced network of a document and its tensors, for an example input [1, C, H, W].

    Nothing in the document is trusted; anything but what `graph_document` writes raises SelvizError. With
    `sizes_known`, because it was written just now, its steps are not measured before they are run.
    """
    try:
        if document["format"] != FORMAT:
            raise ValueError(f"it has format {document['format']}, and this selviz reads {FORMAT}; update selviz")
        root, graph = _graph(document, tensors)
        entries = [_layer_entry(entry) for entry in document["layers"]]
    except Exception as error:  # a module may raise anything while it is made
        raise Damaged(" ".join(str(error).split())[:200]) from error
    # Of a stranger's network nothing is computed yet: one step may be as large as all may be together.
    shapes = node_shapes(root, graph, example) if sizes_known else sizes(root, graph, example).shapes
    layers = []
    for name, node, axis, facts in entries:
        shape = shapes.get(node, ())
        if not 1 <= axis < len(shape):
            raise Damaged("a layer has no units")
        layers.append(UnitLayer(name, shape[axis], axis, 0.0, shape=shape, node=node, **facts))
    return Traced(root, graph, shapes, with_depths(layers))


def check_growth(root: nn.Module, graph: fx.Graph, example: Tensor) -> None:
    """Raise SelvizError unless n images need n times the memory of one, for a few numbers, one of them random.

    A step that reads the number of images from a shape could else take all memory where a page computes many.
    """
    numbers = (1, 2, 3 + secrets.randbelow(MANY_IMAGES - 3), MANY_IMAGES)
    one, two, *more = (sizes(root, graph, example.repeat(n, 1, 1, 1)).bytes for n in numbers)
    for number, used in zip(numbers[2:], more):
        if used > 1.05 * (one + (number - 1) * max(0, two - one)) + 10**6:
            raise Damaged(f"{number} images need {used / 1e6:,.0f} MB, and one {one / 1e6:,.1f} MB")


class Sizes(NamedTuple):
    """What the steps of a graph would make: the shape of each tensor, and the bytes of all of them together."""

    shapes: dict[str, tuple[int, ...]]
    bytes: int


def sizes(root: nn.Module, graph: fx.Graph, example: Tensor) -> Sizes:
    """Return the sizes of all steps for some images [N, C, H, W], of which nothing is computed.

    SelvizError where they are more than MOST_BYTES an image, or where a step cannot take what it is given. A step that
    only counts may count with small numbers: a power of two large ones would never end.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode, used = FakeTensorMode(allow_non_fake_inputs=True), 0
    shapes: dict[str, tuple[int, ...]] = {}

    class Sizer(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            nonlocal used
            if node.op == "call_function" and node.target in COUNTING:
                _check_counting(node, self.fetch_args_kwargs_from_env(node)[0])
            value = super().run_node(node)
            if isinstance(value, Tensor):
                shapes[node.name] = tuple(value.shape)
            parts = value if isinstance(value, tuple | list) else [value]
            used += sum(part.numel() * part.element_size() for part in parts if isinstance(part, Tensor))
            if used > MOST_BYTES * len(example):
                raise ValueError(f"the step {node.name} needs more than {MOST_BYTES / 1e9:g} GB for one image")
            return value

    try:
        with torch.no_grad(), mode:
            Sizer(fx.GraphModule(root, graph)).run(mode.from_tensor(example))
    except Exception as error:  # a step may raise anything
        raise Damaged(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return Sizes(shapes, used)


def _check_counting(node: fx.Node, args: tuple[Any, ...]) -> None:
    if any(isinstance(part, Tensor) for part in args):
        return
    if node.target is operator.pow or not all(isinstance(part, int | float) and abs(part) <= LARGEST for part in args):
        raise ValueError(f"the step {node.name} counts with {str(args)[:80]}")


def _layer_entry(entry: Mapping[str, Any]) -> tuple[str, str, int, dict[str, Any]]:
    node, axis = entry["node"], entry["axis"]
    if not isinstance(node, str) or type(axis) is not int:
        raise ValueError("a layer has no units")
    facts = {name: bool(entry[name]) for name in ("signed", "squeeze")}
    return str(entry["name"]), node, axis, {**facts, "activation": str(entry.get("activation", ""))[:80]}


def with_layers(traced: Traced, layers: Iterable[UnitLayer]) -> Traced:
    """Return the same network with fewer unit layers."""
    return replace(traced, layers=tuple(layers))


def _needs_torchvision(entries: Iterable[Mapping[str, Any]]) -> bool:
    return any(str(entry["target"]).startswith("torchvision.") for entry in entries)


def _graph(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[nn.Module, fx.Graph]:
    root, graph = nn.Module(), fx.Graph()
    made: dict[str, fx.Node] = {}
    stored: set[str] = set()
    entries = document["nodes"]
    if not isinstance(entries, list) or len(entries) > MOST_NODES:
        raise ValueError("its steps are no list, or too many")
    for path, entry in document["modules"].items():
        kind = _kind(entry["class"])
        if kind is None:
            raise ValueError(f"the class of {path}")
        settings = {_identifier(key): _decoded(value, {}) for key, value in entry["settings"].items()}
        _check_settings(path, settings)
        with torch.device("meta"):
            module = kind(**settings)
        names = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
        module.load_state_dict({name: tensors[f"{path}.{name}"] for name in names}, assign=True)
        _place(root, path, module)
    known = functions() | (wrapped() if _needs_torchvision(entries) else {})
    for entry in entries:
        op, name, target = entry["op"], _identifier(entry["name"]), entry["target"]
        if not isinstance(target, str) or name in made:
            raise ValueError(f"the step {name}")
        if op in ("placeholder", "output"):
            target = _identifier(target)
        elif op == "call_module":
            if target not in document["modules"]:
                raise ValueError(f"the module {target}")
        elif op == "get_attr":
            value = tensors[target]
            if target not in stored:
                stored.add(target)
                _place(root, target, nn.Parameter(value) if target in document["parameters"] else value)
        elif op == "call_method":
            if target not in methods():
                raise ValueError(f"the method {target}")
        elif op == "call_function":
            target = _function(target, entry["args"], known)
        else:
            raise ValueError(f"the step {name}")
        args = tuple(_decoded(part, made) for part in entry["args"])
        kwargs = {_identifier(key): _decoded(part, made) for key, part in entry["kwargs"].items()}
        made[name] = graph.create_node(op, target, args, kwargs, name=name)
        if made[name].name != name:
            raise ValueError(f"the step {name}")
    check_writes(root, graph)
    graph.lint()
    check_indices(graph)
    return root.eval(), graph


def _check_settings(path: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for settings that make a module of very many parts: it is made before its size is known."""
    for name, value in settings.items():
        numbers = [part for part in (value if isinstance(value, tuple | list) else [value]) if isinstance(part, int)]
        if any(abs(number) > (LARGEST_COUNT if "num_layers" in name else LARGEST_SETTING) for number in numbers):
            raise ValueError(f"the {name} of {path}")


def _identifier(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"the name {str(name)[:80]!r}")
    return name


def _place(root: nn.Module, path: Any, value: nn.Module | Tensor) -> None:
    """Put a module or tensor at a dotted path below root."""
    if not isinstance(path, str) or not _PATH.fullmatch(path) or "__" in path:
        raise ValueError(f"the path {str(path)[:80]!r}")
    *parents, last = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    if isinstance(value, nn.Parameter):
        root.register_parameter(last, value)
    elif isinstance(value, Tensor):
        root.register_buffer(last, value)
    elif last in root._modules:  # a part of it came first
        raise ValueError(f"the path {path}")
    else:
        root.add_module(last, value)


def _function(name: str, args: list[Any], known: Mapping[str, object]) -> Any:
    if name == "getattr":
        if len(args) != 2 or args[1] not in ATTRIBUTES:
            raise ValueError(f"the attribute {args[1:]}")
        return getattr
    home, _, rest = name.partition(".")
    if home == "aten":
        packet, _, overload = rest.partition(".")
        function = getattr(getattr(torch.ops.aten, _identifier(packet)), _identifier(overload))
        if not isinstance(function, torch._ops.OpOverload) or not _computes(function):
            raise ValueError(f"the function {name}")
        return function
    return known[name]


def _decoded(value: Any, made: Mapping[str, fx.Node]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list):
        return [_decoded(part, made) for part in value]
    ((kind, content),) = value.items()
    if kind == "node":
        return made[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_decoded(part, made) for part in content)
    if kind == "slice":
        return slice(*(_decoded(part, made) for part in content))
    if kind == "dict":
        return {key: _decoded(part, made) for key, part in content.items()}
    if kind in ("dtype", "memory_format", "layout"):
        attribute = getattr(torch, _identifier(content))
        if type(attribute).__name__ != kind or content not in (*DTYPES, "strided", *MEMORY_FORMATS):
            raise ValueError(f"the {kind} {content}")
        return attribute
    if kind == "device":
        return torch.device("cpu")
    if kind == "ellipsis":
        return Ellipsis
    raise ValueError(f"the argument {kind}")
