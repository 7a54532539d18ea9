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

import torch
from torch import fx, nn

from selviz.networks.activation_functions import ACTIVATIONS, GATES, SIGNED
from selviz.networks.gates import BOUNDED, comes_from_gate, gate, is_signed, is_softmax, written_gate
from selviz.networks.graph_nodes import HEAD_STEP, called, enclosing, module_path, plain_name, step_name
from selviz.networks.written_activations import (
    UNKNOWN,
    Relation,
    add_own_modules,
    find_composites,
    is_norm,
    is_of_reduction,
    known_activation,
    relations_between,
)

LABELS = {name: module.__name__ for module, names, _ in ACTIVATIONS for name in names}
TORCH_MODULES = frozenset(module.__name__ for module, _, _ in ACTIVATIONS)
COMPARISONS = frozenset("gt ge lt le".split())
# They make new values of the shape of another one, and read nothing of it.
FILLED = frozenset("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty".split())
RECURRENT = (nn.RNNBase, nn.RNNCellBase)


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
    relations = relations_between(root, nodes, shapes)
    composites, absorbed = find_composites(root, nodes, relations, order)
    add_own_modules(root, graph, nodes, relations, composites, absorbed)
    activations: dict[fx.Node, ActivationNode] = {}
    left_out: list[LeftOut] = []
    listed: list[fx.Node] = []
    for node in nodes:
        if node in absorbed:
            continue
        if node in composites:
            entry = _composite(root, node, composites[node], shapes)
            reason, product = written_gate(root, node, composites[node], relations, shapes)
            if product is not None:
                activations.setdefault(product, _gated(product))
            if reason:
                left_out.append(LeftOut(entry.name, reason))
            else:
                activations[node] = entry
            continue
        name = known_activation(root, node)
        label = LABELS.get(name, name)
        if name in GATES or name in BOUNDED:
            if name in GATES:
                reason, product = gate(root, node, relations, shapes)
            else:
                straight = [other for other, way in relations[node.all_input_nodes[0]].items() if not way.curved]
                source = min(straight, key=lambda other: order[other])
                reason, product = written_gate(root, node, source, relations, shapes)
            if product is not None:
                activations.setdefault(product, _gated(product))
            if reason:
                left_out.append(LeftOut(_layer_name(root, node, name), reason))
                continue
        if name:
            signed = (
                SIGNED[name] if SIGNED[name] is not None else is_signed(root, node, node.all_input_nodes[0], shapes)
            )
            activations[node] = ActivationNode(node, _layer_name(root, node, name), label, bool(signed))
        elif step_name(root, node) in ("softmax", "log_softmax") or is_softmax(root, node):
            left_out.append(LeftOut(_layer_name(root, node, "softmax"), "weights that sum to 1, as in attention"))
        elif (pieces := _pieces(root, node, shapes)) is not None:
            sources = [parent for parent in node.all_input_nodes if parent in relations]
            alone = pieces == () and len(sources) == 1  # of a value and a constant
            activations[node] = ActivationNode(
                node,
                _joined(enclosing(node)[0], plain_name(called(node))),
                "minimum" if step_name(root, node) in ("min", "minimum") else "maximum",
                is_signed(root, node, min(relations[node], key=lambda other: order[other]), shapes) if alone else True,
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


def _composite(
    root: nn.Module, node: fx.Node, source: fx.Node, shapes: Mapping[str, tuple[int, ...]]
) -> ActivationNode:
    path, kind, key = enclosing(node)
    inside = {key == enclosing(user)[2] for user in node.users}
    whole = bool(path) and enclosing(source)[2] != key and not any(inside)
    name = path if whole else _joined(path, plain_name(called(node)))
    label = kind if whole else "written out"
    return ActivationNode(node, name, label, is_signed(root, node, source, shapes))


def _powered(root: nn.Module, node: fx.Node) -> fx.Node | None:
    """Return the power of an activation function where that alone follows, as in F.relu(x) ** 2; None for a norm."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    others = [part for part in (*user.args, *user.kwargs.values()) if part is not node]
    name = step_name(root, user)
    powers = name == "square" or (name == "pow" and all(isinstance(part, int | float) for part in others))
    return user if (powers or (name == "mul" and not others)) and not is_norm(root, user) else None


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


def _unknown(
    root: nn.Module,
    node: fx.Node,
    relations: Mapping[fx.Node, Mapping[fx.Node, Relation]],
    shapes: Mapping[str, tuple[int, ...]],
) -> str:
    """Return why a step that computes new numbers, and is no known activation function, is left out; "" for others."""
    name = step_name(root, node)
    choose = f"--layers {node.name}"
    if name in UNKNOWN and not is_norm(root, node) and not is_of_reduction(root, node):
        return f"{name} is not known as an activation function; {choose}"
    if name in COMPARISONS:
        numbers = [user for user in node.users if step_name(root, user) in ("float", "to", "type_as", "where")]
        if len(node.users) == len(numbers) == 1 and numbers[0].name in shapes:
            return f"{name} is not known as an activation function; --layers {numbers[0].name}"
    factors = [parent for parent in node.all_input_nodes if parent in relations]
    if name != "mul" or not factors or any(shapes[factor.name] != shapes[node.name] for factor in factors):
        return ""
    if len(factors) == 1:
        squared = len(node.args) > 1 and node.args[0] is node.args[1] and not is_norm(root, node)
        return f"a square is not known as an activation function; {choose}" if squared else ""
    if any(comes_from_gate(root, factor) for factor in factors):
        return ""
    known = [factor for factor in factors if known_activation(root, factor)]
    if known:
        return f"the product of an activation function, whose units are a layer, and another value; {choose}"
    return f"a product of two values is not known as an activation function; {choose}"


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
