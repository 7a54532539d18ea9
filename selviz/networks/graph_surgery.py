"""Parts of a traced network as graphs of their own: `with_outputs(graph, ["relu3"])`, `tail(graph, ["relu3"])`.

Graphs in, graphs out; the modules and tensors that they call stay the network's own.
"""

import copy
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from selviz.networks.graph_nodes import output
from selviz.networks.position_mean import mean_over_positions
from selviz.networks.unit_edit import edited
from selviz.networks.unit_layers import UnitLayer


def observing(graph: fx.Graph, layers: Sequence[UnitLayer]) -> fx.Graph:
    """Return the graph that returns (logits, [activations [N, U] of each layer])."""
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    end = output(graph)
    means = []
    for layer in layers:
        node = nodes[layer.node]
        positions = tuple(d for d in range(1, len(layer.shape)) if d != layer.axis)
        with graph.inserting_after(node):
            means.append(graph.call_function(mean_over_positions, (node, positions)) if positions else node)
    end.args = ((end.args[0], means),)
    return graph


def whole_numbers(places: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return positions as part of a key; None stays."""
    return None if places is None else tuple(map(int, places))


def sampling(graph: fx.Graph, wanted: Sequence[tuple[str, int, tuple[int, ...] | None]]) -> fx.Graph:
    """Return the graph that returns [N, P, U] of these (node, unit axis, positions), and holds no map longer than
    needed.
    """
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    samples = []
    for name, axis, places in wanted:
        with graph.inserting_after(nodes[name]):
            samples.append(graph.call_function(_at_places, (nodes[name], axis, places)))
    output(graph).args = (samples,)
    return graph


def _at_places(values: Tensor, axis: int, places: tuple[int, ...] | None) -> Tensor:
    """Return [N, U, *positions], units on `axis`, as [N, P, U]."""
    if values.dim() == 2:
        return values.unsqueeze(1)
    flat = values.movedim(axis, -1).flatten(1, -2)
    return flat if places is None else flat.index_select(1, torch.tensor(places).to(flat.device))


def with_outputs(graph: fx.Graph, names: Sequence[str]) -> fx.Graph:
    """Return the graph that computes these nodes and no more, and returns them as a list."""
    graph = copy.deepcopy(graph)
    nodes = {node.name: node for node in graph.nodes}
    end = output(graph)
    end.args = ([nodes[name] for name in names],)
    return graph


def own_module(root: nn.Module, graph: fx.Graph, node: fx.Node, path: str, module: nn.Module) -> None:
    """Make an activation's node the call of a new module; it keeps its name."""
    root.add_module(path, module)
    node.op, node.target, node.args, node.kwargs = "call_module", path, node.args[:1], {}


def through_module(root: nn.Module, graph: fx.Graph, node: fx.Node, axis: int, path: str, module: nn.Module) -> fx.Node:
    """Send the node's value through a new module, which sees `axis` as its second; the node that comes out."""
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
    """Return the names of the nodes that depend on these, other than by way of `without`."""
    reached: set[str] = set()
    for node in graph.nodes:
        if node.name == without:
            continue
        if any(parent.name in reached or parent.name in names for parent in node.all_input_nodes):
            reached.add(node.name)
    return reached


def boundary_nodes(graph: fx.Graph, names: Sequence[str]) -> list[str]:
    """Return the nodes, in graph order, whose values the descendants of these layers and the layers themselves
    start from.
    """
    inside = descendants(graph, names)
    needed = {name for name in names if name not in inside}
    for node in graph.nodes:
        if node.name in inside:
            needed.update(p.name for p in node.all_input_nodes if p.name not in inside and p.op != "get_attr")
    return [node.name for node in graph.nodes if node.name in needed]


def tail(graph: fx.Graph, layers: Sequence[UnitLayer]) -> fx.Graph:
    """Return the graph (boundary values..., then units, gain and offset of each layer) -> logits."""
    names = [layer.node for layer in layers]
    inside, outer = descendants(graph, names), boundary_nodes(graph, names)
    part, value = fx.Graph(), {}
    for name in outer:
        value[name] = part.placeholder(f"boundary_{name}")
    edits: dict[str, tuple[Any, ...]] = {
        layer.node: (*(part.placeholder(f"{field}_{layer.node}") for field in ("units", "gain", "offset")), layer.axis)
        for layer in layers
    }
    for node in graph.nodes:
        if node.name in inside or node.op == "get_attr":
            value[node.name] = part.node_copy(node, lambda parent: value[parent.name])
        if node.name in edits:
            value[node.name] = part.call_function(edited, (value[node.name], *edits[node.name]))
    return part


def place(graph: fx.Graph, device: torch.device | str) -> None:
    """Let what the graph makes itself, such as numbers of positions, be made on `device`.

    A graph that was exported names the device that it was traced on.
    """

    def placed(part: Any) -> Any:
        return torch.device(device) if isinstance(part, torch.device) else part

    for node in graph.nodes:
        node.args = fx.node.map_aggregate(node.args, placed)
        node.kwargs = fx.node.map_aggregate(node.kwargs, placed)


def folded(root: nn.Module, graph: fx.Graph, layers: Container[str] = ()) -> tuple[nn.Module, fx.Graph]:
    """Return a deep copy in eval mode whose batch norms are part of the convolutions before them.

    `layers` are the names of nodes whose values must stay.
    """
    root, graph = copy.deepcopy(root).eval(), copy.deepcopy(graph)
    for node in list(graph.nodes):
        norm = root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(norm) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if before.name in layers or node.name in layers:
            continue
        convolution = root.get_submodule(str(before.target))
        once = sum(other.target == before.target for other in graph.nodes if other.op == "call_module") == 1
        if type(convolution) is nn.Conv2d and once:
            root.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    return root, graph
