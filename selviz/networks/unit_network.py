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
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from selviz.errors import unknown
from selviz.networks import devices, graph_nodes, graph_surgery, tracing
from selviz.networks.graph_surgery import descendants, with_outputs
from selviz.networks.tracing import Traced
from selviz.networks.unit_edit import UnitEdit, check_units, silence
from selviz.networks.unit_layers import UnitLayer
from selviz.system.allocation import keep_freed_memory

__all__ = ["UnitEdit", "UnitLayer", "UnitNetwork", "check_units", "silence"]


class UnitNetwork:
    """A traced classifier and its unit layers. Trains the parameters of the model it was made from.

    Raises SelvizError if the model cannot be traced, has no activation function, or gives no logits [N, C].
    """

    def __init__(self, model: nn.Module, example: Tensor):
        self._take(tracing.trace(model, example))

    @classmethod
    def from_traced(cls, traced: Traced) -> "UnitNetwork":
        """Return the network of a graph that was traced before; its layers may be fewer than the graph has."""
        network = cls.__new__(cls)
        network._take(traced)
        return network

    def _take(self, traced: Traced) -> None:
        keep_freed_memory()
        self.root, self.graph, self.shapes, self.layers = traced.root, traced.graph, traced.shapes, traced.layers
        self._by_name = {layer.name: layer for layer in self.layers}
        nodes = {node.name: node for node in self.graph.nodes}
        self._relus = {
            layer.name
            for layer in self.layers
            if graph_nodes.is_relu(self.root, graph_nodes.before_moves(nodes[layer.node]))
        }
        self._modules: dict[Hashable, fx.GraphModule] = {}
        self._lock = threading.Lock()
        self.observer = self.graph_module(graph_surgery.observing(self.graph, self.layers))

    def layer(self, name: str) -> UnitLayer:
        """Return the layer of that name; SelvizError with the near matches if there is none."""
        if name not in self._by_name:
            raise unknown("layer", name, list(self._by_name))
        return self._by_name[name]

    def in_order(self, names: Iterable[str]) -> list[UnitLayer]:
        """Return the layers of these names, in forward order."""
        wanted = {self.layer(name).name for name in names}
        return [layer for layer in self.layers if layer.name in wanted]

    def observe(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [N, C], and the activations [N, U] of every layer: each unit's mean over its positions."""
        observed: tuple[Tensor, list[Tensor]] = self._at_home(self.observer, inputs)
        return observed

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits [N, C] of inputs [N, C, H, W]."""
        logits: Tensor = self._at_home(self._cached("logits", lambda: copy.deepcopy(self.graph)), inputs)
        return logits

    def maps(self, inputs: Tensor, name: str) -> Tensor:
        """Return the layer's whole output [N, U, *positions], differentiable; dense layers give [N, U]."""
        layer = self.layer(name)
        prefix = self._cached(("prefix", name), lambda: with_outputs(self.graph, [layer.node]))
        value: Tensor = self._at_home(prefix, inputs)[0]
        return value.movedim(layer.axis, 1)

    def sampled(self, inputs: Tensor, places: Mapping[str, Sequence[int] | None]) -> list[Tensor]:
        """Return the outputs [N, P, U] of the layers that `places` names, in forward order, at these positions only.

        A layer's positions are counted in row-major order; None means all. A dense layer has one position.
        """
        key = tuple(
            (layer.node, layer.axis, graph_surgery.whole_numbers(places[layer.name])) for layer in self.in_order(places)
        )
        module = self._cached(("sampled", *key), lambda: graph_surgery.sampling(self.graph, key))
        return list(self._at_home(module, inputs))

    def boundary(self, inputs: Tensor, names: Iterable[str]) -> list[Tensor]:
        """Return the values that `resume` of these layers starts from, for inputs [N, C, H, W]."""
        nodes = self._nodes(names)
        outer = graph_surgery.boundary_nodes(self.graph, nodes)
        return list(self._cached(("boundary", *outer), lambda: with_outputs(self.graph, outer))(inputs.to(self.device)))

    def resume(self, boundary: Sequence[Tensor], edits: Mapping[str, UnitEdit]) -> Tensor:
        """Return logits [N, C] with these edits, from the `boundary` of the same layers; only what comes after is
        computed.
        """
        layers = self.in_order(edits)
        tail = self._cached(("tail", *(layer.node for layer in layers)), lambda: graph_surgery.tail(self.graph, layers))
        arguments = [
            part.to(self.device)
            for layer in layers
            for part in (edits[layer.name].units, *edits[layer.name].broadcast(layer))
        ]
        logits: Tensor = tail(*boundary, *arguments)
        return logits.to(edits[layers[0].name].offset.device)

    @property
    def device(self) -> torch.device:
        """Return where the weights are. Inputs may come from anywhere; results go back there, but a boundary's stay."""
        return next((part.device for part in (*self.root.parameters(), *self.root.buffers())), torch.device("cpu"))

    def _at_home(self, module: Callable[..., Any], inputs: Tensor) -> Any:
        """Compute on the network's device, with the results where the inputs are; differentiable all the way."""
        here = self.device
        if inputs.device == here:
            return module(inputs)
        return tree_map_only(Tensor, lambda part: part.to(inputs.device), module(inputs.to(here)))

    def for_inference(self, device: torch.device | str | None = None) -> "UnitNetwork":
        """Return a copy for evaluation, on `device` (default: `devices.chosen()`); batch norm folded, channels last."""
        other = copy.copy(self)
        other._modules, other._lock = {}, threading.Lock()
        other.root, other.graph = graph_surgery.folded(self.root, self.graph, {layer.node for layer in self.layers})
        device = devices.chosen() if device is None else device
        other.root = other.root.to(device).eval().requires_grad_(False)
        graph_surgery.place(other.graph, device)
        for part in (*other.root.parameters(), *other.root.buffers()):
            if part.dim() == 4:  # kernels of images; those of volumes have five axes
                part.data = part.data.contiguous(memory_format=torch.channels_last)
        other.observer = other.graph_module(graph_surgery.observing(other.graph, self.layers)).eval()
        return other

    def hookable(self) -> tuple["UnitNetwork", dict[str, nn.Module]]:
        """Return a copy for methods that hook modules (Captum's and ours), and for each layer the module to hook.

        Hooks are global to a module: one thread alone may use the copy. In it each ReLU call is an nn.ReLU of its own,
        and each layer's output passes as [N, U, *positions] through an nn.Identity of its own.
        """
        other = copy.copy(self)
        other._modules, other._lock = {}, threading.Lock()
        other.root, other.graph = copy.deepcopy(self.root), copy.deepcopy(self.graph)
        nodes = {node.name: node for node in other.graph.nodes}
        layers: list[UnitLayer] = []
        hooks: dict[str, nn.Module] = {}
        for position, layer in enumerate(self.layers):
            if self.is_relu(layer.name):
                relu = graph_nodes.before_moves(nodes[layer.node])
                graph_surgery.own_module(other.root, other.graph, relu, f"selviz_relu_{position}", nn.ReLU())
            hooks[layer.name] = nn.Identity()
            path = f"selviz_identity_{position}"
            node = graph_surgery.through_module(
                other.root, other.graph, nodes[layer.node], layer.axis, path, hooks[layer.name]
            )
            layers.append(replace(layer, node=node.name))
        other.layers, other._by_name = tuple(layers), {layer.name: layer for layer in layers}
        return other, hooks

    def is_relu(self, name: str) -> bool:
        """Return whether the layer is the output of a ReLU."""
        return self.layer(name).name in self._relus

    def feeds(self, name: str, target: str | None = None) -> tuple[bool, bool]:
        """Return whether a layer leads to the layer `target`, or to the logits; whether all that leads there leads
        through it.

        A layer leads to itself.
        """
        end = self.layer(target).node if target else graph_nodes.result(self.graph).name
        node, inputs = self.layer(name).node, [node.name for node in self.graph.nodes if node.op == "placeholder"]
        feeds = node == end or end in descendants(self.graph, [node])
        return feeds, feeds and end not in descendants(self.graph, inputs, without=node)

    def weights_before(self, target: str | None = None) -> list[tuple[str, list[Tensor]]]:
        """Return the modules with parameters that lead to a layer, or to the logits, the last first: (path,
        parameters).
        """
        end = self.layer(target).node if target else graph_nodes.result(self.graph).name
        weights: dict[str, list[Tensor]] = {}
        for node in reversed(self.graph.nodes):
            if node.op not in ("call_module", "get_attr") or node.target in weights:
                continue
            part = operator.attrgetter(node.target)(self.root)
            tensors = (
                list(part.parameters()) if isinstance(part, nn.Module) else [part] * isinstance(part, nn.Parameter)
            )
            if tensors and (node.name == end or end in descendants(self.graph, [node.name])):
                weights[node.target] = tensors
        return list(weights.items())

    def _nodes(self, names: Iterable[str]) -> list[str]:
        return [layer.node for layer in self.in_order(names)]

    def graph_module(self, graph: fx.Graph) -> fx.GraphModule:
        """Return a module that computes `graph`, a graph over this network's own parameters."""
        module = fx.GraphModule(self.root, graph)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module

    def _cached(self, key: Hashable, make: Callable[[], fx.Graph]) -> fx.GraphModule:
        with self._lock:
            if key not in self._modules:
                self._modules[key] = self.graph_module(make())
            module = self._modules[key]
        if module.training != self.observer.training:
            module.train(self.observer.training)
        return module
