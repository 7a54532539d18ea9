"""The logits in what a network returns: `head = find_head(model(images))`, then `head.logits(model(images))` [N, C].

A network may return a tensor, or a dict, tuple, namedtuple or dataclass that holds one; logits of all classes, one
logit for the second of two classes, or probabilities in their place. Probabilities become their logarithms, which have
the same order and whose softmax are the probabilities again.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from selviz.errors import SelvizError
from selviz.networks.graph_nodes import HEAD_STEP, output, step_name

LOGITS_KEYS = ("logits", "output", "out", "scores", "pred", "prediction")
SMALLEST = 1e-38  # probability that has a logarithm
# What may stand between a final softmax and the output.
PASSING = ("identity", "squeeze", "flatten", "view", "reshape", "contiguous", "dropout")


@dataclass(frozen=True)
class Reader:
    """The way to the logits inside what a network returns: keys, positions and names of fields, the outermost first."""

    keys: tuple[str | int, ...] = ()

    def __call__(self, value: Any) -> Tensor:
        """Return the tensor there."""
        for key in self.keys:
            value = value[key] if _by_key(value) else getattr(value, str(key))
        if not isinstance(value, Tensor):
            raise SelvizError("The network returned no tensor where it returned its logits before.")
        return value


@dataclass(frozen=True)
class Head:
    """Where the logits are and what they are: `probabilities` "softmax" or "sigmoid", "" for logits.

    `single` says that there is one number an image, for the second of two classes; `flat` that it has no axis.
    """

    reader: Reader = Reader()
    probabilities: str = ""
    single: bool = False
    flat: bool = False

    def logits(self, value: object) -> Tensor:
        """Return the logits [N, C] in what the network returned; probabilities become logarithms."""
        result = self.reader(value)
        if self.flat:
            result = result.unsqueeze(1)
        if self.single:
            if self.probabilities:
                result = torch.logit(result.clamp(SMALLEST, 1 - 1e-7))
            return torch.cat([torch.zeros_like(result), result], dim=1)
        if self.probabilities == "softmax":
            return result.clamp(min=SMALLEST).log()
        return torch.logit(result.clamp(SMALLEST, 1 - 1e-7)) if self.probabilities else result

    def sentence(self) -> str:
        """Return what a user should know of the head; "" for plain logits."""
        said = []
        if self.reader.keys:
            said.append(f"the logits are {'.'.join(map(str, self.reader.keys))} of what the network returns")
        if self.single:
            said.append("its one output is the logit of the second class")
        if self.probabilities:
            said.append(f"it ends in a {self.probabilities}, before which the logits are")
        return "; ".join(said)


def find_head(value: object, classes: int | None = None, key: str = "", made_by: Mapping[int, str] = {}) -> Head:
    """Find the logits in what a network returns for a few images.

    `classes` are those of the data set, if there is one; `key` names the part that holds the logits; `made_by` says by
    id of a tensor whether a softmax or sigmoid made it. SelvizError, with what to write, where none fits or several do.
    """
    candidates = _tensors(value)
    fitting = {keys: part for keys, part in candidates.items() if _fits(part, classes)}
    if key:
        wanted = {keys: part for keys, part in candidates.items() if key in (".".join(map(str, keys)), str(keys[-1:]))}
        if not wanted:
            raise SelvizError(f"The network returns nothing called {key}; it returns {_listed(candidates)}.")
        keys, part = next(iter(wanted.items()))
        if not _fits(part, classes):
            raise SelvizError(f"{key} has the shape {list(part.shape)}; logits are one tensor [images, classes].")
        return _head(keys, part, classes, made_by)
    for name in LOGITS_KEYS:
        if named := [keys for keys in fitting if keys and keys[-1] == name]:
            return _head(named[0], fitting[named[0]], classes, made_by)
    if len(fitting) == 1:
        ((keys, part),) = fitting.items()
        return _head(keys, part, classes, made_by)
    if fitting:
        likely = [keys for keys, part in fitting.items() if part.shape[-1] == classes] or list(fitting)
        choice = ".".join(map(str, likely[0]))
        raise SelvizError(
            f"The network returns {len(fitting)} tensors that may be logits: {_listed(fitting)}; say which: "
            f"--logits {choice}"
        )
    raise SelvizError(
        "The network must return logits, one tensor [images, classes], or a dict that holds them as 'logits'"
        + (
            f"; it returns {_listed(candidates) or type(value).__name__}."
            if not isinstance(value, Tensor)
            else f"; it returns one of shape {list(value.shape)}{_one_position(value)}."
        )
    )


def _head(keys: tuple[str | int, ...], part: Tensor, classes: int | None, made_by: Mapping[int, str]) -> Head:
    flat = part.dim() == 1
    single = flat or (part.shape[1] == 1 and classes == 2)
    probabilities = made_by.get(id(part), "")
    if probabilities == "softmax" and single:
        probabilities = ""  # of one number: always 1
    if not probabilities and not single and part.device.type != "meta" and _are_probabilities(part.detach().float()):
        probabilities = "softmax"
    return Head(Reader(keys), probabilities, single, flat)


def _are_probabilities(values: Tensor) -> bool:
    """Return whether rows [N, C] are probabilities of classes by their values: inside 0..1, with sum 1."""
    inside = ((values > 0) & (values < 1)).float().mean()
    sums = values.sum(dim=1)
    return bool((values >= 0).all() and ((sums - 1).abs() < 1e-4).all() and inside > 0.5)


def _fits(part: Tensor, classes: int | None) -> bool:
    return part.is_floating_point() and (part.dim() == 2 or (part.dim() == 1 and classes == 2))


def _tensors(value: object, keys: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Tensor]:
    """Return the tensors in dicts, tuples, namedtuples and dataclasses by the way to each."""
    if isinstance(value, Tensor):
        return {keys: value}
    inner: dict[str | int, object] = {}
    if isinstance(value, Mapping):
        inner = dict(value)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        inner = {name: getattr(value, name) for name in value._fields}
    elif isinstance(value, tuple | list):
        inner = dict(enumerate(value))
    elif dataclasses.is_dataclass(value):
        inner = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    elif hasattr(value, "__dict__"):
        inner = {name: part for name, part in vars(value).items() if isinstance(part, Tensor)}
    tensors: dict[tuple[str | int, ...], Tensor] = {}
    for key, part in inner.items() if len(keys) < 3 else ():
        if isinstance(key, str | int):
            tensors |= _tensors(part, (*keys, key))
    return tensors


def _one_position(value: Tensor) -> str:
    """Return what to write where the logits have axes of one position, as those of a last 1 x 1 convolution."""
    one = value.dim() > 2 and value[0].numel() == max(value.shape[1:])
    return "; let it return them with .flatten(1)" if one else ""


def _by_key(value: object) -> bool:
    """Return whether parts are taken by key, and not as attributes."""
    return isinstance(value, Mapping | list) or (isinstance(value, tuple) and not hasattr(value, "_fields"))


def _listed(parts: Mapping[tuple[str | int, ...], Tensor]) -> str:
    return ", ".join(f"{'.'.join(map(str, keys)) or 'a tensor'} {list(part.shape)}" for keys, part in parts.items())


def with_head(root: nn.Module, graph: fx.Graph, head: Head) -> None:
    """Let the graph, which returns what `head.reader` reads, return logits [N, C]: a final softmax or sigmoid goes."""
    end = output(graph)
    node = end.args[0]
    assert isinstance(node, fx.Node)
    dropped = False
    if head.probabilities:
        last, above = node, end
        while step_name(root, last) in PASSING and len(last.users) == 1 and isinstance(last.args[0], fx.Node):
            above, last = last, last.args[0]
        is_last = _is_softmax(root, last) if head.probabilities == "softmax" else step_name(root, last) == "sigmoid"
        if is_last and isinstance(source := last.args[0], fx.Node) and len(last.users) == 1:
            above.replace_input_with(last, source)
            node, dropped = end.args[0], True
    before = set(graph.nodes)
    with graph.inserting_before(end):
        if head.flat:
            node = graph.call_method("unsqueeze", (node, 1))
        if head.probabilities and not dropped:
            if head.probabilities == "softmax":
                node = graph.call_method("clamp", (node,), {"min": SMALLEST})
                node = graph.call_method("log", (node,))
            else:
                node = graph.call_method("clamp", (node, SMALLEST, 1 - 1e-7))
                node = graph.call_method("logit", (node,))
        if head.single:
            zeros = graph.call_function(torch.zeros_like, (node,))
            node = graph.call_function(torch.cat, ([zeros, node], 1))
    end.args = (node,)
    for added in graph.nodes:
        if added not in before:
            added.meta[HEAD_STEP] = True
    graph.eliminate_dead_code()


def _is_softmax(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(root.get_submodule(str(node.target)), nn.Softmax)
    return step_name(root, node) == "softmax" or node.target is F.softmax


def chosen_outputs(logits: Tensor, outputs: Sequence[int]) -> Tensor:
    """Return some columns of logits [N, C] in this order, all for none; SelvizError for one that is not there."""
    if wrong := [number for number in outputs if not 0 <= number < logits.shape[1]]:
        raise SelvizError(f"The network has no output {wrong[0]}; its outputs are 0 to {logits.shape[1] - 1}.")
    return logits[:, list(outputs)] if outputs else logits
