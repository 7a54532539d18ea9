"""Which steps of a graph are activation functions: `found, left_out = find_activations(root, graph, shapes,
of_images)`.

An activation function is one that torch has (`nn.ReLU`, `F.relu`, `x.clamp(min=0)`), or one that somebody wrote out of
single steps: a function of one value that works on each number alone, such as `x * torch.sigmoid(x)`. There the result
is the unit, and not the gate inside, which only multiplies its own input. A sigmoid that scales another value (as in a
squeeze-excitation block) is no unit layer; one that does more than that is. Of a gated linear unit (`a * sigmoid(b)`)
the product is the unit, as a sigmoid is a gate and no unit. Of SwiGLU, GEGLU and ReGLU (`a * F.silu(b)`) the units are
those of the activation function, as everywhere; the product is listed with the name by which it can be chosen. A
maximum over pieces of a layer (maxout) is an activation function as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from selviz.networks.activation_functions import ACTIVATIONS, CURVED_STEPS, GATES, LINEAR_STEPS, SIGNED
from selviz.networks.graph_nodes import (
    HEAD_STEP,
    activation_name,
    called,
    enclosing,
    module_path,
    plain_name,
    step_name,
)

LABELS = {name: module.__name__ for module, names, _ in ACTIVATIONS for name in names}
TORCH_MODULES = frozenset(module.__name__ for module, _, _ in ACTIVATIONS)
PASSING = frozenset(
    "view reshape expand expand_as unsqueeze squeeze getitem contiguous identity add sub rsub mul div neg dropout "
    "flatten unflatten repeat to float clone".split()
)
UNKNOWN = frozenset(
    "pow square exp expm1 abs log log1p log2 log10 exp2 sqrt sinh cosh tan reciprocal asinh floor ceil round trunc "
    "frac heaviside logaddexp ndtr erfc sinc".split()
)
MOVES = frozenset("permute transpose movedim swapaxes interpolate".split())
COMPARISONS = frozenset("gt ge lt le".split())
# They make new values of the shape of another one, and read nothing of it.
FILLED = frozenset("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty".split())
BOUNDED = frozenset("relu6 clamp hardtanh tanh".split())  # of which people write their own gates
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
ROOTS = frozenset("sqrt rsqrt pow reciprocal log".split())
REDUCTIONS = frozenset("mean sum norm var std max amax logsumexp linalg_norm vector_norm".split())


@dataclass(frozen=True)
class ActivationNode:
    """A node that is an activation function: the layer's name (not yet unique), what it is, and its sign.

    `pieces` are the axes, of the value before, that a maximum was taken over: units only if parameters made them.
    """

    node: fx.Node
    name: str
    activation: str
    signed: bool
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A step that looks like a unit layer and is none, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Relation:
    """How a value depends on an earlier one, number by number: by curved steps, by known activation functions."""

    curved: bool = False
    known: bool = False


def find_activations(
    root: nn.Module, graph: fx.Graph, shapes: Mapping[str, tuple[int, ...]], of_images: set[fx.Node]
) -> tuple[list[ActivationNode], list[LeftOut]]:
    """Return the activation functions among the nodes `of_images`, which depend on the image, in forward order."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    nodes = [
        node
        for node in graph.nodes
        if node in of_images
        and node.name in shapes
        and node.op != "placeholder"
        and HEAD_STEP not in node.meta
        and step_name(root, node) not in FILLED
    ]
    relations = _relations(root, nodes, shapes)
    composites, absorbed = _composites(root, nodes, relations, order)
    _own_modules(root, graph, nodes, relations, composites, absorbed)
    activations: dict[fx.Node, ActivationNode] = {}
    left_out: list[LeftOut] = []
    listed: list[fx.Node] = []
    for node in nodes:
        if node in absorbed:
            continue
        if node in composites:
            entry = _composite(root, node, composites[node], shapes)
            reason, product = _written_gate(root, node, composites[node], relations, shapes, order)
            if product is not None:
                activations.setdefault(product, _gated(product))
            if reason:
                left_out.append(LeftOut(entry.name, reason))
            else:
                activations[node] = entry
            continue
        name = _known(root, node)
        label = LABELS.get(name, name)
        if name in GATES or name in BOUNDED:
            if name in GATES:
                reason, product = _gate(root, node, relations, shapes, order)
            else:
                straight = [other for other, way in relations[node.all_input_nodes[0]].items() if not way.curved]
                source = min(straight, key=lambda other: order[other])
                reason, product = _written_gate(root, node, source, relations, shapes, order)
            if product is not None:
                activations.setdefault(product, _gated(product))
            if reason:
                left_out.append(LeftOut(_layer_name(root, node, name), reason))
                continue
        if name:
            signed = SIGNED[name] if SIGNED[name] is not None else _signed(root, node, node.all_input_nodes[0], shapes)
            activations[node] = ActivationNode(node, _layer_name(root, node, name), label, bool(signed))
        elif step_name(root, node) in ("softmax", "log_softmax") or _is_softmax(root, node):
            left_out.append(LeftOut(_layer_name(root, node, "softmax"), "weights that sum to 1, as in attention"))
        elif (pieces := _pieces(root, node, shapes)) is not None:
            sources = [parent for parent in node.all_input_nodes if parent in relations]
            alone = pieces == () and len(sources) == 1  # of a value and a constant
            activations[node] = ActivationNode(
                node,
                _joined(enclosing(node)[0], plain_name(called(node))),
                "minimum" if step_name(root, node) in ("min", "minimum") else "maximum",
                _signed(root, node, min(relations[node], key=lambda other: order[other]), shapes) if alone else True,
                pieces,
            )
        elif (reason := _unknown(root, node, relations, shapes)) and node not in activations:
            left_out.append(LeftOut(node.name, reason))
            listed.append(node)
    for node in list(activations):
        if (power := _powered(root, node)) is not None and power in relations:
            entry = activations.pop(node)
            name = _joined(enclosing(power)[0], plain_name(called(power)))
            activations[power] = ActivationNode(
                power, name, f"{entry.activation}, {plain_name(called(power))}", entry.signed
            )
            left_out = [other for other in left_out if other.name != power.name]
    # What turned out to be a layer, or a factor of one, needs no word.
    within = {node.name for node in listed if node in activations or any(user in activations for user in node.users)}
    left_out = [other for other in left_out if other.name not in within]
    for node in graph.nodes:
        if node.op == "call_module" and isinstance(root.get_submodule(str(node.target)), RECURRENT):
            name = module_path(node)
            left_out.append(LeftOut(name, f"its activation functions lie inside one step; --layers {name}"))
    return sorted(activations.values(), key=lambda entry: order[entry.node]), left_out


def _gated(product: fx.Node) -> ActivationNode:
    return ActivationNode(product, _joined(enclosing(product)[0], plain_name(called(product))), "gated", True)


# ----------------------------------------------------------------------------------------- functions of single numbers


def _known(root: nn.Module, node: fx.Node) -> str:
    """Return the name of the activation function that a node is; "" if it is none."""
    if node.op == "call_module":
        name = step_name(root, node)
        return name if name in SIGNED else ""
    if (written := activation_name(node)) is not None:
        return written
    plain = plain_name(called(node))
    return plain if plain in SIGNED else ""


def _relations(
    root: nn.Module, nodes: list[fx.Node], shapes: Mapping[str, tuple[int, ...]]
) -> dict[fx.Node, dict[fx.Node, _Relation]]:
    """Return node -> earlier node -> relation, for each pair where the one is a function, per number, of the other."""
    among = set(nodes)
    relations: dict[fx.Node, dict[fx.Node, _Relation]] = {}
    for node in nodes:
        relations[node] = {node: _Relation()}
        inputs = [parent for parent in node.all_input_nodes if parent in among]
        name = step_name(root, node)
        known = _known(root, node)
        curved = bool(known) or name in CURVED_STEPS
        if not inputs or not (curved or name in LINEAR_STEPS) or known == "glu":
            continue
        if name == "masked_fill" and len(inputs) < 2:  # at places that do not follow from the value
            continue
        if any(shapes[parent.name] != shapes[node.name] for parent in inputs) or (
            name in ("max", "min") and len(inputs) < 2
        ):
            continue
        common = set.intersection(*(set(relations[parent]) for parent in inputs))
        for source in common:
            parts = [relations[parent][source] for parent in inputs]
            relations[node][source] = _Relation(
                curved or any(part.curved for part in parts),
                bool(known) or any(part.known for part in parts),
            )
    return relations


def _composites(
    root: nn.Module,
    nodes: list[fx.Node],
    relations: dict[fx.Node, dict[fx.Node, _Relation]],
    order: Mapping[fx.Node, int],
) -> tuple[dict[fx.Node, fx.Node], set[fx.Node]]:
    """Return (result -> the value that it is a function of) of activation functions written out, and their insides."""
    among, composites, absorbed = set(nodes), {}, set()
    for node in nodes:
        inputs = [parent for parent in node.all_input_nodes if parent in among]
        common = set.intersection(*(set(relations[parent]) for parent in inputs)) if inputs else set()
        if len(inputs) < 2 or not common & set(relations[node]):
            continue
        source = max(common, key=lambda other: order[other])
        parts = [relations[parent][source] for parent in inputs]
        if _merges(step_name(root, node), parts):
            inside = _inside(node, source, relations)
            composites[node] = source
            for inner in inside:
                if all(user in inside or user is node for user in inner.users):
                    absorbed.add(inner)
                    composites.pop(inner, None)
    for node in nodes:
        if node not in absorbed and node not in composites and (chain := _chain(root, node, relations)):
            composites[chain[-1]] = node.all_input_nodes[0]
            absorbed.update(chain[:-1])
    for node in list(composites):
        if (last := _scaled(root, node, relations)) is not node:
            composites[last] = composites.pop(node)
            absorbed.add(node)
    return composites, absorbed


def _chain(root: nn.Module, node: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]]) -> list[fx.Node]:
    """Return the steps, from this one on, of an activation function that is one step after another, as 1 / (1 +
    exp(-x)); [] where fewer than two of them are curved.
    """

    def alone(step: fx.Node) -> bool:
        parents = [parent for parent in step.all_input_nodes if parent in relations]
        name = step_name(root, step)
        curved = name in UNKNOWN and not _is_norm(root, step) and not _is_of_reduction(root, step)
        return len(parents) == 1 and parents[0] in relations.get(step, ()) and (curved or name in LINEAR_STEPS)

    def is_curved(step: fx.Node) -> bool:
        name = step_name(root, step)
        return name in UNKNOWN or (name == "div" and len(step.args) > 1 and step.args[1] in relations)

    first = step_name(root, node)
    if not alone(node) or not (first in UNKNOWN or (first in ("neg", "mul", "div") and len(node.users) == 1)):
        return []
    steps, ends = [node], [0] if is_curved(node) else []
    while len(steps[-1].users) == 1 and alone(user := next(iter(steps[-1].users))):
        steps.append(user)
        if is_curved(user):
            ends.append(len(steps) - 1)
    return steps[: ends[-1] + 1] if len(ends) > 1 else []


def _merges(name: str, parts: list[_Relation]) -> bool:
    """Return whether a step makes one activation function of several functions of one value.

    A sum with the value itself does only where no known activation function is inside: that would be a shortcut.
    """
    if name in ("where", "maximum", "minimum", "max", "min", "masked_fill"):
        return True
    if name in ("add", "sub", "rsub"):
        return all(part.curved for part in parts) or (
            any(part.curved for part in parts) and not any(part.known for part in parts)
        )
    return any(part.curved for part in parts)


def _inside(end: fx.Node, source: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]]) -> set[fx.Node]:
    """Return the nodes on the way from the source (left out) to the end (left out)."""
    inside: set[fx.Node] = set()
    ahead = [end]
    while ahead:
        for parent in ahead.pop().all_input_nodes:
            if parent is not source and parent not in inside and source in relations.get(parent, ()):
                inside.add(parent)
                ahead.append(parent)
    return inside


def _scaled(root: nn.Module, node: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]]) -> fx.Node:
    """Return the node times or divided by numbers, where that follows at once in the same module."""
    while len(node.users) == 1:
        (user,) = node.users
        numbers = [part for part in (*user.args, *user.kwargs.values()) if part is not node]
        scales = step_name(root, user) in ("mul", "div") and all(isinstance(part, int | float) for part in numbers)
        if not scales or enclosing(user)[2] != enclosing(node)[2] or node not in relations.get(user, ()):
            break
        node = user
    return node


def _own_modules(
    root: nn.Module,
    graph: fx.Graph,
    nodes: list[fx.Node],
    relations: dict[fx.Node, dict[fx.Node, _Relation]],
    composites: dict[fx.Node, fx.Node],
    absorbed: set[fx.Node],
) -> None:
    """Add the modules whose whole forward is a function of single numbers, and that call no other module."""
    by_call: dict[str, list[fx.Node]] = {}
    calling: set[str] = set()
    for node in graph.nodes:
        stack = [str(key) for key in (node.meta.get("nn_module_stack") or {})]
        if node.op == "call_module" and stack:
            calling.update(stack)
        calling.update(stack[:-1])
        if stack and node.op != "call_module" and enclosing(node)[0]:
            by_call.setdefault(stack[-1], []).append(node)
    among = set(nodes)
    for key, members in by_call.items():
        own = [node for node in members if node in among]
        outside = {parent for node in own for parent in node.all_input_nodes if parent in among and parent not in own}
        exits = [node for node in own if any(user not in members for user in node.users)]
        if key in calling or len(outside) != 1 or len(exits) != 1:
            continue
        (source,), (end,) = outside, exits
        while end in own and step_name(root, end) in ("dropout", "identity", "contiguous", "clone", "to", "float"):
            end = end.all_input_nodes[0]
        relation = relations.get(end, {}).get(source)
        if relation is None or not relation.curved or end in composites or _known(root, end):
            continue
        composites[end] = source
        for inner in _inside(end, source, relations):
            absorbed.add(inner)
            composites.pop(inner, None)
        absorbed.discard(end)


def _composite(
    root: nn.Module, node: fx.Node, source: fx.Node, shapes: Mapping[str, tuple[int, ...]]
) -> ActivationNode:
    path, kind, key = enclosing(node)
    inside = {key == enclosing(user)[2] for user in node.users}
    whole = bool(path) and enclosing(source)[2] != key and not any(inside)
    name = path if whole else _joined(path, plain_name(called(node)))
    label = kind if whole else "written out"
    return ActivationNode(node, name, label, _signed(root, node, source, shapes))


def _signed(root: nn.Module, node: fx.Node, source: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether a function of single numbers can be negative; True where it cannot be tried."""
    tried = _tried(root, node, source, shapes)
    return tried is None or any(bool((value < 0).any()) for value in tried)


NUMBERS = (-8.0, -3.5, -2.0, -1.0, -0.5, -0.1, 0.0, 0.1, 1.0, 3.0, 8.0)
ZERO = NUMBERS.index(0.0)


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


# ------------------------------------------------------------------------------------------------------------- others


def _gate(
    root: nn.Module,
    node: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]],
    shapes: Mapping[str, tuple[int, ...]],
    order: Mapping[fx.Node, int],
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
    linear = alike and not any(_known(root, parent) for parent in relations[other])
    if len(products) == 1 and linear and not _comes_before(other, node):
        return "a gate: the product is the unit layer", product
    return reason, None


def _written_gate(
    root: nn.Module,
    node: fx.Node,
    source: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]],
    shapes: Mapping[str, tuple[int, ...]],
    order: Mapping[fx.Node, int],
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
    reason, product = _gate(root, end, relations, shapes, order)
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


def _powered(root: nn.Module, node: fx.Node) -> fx.Node | None:
    """Return the power of an activation function where that alone follows, as in F.relu(x) ** 2; None for a norm."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    others = [part for part in (*user.args, *user.kwargs.values()) if part is not node]
    name = step_name(root, user)
    powers = name == "square" or (name == "pow" and all(isinstance(part, int | float) for part in others))
    return user if (powers or (name == "mul" and not others)) and not _is_norm(root, user) else None


def _is_norm(root: nn.Module, node: fx.Node) -> bool:
    """Return whether a power or absolute value only goes into a norm, a variance or a mean that is rooted or divided
    by.
    """

    def rooted(value: fx.Node, steps: int = 4) -> bool:
        for user in value.users:
            name, after = step_name(root, user), user.args[1] if len(user.args) > 1 else None
            if name == "pow" and isinstance(after, int | float) and after >= 1:
                continue
            if name in ROOTS or (name == "div" and after is value):
                return True
            if steps > 0 and name in PASSING | REDUCTIONS | {"clamp"} and rooted(user, steps - 1):
                return True
        return False

    users = {user: step_name(root, user) for user in node.users}
    return all(name in UNKNOWN or (name in REDUCTIONS and rooted(user)) for user, name in users.items())


def _is_of_reduction(root: nn.Module, node: fx.Node, steps: int = 3) -> bool:
    """Return whether the node is computed from a mean, sum or variance alone, as the root in a norm is."""
    parents = [part for part in node.all_input_nodes if part.op != "get_attr"]
    if len(parents) != 1 or steps == 0:
        return False
    name = step_name(root, parents[0])
    return name in REDUCTIONS or (name in PASSING | {"clamp"} and _is_of_reduction(root, parents[0], steps - 1))


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


def _pieces(root: nn.Module, node: fx.Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the axes that a maximum runs over, () for one of two values; None if the node is no such maximum."""
    name = step_name(root, node)
    source = node
    if name == "getitem" and node.args[1:] == (0,) and isinstance(node.args[0], fx.Node):
        source = node.args[0]  # values of torch.max(x, dim)
        if step_name(root, source) != "max" or source.name in shapes:
            return None
        name = "max"
    if name in ("maximum", "max", "minimum", "min") and source is node:
        tensors = [part for part in node.args if isinstance(part, fx.Node)]
        if name in ("minimum", "min"):  # of two values it is one side of a pair such as MaxMin
            return () if len(tensors) == 2 else None
        return () if len(tensors) == 2 or (name == "maximum" and tensors) else None
    if name not in ("amax", "max") or not source.args or not isinstance(value := source.args[0], fx.Node):
        return None
    dims = source.args[1] if len(source.args) > 1 else source.kwargs.get("dim")
    listed = [dims] if isinstance(dims, int) else list(dims) if isinstance(dims, tuple | list) else []
    if not listed or not all(isinstance(dim, int) for dim in listed) or value.name not in shapes:
        return None
    return tuple(int(dim) % len(shapes[value.name]) for dim in listed)


def _is_softmax(root: nn.Module, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(
        root.get_submodule(str(node.target)), nn.Softmax | nn.Softmax2d | nn.LogSoftmax
    )


def _unknown(
    root: nn.Module,
    node: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, _Relation]],
    shapes: Mapping[str, tuple[int, ...]],
) -> str:
    """Return why a step that computes new numbers, and is no known activation function, is left out; "" for others."""
    name = step_name(root, node)
    choose = f"--layers {node.name}"
    if name in UNKNOWN and not _is_norm(root, node) and not _is_of_reduction(root, node):
        return f"{name} is not known as an activation function; {choose}"
    if name in COMPARISONS:
        numbers = [user for user in node.users if step_name(root, user) in ("float", "to", "type_as", "where")]
        if len(node.users) == len(numbers) == 1 and numbers[0].name in shapes:
            return f"{name} is not known as an activation function; --layers {numbers[0].name}"
    factors = [parent for parent in node.all_input_nodes if parent in relations]
    if name != "mul" or not factors or any(shapes[factor.name] != shapes[node.name] for factor in factors):
        return ""
    if len(factors) == 1:
        squared = len(node.args) > 1 and node.args[0] is node.args[1] and not _is_norm(root, node)
        return f"a square is not known as an activation function; {choose}" if squared else ""
    if any(_comes_from_gate(root, factor) for factor in factors):
        return ""
    known = [factor for factor in factors if _known(root, factor)]
    if known:
        return f"the product of an activation function, whose units are a layer, and another value; {choose}"
    return f"a product of two values is not known as an activation function; {choose}"


def _comes_from_gate(root: nn.Module, node: fx.Node) -> bool:
    """Return whether a value is a sigmoid or a softmax, moved or scaled by numbers."""
    while True:
        name = step_name(root, node)
        if name in (*GATES, *BOUNDED, "softmax", "log_softmax") or _is_softmax(root, node):
            return True
        if name not in PASSING | MOVES or len(node.all_input_nodes) != 1:
            return False
        node = node.all_input_nodes[0]


def _layer_name(root: nn.Module, node: fx.Node, function: str) -> str:
    if node.op == "call_module":
        return module_path(node)
    path, kind, _ = enclosing(node)
    # torch.export puts functions in the place of modules: there the enclosing module is the activation itself.
    own = isinstance(node.target, torch._ops.OpOverload) and kind in (*TORCH_MODULES, "Softmax", "LogSoftmax")
    return path if own else _joined(path, function)


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names, later uses of one with `_1`, `_2`, ...; none of them twice, whatever they are."""
    names = list(names)
    taken, used, unique = set(names), set[str](), []
    for name in names:
        chosen, count = name, 0
        while chosen in used or (chosen != name and chosen in taken):
            count += 1
            chosen = f"{name}_{count}"
        used.add(chosen)
        unique.append(chosen)
    return unique
