"""What comes after some unit layers, as a function of cached values and of how a few units change.

    tail = Tail(network, ["layer2.0.relu1"])
    boundary = tail.boundary(images)                 # once for these images
    logits = tail.logits(boundary, {"layer2.0.relu1": UnitEdit([4, 7], gain, offset)})

A layer that is linear in the changed units, such as the convolution after them, is not computed again: its cached
output moves by the same convolution over those units alone. So what follows a unit layer up to the next activation
function costs next to nothing, and for the last layers nothing else is left.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from selviz.networks.graph_surgery import descendants, with_outputs
from selviz.networks.unit_edit import UnitEdit, edited
from selviz.networks.unit_network import UnitNetwork

ADDITIONS = (operator.add, torch.add)
POOLINGS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d)


class Moved(NamedTuple):
    """A node's value as its cached value plus a movement: of all channels, or of `units` along `axis` alone."""

    delta: fx.Node
    units: fx.Node | None = None
    axis: int = 1
    dimensions: int = 0


class Tail:
    """The part of a network that some unit layers (names, any order) reach. Holds no state: threads share it."""

    def __init__(self, network: UnitNetwork, names: Sequence[str]):
        self.network = network
        self.layers = network.in_order(names)
        nodes = [layer.node for layer in self.layers]
        inside = descendants(network.graph, nodes)
        self.outer = [layer for layer in self.layers if layer.node not in inside]  # no other layer reaches these
        self.inner = [layer for layer in self.layers if layer.node in inside]
        builder = _Builder(network, self.outer, self.inner, inside)
        self.module = network.graph_module(builder.tail)
        self._cached = list(builder.cached)
        self._position = {node: position for position, node in enumerate(self._cached)}
        sizes = (network.shapes.get(name, ()) for name in self._cached)
        self.bytes_per_image = 4 * sum(math.prod(size) for size in sizes)
        reached = (network.shapes.get(name, ()) for name in {*self._cached, *inside})
        self.widest = 4 * max(math.prod(size[1:]) for size in reached)  # bytes of an image's largest value
        self._prefix = network.graph_module(with_outputs(network.graph, [*self._cached, builder.output]))

    def boundary(self, inputs: Tensor) -> list[Tensor]:
        """What `logits` starts from for inputs [N, C, H, W]; the last one is the intact logits [N, C]."""
        return [_held(value) for value in self._prefix(inputs)]

    def map(self, boundary: Sequence[Tensor], name: str) -> Tensor:
        """The intact map [N, U, *positions] of one of the layers that no other one reaches."""
        layer = self.network.layer(name)
        return boundary[self._position[layer.node]].movedim(layer.axis, 1)

    def logits(self, boundary: Sequence[Tensor], changes: Mapping[str, UnitEdit]) -> Tensor:
        """Logits [N, C] under a UnitEdit for each of the layers. Images that no change reaches keep their logits."""
        moved = [self._movement(boundary, layer, changes[layer.name]) for layer in self.outer]
        intact = boundary[-1]
        if self.inner:
            return self.module(*boundary[:-1], *_flat(moved), *self._edits(changes))
        reached = torch.stack([_by_unit(delta, layer).any(dim=1) for (delta, _), layer in zip(moved, self.outer)])
        reached = reached.any(dim=0)
        share = float(reached.float().mean())
        if share == 0:
            return intact.clone()
        if share > MOST_REACHED or not self._divisible(boundary):
            return self.module(*boundary[:-1], *_flat(moved))
        rows = reached.nonzero().squeeze(1)
        parts = [_rows(value, rows) for value in boundary[:-1]]
        moved = [(_rows(delta, rows), units) for delta, units in moved]
        logits = intact.clone()
        logits[rows] = self.module(*parts, *_flat(moved))
        return logits

    def _movement(self, boundary, layer, change: UnitEdit) -> tuple[Tensor, Tensor]:
        # Units last, as the values lie in memory: picking them along another axis takes ten times as long.
        map_ = boundary[self._position[layer.node]].movedim(layer.axis, -1).index_select(-1, change.units)
        gain, offset = (part.movedim(layer.axis, -1) for part in change.broadcast(layer))
        return (map_ * gain + (offset - map_)).movedim(-1, layer.axis), change.units

    def _divisible(self, boundary: Sequence) -> bool:
        """Whether every cached value has one row an image, as with the one image of the example."""
        return all(
            isinstance(value, Tensor) and len(value) == len(boundary[-1]) and self.network.shapes[name][:1] == (1,)
            for name, value in zip(self._cached, boundary)
        )

    def _edits(self, changes) -> list[Tensor]:
        parts = []
        for layer in self.inner:
            change = changes[layer.name]
            parts += [change.units, *change.broadcast(layer)]
        return parts


# Picking images out of the boundary costs a copy: it pays when at least a tenth of them need no computation.
MOST_REACHED = 0.9


def _flat(moved):
    return [part for pair in moved for part in pair]


def _held(value):
    """The value in a memory of its own, channels last, so that nothing larger is kept alive."""
    if not isinstance(value, Tensor):
        return value
    return value.contiguous(memory_format=torch.channels_last if value.dim() == 4 else torch.contiguous_format)


def _by_unit(delta: Tensor, layer) -> Tensor:
    return (delta.movedim(layer.axis, -1) != 0).flatten(1)


def _rows(value: Tensor, rows: Tensor) -> Tensor:
    if value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last):
        return value.movedim(1, -1)[rows].movedim(-1, 1)
    return value[rows]


class _Builder:
    """Makes the tail's graph: `tail`, the nodes whose values it takes (`cached`, in order), the logits' node."""

    def __init__(self, network: UnitNetwork, outer, inner, inside: set[str]):
        self.network, self.inside, self.tail = network, inside, fx.Graph()
        self.moved: dict[str, Moved] = {}
        self.value: dict[str, fx.Node] = {}
        self.cached: dict[str, fx.Node] = {}
        self.shape: dict[fx.Node, tuple] = {}
        self._first = self.tail.create_node("placeholder", "boundary", (), {}, name="boundary")
        for layer in outer:
            self._cache(layer.node)
            delta, units = self._placeholder("delta", layer), self._placeholder("units", layer)
            self.moved[layer.node] = Moved(delta, units, layer.axis, len(layer.shape))
        edits = {
            layer.node: [*(self._placeholder(part, layer) for part in ("units", "gain", "offset")), layer.axis]
            for layer in inner
        }
        for node in network.graph.nodes:
            if node.op == "output":
                self.output = node.args[0].name
                self.tail.output(self._materialised(node.args[0]))
            elif node.name in inside:
                moved = self._linear(node)
                if moved is not None and node.name not in edits:
                    self.moved[node.name] = moved
                else:
                    self.value[node.name] = self._shaped(node, self.tail.node_copy(node, self._materialised))
                if node.name in edits:
                    self.value[node.name] = self.tail.call_function(edited, (self.value[node.name], *edits[node.name]))
        self.tail.erase_node(self._first)
        _in_place(network.root, self.tail, self.shape)

    def _shaped(self, node: fx.Node, value: fx.Node) -> fx.Node:
        self.shape[value] = self.network.shapes.get(node.name)
        return value

    def _placeholder(self, part: str, layer) -> fx.Node:
        return self.tail.placeholder(f"{part}_{layer.node}")

    def _cache(self, name: str) -> fx.Node:
        """The placeholder of a cached value; they stand before all other arguments."""
        if name not in self.cached:
            with self.tail.inserting_before(self._first):
                self.cached[name] = self.tail.placeholder(f"cached_{name}")
        return self.cached[name]

    def _materialised(self, node: fx.Node) -> fx.Node:
        """The node's value in the tail: computed, cached plus its movement, or cached."""
        if node.name in self.value:
            return self.value[node.name]
        if node.op == "get_attr":
            self.value[node.name] = self.tail.get_attr(node.target)
            return self.value[node.name]
        source = node
        while source.op == "call_module" and type(self.network.root.get_submodule(source.target)) in PASSING:
            source = source.args[0]
        if source is not node:
            self.value[node.name] = self._materialised(source)
            return self.value[node.name]
        cached = self._cache(node.name)
        if node.name not in self.moved:
            return cached
        delta, units, axis, _ = self.moved[node.name]
        if units is None:
            value = self._shaped(node, self.tail.call_function(operator.add, (delta, cached)))
        else:
            value = self.tail.call_function(moved_units, (cached, units, delta, axis))
        self.value[node.name] = value
        return value

    def _linear(self, node: fx.Node) -> Moved | None:
        """The movement of a node that is linear in what moves; None for any other, which is computed in full."""
        parents = [parent for parent in node.all_input_nodes if parent.name in self.inside or parent.name in self.moved]
        if any(parent.name not in self.moved for parent in parents):
            return None
        moved = [self.moved[parent.name] for parent in parents]
        if node.op == "call_function" and node.target in ADDITIONS and not node.kwargs:
            if any(part.units is not None for part in moved):
                return None
            delta = moved[0].delta
            return Moved(delta if len(moved) == 1 else self.tail.call_function(operator.add, (delta, moved[1].delta)))
        if len(moved) != 1:
            return None
        part = moved[0]
        if node.op == "call_module":
            found = self._linear_module(node.target, part)
            if found is not None and found.units is None:
                self._shaped(node, found.delta)
            return found
        if part.units is None or part.axis != 1:
            return None
        shape = self.network.shapes[parents[0].name]
        if node.target in ("mean", torch.mean):
            dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 1)
            dims = [dim % len(shape) for dim in (dims if isinstance(dims, tuple | list) else [dims])]
            keep = bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
            if min(dims) < 2:
                return None
            left = len(shape) if keep else len(shape) - len(dims)
            delta = self.tail.call_function(torch.mean, (part.delta, dims, keep))
            return part._replace(delta=delta, dimensions=left)
        flattens = node.target in ("flatten", torch.flatten) and node.args[1:] == (1,) and not node.kwargs
        if flattens and all(size == 1 for size in shape[2:]):
            return part._replace(delta=self.tail.call_function(torch.flatten, (part.delta, 1)), dimensions=2)
        return None

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
            return Moved(self.tail.call_function(linear_of_units, (part.delta, weight, part.units)))
        if type(module) is nn.Conv2d and part.axis == 1 and module.padding_mode == "zeros":
            weight = self.tail.get_attr(f"{target}.weight")
            options = (module.stride, module.padding, module.dilation)
            if module.groups == 1:
                return Moved(self.tail.call_function(convolution_of_units, (part.delta, weight, part.units, *options)))
            if module.groups == module.in_channels == module.out_channels:
                arguments = (part.delta, weight, part.units, *options)
                return part._replace(delta=self.tail.call_function(depthwise_of_units, arguments))
        return None


def convolution_of_units(delta: Tensor, weight: Tensor, units: Tensor, stride, padding, dilation) -> Tensor:
    """The part [N, O, h, w] of a convolution that comes from delta [N, k, H, W], its input channels `units`."""
    delta = delta.contiguous(memory_format=torch.channels_last)
    if delta.shape[1] == 1:
        # One channel lies in memory both ways; only strides that say "last" give a result with channels last.
        height, width = delta.shape[2:]
        delta = delta.as_strided(delta.shape, (height * width, 1, width, 1))
    return F.conv2d(delta, weight.index_select(1, units), None, stride, padding, dilation)


def depthwise_of_units(delta: Tensor, weight: Tensor, units: Tensor, stride, padding, dilation) -> Tensor:
    """Channels `units` [N, k, h, w] of a depthwise convolution of delta [N, k, H, W]."""
    return F.conv2d(delta, weight.index_select(0, units), None, stride, padding, dilation, len(units))


def linear_of_units(delta: Tensor, weight: Tensor, units: Tensor) -> Tensor:
    """The part [..., O] of a linear layer that comes from delta [..., k], its inputs `units`."""
    return F.linear(delta, weight.index_select(1, units))


def moved_units(cached: Tensor, units: Tensor, delta: Tensor, axis: int) -> Tensor:
    """A copy of `cached` whose `units` along `axis` are moved by delta."""
    value = cached.clone()
    value.movedim(axis, -1).index_add_(-1, units, delta.movedim(axis, -1))
    return value


def _in_place(root: nn.Module, graph: fx.Graph, shape: dict[fx.Node, tuple]) -> None:
    """Let ReLUs and additions write into a value that the tail made itself and that nothing else reads."""
    fresh = (operator.add, operator.iadd, convolution_of_units, linear_of_units, moved_units)

    def ours(node) -> bool:
        if not isinstance(node, fx.Node) or len(node.users) != 1:
            return False
        return node.target in fresh or (
            node.op == "call_module" and type(root.get_submodule(node.target)) in (nn.Conv2d, nn.Linear)
        )

    for node in graph.nodes:
        if node.op == "call_function" and node.target is operator.add and ours(node.args[0]):
            if shape.get(node) is None or shape.get(node) != shape.get(node.args[0]):
                continue
            node.target = operator.iadd
        elif node.op == "call_module" and type(root.get_submodule(node.target)) is nn.ReLU and ours(node.args[0]):
            node.op, node.target = "call_function", torch.relu_
        elif node.op == "call_function" and node.target in (torch.relu, F.relu) and ours(node.args[0]):
            node.target = torch.relu_
