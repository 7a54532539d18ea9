"""What comes after some unit layers, as a function of cached values and of how a few units change.

    tail = Tail(network, ["layer2.0.relu1"])
    boundary = tail.boundary(images)                 # once for these images
    logits = tail.logits(boundary, {"layer2.0.relu1": UnitEdit(units, gain, offset)})

A layer that is linear in the changed units, such as the convolution after them, is not computed again: its cached
output moves by the same convolution over those units alone. So what follows a unit layer up to the next activation
function costs next to nothing, and for the last layers nothing else is left.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from selviz.ablation.tail_graph import TailGraph
from selviz.networks.graph_surgery import descendants, with_outputs
from selviz.networks.unit_edit import UnitEdit
from selviz.networks.unit_layers import UnitLayer
from selviz.networks.unit_network import UnitNetwork

# Picking images out of the boundary costs a copy: it pays when at least a tenth of them need no computation.
MAX_REACHED = 0.9
Boundary = list[Tensor]  # cached values of some images; the last one is their intact logits [N, C]


class Movement(NamedTuple):
    """How maps of a layer move: those of units [k] by delta [N, k, *positions] (the layer's axes) times gains [k]."""

    delta: Tensor
    units: Tensor
    gains: Tensor


class Prepared(NamedTuple):
    """What many edits of one boundary share: for each layer that no other one reaches, whether a unit is not 0 on an
    image, bool [N, U], and on the CPU its map with units first [U, N, *positions].
    """

    active: dict[str, Tensor]
    planes: dict[str, Tensor]


class Tail:
    """The part of a network that some unit layers (names, any order) reach. Holds no state: threads share it.

    `linear` says that no non-linearity is in it: then the logits' movement is the sum of the units' own.
    """

    def __init__(self, network: UnitNetwork, names: Sequence[str]):
        self.network = network
        self.layers = network.in_order(names)
        nodes = [layer.node for layer in self.layers]
        inside = descendants(network.graph, nodes)
        self.outer = [layer for layer in self.layers if layer.node not in inside]  # no other layer reaches these
        self.inner = [layer for layer in self.layers if layer.node in inside]
        graph = TailGraph(network, self.outer, self.inner, inside)
        self.linear = graph.linear
        self.module = network.graph_module(graph.tail)
        self.cached = [*graph.cached, graph.output]  # the nodes of a boundary's values
        head = graph.head()
        self._head = None if head is None else network.graph_module(head[0])
        self.head_weight = None if head is None else network.root.get_parameter(head[1])  # [C, U]
        self._position = {node: position for position, node in enumerate(graph.cached)}
        sizes = (network.shapes.get(name, ()) for name in graph.cached)
        self.bytes_per_image = 4 * sum(math.prod(size) for size in sizes)
        reached = (network.shapes.get(name, ()) for name in {*graph.cached, *inside})
        self.widest = 4 * max(math.prod(size[1:]) for size in reached)  # bytes of an image's largest value
        self._prefix = network.graph_module(with_outputs(network.graph, self.cached))

    def boundary(self, inputs: Tensor) -> Boundary:
        """Return what `logits` starts from for inputs [N, C, H, W], on the network's device."""
        return [in_own_memory(value) for value in self._prefix(inputs.to(self.network.device))]

    def map(self, boundary: Boundary, name: str) -> Tensor:
        """Return the intact map [N, U, *positions] of one of the layers that no other one reaches."""
        layer = self.network.layer(name)
        return boundary[self._position[layer.node]].movedim(layer.axis, 1)

    def logits(self, boundary: Boundary, edits: Mapping[str, UnitEdit], prepared: Prepared | None = None) -> Tensor:
        """Return logits [N, C] under an edit of each of the layers. Images that no edit reaches keep their logits.

        `prepared` is what `self.prepared` made of this boundary, for callers with many edits of it. The result is
        where the edits are.
        """
        there = next(iter(edits.values())).offset.device
        edits = {name: edit.to(self.network.device) for name, edit in edits.items()}
        return self._logits(boundary, edits, prepared).to(there)

    def _logits(self, boundary: Boundary, edits: Mapping[str, UnitEdit], prepared: Prepared | None) -> Tensor:
        moved = [self._movement(boundary, layer, edits[layer.name], prepared) for layer in self.outer]
        intact = boundary[-1]
        if self.linear:
            return intact + self._computed(boundary[:-1], _flat(moved))
        if self.inner:
            return self._computed(boundary[:-1], [*_flat(moved), *self._inner_edits(edits)])
        rows = self._reached(boundary, edits, moved, prepared)
        if rows is None:
            return self._computed(boundary[:-1], _flat(moved))
        logits = intact.clone()
        if len(rows):
            parts = [_rows(value, rows) for value in boundary[:-1]]
            moved = [each._replace(delta=_rows(each.delta, rows)) for each in moved]
            logits[rows] = self._computed(parts, _flat(moved))
        return logits

    def shared(self, boundary: Boundary) -> list[Tensor]:
        """Return what many edits of this boundary share, to be kept: `prepared` reads it."""
        active = [_by_unit(boundary[self._position[layer.node]], layer) for layer in self.outer]
        if self.network.device.type != "cpu":
            return active
        return [*active, *(self.map(boundary, layer.name).movedim(1, 0).contiguous() for layer in self.outer)]

    def prepared(self, shared: Sequence[Tensor]) -> Prepared:
        """Return what `shared` gave, by layer."""
        names, count = [layer.name for layer in self.outer], len(self.outer)
        return Prepared(dict(zip(names, shared[:count])), dict(zip(names, shared[count:])))

    @property
    def shared_bytes_per_image(self) -> int:
        """Return the memory that `shared` takes for an image."""
        return sum(4 * math.prod(layer.shape[1:]) + layer.units for layer in self.outer)

    def _reached(
        self,
        boundary: Boundary,
        edits: Mapping[str, UnitEdit],
        moved: Sequence[Movement],
        prepared: Prepared | None,
    ) -> Tensor | None:
        """Return the numbers of the images on which anything moves; None where it is not worth while to pick them."""
        reached = torch.zeros(len(boundary[-1]), dtype=torch.bool, device=boundary[-1].device)
        for layer, movement in zip(self.outer, moved):
            if prepared is None or not edits[layer.name].scales:
                reached |= _by_unit(movement.delta, layer).any(dim=1)
            else:
                reached |= prepared.active[layer.name].index_select(1, movement.units).any(dim=1)
        few = int(reached.sum()) <= MAX_REACHED * len(reached)
        return reached.nonzero().squeeze(1) if few and self._has_rows(boundary) else None

    def head(self, maps: Tensor) -> Tensor | None:
        """Return what the last linear layer takes from maps [N, U, *positions] of all units: [N, U].

        Logits move by this times `head_weight` [C, U]. None unless the tail is one layer's and nothing but poolings
        stands before its one nn.Linear.
        """
        if self._head is None:
            return None
        (layer,) = self.outer
        features: Tensor = self._head(maps.movedim(1, layer.axis))
        return features

    def _computed(self, cached: Sequence[Tensor], arguments: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.module(*cached, *arguments)
        return logits

    def _movement(self, boundary: Boundary, layer: UnitLayer, edit: UnitEdit, prepared: Prepared | None) -> Movement:
        # Units last, as the values lie in memory: picking them along another axis takes ten times as long. From planes
        # it takes a third of that time, as no other unit's values are read.
        planes = prepared.planes.get(layer.name) if prepared is not None else None
        if planes is not None:
            map_ = torch.stack([planes[unit] for unit in edit.units.tolist()], dim=-1)
        else:
            map_ = boundary[self._position[layer.node]].movedim(layer.axis, -1).index_select(-1, edit.units)
        if edit.scales:
            return Movement(map_.movedim(-1, layer.axis), edit.units, edit.gain - 1)
        gain, offset = (part.movedim(layer.axis, -1) for part in edit.broadcast(layer))
        delta = torch.addcmul(offset, map_, gain - 1)
        return Movement(delta.movedim(-1, layer.axis), edit.units, torch.ones_like(edit.gain))

    def _has_rows(self, boundary: Boundary) -> bool:
        """Return whether every cached value has one row per image, as with the one image of the example."""
        return all(
            isinstance(value, Tensor) and len(value) == len(boundary[-1]) and self.network.shapes[name][:1] == (1,)
            for name, value in zip(self.cached[:-1], boundary)
        )

    def _inner_edits(self, edits: Mapping[str, UnitEdit]) -> list[Tensor]:
        parts = []
        for layer in self.inner:
            edit = edits[layer.name]
            parts += [edit.units, *edit.broadcast(layer)]
        return parts


def _flat(moved: Sequence[Movement]) -> list[Tensor]:
    return [part for movement in moved for part in movement]


def in_own_memory(value: Tensor) -> Tensor:
    """Return the value in a memory of its own, channels last, so that nothing larger is kept alive."""
    if not isinstance(value, Tensor):  # a size that the graph computed
        return value
    return value.contiguous(memory_format=torch.channels_last if value.dim() == 4 else torch.contiguous_format)


def _by_unit(values: Tensor, layer: UnitLayer) -> Tensor:
    """Return bool [N, k] of values [N, k, *positions] (the layer's own axes): whether any position is not 0."""
    values = values.movedim(layer.axis, 1)
    return values.flatten(2).any(dim=2) if values.dim() > 2 else values.bool()


def _rows(value: Tensor, rows: Tensor) -> Tensor:
    if value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last):
        return value.movedim(1, -1)[rows].movedim(-1, 1)
    return value[rows]
