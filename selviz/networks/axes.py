"""On which axes of a value the images and the units lie: `Axes(probe).batch(node)`, `.units(node, batch)`.

The batch is what changes its size with the number of images; where it lies folded with something else (patches,
windows), the rows that change with one image tell how. The units lie on the axis that the parameters mix: one number of
a weight moves one index of it, at all positions. Where the last steps are well known (a convolution, a dense layer,
what keeps or moves axes), that axis is read off; else it is tried, and a layer without a clear answer is left out.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from selviz.networks.activation_functions import CURVED_STEPS, LINEAR_STEPS, SIGNED
from selviz.networks.graph_nodes import ValueRecorder, called, step_name

SECOND = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
LAST = (nn.Linear, nn.MultiheadAttention, nn.Embedding, nn.RNNBase)
SECOND_NAMES = frozenset("conv1d conv2d conv3d convolution batch_norm group_norm instance_norm".split())
LAST_NAMES = frozenset(("linear",))
POOLINGS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout2d,
)  # fmt: skip
POOLING_NAMES = frozenset(
    "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d max_pool1d avg_pool1d pad interpolate".split()
)
MOVING = frozenset("permute transpose swapaxes swapdims movedim".split())
MAX_TRIED = 24  # parameters before a layer that are tried
MAX_STEPS = 60  # that one of them may lie away
CLEAR, UNCLEAR = 0.6, 0.35  # share of a change at one index of the unit axis, at most elsewhere


@dataclass(frozen=True)
class BatchAxis:
    """The axis on which the images lie, in steps of `after` entries, `before` times: [..., before * N * after, ...]."""

    axis: int = 0
    before: int = 1
    after: int = 1

    @property
    def plain(self) -> bool:
        """Return whether each row is one image."""
        return self == BatchAxis()

    @property
    def folded(self) -> bool:
        """Return whether an image has several rows."""
        return self.before * self.after > 1

    def first(self, value: Tensor) -> Tensor:
        """Return the value [N, ...] with the images first; an axis that was folded becomes two, in its old place."""
        if self.folded:
            split: Tensor = torch.unflatten(value, self.axis, (self.before, -1, self.after))
            return split.movedim(self.axis + 1, 0)
        return value.movedim(self.axis, 0)


class Axes:
    """Tries out a graph on two random images. `one` and `three` are the nodes' shapes for 1 and for 3 images."""

    def __init__(
        self,
        root: nn.Module,
        graph: fx.Graph,
        example: Tensor,
        one: Mapping[str, tuple[int, ...]],
        three: Mapping[str, tuple[int, ...]],
    ):
        self.root, self.graph, self.one, self.three = root, graph, one, three
        self.tried = example.device.type != "meta"
        self._order = {node: position for position, node in enumerate(graph.nodes)}
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(3, *example.shape[1:], generator=generator)
        self._inputs, self._other = pixels[:2], torch.cat([pixels[2:], pixels[1:2]])
        self._device, self._dtype = example.device, example.dtype
        self._values: dict[str, object] | None = None
        self._moved: dict[str, object] | None = None

    def batch(self, node: fx.Node) -> BatchAxis | str:
        """Return where the images lie in a node's value, or why that is not known."""
        batch = grown_axis(self.one[node.name], self.three.get(node.name, ()))
        if isinstance(batch, str) or not batch.folded or not self.tried:
            return batch
        axis, rows = batch.axis, batch.after
        changed = self._rows(node, axis)
        for after in (number for number in range(1, rows + 1) if rows % number == 0):
            expected = (torch.arange(2 * rows) // after) % 2 == 0
            # Of an image's own rows some may stay the same; of the other image's none may move.
            if not bool((changed & ~expected).any()) and bool(changed.any()):
                axis_found = BatchAxis(axis, rows // after, after)
                if bool((changed == expected).all()):
                    return axis_found
        return "how its rows belong to images could not be told"

    def _rows(self, node: fx.Node, axis: int) -> Tensor:
        """Return for each row [rows] whether it, or what it is computed from, changes with the first of two images."""
        changed = torch.zeros(2 * self.one[node.name][axis], dtype=torch.bool)
        while True:
            before, after = self._value(node), self._value(node, moved=True)
            if isinstance(before, Tensor) and isinstance(after, Tensor) and before.shape[axis] == len(changed):
                different = (before != after).movedim(axis, 0).flatten(1).any(dim=1)
                changed |= different.cpu()
            parents = [p for p in node.all_input_nodes if self.one.get(p.name) == self.one[node.name]]
            if bool(changed.any()) or not parents:
                return changed
            node = parents[0]

    def units(self, node: fx.Node, batch: BatchAxis) -> tuple[int, ...] | None:
        """Return the axes of the units in `batch.first(value)`, several where they were split; None if not clear."""
        axis, certain = self.read_off(node)
        plain = batch.plain and 0 < axis < len(self.one[node.name])
        if plain and (certain or not self.tried):
            return (axis,)
        if not self.tried:
            return None
        mixed = self.mixed(node, batch)
        if mixed is not None:
            return mixed
        wide = [size for size in self.one[node.name][1:] if size > 1]
        return (axis,) if plain and certain is not False and len(wide) < 2 else None  # no guess among several

    # ------------------------------------------------------------------------------------------------------ reading off

    def read_off(self, node: fx.Node) -> tuple[int, bool | None]:
        """Return the axis where the last well-known step put the units, and whether all steps since are well known.

        The second is None where a well-known step put them there and not all steps since are, False without any.
        """
        axis, way, mixed = 1, [], False
        certain = True
        for _ in range(100):
            put = self._put(node)
            if put is not None:
                axis, mixed = put, True
                break
            way.append(node)
            if not node.all_input_nodes:
                break
            node = node.all_input_nodes[0]
        if not mixed and way and way[-1].op == "placeholder":  # channels of the image itself
            way.pop()
            mixed = all(self._well_known(step, 1) for step in way)
        for step in reversed(way):
            certain = certain and self._well_known(step, axis)
            axis = self._after(step, axis)
        return axis, (True if certain else None) if mixed else False

    def _put(self, node: fx.Node) -> int | None:
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            second, last = isinstance(module, SECOND), isinstance(module, LAST)
            if isinstance(module, nn.LayerNorm | nn.RMSNorm):
                last = len(module.normalized_shape) == 1 and bool(module.elementwise_affine)
        else:
            second, last = called(node) in SECOND_NAMES, called(node) in LAST_NAMES
        dimensions = len(self.one.get(node.name, ()))
        return 1 if second else max(dimensions, 1) - 1 if last else None

    def _well_known(self, node: fx.Node, axis: int) -> bool:
        """Return whether the units that lie on `axis` before the node certainly lie where `_after` says."""
        before = self.one.get(node.all_input_nodes[0].name) if node.all_input_nodes else None
        after = self.one.get(node.name)
        if before is None or after is None or axis >= len(before):
            return False
        name = step_name(self.root, node)
        if node.op == "call_module" and isinstance(self.root.get_submodule(str(node.target)), POOLINGS):
            return axis == 1
        if name in POOLING_NAMES:
            return axis == 1 and after[:2] == before[:2]
        if name in MOVING:
            return True
        if name in ("cat", "concat"):
            return len(after) == len(before)
        return (name in LINEAR_STEPS or name in CURVED_STEPS or name in SIGNED) and name != "glu" and before == after

    def _after(self, node: fx.Node, axis: int) -> int:
        """Return where the unit axis lies after the node, if it lay at `axis` before."""
        after = self.one.get(node.name)
        before = self.one.get(node.all_input_nodes[0].name) if node.all_input_nodes else None
        if after is None or before is None:
            return axis
        name, arguments = called(node), [*node.args[1:], *node.kwargs.values()]
        flat: list[Any] = [
            part for entry in arguments for part in (entry if isinstance(entry, tuple | list) else [entry])
        ]
        if name == "permute" and all(isinstance(part, int) for part in flat):
            return [part % len(before) for part in flat].index(axis)
        if name in ("transpose", "swapaxes", "swapdims") and all(isinstance(part, int) for part in flat[:2]):
            first, second = (part % len(before) for part in flat[:2])
            return int({first: second, second: first}.get(axis, axis))
        if name == "movedim" and len(flat) == 2 and all(isinstance(part, int) for part in flat):
            order = [other for other in range(len(before)) if other != flat[0] % len(before)]
            order.insert(flat[1] % len(before), flat[0] % len(before))
            return order.index(axis)
        stays = name in ("cat", "concat") or name in POOLING_NAMES
        if len(after) == len(before) and axis < len(before) and (stays or after[axis] == before[axis]):
            return axis
        same = [position for position in range(1, len(after)) if axis < len(before) and after[position] == before[axis]]
        if axis in same:
            return axis
        return same[-1] if same else len(after) - 1 if len(after) <= 2 else min(axis, len(after) - 1)

    # ------------------------------------------------------------------------------------------------------- trying out

    def mixed(self, node: fx.Node, batch: BatchAxis) -> tuple[int, ...] | None:
        """Return the axes of `batch.first(value)` on which single numbers of the nearest parameters move one index."""
        # What an activation sets to zero shows nothing: its input is looked at where that has the same axes.
        seen = node
        for parent in node.all_input_nodes:
            value = self._value(parent) if self.one.get(parent.name) == self.one[node.name] else None
            if isinstance(value, Tensor) and value.is_floating_point():
                seen = parent
                break
        for number, (source, name, parameter) in enumerate(self._parameters(node)):
            if number >= MAX_TRIED:
                break
            target = seen if self._order[source] <= self._order[seen] else node
            moved = self._moved_axes(source, name, parameter, target, batch)
            if moved is not None:
                return moved
        return None

    def _parameters(self, node: fx.Node) -> Iterator[tuple[fx.Node, str, Tensor]]:
        """Yield (node, name in its module, parameter) of what the node depends on, the nearest first."""
        before, ahead = {node}, [node]
        while ahead:
            for parent in ahead.pop().all_input_nodes:
                if parent not in before:
                    before.add(parent)
                    ahead.append(parent)

        def place(other: fx.Node) -> int:
            # torch.export names all tensors at the start: what counts is where one is used.
            if other.op == "get_attr":
                return max(self._order[user] for user in other.users if user in before)
            return self._order[other]

        for other in sorted(before, key=lambda entry: -place(entry)):
            if other.op == "call_module":
                module = self.root.get_submodule(str(other.target))
                for name, parameter in reversed(list(module.named_parameters())):
                    yield other, name, parameter
            elif other.op == "get_attr":
                value: object = self.root
                for part in str(other.target).split("."):
                    value = getattr(value, part)
                if isinstance(value, Tensor) and value.is_floating_point():
                    yield other, "", value

    def _moved_axes(
        self, source: fx.Node, name: str, parameter: Tensor, node: fx.Node, batch: BatchAxis
    ) -> tuple[int, ...] | None:
        way = self._between(source, node)
        if parameter.numel() < 2 or way is None:
            return None
        intact = self._value(node)
        if not isinstance(intact, Tensor) or not intact.is_floating_point():
            return None
        first = batch.first(intact)
        changes = (batch.first(self._recomputed(source, name, other, way, node)) - first for other in nudged(parameter))
        return moved_axes(changes, parameter)

    def _between(self, source: fx.Node, node: fx.Node) -> list[fx.Node] | None:
        """Return the nodes after `source` that lead from it to `node`, which is the last; None where it is far."""
        needed = {node}
        for other in sorted(self._order, key=lambda entry: -self._order[entry]):
            if self._order[other] <= self._order[source]:
                break
            if other in needed:
                needed.update(other.all_input_nodes)
        reached, way = {source}, []
        for other in self.graph.nodes:
            if (
                self._order[source] < self._order[other] <= self._order[node]
                and other in needed
                and any(parent in reached for parent in other.all_input_nodes)
            ):
                reached.add(other)
                way.append(other)
        return way if node in reached and len(way) <= MAX_STEPS else None

    def _recomputed(self, source: fx.Node, name: str, parameter: Tensor, way: list[fx.Node], node: fx.Node) -> Tensor:
        """Return the node's value with another parameter in this one step."""
        runner, values = self._runner, self._all_values()
        with torch.no_grad():
            new: dict[fx.Node, Any] = {}

            def value(part: fx.Node) -> Any:
                return new[part] if part in new else values[part.name]

            if source.op == "get_attr":
                new[source] = parameter
            else:
                module = self.root.get_submodule(str(source.target))
                args: Any = fx.node.map_arg(source.args, value)
                kwargs: Any = fx.node.map_arg(source.kwargs, value)
                new[source] = torch.func.functional_call(module, {name: parameter}, args, kwargs)
            for step in way:
                args, kwargs = fx.node.map_arg(step.args, value), fx.node.map_arg(step.kwargs, value)
                new[step] = getattr(runner, step.op)(step.target, args, kwargs)
        result = new[node]
        assert isinstance(result, Tensor)
        return result

    def _value(self, node: fx.Node, moved: bool = False) -> object:
        if not moved:
            return self._all_values()[node.name]
        if self._moved is None:
            self._moved = ValueRecorder(self.root, self.graph).values(self._placed(self._other))
        return self._moved[node.name]

    def _all_values(self) -> dict[str, object]:
        if self._values is None:
            recorder = ValueRecorder(self.root, self.graph)
            self._values, self._runner = recorder.values(self._placed(self._inputs)), recorder
        return self._values

    def _placed(self, inputs: Tensor) -> Tensor:
        return inputs.to(self._device, self._dtype)


def grown_axis(one: tuple[int, ...], three: tuple[int, ...]) -> BatchAxis | str:
    """Return where the images lie in a value that has these shapes for 1 and for 3 images, or why that is not known.

    Of a folded axis it says how many rows an image has, as `after`, and not in which order.
    """
    grown = [axis for axis in range(len(one)) if len(three) == len(one) and three[axis] != one[axis]]
    if not grown:
        return "its size does not follow the number of images"
    if len(grown) > 1 or three[grown[0]] != 3 * one[grown[0]]:
        return "it has more than one axis of images"
    return BatchAxis(grown[0], 1, one[grown[0]])


def nudged(parameter: Tensor, count: int = 8) -> Iterator[Tensor]:
    """Yield copies of a parameter, each with another one of its numbers moved."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        index = tuple(int(torch.randint(size, (), generator=generator)) for size in parameter.shape)
        other = parameter.detach().clone()
        step = float(parameter.detach().abs().mean())
        other[index] += 1 + 2 * step if math.isfinite(step) else 1
        yield other


def moved_axes(changes: Iterable[Tensor], parameter: Tensor) -> tuple[int, ...] | None:
    """Return the axes on which the changes [N, ...] that `nudged` parameters make lie at one index; None if not clear.

    The first four changes that are not zero count; where they do not agree, those of all that lie at one index. A
    parameter with a number for each place mixes nothing.
    """
    axes: set[int] | None = None
    alone: list[set[int]] = []
    shares: list[dict[int, float]] = []
    sizes: tuple[int, ...] = ()
    for difference in changes:
        change = difference.abs().double()
        sizes, largest = tuple(change.shape), float(change.max())
        if not (largest > 0 and math.isfinite(largest)):
            continue
        single: set[int] = set()
        share: dict[int, float] = {}
        for axis in range(1, change.dim()):
            if change.shape[axis] == 1:
                continue
            rest = [other for other in range(change.dim()) if other != axis]
            if int((change.amax(dim=rest) > 1e-4 * largest).sum()) == 1:
                single.add(axis)
            energy = (change**2).sum(dim=rest)
            share[axis] = float(energy.max() / energy.sum().clamp(min=1e-300))
        alone.append(single)
        if len(shares) < 4:
            axes = single if axes is None else axes & single
            shares.append(share)
        elif axes:
            break
    if axes is None:
        return None
    if axes:
        wide = sum(size > 1 for size in parameter.shape)
        if wide > 1 and len(axes) > 1 and parameter.numel() == math.prod(sizes[axis] for axis in axes):
            return None  # as of a positional embedding
        return tuple(sorted(axes))
    mean = {axis: sum(share.get(axis, 0.0) for share in shares) / len(shares) for axis in shares[0]}
    ranked = sorted(mean, key=lambda axis: -mean[axis])
    if ranked and mean[ranked[0]] >= CLEAR and all(mean[axis] <= UNCLEAR for axis in ranked[1:]):
        return (ranked[0],)
    # In attention, queries and keys move all of it and each value one unit.
    clear = [single for single in alone if single]
    same = len(clear) >= 2 and all(single == clear[0] for single in clear) and len(clear[0]) == 1
    return tuple(clear[0]) if same else None


def batch_and_units_first(
    graph: fx.Graph, node: fx.Node, batch: BatchAxis, units: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[fx.Node, int]:
    """Give a node's value the form [N, ..., U, ...] and return (the node of that form, the axis of the units).

    `units` are axes of `batch.first(value)`, of these `sizes`. What used the value goes on from there, in the old form.
    """
    users = list(node.users)
    steps: list[tuple[str, tuple[Any, ...]]] = []
    back: list[tuple[str, tuple[Any, ...]]] = []
    if batch.folded:
        steps.append(("unflatten", (batch.axis, (batch.before, -1, batch.after))))
        back.append(("flatten", (batch.axis, batch.axis + 2)))
    at = batch.axis + batch.folded
    if at:
        steps.append(("movedim", (at, 0)))
        back.append(("movedim", (0, at)))
    axis = units[0]
    if len(units) > 1:
        last = tuple(range(-len(units), 0))
        split = tuple(sizes[other] for other in units)
        steps += [("movedim", (units, last)), ("flatten", (-len(units), -1))]
        back += [("movedim", (last, units)), ("unflatten", (-1, split))]
        axis = len(sizes) - len(units)
    if not steps:
        return node, axis
    value = node
    for position, (method, arguments) in enumerate(itertools.chain(steps, reversed(back))):
        with graph.inserting_after(value):
            value = graph.call_method(method, (value, *arguments))
        value.meta = dict(node.meta)
        if position == len(steps) - 1:
            canonical = value
    for user in users:
        user.replace_input_with(node, value)
    return canonical, axis
