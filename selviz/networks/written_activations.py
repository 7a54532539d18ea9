"""Activation functions that somebody wrote out of single steps: `find_composites(root, nodes, relations, order)`.

A value is a function, number by number, of an earlier one where every step between them works on each number alone. An
activation function is where two such ways from one value meet again (`x * torch.sigmoid(x)`), a chain of curved steps
(`1 / (1 + torch.exp(-x))`), or a module whose whole forward is such a function.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx, nn

from selviz.networks.activation_functions import CURVED_STEPS, LINEAR_STEPS, SIGNED
from selviz.networks.graph_nodes import activation_name, called, enclosing, plain_name, step_name

PASSING = frozenset(
    "view reshape expand expand_as unsqueeze squeeze getitem contiguous identity add sub rsub mul div neg dropout "
    "flatten unflatten repeat to float clone".split()
)
UNKNOWN = frozenset(
    "pow square exp expm1 abs log log1p log2 log10 exp2 sqrt sinh cosh tan reciprocal asinh floor ceil round trunc "
    "frac heaviside logaddexp ndtr erfc sinc".split()
)
ROOTS = frozenset("sqrt rsqrt pow reciprocal log".split())
REDUCTIONS = frozenset("mean sum norm var std max amax logsumexp linalg_norm vector_norm".split())


@dataclass(frozen=True)
class Relation:
    """How a value depends on an earlier one, number by number: by curved steps, by known activation functions."""

    curved: bool = False
    known: bool = False


def known_activation(root: nn.Module, node: fx.Node) -> str:
    """Return the name of the activation function that a node is; "" if it is none."""
    if node.op == "call_module":
        name = step_name(root, node)
        return name if name in SIGNED else ""
    if (written := activation_name(node)) is not None:
        return written
    plain = plain_name(called(node))
    return plain if plain in SIGNED else ""


def relations_between(
    root: nn.Module, nodes: list[fx.Node], shapes: Mapping[str, tuple[int, ...]]
) -> dict[fx.Node, dict[fx.Node, Relation]]:
    """Return node -> earlier node -> relation, for each pair where the one is a function, per number, of the other."""
    among = set(nodes)
    relations: dict[fx.Node, dict[fx.Node, Relation]] = {}
    for node in nodes:
        relations[node] = {node: Relation()}
        inputs = [parent for parent in node.all_input_nodes if parent in among]
        name = step_name(root, node)
        known = known_activation(root, node)
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
            relations[node][source] = Relation(
                curved or any(part.curved for part in parts),
                bool(known) or any(part.known for part in parts),
            )
    return relations


def find_composites(
    root: nn.Module,
    nodes: list[fx.Node],
    relations: dict[fx.Node, dict[fx.Node, Relation]],
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


def _chain(root: nn.Module, node: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, Relation]]) -> list[fx.Node]:
    """Return the steps, from this one on, of an activation function that is one step after another, as 1 / (1 +
    exp(-x)); [] where fewer than two of them are curved.
    """

    def alone(step: fx.Node) -> bool:
        parents = [parent for parent in step.all_input_nodes if parent in relations]
        name = step_name(root, step)
        curved = name in UNKNOWN and not is_norm(root, step) and not is_of_reduction(root, step)
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


def _merges(name: str, parts: list[Relation]) -> bool:
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


def _inside(end: fx.Node, source: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, Relation]]) -> set[fx.Node]:
    """Return the nodes on the way from the source (left out) to the end (left out)."""
    inside: set[fx.Node] = set()
    ahead = [end]
    while ahead:
        for parent in ahead.pop().all_input_nodes:
            if parent is not source and parent not in inside and source in relations.get(parent, ()):
                inside.add(parent)
                ahead.append(parent)
    return inside


def _scaled(root: nn.Module, node: fx.Node, relations: Mapping[fx.Node, Mapping[fx.Node, Relation]]) -> fx.Node:
    """Return the node times or divided by numbers, where that follows at once in the same module."""
    while len(node.users) == 1:
        (user,) = node.users
        numbers = [part for part in (*user.args, *user.kwargs.values()) if part is not node]
        scales = step_name(root, user) in ("mul", "div") and all(isinstance(part, int | float) for part in numbers)
        if not scales or enclosing(user)[2] != enclosing(node)[2] or node not in relations.get(user, ()):
            break
        node = user
    return node


def add_own_modules(
    root: nn.Module,
    graph: fx.Graph,
    nodes: list[fx.Node],
    relations: dict[fx.Node, dict[fx.Node, Relation]],
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
        if relation is None or not relation.curved or end in composites or known_activation(root, end):
            continue
        composites[end] = source
        for inner in _inside(end, source, relations):
            absorbed.add(inner)
            composites.pop(inner, None)
        absorbed.discard(end)


def is_norm(root: nn.Module, node: fx.Node) -> bool:
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


def is_of_reduction(root: nn.Module, node: fx.Node, steps: int = 3) -> bool:
    """Return whether the node is computed from a mean, sum or variance alone, as the root in a norm is."""
    parents = [part for part in node.all_input_nodes if part.op != "get_attr"]
    if len(parents) != 1 or steps == 0:
        return False
    name = step_name(root, parents[0])
    return name in REDUCTIONS or (name in PASSING | {"clamp"} and is_of_reduction(root, parents[0], steps - 1))
