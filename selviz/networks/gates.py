"""Gates, which only scale another value and so are no units: `reason, product = gate(root, node, relations, shapes)`.

A gate is a sigmoid, or a function that somebody wrote which rises from 0 to 1 as a sigmoid does: that is tried on
numbers. Of a gated linear unit, `a * sigmoid(b)`, the product is the unit layer.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from selviz.networks.activation_functions import GATES
from selviz.networks.graph_nodes import step_name
from selviz.networks.written_activations import PASSING, Relation, known_activation

BOUNDED = frozenset("relu6 clamp hardtanh tanh".split())  # of which people write their own gates
MOVES = frozenset("permute transpose movedim swapaxes interpolate".split())
NUMBERS = (-8.0, -3.5, -2.0, -1.0, -0.5, -0.1, 0.0, 0.1, 1.0, 3.0, 8.0)
ZERO = NUMBERS.index(0.0)


def gate(
    root: nn.Module,
    node: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, Relation]],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, fx.Node | None]:
    """Return why a sigmoid is no unit layer ("" if it is one), and the product that is one in its place."""
    products: list[tuple[fx.Node, fx.Node]] = []
    ahead, seen = [node], {node}
    while ahead:
        value = ahead.pop()
        for user in value.users:
            others = [parent for parent in user.all_input_nodes if parent is not value and parent in relations]
            name = step_name(root, user)
            if user.op == "output":
                return "", None
            if name == "mul" and others and others[0] not in seen:
                products.append((user, others[0]))
            elif name in PASSING and not others:
                if user not in seen:
                    seen.add(user)
                    ahead.append(user)
            elif name not in ("size", "getattr", "dim", "sym_size"):
                return "", None
    if not products:
        return "", None
    reason = "a gate: it only scales another value"
    product, other = products[0]
    alike = shapes[node.name] == shapes[product.name] == shapes[other.name]
    linear = alike and not any(known_activation(root, parent) for parent in relations[other])
    if len(products) == 1 and linear and not _comes_before(other, node):
        return "a gate: the product is the unit layer", product
    return reason, None


def written_gate(
    root: nn.Module,
    node: fx.Node,
    source: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, Relation]],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, fx.Node | None]:
    """Return why a function that rises from 0 to 1, such as relu6(x + 3) / 6, is a gate ("" if it is none), and the
    product that is a layer in its place.

    Only one that scales another value is left out: where it scales its own input, the product is the function.
    """
    end = node
    while len(end.users) == 1:
        (user,) = end.users
        numbers = [part for part in (*user.args, *user.kwargs.values()) if part is not end]
        linear = step_name(root, user) in ("add", "sub", "mul", "div") and user in relations
        if not linear or not numbers or not all(isinstance(part, int | float) for part in numbers):
            break
        end = user
    reason, product = gate(root, end, relations, shapes)
    tried = _tried(root, end, source, shapes) if reason else None
    if tried is None:
        return "", None
    values = torch.stack([value.double() for value in tried])
    if float(values.max()) > 1 + 1e-6:  # as of a * relu6(b + 3) / 6, where the 6 comes later
        values = values / values.max()
        if not bool(((values[ZERO] > 0.3) & (values[ZERO] < 0.7)).all()):
            return "", None
    rising = bool((values.diff(dim=0) >= 0).all() and values.min() >= 0 and values.max() <= 1 + 1e-6)
    is_gate = rising and bool((values[0] < 0.05).all() and (values[-1] > 0.95).all())
    return (reason, product) if is_gate else ("", None)


def _comes_before(node: fx.Node, later: fx.Node) -> bool:
    ahead, seen = [later], {later}
    while ahead:
        for parent in ahead.pop().all_input_nodes:
            if parent is node:
                return True
            if parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return False


def comes_from_gate(root: nn.Module, node: fx.Node) -> bool:
    """Return whether a value is a sigmoid or a softmax, moved or scaled by numbers."""
    while True:
        name = step_name(root, node)
        if name in (*GATES, *BOUNDED, "softmax", "log_softmax") or is_softmax(root, node):
            return True
        if name not in PASSING | MOVES or len(node.all_input_nodes) != 1:
            return False
        node = node.all_input_nodes[0]


def is_softmax(root: nn.Module, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(
        root.get_submodule(str(node.target)), nn.Softmax | nn.Softmax2d | nn.LogSoftmax
    )


def is_signed(root: nn.Module, node: fx.Node, source: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether a function of single numbers can be negative; True where it cannot be tried."""
    tried = _tried(root, node, source, shapes)
    return tried is None or any(bool((value < 0).any()) for value in tried)


def _tried(
    root: nn.Module, node: fx.Node, source: fx.Node, shapes: Mapping[str, tuple[int, ...]]
) -> list[Tensor] | None:
    """Return a node's values where an earlier one is filled with each of NUMBERS; None where it cannot be tried."""
    shape = shapes[source.name]
    known: dict[fx.Node, Any] = {}

    def value(part: Any) -> Any:
        if not isinstance(part, fx.Node):
            return part
        if part not in known:
            if part.op == "placeholder":
                raise ValueError
            if part.op == "get_attr":
                known[part] = (
                    root.get_parameter(str(part.target)) if _is_parameter(root, part) else _attribute(root, part)
                )
            else:
                args = torch.fx.node.map_arg(part.args, value)
                kwargs = torch.fx.node.map_arg(part.kwargs, value)
                if part.op == "call_module":
                    known[part] = root.get_submodule(str(part.target))(*args, **kwargs)
                elif part.op == "call_method":
                    known[part] = getattr(args[0], str(part.target))(*args[1:], **kwargs)
                else:
                    known[part] = part.target(*args, **kwargs)  # type: ignore[operator]
        return known[part]

    try:
        with torch.no_grad():
            results = []
            for number in NUMBERS:
                known.clear()
                known[source] = torch.full(shape, number)
                results.append(value(node))
        return results if all(isinstance(result, Tensor) for result in results) else None
    except Exception:  # somebody else's steps may raise anything on numbers that they never saw
        return None


def _attribute(root: nn.Module, node: fx.Node) -> object:
    value: object = root
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value


def _is_parameter(root: nn.Module, node: fx.Node) -> bool:
    return isinstance(_attribute(root, node), nn.Parameter)
