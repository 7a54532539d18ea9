"""That no step of a stored network writes into what it is given: `check_writes(root, graph)`, `Watch(root)`.

A network is one object for all visitors of a dashboard, and so are the images that it is given: a step that overwrote
either would change what everybody sees from then on. What can be told without running is refused by `check_writes`;
`first_run` watches the values themselves.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from selviz.networks.graph_nodes import called, out_of_place

# Functions that note the statistics of what they see in tensors that they are given, and the setting that lets them.
NOTING = {"batch_norm": "training", "instance_norm": "use_input_stats"}
RUNNING = ("running_mean", "running_var")


def check_writes(root: nn.Module, graph: fx.Graph) -> None:
    """Let no step overwrite a value, as when a network is traced; ValueError for one that would all the same."""
    for path, module in root.named_modules():
        if getattr(module, "inplace", False) is not False:
            module.inplace = False
        if getattr(module, "max_norm", None) is not None:
            raise ValueError(f"the module {path} writes into its weights")
    out_of_place(root, graph)
    for node in graph.nodes:
        if node.op not in ("call_function", "call_method"):
            continue
        given = _arguments(node)
        writes = given.get("inplace") not in (None, False) or any(
            given.get(name) is not None for name in ("out", "max_norm")
        )
        noting = given.get(NOTING.get(called(node), ""), False) and any(given.get(name) is not None for name in RUNNING)
        if writes or noting:
            raise ValueError(f"the step {node.name} writes into what it is given")


def _arguments(node: fx.Node) -> Mapping[str, Any]:
    """Return the arguments of a step by name, defaults included, as far as its function tells them."""
    function: Any = node.target
    if (setting := NOTING.get(called(node))) and getattr(function, "__module__", "") != "torch.nn.functional":
        names = ("input", "weight", "bias", *RUNNING, setting)  # of torch's own, which tell no signature
        return dict(zip(names, node.args)) | node.kwargs
    if node.op == "call_function" and inspect.isfunction(function):
        bound = inspect.signature(function).bind(*node.args, **node.kwargs)
        bound.apply_defaults()
        return bound.arguments
    return node.kwargs


class Watch:
    """Tells a step that changed the network's tensors, or one of those that it was given."""

    def __init__(self, root: nn.Module):
        self._own = [*root.parameters(), *root.buffers()]
        self._content = [tensor.clone() for tensor in self._own]

    def versions(self, given: Iterable[Any]) -> list[int]:
        """Return what torch counts up whenever somebody writes into one of these or the network's own tensors."""
        return [tensor._version for tensor in (*self._own, *given) if isinstance(tensor, Tensor)]

    def is_unchanged(self) -> bool:
        """Return whether the network's tensors still hold what they held: not every function of torch counts."""
        return all(
            torch.equal(now, before) or torch.allclose(now, before, rtol=0, atol=0, equal_nan=True)
            for now, before in zip(self._own, self._content)
        )
