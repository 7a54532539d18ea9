"""Values in the middle of a network, from which deeper layers start: `CutValues(network, cuts).values(nodes, images)`.

A *cut* is a node of the graph through which everything passes that the logits depend on, such as the end of a residual
block: what follows depends on its value alone. Who holds the values (on disk, say) is `Cuts`' affair.
"""

import math
import threading
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, fx

from selviz.ablation.tail import in_own_memory
from selviz.networks import graph_nodes
from selviz.networks.graph_surgery import descendants, with_outputs
from selviz.networks.unit_network import UnitNetwork

MANY = 8  # cuts of one size, from which the middle one is worth its room too


class Cuts(Protocol):
    """Values of cuts by image, float32 as they were computed; `nodes` are those that are wanted, the deepest first."""

    nodes: Sequence[str]

    def read(self, node: str, images: Sequence[int]) -> Tensor | None:
        """Return the values [N, ...] of a cut on these images; None unless all of them are there, unharmed."""

    def write(self, node: str, images: Sequence[int], values: Tensor) -> None:
        """Keep the values of a cut on these images."""


def cut_nodes(network: UnitNetwork) -> dict[str, int]:
    """Return the cuts that are worth keeping, the deepest first: node -> bytes per image.

    The last of each size of map (the ends of stages), and of many of one size the middle one too.
    """
    sizes: dict[tuple[int, ...], list[str]] = {}
    waiting: set[fx.Node] = set()  # nodes so far whose value a later node needs
    last_use = {parent: node for node in network.graph.nodes for parent in node.all_input_nodes}
    for node in network.graph.nodes:
        if node.op == "output":
            break
        waiting = {each for each in waiting if last_use.get(each) is not node}
        if node.op == "get_attr":
            continue
        if node in last_use:
            waiting.add(node)
        shape = network.shapes.get(node.name, ())
        if waiting == {node} and node.op != "placeholder" and len(shape) > 2 and shape[0] == 1:
            sizes.setdefault(tuple(shape[1:]), []).append(node.name)
    cuts: list[str] = []
    for names in sizes.values():
        cuts += [names[len(names) // 2 - 1]] * (len(names) >= MANY) + [names[-1]]
    return {name: 4 * math.prod(network.shapes[name]) for name in reversed(cuts)}


class CutValues:
    """A network's values from its cuts on. Threads may share it."""

    def __init__(self, network: UnitNetwork, cuts: Cuts):
        self.network, self.cuts = network, cuts
        self._after = {node: {node, *descendants(network.graph, [node])} for node in cuts.nodes}
        self._modules: dict[tuple[str, ...], fx.GraphModule] = {}
        self._lock = threading.Lock()

    def values(self, nodes: Sequence[str], images: Sequence[int]) -> list[Tensor] | None:
        """Return the values of `nodes` on these images, from the deepest cut before them; None without one."""
        for cut in self.cuts.nodes:
            if self._after[cut].issuperset(nodes) and (value := self.cuts.read(cut, images)) is not None:
                values = self._module(cut, *nodes)(value)
                return [in_own_memory(each) for each in values]
        return None

    def logits(self, images: Sequence[int]) -> Tensor | None:
        """Return the logits [N, C] on these images, from the deepest cut; None without one."""
        values = self.values([graph_nodes.logits_node(self.network.graph).name], images)
        return None if values is None else values[0]

    def from_pixels(self, nodes: Sequence[str], inputs: Tensor, images: Sequence[int]) -> list[Tensor]:
        """Return the values of `nodes` on inputs [N, C, H, W], and keep those of the cuts that the pass meets."""
        wanted = [*nodes, *(cut for cut in self.cuts.nodes if cut not in nodes)]
        values = dict(zip(wanted, self._module("", *wanted)(inputs)))
        for cut in self.cuts.nodes:
            self.cuts.write(cut, images, values[cut])
        return [in_own_memory(values[node]) for node in nodes]

    def _module(self, start: str, *nodes: str) -> fx.GraphModule:
        """Return the module from a cut, or from the pixels (""), to the values of `nodes`."""
        with self._lock:
            key = (start, *nodes)
            if key not in self._modules:
                graph = self._from_cut(start, nodes) if start else with_outputs(self.network.graph, nodes)
                self._modules[key] = self.network.graph_module(graph)
            return self._modules[key]

    def _from_cut(self, cut: str, nodes: Sequence[str]) -> fx.Graph:
        graph = fx.Graph()
        copies: dict[str, fx.Node] = {}
        for node in self.network.graph.nodes:
            if node.name == cut:
                copies[node.name] = graph.placeholder(f"cut_{cut}")
            elif node.op == "get_attr" or (node.name in self._after[cut] and node.op != "output"):
                copies[node.name] = graph.node_copy(node, lambda parent: copies[parent.name])
        graph.output([copies[name] for name in nodes])
        return graph
