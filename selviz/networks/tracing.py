"""A classifier as a graph of single steps, and its unit layers found in it: `traced = trace(model, example)`.

There are two ways in: "fx" follows the Python code and keeps its modules; "export" (torch.export) also follows code
that looks at shapes or writes into tensors, for evaluation only.
"""

import contextlib
import copy
import io
import linecache
import logging
import operator
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from selviz.errors import SelvizError, first_line
from selviz.networks.graph_nodes import called, node_shapes, out_of_place, output
from selviz.networks.unit_layers import UnitLayer, find_layers

WAYS = ("fx", "export")
LOGITS_KEYS = ("logits", "output", "out", "scores", "pred", "prediction")


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as the modules and tensors of `root`, the `graph` over them, and its unit layers in forward order.

    `shapes` holds the output shape of each tensor-valued node for one input [1, C, H, W].
    """

    root: nn.Module
    graph: fx.Graph
    shapes: dict[str, tuple[int, ...]]
    layers: tuple[UnitLayer, ...]


def trace(model: nn.Module, example: Tensor, way: str = "fx") -> Traced:
    """The traced model, activations out of place; by "fx", dropout and batch norm obey train() and eval().

    `example` is one input [1, C, H, W]. Raises SelvizError, naming the line at fault, if the model cannot be traced,
    does not take the example, has no unit layer, or gives no logits [N, C].
    """
    root, graph, logits = (_by_fx if way == "fx" else _by_export)(model, example)
    shapes = node_shapes(root, graph, example)
    is_logits = lambda part: isinstance(part, fx.Node) and len(shapes.get(part.name, ())) == 2  # noqa: E731
    output(graph).args = (pick_logits(logits, is_logits),)
    for node in list(graph.nodes):
        # They check the size of the input, which is the same for all images.
        if (
            node.op == "call_function"
            and called(node).startswith(("_assert", "sym_constrain_range"))
            and not node.users
        ):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    layers = find_layers(root, graph, shapes, len(example))
    if not layers:
        raise SelvizError("The network has no activation function between image and output, so it has no units.")
    return Traced(root, graph, shapes, layers)


# ---------------------------------------------------------------------------------------------------------- two ways in


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        # Its functional form would freeze the training switch into the graph. Told by its name: importing torchvision
        # takes as long as importing torch.
        kind = type(module)
        depth = kind.__name__ == "StochasticDepth" and kind.__module__.startswith("torchvision.")
        return depth or super().is_leaf_module(module, path)


def _by_fx(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph, object]:
    was_training = model.training
    try:
        # Auxiliary heads exist in training mode only; the graph is the network that is evaluated.
        graph = _Tracer().trace(model.eval())
    except Exception as error:
        raise _untraceable(model, error) from error
    finally:
        model.train(was_training)
    root = fx.GraphModule(_with_free_names(model, graph), graph)
    out_of_place(root, graph)
    root.train(was_training)
    return root, graph, output(graph).args[0]


def _with_free_names(model: nn.Module, graph: fx.Graph) -> nn.Module:
    """The model, its parts called otherwise (`code_`) that a GraphModule has an attribute of the same name for."""

    def free(path: str) -> str:
        head, dot, rest = path.partition(".")
        return f"{head}_{dot}{rest}" if hasattr(fx.GraphModule, head) else path

    model = copy.copy(model)
    for parts in ("_modules", "_parameters", "_buffers"):
        setattr(model, parts, {free(name): part for name, part in getattr(model, parts).items()})
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = free(node.target)
    return model


def _by_export(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph, object]:
    # A batch of one image would be taken for a constant.
    pair, shapes = example.expand(2, *example.shape[1:]).contiguous(), ({0: torch.export.Dim.DYNAMIC},)
    try:
        with _quiet():
            program = torch.export.export(copy.deepcopy(model).eval(), (pair,), dynamic_shapes=shapes, strict=False)
            module = program.module(check_guards=False)
    except Exception as error:
        raise _untraceable(model, error) from error
    graph = copy.deepcopy(module.graph)
    graph.set_codegen(fx.graph.CodeGen())
    root = fx.GraphModule(module, graph)  # the exported one refuses train() and eval()
    out_of_place(root, graph)
    values = output(graph).args[0]
    if isinstance(values, tuple | list):
        values = _pytree.tree_unflatten(list(values), program.call_spec.out_spec)
    return root, graph, values


@contextlib.contextmanager
def _quiet():
    """torch.export prints the graph at which it gave up, and logs why; the error says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _untraceable(model: nn.Module, error: Exception) -> SelvizError:
    reason = first_line(error)[:200]
    place = fault(error)
    return SelvizError(
        f"The network {type(model).__name__} cannot be traced{f': {place}' if place else ''} ({reason.rstrip('.')})."
    )


def fault(error: BaseException, inside: Path | None = None) -> str:
    """`net.py line 12, "if x.sum() > 0:"`, the last line of code that is neither torch's nor selviz's; "" if none is.

    `inside` limits it to one file.
    """
    ours = [str(Path(file).parent) for file in (torch.__file__, __file__)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        library = frame.filename.startswith((*ours, "<", f"{Path(traceback.__file__).parent}/"))
        library = library and not ("site-packages" in frame.filename and not frame.filename.startswith(tuple(ours)))
        if Path(frame.filename) == inside or (inside is None and not library):
            text = linecache.getline(frame.filename, frame.lineno).strip()
            return f'{Path(frame.filename).name} line {frame.lineno}, "{text}"'
    return ""


# ------------------------------------------------------------------------------------------------------ what it returns


def pick_logits(value, fits=lambda part: isinstance(part, Tensor) and part.dim() == 2):
    """The logits in what a network returns: the value itself, or the part of a dict or tuple that `fits` them.

    SelvizError if none does, or several do and none is called logits (or one of LOGITS_KEYS).
    """
    if isinstance(value, Mapping):
        entries = dict(value)
    elif isinstance(value, tuple | list):
        entries = dict(enumerate(value))
    else:
        entries = {"output": value}
    fitting = {key: part for key, part in entries.items() if fits(part)}
    named = [key for key in LOGITS_KEYS if key in fitting]
    if not named and len(fitting) != 1:
        raise SelvizError(
            "The network must return logits, one tensor [images, classes], or a dict that holds them as 'logits'"
            + (f"; it returns {', '.join(map(str, entries))}." if len(entries) > 1 else ".")
        )
    return fitting[named[0]] if named else next(iter(fitting.values()))


def chosen_outputs(logits: Tensor, outputs: Sequence[int]) -> Tensor:
    """Some columns of logits [N, C] in this order, or all of them for none; SelvizError for one that is not there."""
    if wrong := [number for number in outputs if not 0 <= number < logits.shape[1]]:
        raise SelvizError(f"The network has no output {wrong[0]}; its outputs are 0 to {logits.shape[1] - 1}.")
    return logits[:, list(outputs)] if outputs else logits


def with_chosen_outputs(traced: Traced, outputs: Sequence[int]) -> Traced:
    """The same network with `chosen_outputs` alone."""
    if not outputs:
        return traced
    graph = copy.deepcopy(traced.graph)
    end = output(graph)
    with graph.inserting_before(end):
        node = graph.call_function(operator.getitem, (end.args[0], (slice(None), list(outputs))))
    end.args = (node,)
    return replace(traced, graph=graph, shapes={**traced.shapes, node.name: (1, len(outputs))})
