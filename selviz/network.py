"""A classifier as a graph with named unit layers.

    network = UnitNetwork(model, example)            # example: one input [1, C, H, W]
    logits, activations = network.observe(images)    # activations: one [N, U] per unit layer, differentiable
    boundary = network.boundary(images, ["relu3"])   # what a change of relu3 cannot reach, computed once
    logits = network.resume(boundary, {"relu3": silence(network.layer("relu3"), [4, 7])})

Every activation function's output is a unit layer; gates (sigmoid, hardsigmoid, softmax) are not. There are no hooks
and nothing is switched on or off: an intervention is an argument, so one network can serve many threads at once.
"""

import copy
import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from selviz.errors import SelvizError, unknown

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


@dataclass(frozen=True)
class Edit:
    """An intervention on one layer: its map becomes `map * gain + offset`.

    `gain` and `offset` broadcast to the map [N, U, *positions], unit axis second; give both [U]-shaped for one value a
    unit, or offset as [N, U, *positions] to write a whole map.
    """

    gain: Tensor
    offset: Tensor


def silence(layer: UnitLayer, units: Sequence[int], values: Tensor | float = 0.0) -> Edit:
    """The Edit that clamps these units' maps to 0, or to `values` (one a unit in `units`)."""
    gain, offset = torch.ones(layer.units), torch.zeros(layer.units)
    chosen = check_units(layer, units)
    gain[chosen] = 0.0
    offset[chosen] = torch.as_tensor(values, dtype=torch.float32)
    return Edit(gain, offset)


def check_units(layer: UnitLayer, units: Iterable[int]) -> list[int]:
    """The same units as a list; SelvizError for one that the layer does not have or that stands twice."""
    units = [operator.index(unit) for unit in units]
    for unit in units:
        if not 0 <= unit < layer.units:
            raise SelvizError(f"Layer {layer.name!r} has no unit {unit}; its units are 0 to {layer.units - 1}.")
    if twice := {unit for unit in units if units.count(unit) > 1}:
        raise SelvizError(f"Unit {min(twice)} of layer {layer.name!r} is named twice; name each unit once.")
    return units


class UnitNetwork:
    """A traced classifier and its unit layers. Trains the parameters of the model it was made from.

    Raises SelvizError if the model cannot be traced, has no activation function, or gives no logits [N, C].
    """

    def __init__(self, model: nn.Module, example: Tensor):
        self.root, graph = _trace(model)
        self.graph = graph
        self.shapes = _shapes(self.root, graph, example)
        self.layers = _find_layers(self.root, graph, self.shapes)
        if not self.layers:
            raise SelvizError("The network has no activation function, so it has no units to look at.")
        self._by_name = {layer.name: layer for layer in self.layers}
        nodes = {node.name: node for node in graph.nodes}
        self._relus = {layer.name for layer in self.layers if _is_relu(self.root, nodes[layer.node])}
        self._modules: dict = {}
        self._lock = threading.Lock()
        self.observer = self.graph_module(_observing(graph, self.layers))

    def layer(self, name: str) -> UnitLayer:
        """The layer of that name; SelvizError with the near matches if there is none."""
        if name not in self._by_name:
            raise unknown("layer", name, list(self._by_name))
        return self._by_name[name]

    def in_order(self, names: Iterable[str]) -> list[UnitLayer]:
        """The layers of these names, in forward order."""
        wanted = {self.layer(name).name for name in names}
        return [layer for layer in self.layers if layer.name in wanted]

    def observe(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [N, C], and the activations [N, U] of every layer: each unit's mean over its positions."""
        return self.observer(inputs)

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits [N, C] of inputs [N, C, H, W]."""
        return self._cached("logits", lambda: copy.deepcopy(self.graph))(inputs)

    def maps(self, inputs: Tensor, name: str) -> Tensor:
        """The layer's whole output [N, U, *positions], differentiable; dense layers give [N, U]."""
        layer = self.layer(name)
        prefix = self._cached(("prefix", name), lambda: with_outputs(self.graph, [layer.node]))
        return prefix(inputs)[0].movedim(layer.axis, 1)

    def sampled(self, inputs: Tensor, places: Mapping[str, Sequence[int] | None]) -> list[Tensor]:
        """The outputs [N, P, U] of the layers that `places` names, in forward order, at these positions only.

        A layer's positions are counted in row-major order; None means all. A dense layer has one position.
        """
        key = tuple((layer.node, layer.axis, _numbers(places[layer.name])) for layer in self.in_order(places))
        return list(self._cached(("sampled", *key), lambda: _sampling(self.graph, key))(inputs))

    def boundary(self, inputs: Tensor, names: Iterable[str]) -> list[Tensor]:
        """The values that `resume` of these layers starts from, for inputs [N, C, H, W]."""
        nodes = self._nodes(names)
        outer = _boundary_nodes(self.graph, nodes)
        return list(self._cached(("boundary", *outer), lambda: with_outputs(self.graph, outer))(inputs))

    def resume(self, boundary: Sequence[Tensor], edits: Mapping[str, Edit]) -> Tensor:
        """Logits [N, C] with these edits, from the `boundary` of the same layers; only what comes after is computed."""
        nodes = self._nodes(edits)
        tail = self._cached(("tail", *nodes), lambda: _tail(self.graph, nodes))
        ordered = sorted(edits, key=lambda name: nodes.index(self.layer(name).node))
        arguments = [part for name in ordered for part in self._broadcast(name, edits[name])]
        return tail(*boundary, *arguments)

    def frozen(self, device: torch.device | str = "cpu") -> "UnitNetwork":
        """A copy for evaluation only: batch norm folded into convolutions, channels last, no gradients to weights."""
        other = copy.copy(self)
        other._modules, other._lock = {}, threading.Lock()
        other.root, other.graph = _folded(self.root, self.graph)
        other.root = other.root.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        other.observer = other.graph_module(_observing(other.graph, self.layers)).eval()
        return other

    def hookable(self) -> tuple["UnitNetwork", dict[str, nn.Module]]:
        """A copy for methods that hook modules (Captum's), and for each layer the module to hook.

        Hooks are global to a module: one thread alone may use the copy. In it each ReLU call is an nn.ReLU of its own,
        and each layer's output passes as [N, U, *positions] through an nn.Identity of its own.
        """
        other = copy.copy(self)
        other._modules, other._lock = {}, threading.Lock()
        other.root, other.graph = copy.deepcopy(self.root), copy.deepcopy(self.graph)
        nodes = {node.name: node for node in other.graph.nodes}
        layers, hooks = [], {}
        for position, layer in enumerate(self.layers):
            if self.is_relu(layer.name):
                _own_module(other.root, other.graph, nodes[layer.node], f"selviz_relu_{position}", nn.ReLU())
            hooks[layer.name] = nn.Identity()
            path = f"selviz_identity_{position}"
            node = _through_module(other.root, other.graph, nodes[layer.node], layer.axis, path, hooks[layer.name])
            layers.append(replace(layer, node=node.name))
        other.layers, other._by_name = tuple(layers), {layer.name: layer for layer in layers}
        return other, hooks

    def is_relu(self, name: str) -> bool:
        """Whether the layer is the output of a ReLU."""
        return self.layer(name).name in self._relus

    def feeds(self, name: str, target: str | None = None) -> tuple[bool, bool]:
        """Whether a layer leads to the layer `target`, or to the logits; whether all that leads there leads through it.

        A layer leads to itself.
        """
        end = self.layer(target).node if target else _output(self.graph).args[0].name
        node, inputs = self.layer(name).node, [node.name for node in self.graph.nodes if node.op == "placeholder"]
        feeds = node == end or end in descendants(self.graph, [node])
        return feeds, feeds and end not in descendants(self.graph, inputs, without=node)

    def weights_before(self, target: str | None = None) -> list[tuple[str, list[Tensor]]]:
        """The modules with parameters that lead to a layer, or to the logits, the last first: (path, parameters)."""
        end = self.layer(target).node if target else _output(self.graph).args[0].name
        found: dict[str, list[Tensor]] = {}
        for node in reversed(self.graph.nodes):
            if node.op not in ("call_module", "get_attr") or node.target in found:
                continue
            part = operator.attrgetter(node.target)(self.root)
            tensors = (
                list(part.parameters()) if isinstance(part, nn.Module) else [part] * isinstance(part, nn.Parameter)
            )
            if tensors and (node.name == end or end in descendants(self.graph, [node.name])):
                found[node.target] = tensors
        return list(found.items())

    def _nodes(self, names: Iterable[str]) -> list[str]:
        return [layer.node for layer in self.in_order(names)]

    def _broadcast(self, name: str, edit: Edit) -> tuple[Tensor, Tensor]:
        layer = self.layer(name)
        trailing = (1,) * (len(layer.shape) - 2)
        gain, offset = (part.view(1, -1, *trailing) if part.dim() == 1 else part for part in (edit.gain, edit.offset))
        return gain.movedim(1, layer.axis), offset.movedim(1, layer.axis)

    def graph_module(self, graph: fx.Graph) -> fx.GraphModule:
        """A module that computes `graph`, a graph over this network's own parameters."""
        module = fx.GraphModule(self.root, graph)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module

    def _cached(self, key, make: Callable[[], fx.Graph]) -> fx.GraphModule:
        with self._lock:
            if key not in self._modules:
                self._modules[key] = self.graph_module(make())
            module = self._modules[key]
        if module.training != self.observer.training:
            module.train(self.observer.training)
        return module


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        # Its functional form would freeze the training switch into the graph.
        return isinstance(module, torchvision.ops.StochasticDepth) or super().is_leaf_module(module, path)


def _trace(model: nn.Module) -> tuple[nn.Module, fx.Graph]:
    """The model as root module and graph, activations out of place, dropout obeying train() and eval()."""
    was_training = model.training
    tracer = _Tracer()
    try:
        # Auxiliary heads exist in training mode only; the graph is the network that is evaluated.
        graph = tracer.trace(model.eval())
    except Exception as error:
        raise SelvizError(f"The network {type(model).__name__} cannot be traced by torch.fx: {error}") from error
    finally:
        model.train(was_training)
    root = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        if node.op == "call_module":
            module = root.get_submodule(node.target)
            if getattr(module, "inplace", False):
                module.inplace = False
        elif node.op == "call_function" and node.target is F.dropout:
            _dropout_as_module(root, graph, node)
        elif node.op in ("call_function", "call_method"):
            _out_of_place(node)
    graph.eliminate_dead_code()
    root.train(was_training)
    return root, graph


def _dropout_as_module(root: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    path = f"selviz_{node.name}"
    root.add_module(path, nn.Dropout(share))
    with graph.inserting_before(node):
        module = graph.call_module(path, (node.args[0],))
    node.replace_all_uses_with(module)
    graph.erase_node(node)


def _out_of_place(node: fx.Node) -> None:
    node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    name = _activation_name(node)
    if name is None:
        return
    if node.op == "call_function" and len(node.args) > 1 and isinstance(node.args[-1], bool):
        node.args = node.args[:-1]
    if name.endswith("_"):
        node.op, node.target = "call_function", getattr(torch, name[:-1], None) or getattr(F, name[:-1])


def _activation_name(node: fx.Node) -> str | None:
    if node.op == "call_function":
        return FUNCTION_NAMES.get(node.target)
    return node.target if node.op == "call_method" and node.target in NAME_SIGNED else None


def _find_layers(root: nn.Module, graph: fx.Graph, shapes: dict[str, tuple[int, ...]]) -> tuple[UnitLayer, ...]:
    found, used = [], {}
    for node in graph.nodes:
        if node.op == "call_module":
            module = root.get_submodule(node.target)
            signed = next((s for kind, s in MODULE_SIGNED.items() if type(module) is kind), None)
            name = node.target
        else:
            function = _activation_name(node)
            signed = None if function is None else NAME_SIGNED[function]
            name = ".".join(part for part in (_enclosing(node), (function or "").rstrip("_")) if part)
        if signed is None:
            continue
        count = used[name] = used.get(name, -1) + 1
        shape = shapes[node.name]
        axis = _unit_axis(root, node, len(shape))
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
    last = max(len(found) - 1, 1)
    return tuple(replace(layer, depth=position / last) for position, layer in enumerate(found))


def _shapes(root: nn.Module, graph: fx.Graph, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape of each tensor-valued node for the example input [1, C, H, W]."""
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
            logits = Recorder(fx.GraphModule(root.eval(), graph)).run(example)
    except RuntimeError as error:
        raise SelvizError(f"The network does not take inputs of shape {tuple(example.shape)}: {error}") from error
    finally:
        root.train(was_training)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise SelvizError("The network must return logits, one tensor [images, classes].")
    return shapes


def _enclosing(node: fx.Node) -> str:
    """Dotted path of the module whose forward made the node."""
    stack = node.meta.get("nn_module_stack")
    return list(stack)[-1] if stack else ""


def _is_squeeze(node: fx.Node) -> bool:
    stack = node.meta.get("nn_module_stack") or {}
    kinds = (entry[1] if isinstance(entry, tuple) else entry for entry in stack.values())
    return any(getattr(kind, "__name__", str(kind)).rsplit(".")[-1] in SQUEEZE_CLASSES for kind in kinds)


def _unit_axis(root: nn.Module, node: fx.Node, dimensions: int) -> int:
    """1 after a convolution or batch norm, the last after a linear layer: channels may come last."""
    if dimensions <= 2:
        return dimensions - 1
    for _ in range(100):
        if not node.all_input_nodes:
            break
        node = node.all_input_nodes[0]
        if node.op == "call_module":
            module = root.get_submodule(node.target)
            if isinstance(module, nn.Linear | nn.LayerNorm | nn.MultiheadAttention):
                return dimensions - 1
            if isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
                return 1
        elif node.target in (F.linear, F.layer_norm):
            return dimensions - 1
        elif node.target in (F.conv2d, F.batch_norm, F.group_norm):
            return 1
    return 1


def _observing(graph: fx.Graph, layers: Sequence[UnitLayer]) -> fx.Graph:
    """The graph that returns (logits, [activations [N, U] of each layer])."""
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    output = next(node for node in graph.nodes if node.op == "output")
    means = []
    for layer in layers:
        node = nodes[layer.node]
        positions = tuple(d for d in range(1, len(layer.shape)) if d != layer.axis)
        with graph.inserting_after(node):
            means.append(graph.call_method("mean", (node,), {"dim": positions}) if positions else node)
    output.args = ((output.args[0], means),)
    return graph


def _numbers(places: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if places is None else tuple(map(int, places))


def _sampling(graph: fx.Graph, wanted: Sequence[tuple[str, int, tuple[int, ...] | None]]) -> fx.Graph:
    """The graph that returns [N, P, U] of these (node, unit axis, positions), and holds no map longer than needed."""
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    samples = []
    for name, axis, places in wanted:
        with graph.inserting_after(nodes[name]):
            samples.append(graph.call_function(_at_places, (nodes[name], axis, places)))
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = (samples,)
    return graph


def _at_places(values: Tensor, axis: int, places: tuple[int, ...] | None) -> Tensor:
    """[N, U, *positions], units on `axis`, as [N, P, U]."""
    if values.dim() == 2:
        return values.unsqueeze(1)
    flat = values.movedim(axis, -1).flatten(1, -2)
    return flat if places is None else flat[:, list(places)]


def with_outputs(graph: fx.Graph, names: Sequence[str]) -> fx.Graph:
    """The graph that computes these nodes and no more, and returns them as a list."""
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = ([nodes[name] for name in names],)
    return graph


def _is_relu(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(root.get_submodule(node.target)) is nn.ReLU
    return _activation_name(node) in ("relu", "relu_")


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "output")


def _own_module(root: nn.Module, graph: fx.Graph, node: fx.Node, path: str, module: nn.Module) -> None:
    """Makes an activation's node the call of a new module; it keeps its name."""
    root.add_module(path, module)
    node.op, node.target, node.args, node.kwargs = "call_module", path, node.args[:1], {}


def _through_module(
    root: nn.Module, graph: fx.Graph, node: fx.Node, axis: int, path: str, module: nn.Module
) -> fx.Node:
    """Sends the node's value through a new module, which sees `axis` as its second; the node that comes out."""
    root.add_module(path, module)
    users = list(node.users)
    with graph.inserting_after(node):
        first = graph.call_method("movedim", (node, axis, 1)) if axis != 1 else node
    with graph.inserting_after(first):
        last = graph.call_module(path, (first,))
    if axis != 1:
        with graph.inserting_after(last):
            last = graph.call_method("movedim", (last, 1, axis))
    for user in users:
        user.replace_input_with(node, last)
    return last


def descendants(graph: fx.Graph, names: Sequence[str], without: str | None = None) -> set[str]:
    """The names of the nodes that depend on these, other than by way of `without`."""
    reached: set[str] = set()
    for node in graph.nodes:
        if node.name == without:
            continue
        if any(parent.name in reached or parent.name in names for parent in node.all_input_nodes):
            reached.add(node.name)
    return reached


def _boundary_nodes(graph: fx.Graph, names: Sequence[str]) -> list[str]:
    """The nodes, in graph order, whose values the descendants of these layers and the layers themselves start from."""
    inside = descendants(graph, names)
    needed = {name for name in names if name not in inside}
    for node in graph.nodes:
        if node.name in inside:
            needed.update(p.name for p in node.all_input_nodes if p.name not in inside and p.op != "get_attr")
    return [node.name for node in graph.nodes if node.name in needed]


def _tail(graph: fx.Graph, names: Sequence[str]) -> fx.Graph:
    """The graph (boundary values..., then gain and offset of each layer) -> logits."""
    inside, outer = descendants(graph, names), _boundary_nodes(graph, names)
    tail, value = fx.Graph(), {}
    for name in outer:
        value[name] = tail.placeholder(f"boundary_{name}")
    edits = {name: (tail.placeholder(f"gain_{name}"), tail.placeholder(f"offset_{name}")) for name in names}
    for node in graph.nodes:
        if node.name in inside or node.op == "get_attr":
            value[node.name] = tail.node_copy(node, lambda parent: value[parent.name])
        if node.name in edits:
            gain, offset = edits[node.name]
            scaled = tail.call_function(operator.mul, (value[node.name], gain))
            value[node.name] = tail.call_function(operator.add, (scaled, offset))
    return tail


def _folded(root: nn.Module, graph: fx.Graph) -> tuple[nn.Module, fx.Graph]:
    """A deep copy in eval mode whose batch norms are part of the convolutions before them."""
    root, graph = copy.deepcopy(root).eval(), copy.deepcopy(graph)
    for node in list(graph.nodes):
        if node.op != "call_module" or type(root.get_submodule(node.target)) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = root.get_submodule(before.target)
        once = sum(other.target == before.target for other in graph.nodes if other.op == "call_module") == 1
        if type(convolution) is nn.Conv2d and once:
            root.set_submodule(before.target, fuse_conv_bn_eval(convolution, root.get_submodule(node.target)))
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    return root, graph
