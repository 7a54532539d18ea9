"""Where a graph looks something up by an index, which no pixel may decide: `check_indices(graph)`."""

import torch
from torch import fx
from torch.fx.node import Argument

from selviz.networks.graph_nodes import called
from selviz.networks.graph_operators import INDEX_FIRST, INDEXING, SHAPES, WRITING


def indices(node: fx.Node) -> list[fx.Node]:
    """Return the steps whose values a node looks something up by; [] for a node that looks nothing up.

    A size is not among them: `getitem` by a number that comes from a shape is no look-up by value.
    """
    name = called(node)
    if name in WRITING:
        return nodes_in(node.args[2] if len(node.args) > 2 else node.kwargs.get("index"))
    if name not in INDEXING and not (name == "repeat_interleave" and len(node.all_input_nodes) > 1):
        return []
    if name == "index_put":  # what is written may depend on the image, where it is written may not
        return nodes_in(node.args[1] if len(node.args) > 1 else node.kwargs.get("indices"))
    first = (name in INDEX_FIRST and not isinstance(node.target, torch._ops.OpOverload)) or name == "one_hot"
    source = None if first else (node.args or (None,))[0]
    return [part for part in node.all_input_nodes if part is not source]


def nodes_in(argument: Argument) -> list[fx.Node]:
    """Return the steps in an argument of a step, which may be one, a list or nothing."""
    parts: list[fx.Node] = []
    fx.node.map_arg(argument, parts.append)
    return parts


def from_image(graph: fx.Graph) -> set[fx.Node]:
    """Return the steps whose values depend on the pixels of the image, not on its shape alone."""
    nodes: set[fx.Node] = set()
    for node in graph.nodes:
        attribute = node.op == "call_function" and node.target is getattr
        if (
            node.op == "placeholder"
            or (not attribute and called(node) not in SHAPES and any(part in nodes for part in node.all_input_nodes))
            or (attribute and node.args[1] in ("T", "mT") and node.args[0] in nodes)
        ):
            nodes.add(node)
    return nodes


def check_indices(graph: fx.Graph) -> None:
    """Raise ValueError for a step that looks something up by values of the image."""
    pixels = from_image(graph)
    for node in graph.nodes:
        table = (node.args or (None,))[0]
        for part in indices(node):
            if part in pixels and (called(node) in ("index_put", *WRITING) or part is not table):
                raise ValueError(f"the step {node.name} looks something up by values of the image")
