"""The graph of a tail: what follows unit layers, as a function of cached values and of how the units move.

    graph = TailGraph(network, outer, inner, inside)     # graph.tail, a torch.fx graph; graph.cached, what it takes

A node that is linear in what moves is not computed again: its cached value moves. The others are computed in full.
"""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from selviz.networks.unit_edit import edited
from selviz.networks.unit_layers import UnitLayer
from selviz.networks.unit_network import UnitNetwork

ADDITIONS = (operator.add, torch.add)
POOLINGS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
POOLING_FUNCTIONS = (F.adaptive_avg_pool2d, F.avg_pool2d)
PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d)


class Moved(NamedTuple):
    """A node's value as its cached value plus a movement: of all channels, or of `units` along `axis` alone.

    The movement of the units is `delta` times `gains` [k], which the next weights take up.
    """

    delta: fx.Node
    units: fx.Node | None = None
    gains: fx.Node | None = None
    axis: int = 1
    dimensions: int = 0


class TailGraph:
    """The tail's graph: `tail`; the nodes whose values it takes (`cached`, in order); `output`, the logits' node.

    Where no non-linearity follows, `linear` is true and the graph returns the movement of the logits, not the logits.
    """

    def __init__(self, network: UnitNetwork, outer: Sequence[UnitLayer], inner: Sequence[UnitLayer], inside: set[str]):
        self.network, self.inside, self.tail = network, inside, fx.Graph()
        self.moved: dict[str, Moved] = {}
        self.value: dict[str, fx.Node] = {}
        self.cached: dict[str, fx.Node] = {}
        self.shape: dict[fx.Node, tuple[int, ...] | None] = {}
        self.moved_from: list[fx.Node] = []
        self._linear_end = self._nodes_before_linear_end()
        self.linear = False
        self._first = self.tail.create_node("placeholder", "boundary", (), {}, name="boundary")
        for layer in outer:
            self._cache(layer.node)
            delta, units, gains = (self._placeholder(part, layer) for part in ("delta", "units", "gains"))
            self.moved[layer.node] = Moved(delta, units, gains, layer.axis, len(layer.shape))
            self.moved_from.append(delta)
        edits = {
            layer.node: [self._placeholder(part, layer) for part in ("units", "gain", "offset")] for layer in inner
        }
        axes = {layer.node: layer.axis for layer in inner}
        for node in network.graph.nodes:
            if node.op == "output":
                self._return(node)
            elif node.name in inside:
                moved = self._linear(node)
                if moved is not None and node.name not in edits:
                    self.moved[node.name] = moved
                else:
                    self.value[node.name] = self._shaped(node, self.tail.node_copy(node, self._materialized))
                if node.name in edits:
                    (units, gain, offset), value = edits[node.name], self.value[node.name]
                    call = (value, units, gain, offset, axes[node.name])
                    self.value[node.name] = self.tail.call_function(edited, call)
        self.tail.erase_node(self._first)
        _in_place(network.root, self.tail, self.shape)

    def _return(self, node: fx.Node) -> None:
        (logits,) = node.all_input_nodes
        self.output = logits.name
        moved = self.moved.get(logits.name)
        self.linear = moved is not None and moved.units is None and logits.name not in self.value
        self.tail.output(moved.delta if moved is not None and self.linear else self._materialized(logits))

    def head(self) -> tuple[fx.Graph, str] | None:
        """Return the graph (map of all units) -> what one last linear layer takes of it, and that layer's weight.

        None where the movement of the logits is not that of an nn.Linear of pooled maps of one layer.
        """
        (movement,) = next(node for node in self.tail.nodes if node.op == "output").all_input_nodes
        if not self.linear or movement.target is not linear_of_units:
            return None
        features, weight = movement.all_input_nodes[:2]
        needed = {features}
        for node in reversed(self.tail.nodes):
            needed.update(node.all_input_nodes if node in needed else ())
        if [node for node in needed if node.op in ("placeholder", "get_attr")] != [self.moved_from[0]]:
            return None
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in self.tail.nodes:
            if node in needed:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(copies[features])
        return graph, str(weight.target)

    def _shaped(self, node: fx.Node, value: fx.Node) -> fx.Node:
        self.shape[value] = self.network.shapes.get(node.name)
        return value

    def _placeholder(self, part: str, layer: UnitLayer) -> fx.Node:
        return self.tail.placeholder(f"{part}_{layer.node}")

    def _cache(self, name: str) -> fx.Node:
        """Return the placeholder of a cached value; they stand before all other arguments."""
        if name not in self.cached:
            with self.tail.inserting_before(self._first):
                self.cached[name] = self.tail.placeholder(f"cached_{name}")
        return self.cached[name]

    def _materialized(self, node: fx.Node) -> fx.Node:
        """Return the node's value in the tail: computed, cached plus its movement, or cached."""
        if node.name in self.value:
            return self.value[node.name]
        if node.op == "get_attr":
            self.value[node.name] = self.tail.get_attr(str(node.target))
            return self.value[node.name]
        source = node
        while source.op == "call_module" and type(self._module(source)) in PASSING:
            (source,) = source.all_input_nodes
        if source is not node:
            self.value[node.name] = self._materialized(source)
            return self.value[node.name]
        cached = self._cache(node.name)
        if node.name not in self.moved:
            return cached
        delta, units, gains, axis, _ = self.moved[node.name]
        if units is None:
            value = self._shaped(node, self.tail.call_function(operator.add, (delta, cached)))
        else:
            value = self.tail.call_function(moved_units, (cached, units, delta, gains, axis))
        self.value[node.name] = value
        return value

    def _module(self, node: fx.Node) -> nn.Module:
        return self.network.root.get_submodule(str(node.target))

    def _nodes_before_linear_end(self) -> set[fx.Node]:
        """Return the nodes from which on all is linear, so that the logits' movement follows from theirs."""
        nodes: set[fx.Node] = set()
        for node in reversed(self.network.graph.nodes):
            if self._is_linear(node) and all(user.op == "output" or user in nodes for user in node.users):
                nodes.add(node)
        return nodes

    def _is_linear(self, node: fx.Node) -> bool:
        """Return whether the node is linear in all its inputs together, but for a constant."""
        if node.op == "call_module":
            module = self._module(node)
            padded = type(module) is nn.Conv2d and module.padding_mode != "zeros"
            return type(module) in (nn.Conv2d, nn.Linear, nn.Flatten, *POOLINGS, *PASSING) and not padded
        added = node.target in ADDITIONS and not node.kwargs
        return added or node.target in ("mean", torch.mean, "flatten", torch.flatten, torch.cat, *POOLING_FUNCTIONS)

    def _linear(self, node: fx.Node) -> Moved | None:
        """Return the movement of a node that is linear in what moves; None for any other, which is computed in full."""
        if any(parent.name in self.inside and parent.name not in self.moved for parent in node.all_input_nodes):
            return None
        moved = self._of_units(node)
        return self._of_all(node) if moved is None and node in self._linear_end else moved

    def _of_all(self, node: fx.Node) -> Moved:
        """Return the movement of all channels of a linear node."""
        whole = {parent: self._whole(parent) for parent in node.all_input_nodes}
        if node.op == "call_module":
            module, (delta,) = self._module(node), whole.values()
            if isinstance(module, nn.Linear | nn.Conv2d):
                weight = self.tail.get_attr(f"{node.target}.weight")
                if isinstance(module, nn.Linear):
                    return Moved(self.tail.call_function(F.linear, (delta, weight)))
                options = (None, module.stride, module.padding, module.dilation, module.groups)
                return Moved(self.tail.call_function(F.conv2d, (delta, weight, *options)))
        return Moved(self.tail.node_copy(node, whole.__getitem__))

    def _whole(self, node: fx.Node) -> fx.Node:
        """Return the movement of all channels of a node, zeros where none of it moves."""
        if node.name not in self.moved:
            return self.tail.call_function(torch.zeros_like, (self._cache(node.name),))
        moved, shape = self.moved[node.name], self.network.shapes[node.name]
        if moved.units is None:
            return moved.delta
        call = (moved.delta, moved.units, moved.gains, moved.axis, int(shape[moved.axis]))
        return self.tail.call_function(movement_of_all, call)

    def _of_units(self, node: fx.Node) -> Moved | None:
        """Return the movement of a node that is linear in the units that move, as that of units where it can be."""
        parents = [parent for parent in node.all_input_nodes if parent.name in self.inside or parent.name in self.moved]
        moved = [self.moved[parent.name] for parent in parents]
        if node.op == "call_function" and node.target in ADDITIONS and not node.kwargs:
            if any(part.units is not None for part in moved) or len(set(node.args)) < len(node.args):  # x + x
                return None
            delta = moved[0].delta
            return Moved(delta if len(moved) == 1 else self.tail.call_function(operator.add, (delta, moved[1].delta)))
        if len(moved) != 1:
            return None
        part = moved[0]
        shape = self.network.shapes[parents[0].name]
        if node.op == "call_module":
            module = self._module(node)
            if isinstance(module, nn.Flatten) and module.start_dim == 1 and part.units is not None and part.axis == 1:
                return self._flattened(part, shape)
            result = self._linear_module(str(node.target), part)
            if result is not None and result.units is None:
                self._shaped(node, result.delta)
            return result
        if part.units is None or part.axis != 1:
            return None
        if node.target in POOLING_FUNCTIONS:
            return part._replace(delta=self.tail.node_copy(node, {parents[0]: part.delta}.__getitem__))
        if node.target in ("mean", torch.mean):
            dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 1)
            dims = [each % len(shape) for each in (dim if isinstance(dim, tuple | list) else [dim])]
            keep = bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
            if min(dims) < 2:
                return None
            left = len(shape) if keep else len(shape) - len(dims)
            delta = self.tail.call_function(torch.mean, (part.delta, dims, keep))
            return part._replace(delta=delta, dimensions=left)
        flattens = node.target in ("flatten", torch.flatten) and node.args[1:] == (1,) and not node.kwargs
        return self._flattened(part, shape) if flattens else None

    def _flattened(self, part: Moved, shape: Sequence[int]) -> Moved | None:
        if any(size != 1 for size in shape[2:]):
            return None
        return part._replace(delta=self.tail.call_function(torch.flatten, (part.delta, 1)), dimensions=2)

    def _linear_module(self, target: str, part: Moved) -> Moved | None:
        module = self.network.root.get_submodule(target)
        if type(module) in PASSING:
            return part
        if part.units is None:
            return None
        if type(module) in POOLINGS and part.axis == 1:
            return part._replace(delta=self.tail.call_module(target, (part.delta,)))
        if type(module) is nn.Linear and part.axis == part.dimensions - 1:
            weight = self.tail.get_attr(f"{target}.weight")
            return Moved(self.tail.call_function(linear_of_units, (part.delta, weight, part.units, part.gains)))
        if type(module) is nn.Conv2d and part.axis == 1 and module.padding_mode == "zeros":
            weight = self.tail.get_attr(f"{target}.weight")
            options = (module.stride, module.padding, module.dilation)
            if module.groups == 1:
                movement = (part.delta, weight, part.units, part.gains)
                return Moved(self.tail.call_function(convolution_of_units, (*movement, *options)))
            if module.groups == module.in_channels == module.out_channels:
                arguments = (part.delta, weight, part.units, *options)
                return part._replace(delta=self.tail.call_function(depthwise_of_units, arguments))
        return None


def convolution_of_units(delta: Tensor, weight: Tensor, units: Tensor, gains: Tensor, *options: Any) -> Tensor:
    """Return the part [N, O, h, w] of a convolution from delta [N, k, H, W] times gains [k], its inputs `units`."""
    delta = delta.contiguous(memory_format=torch.channels_last)
    if delta.shape[1] == 1:
        # One channel lies in memory both ways; only strides that say "last" give a result with channels last.
        height, width = delta.shape[2:]
        delta = delta.as_strided(delta.shape, (height * width, 1, width, 1))
    return F.conv2d(delta, weight.index_select(1, units) * gains.view(1, -1, 1, 1), None, *options)


def movement_of_all(delta: Tensor, units: Tensor, gains: Tensor, axis: int, width: int) -> Tensor:
    """Return the movement of all `width` channels along `axis` where `units` move by delta times gains [k]."""
    delta = delta.movedim(axis, -1) * gains
    whole = delta.new_zeros(*delta.shape[:-1], width)
    return whole.index_add_(-1, units, delta).movedim(-1, axis)


def depthwise_of_units(delta: Tensor, weight: Tensor, units: Tensor, *options: Any) -> Tensor:
    """Return channels `units` [N, k, h, w] of a depthwise convolution of delta [N, k, H, W]."""
    stride, padding, dilation = options
    return F.conv2d(delta, weight.index_select(0, units), None, stride, padding, dilation, len(units))


def linear_of_units(delta: Tensor, weight: Tensor, units: Tensor, gains: Tensor) -> Tensor:
    """Return the part [..., O] of a linear layer from delta [..., k] times gains [k], its inputs `units`."""
    return F.linear(delta, weight.index_select(1, units) * gains)


def moved_units(cached: Tensor, units: Tensor, delta: Tensor, gains: Tensor, axis: int) -> Tensor:
    """Return a copy of `cached` whose `units` along `axis` are moved by delta times gains [k]."""
    value = cached.clone()
    value.movedim(axis, -1).index_add_(-1, units, delta.movedim(axis, -1) * gains)
    return value


def _in_place(root: nn.Module, graph: fx.Graph, shape: dict[fx.Node, tuple[int, ...] | None]) -> None:
    """Let ReLUs and additions write into a value that the tail made itself and that nothing else reads."""
    fresh = (operator.add, operator.iadd, convolution_of_units, linear_of_units, moved_units)

    def module(node: fx.Node) -> nn.Module | None:
        return root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_own(node: object) -> bool:
        if not isinstance(node, fx.Node) or len(node.users) != 1:
            return False
        return node.target in fresh or type(module(node)) in (nn.Conv2d, nn.Linear)

    for node in graph.nodes:
        if node.op == "call_function" and node.target is operator.add and is_own(node.args[0]):
            if shape.get(node) is None or shape.get(node) != shape.get(node.all_input_nodes[0]):
                continue
            node.target = operator.iadd
        elif type(module(node)) is nn.ReLU and is_own(node.args[0]):
            node.op, node.target = "call_function", torch.relu_
        elif node.op == "call_function" and node.target in (torch.relu, F.relu) and is_own(node.args[0]):
            node.target = torch.relu_
