"""The unit layers of a graph: `find_layers(root, graph, example, one, three)`, and those named: `choose(layers,
specs)`.

Every activation function's output is a unit layer, named by the module that computes it (`layer4.1.relu`, a second use
`layer4.1.relu_1`); `activation_nodes` says what counts as one and `axes` where its images and units lie. The
classifier's own output is none, nor is what does not depend on the image. Any other module or step becomes a unit layer
if it is named.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, fx, nn

from selviz.errors import SelvizError, unknown
from selviz.networks.activation_nodes import ActivationNode, LeftOut, find_activations, unique_names
from selviz.networks.axes import Axes, BatchAxis, batch_and_units_first
from selviz.networks.graph_nodes import HEAD_STEP, called, enclosing, enclosing_calls, module_path, result, step_name

SQUEEZE_CLASSES = ("SqueezeExcitation", "SqueezeExcite", "SEModule", "SELayer", "EffectiveSEModule", "SqueezeExcite2d")

# What may stand between the classifier's output and the network's: it moves numbers, it computes no new ones.
HARMLESS = (
    nn.Identity, nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Softmax, nn.LogSoftmax,
    nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d,
)  # fmt: skip
HARMLESS_NAMES = (
    "mean", "flatten", "view", "reshape", "squeeze", "getitem", "contiguous", "clone", "dropout", "softmax", "amax",
    "log_softmax", "adaptive_avg_pool2d", "avg_pool2d", "adaptive_max_pool2d", "max_pool2d", "getattr", "size",
    "sym_size", "identity", "unflatten", "movedim",
)  # fmt: skip


@dataclass(frozen=True)
class UnitLayer:
    """A unit layer: its name, number of units, the `node` that holds them [N, ..., U, ...], and their axis there.

    `shape` is the node's for one image. `depth` runs from 0 (first layer) to 1 (last); `signed` says that activations
    can be negative; `squeeze` that the layer lies inside a squeeze-excitation block; `activation` is what computes it.
    """

    name: str
    units: int
    axis: int
    depth: float
    signed: bool
    squeeze: bool
    shape: tuple[int, ...]
    node: str
    activation: str = ""

    @property
    def positions(self) -> int:
        """Return number of positions (or tokens) that each unit has."""
        count = 1
        for size in self.shape[1:]:
            count *= size
        return count // max(self.units, 1)


@dataclass(frozen=True)
class Source:
    """Where a unit layer's values come up while the plain network runs: the step `node` as it was traced.

    `path` is the module that is the step, or the one whose forward takes it; `function` names the step, "" for a
    module. `batch` and `units` are the axes of the images, and of the units in `batch.first(value)`.
    """

    node: str
    path: str
    function: str
    batch: BatchAxis
    units: tuple[int, ...]


@dataclass(frozen=True)
class FoundLayers:
    """The unit layers in forward order, the source of each by its name, and what was seen and left out."""

    layers: tuple[UnitLayer, ...]
    sources: Mapping[str, Source]
    left_out: tuple[LeftOut, ...]


def find_layers(
    root: nn.Module,
    graph: fx.Graph,
    example: Tensor,
    one: Mapping[str, tuple[int, ...]],
    three: Mapping[str, tuple[int, ...]],
    specs: Sequence[str] = (),
) -> FoundLayers:
    """Find the unit layers, or those that `specs` name; `one` and `three` are the nodes' shapes for 1 and 3 images.

    Values whose images do not come first get that form in the graph. SelvizError for a spec that names nothing, and
    for a named step that cannot be a layer.
    """
    of_images: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(parent in of_images for parent in node.all_input_nodes):
            of_images.add(node)
    activations, left_out = find_activations(root, graph, one, of_images)
    axes = Axes(root, graph, example, one, three)
    classes = one[result(graph).name][-1]
    names = unique_names(entry.name for entry in activations)
    candidates = [replace(entry, name=name) for entry, name in zip(activations, names)]
    # A layer of the same name as a step would be chosen by it.
    left_out = [
        LeftOut(entry.name, entry.reason.rpartition("; --layers ")[0])
        if "; --layers " in entry.reason and entry.reason.rpartition("; --layers ")[2] in names
        else entry
        for entry in left_out
    ]
    placed_at: dict[str, tuple[BatchAxis, tuple[int, ...]]] = {}
    usable = []
    for entry in candidates:
        where = _axes_of(axes, entry)
        if isinstance(where, str):
            left_out.append(LeftOut(entry.name, where))
        elif _size(axes, entry.node, *where) == classes and _is_output(root, entry.node):
            left_out.append(LeftOut(entry.name, "the network's own output"))
        else:
            placed_at[entry.name] = where
            usable.append(entry)
    if specs:
        usable = _named(root, graph, usable, of_images, specs, left_out, one)
        for entry in usable:
            if entry.name not in placed_at:
                where = _axes_of(axes, entry)
                if isinstance(where, str):
                    raise SelvizError(f"{entry.name} cannot be a unit layer: {where}.")
                placed_at[entry.name] = where
    layers, sources = [], {}
    for entry in usable:
        batch, units = placed_at[entry.name]
        sizes = _first_shape(one[entry.node.name], batch)
        step = entry.node.op == "call_module"
        sources[entry.name] = Source(
            entry.node.name,
            module_path(entry.node) if step else enclosing(entry.node)[0],
            "" if step else step_name(root, entry.node),
            batch,
            units,
        )
        squeeze = _is_squeeze(entry.node)
        canonical, axis = batch_and_units_first(graph, entry.node, batch, units, sizes)
        count = 1
        for other in units:
            count *= sizes[other]
        shape = sizes
        if len(units) > 1:
            shape = (*(size for position, size in enumerate(sizes) if position not in units), count)
        layers.append(
            UnitLayer(
                name=entry.name,
                units=count,
                axis=axis,
                depth=0.0,
                signed=entry.signed,
                squeeze=squeeze,
                shape=shape,
                node=canonical.name,
                activation=entry.activation,
            )
        )
    return FoundLayers(with_depths(layers), sources, tuple(left_out))


def _axes_of(axes: Axes, entry: ActivationNode) -> tuple[BatchAxis, tuple[int, ...]] | str:
    """Return the axes of images and units, or why the node is no unit layer."""
    if len(axes.one[entry.node.name]) < 2:
        return "it has one number an image"
    batch = axes.batch(entry.node)
    if isinstance(batch, str):
        return batch
    units = axes.units(entry.node, batch)
    if units is None:
        return "which axis its units lie on could not be told: no parameter before it moves one index of an axis alone"
    if entry.pieces:
        value = next(parent for parent in entry.node.all_input_nodes)
        if value.name not in axes.one:
            value = value.all_input_nodes[0]
        where = axes.batch(value)
        pieces = axes.mixed(value, where) if isinstance(where, BatchAxis) and axes.tried else None
        if pieces is None or not set(entry.pieces) <= set(pieces) or len(pieces) == len(entry.pieces):
            return "a maximum over positions"
    return batch, units


def _first_shape(one: tuple[int, ...], batch: BatchAxis) -> tuple[int, ...]:
    """Return the shape of `batch.first(value)` for one image."""
    rest = list(one)
    if batch.folded:
        rest[batch.axis : batch.axis + 1] = [batch.before, batch.after]
        return (1, *rest)
    del rest[batch.axis]
    return (1, *rest)


def _size(axes: Axes, node: fx.Node, batch: BatchAxis, units: tuple[int, ...]) -> int:
    sizes, count = _first_shape(axes.one[node.name], batch), 1
    for axis in units:
        count *= sizes[axis]
    return count


def with_depths(layers: Sequence[UnitLayer]) -> tuple[UnitLayer, ...]:
    """Return the layers in forward order with their depth, from 0 (first) to 1 (last)."""
    last = max(len(layers) - 1, 1)
    return tuple(replace(layer, depth=position / last) for position, layer in enumerate(layers))


def choose(layers: Sequence[UnitLayer], specs: Sequence[str]) -> tuple[UnitLayer, ...]:
    """Return the layers that any of `specs` names: a name, a glob such as `layer3*`, `first:5`, `last:5`; all for none.

    Depths run again from 0 to 1 over the chosen ones. SelvizError for a spec that names no layer.
    """
    names = [layer.name for layer in layers]
    chosen: set[str] = set()
    for spec in specs:
        if not (matching := matching_names(names, spec)):
            raise unknown("layer", spec, names, fix="Write a name, a glob such as 'layer3*', first:5 or last:5.")
        chosen.update(matching)
    return with_depths([layer for layer in layers if layer.name in chosen]) if specs else tuple(layers)


def matching_names(names: Sequence[str], spec: str) -> list[str]:
    """Return the names that a spec stands for: itself, those of a glob, `first:5` or `last:5`."""
    side, _, number = spec.partition(":")
    if spec in names:
        return [spec]
    if side in ("first", "last") and number.isdecimal() and int(number):
        return list(names[: int(number)] if side == "first" else names[-int(number) :])
    return fnmatch.filter(names, spec)


def _named(
    root: nn.Module,
    graph: fx.Graph,
    usable: Sequence[ActivationNode],
    of_images: set[fx.Node],
    specs: Sequence[str],
    left_out: Iterable[LeftOut],
    one: Mapping[str, tuple[int, ...]],
) -> list[ActivationNode]:
    """Return what the specs name: layers, or else modules, or else single steps by their names in the graph."""
    names = [entry.name for entry in usable]
    chosen: dict[fx.Node, ActivationNode] = {}
    taken = set(names)
    modules = _module_results(graph, of_images, one)
    steps = {node.name: node for node in graph.nodes if node in of_images and node.name in one}
    for spec in specs:
        if matching := matching_names(names, spec):
            chosen.update({entry.node: entry for entry in usable if entry.name in matching})
            continue
        results = {path: modules[path] for path in matching_names(list(modules), spec)}
        if not results and spec in steps:
            results = {spec: [steps[spec]]}
        if not results:
            reasons = {entry.name: entry.reason for entry in left_out}
            if spec in reasons:
                raise SelvizError(f"{spec} cannot be a unit layer: {reasons[spec]}.")
            raise unknown(
                "layer", spec, [*names, *modules], fix="Write a layer, a module, a glob such as 'layer3*', or first:5."
            )
        for path, nodes in results.items():
            for node in nodes:
                name = path
                while name in taken:
                    stem, _, number = name.rpartition("_")
                    name = f"{stem}_{int(number) + 1}" if stem and number.isdecimal() else f"{name}_1"
                if node not in chosen:
                    taken.add(name)
                    chosen[node] = ActivationNode(node, name, _label(root, node), True)
    order = {node: position for position, node in enumerate(graph.nodes)}
    return sorted(chosen.values(), key=lambda entry: order[entry.node])


def _label(root: nn.Module, node: fx.Node) -> str:
    return type(root.get_submodule(str(node.target))).__name__ if node.op == "call_module" else called(node)


def _module_results(
    graph: fx.Graph, of_images: set[fx.Node], one: Mapping[str, tuple[int, ...]]
) -> dict[str, list[fx.Node]]:
    """Return path -> the node of its result, one a call, of every module that has one result alone."""
    members: dict[tuple[str, str], set[fx.Node]] = {}
    results: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            # Of a tuple, as a recurrent layer gives one, the first part.
            parts = [user for user in node.users if called(user) == "getitem" and user.args[1:] == (0,)]
            results.setdefault(module_path(node), []).extend(parts if node.name not in one else [node])
        for path, key in enclosing_calls(node):
            if path:
                members.setdefault((path, key), set()).add(node)
    for (path, _), nodes in members.items():
        ends = [node for node in nodes if any(user not in nodes for user in node.users)]
        ends = [node for node in ends if node in of_images and node.name in one]
        if len(ends) == 1 and ends[0] not in results.get(path, []):
            results.setdefault(path, []).append(ends[0])
    return {path: [node for node in nodes if node in of_images and node.name in one] for path, nodes in results.items()}


def _is_output(root: nn.Module, node: fx.Node) -> bool:
    """Return whether nothing is computed from the node but the output, by pooling, flattening or softmax."""
    seen, ahead = set(), [node]
    while ahead:
        for user in ahead.pop().users:
            if user in seen or user.op == "output" or HEAD_STEP in user.meta:
                continue
            if user.op == "call_module":
                harmless = isinstance(root.get_submodule(str(user.target)), HARMLESS)
            else:
                name, parts = step_name(root, user), [*user.args, *user.kwargs.values()]
                scaled = name in ("mul", "div", "add", "sub") and len(user.all_input_nodes) == 1
                scaled = scaled and sum(isinstance(part, fx.Node) for part in parts) == 1
                harmless = scaled or name in HARMLESS_NAMES
            if not harmless:
                return False
            seen.add(user)
            ahead.append(user)
    return True


def _is_squeeze(node: fx.Node) -> bool:
    stack = node.meta.get("nn_module_stack") or {}
    kinds = (entry[1] if isinstance(entry, tuple) else entry for entry in stack.values())
    return any(
        (kind.__name__ if isinstance(kind, type) else str(kind)).rsplit(".")[-1] in SQUEEZE_CLASSES for kind in kinds
    )
