"""What an import stores is held against the network itself, run plainly: `prove(run, head, traced, network, inputs)`.

    expected = steady_logits(PlainRun(model), head, inputs)   # the same alone and in any company, each time
    prove(run, head, traced, network, inputs, expected)

`network` is the one that was read back from what is stored. Held against hooks on the plain network, image by image:
the logits, every unit layer's activations in batches of 1, 2, 3 and 7 images in another order, and the logits with one
unit of each layer clamped. A difference is one sentence, and no import.
"""

import copy
import pickle
import random
import re
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, fx

from selviz.errors import SelvizError, first_line
from selviz.networks.axes import BatchAxis
from selviz.networks.graph_nodes import ValueRecorder, result
from selviz.networks.graph_surgery import descendants
from selviz.networks.heads import Head, chosen_outputs
from selviz.networks.hooked_network import WatchedNetwork
from selviz.networks.plain_run import PlainRun, Step
from selviz.networks.tracing import Traced, Untraceable, fault
from selviz.networks.unit_layers import Source, UnitLayer
from selviz.networks.unit_network import UnitNetwork

IMAGES = 7
TOLERANCE = 1e-3  # of the largest value: other kernels may run in another order
ROUNDING = 5e-5  # of the largest logit: what is more than this in single precision is looked at in double precision
REPEATED = 1e-6  # where the same images pass again in the same batch
BATCHES = ((6, 5, 4, 3, 2, 1, 0), (2, 5, 1), (4, 0), (3,))
SECONDS = 30.0  # after which the layers that are left are clamped together


class Different(Untraceable):
    """The traced network computes something else than the network itself."""


class Unseen(SelvizError):
    """Values of unit `layers` do not come up while the network runs plainly, so they cannot be proven."""

    def __init__(self, layers: Sequence[str]):
        names, several = ", ".join(layers[:3]), len(layers) > 1
        super().__init__(
            f"The layer{'s' if several else ''} {names} of the traced network {'have' if several else 'has'} values "
            "that do not come up in the network itself; choose other layers: --layers NAME"
        )
        self.layers = tuple(layers)


def plain_logits(run: PlainRun, head: Head, inputs: Tensor) -> Tensor:
    """Return the plain network's logits [N, C]; SelvizError, with the line at fault, if it cannot be run."""
    return head.logits(plain_value(run, inputs)).float()


def plain_value(run: PlainRun, inputs: Tensor) -> object:
    """Return what the plain network returns; SelvizError, with the line at fault, if it cannot be run."""
    try:
        return run(inputs)
    except SelvizError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        line = fault(error)
        reason = first_line(error)[:200].rstrip(".")
        line = f": {line}" if line else ""
        if len(inputs) == 1:
            raise SelvizError(
                f"The network cannot be run on one image alone{line} ({reason}); batch statistics in evaluation mode "
                "(track_running_stats=False) and x.squeeze() without an axis do that."
            ) from error
        if re.search(r"dtype|Half|BFloat16|Double|same type", reason):
            raise SelvizError(
                f"The network cannot be run in float32{line} ({reason}); selviz computes in single precision: leave "
                "out .half(), .bfloat16() and .double() in its forward, or write x.to(weight.dtype)."
            ) from error
        raise SelvizError(
            f"The network cannot be run on images of shape {list(inputs.shape[1:])}{line} ({reason}); --image-size "
            "and --channels change the images."
        ) from error


def steady_logits(run: PlainRun, head: Head, inputs: Tensor) -> Tensor:
    """Return the plain network's logits [N, C] of a few images.

    SelvizError if they are not finite, change from one pass to the next, or depend on the other images of the batch.
    """
    logits = plain_logits(run, head, inputs)
    if not torch.isfinite(logits).all():
        raise SelvizError("The network's outputs are not finite on these images; its weights are damaged.")
    state = {name: value.clone() for name, value in run.model.state_dict().items() if isinstance(value, Tensor)}
    before = _random_states()
    again = plain_logits(run, head, inputs)
    if _off(again, logits) > REPEATED:
        step = _first_difference(run, inputs, inputs)
        raise SelvizError(
            f"The network gives other outputs for the same images each time{step}: something in it is random in "
            "evaluation mode, such as F.dropout without training=self.training, or changes while it runs."
        )
    if _random_states() != before:
        middle = _random_states()
        plain_logits(run, head, inputs)
        if _random_states() != middle:
            raise SelvizError(
                "The network draws random numbers in evaluation mode, even if its outputs were the same this time: "
                "something in it is random, such as F.dropout without training=self.training or a layer left out by "
                "chance."
            )
    for name, value in run.model.state_dict().items():
        if isinstance(value, Tensor) and not torch.equal(value, state[name]) and not bool(value.isnan().any()):
            raise SelvizError(
                f"The network changes its own {name} each time it runs in evaluation mode, so its outputs depend on "
                "what it saw before."
            )
    if kept := run.kept_values():
        run.forget()
        first = plain_logits(run, head, inputs[:1])
        run.forget()
        plain_logits(run, head, inputs)
        if _off(first, logits[:1], logits) > TOLERANCE:
            raise SelvizError(
                f"The network keeps {kept[0]} of the first images that it sees, so its outputs depend on what it saw "
                "before."
            )
    for batch in (*[(image,) for image in range(min(len(inputs), IMAGES))], *_batches(len(inputs))):
        part = plain_logits(run, head, inputs[list(batch)])
        if part.shape != (len(batch), logits.shape[1]):
            raise SelvizError(
                f"For {len(batch)} image{'s' if len(batch) > 1 else ''} the network returns outputs of shape "
                f"{list(part.shape)}, not {[len(batch), logits.shape[1]]}; x.squeeze() without an axis does that: "
                "write x.flatten(1)."
            )
        off = _off(part, logits[list(batch)], logits)
        if off > TOLERANCE or (off > ROUNDING and _depends_in_double(run, head, inputs, list(batch))):
            step = _first_difference(run, inputs, inputs[:1])
            raise SelvizError(
                f"The network's output for an image depends on the other images of its batch{step}, as with batch "
                "statistics in evaluation mode (track_running_stats=False), x.mean(0) or x / x.max(): what is stored "
                "for an image would be true in one batch alone."
            )
    return logits


def _depends_in_double(run: PlainRun, head: Head, inputs: Tensor, batch: list[int]) -> bool:
    """Return whether logits of a batch are others than alone in double precision, where rounding is no reason."""
    try:
        exact = PlainRun(copy.deepcopy(run.model).double())
        logits = head.logits(exact(inputs.double()))
        return _off(head.logits(exact(inputs[batch].double())), logits[batch], logits) > ROUNDING / 10
    except Exception:  # somebody else's code may know single precision alone
        return False


def _random_states() -> tuple[bytes, object, bytes]:
    """Return the states of the generators that a network may draw from: of torch, of Python and of numpy."""
    return torch.random.get_rng_state().numpy().tobytes(), random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002


def prove(
    run: PlainRun,
    head: Head,
    traced: Traced,
    network: UnitNetwork,
    inputs: Tensor,
    expected: Tensor,
    outputs: Sequence[int] = (),
) -> None:
    """Hold a network that was read back against the plain one, on at most IMAGES of the inputs [N, C, H, W].

    `expected` are the plain network's logits [N, C], `outputs` those that were chosen of them. SelvizError for the
    first difference; `Unseen` names layers that cannot be compared.
    """
    inputs, expected = inputs[:IMAGES], chosen_outputs(expected[:IMAGES], outputs)
    with torch.no_grad():
        off = _off(comparable(network.logits(inputs), head), comparable(expected, head))
        if not off <= TOLERANCE:
            raise Different(
                f"The traced network does not give the logits of the network itself (they are off by {off:.2g} of the "
                "largest): its code does something that a graph cannot hold."
            )
        steps = _steps(run, traced, network, inputs[:3])
        alone = _alone(run, network.layers, traced.sources, steps, inputs)
        for batch in _batches(len(inputs)):
            rows = list(batch)
            logits, activations = network.observe(inputs[rows])
            if _off(comparable(logits, head), comparable(expected[rows], head)) > TOLERANCE:
                raise Different(
                    f"The traced network gives other logits for {len(rows)} images at a time than for one: its code "
                    "does something that a graph cannot hold."
                )
            for layer, values in zip(network.layers, activations):
                known = alone[layer.name]
                if values.shape != (len(rows), layer.units) or _off(values, known[rows], known) > TOLERANCE:
                    raise SelvizError(
                        f"The activations of layer {layer.name} are not those of the network itself, image by image; "
                        f"choose other layers: --layers NAME"
                    )
        _prove_clamped(run, head, traced, network, steps, inputs[:2], outputs)


def prove_watched(network: WatchedNetwork, inputs: Tensor) -> None:
    """Hold what a watched network observes in batches against each image alone; SelvizError for a difference."""
    inputs = inputs[:IMAGES]
    parts = [network.observe(inputs[image : image + 1])[1] for image in range(len(inputs))]
    alone = [torch.cat([part[position] for part in parts]) for position in range(len(network.layers))]
    for batch in _batches(len(inputs)):
        rows = list(batch)
        for layer, values, known in zip(network.layers, network.observe(inputs[rows])[1], alone):
            if values.shape != (len(rows), layer.units) or _off(values, known[rows], known) > TOLERANCE:
                raise SelvizError(
                    f"The module {layer.name} cannot be watched: what it gives for an image depends on the others of "
                    "its batch."
                )


def comparable(logits: Tensor, head: Head) -> Tensor:
    """Return what two ways to the same outputs share: probabilities where those are what the network returns."""
    if head.probabilities == "softmax" or (head.single and head.probabilities):
        return logits.softmax(dim=1)
    return logits.sigmoid() if head.probabilities else logits


def _batches(images: int) -> list[tuple[int, ...]]:
    return [batch for rows in BATCHES if (batch := tuple(row for row in rows if row < images))]


def _off(value: Tensor, expected: Tensor, scale: Tensor | None = None) -> float:
    """Return the largest difference, as a share of the largest expected value; infinite where one alone is NaN."""
    if value.shape != expected.shape:
        return float("inf")
    value, expected = value.double(), expected.double()
    largest = (expected if scale is None else scale.double()).nan_to_num(0, 0, 0).abs().amax() if len(expected) else 0
    same = (value == expected) | (value.isnan() & expected.isnan())
    difference = (value - expected).abs().masked_fill(same, 0.0)
    if not bool(torch.isfinite(difference).all()):
        return float("inf")
    return float(difference.max()) / max(float(largest), 1e-6)


# ------------------------------------------------------------------------------------------------- layers as plain
# steps


def _steps(run: PlainRun, traced: Traced, network: UnitNetwork, inputs: Tensor) -> dict[str, Step]:
    """Return for each layer the step of the plain network that has its values."""
    layers = {layer.name: traced.sources[layer.name] for layer in network.layers}
    values = ValueRecorder(network.root, network.graph, {source.node for source in layers.values()}).values(inputs)
    steps: dict[str, Step] = {}
    near: dict[str, list[Step]] = {name: [] for name in layers}

    def look(step: Step, value: Tensor) -> None:
        for name, source in layers.items():
            known = values[source.node]
            if name in steps or not isinstance(known, Tensor) or known.shape != value.shape:
                continue
            exact = (step.path, step.function) == (source.path, source.function)
            if not exact and near[name] and (step.path != source.path or near[name][0].path == source.path):
                continue
            if value.dtype != known.dtype or _off(value, known) > TOLERANCE:
                continue
            if exact:
                if step not in steps.values():
                    steps[name] = step
                    return
            else:
                near[name].insert(0, step)

    run(inputs, look)
    if unseen := [name for name in layers if name not in steps and not near[name]]:
        raise Unseen(unseen)
    for name in layers:
        if name not in steps:
            free = [step for step in near[name] if step not in steps.values()] or near[name]
            steps[name] = free[0]
    return steps


def _alone(
    run: PlainRun,
    layers: Sequence[UnitLayer],
    sources: Mapping[str, Source],
    steps: Mapping[str, Step],
    inputs: Tensor,
) -> dict[str, Tensor]:
    """Return each layer's activations [N, U] by plain passes over one image at a time."""
    by_step: dict[Step, list[str]] = {}
    for name, step in steps.items():
        by_step.setdefault(step, []).append(name)
    rows: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}

    def look(step: Step, value: Tensor) -> None:
        for name in by_step.get(step, ()):
            rows[name].append(_means(value, sources[name].batch, sources[name].units))

    for image in range(len(inputs)):
        run(inputs[image : image + 1], look)
    for name, parts in rows.items():
        if len(parts) != len(inputs):
            raise SelvizError(
                f"The network takes other steps for other images, or for one image alone, so that layer {name} cannot "
                "be compared between images."
            )
    return {name: torch.stack(parts) for name, parts in rows.items()}


def _means(value: Tensor, batch: BatchAxis, units: Sequence[int]) -> Tensor:
    """Return the mean [U] of each unit over all other entries of one image's value."""
    first = batch.first(value)
    rest = [axis for axis in range(first.dim()) if axis not in units]
    return first.permute(*units, *rest).flatten(len(units)).flatten(0, len(units) - 1).mean(dim=-1).clone()


def _prove_clamped(
    run: PlainRun,
    head: Head,
    traced: Traced,
    network: UnitNetwork,
    steps: Mapping[str, Step],
    inputs: Tensor,
    outputs: Sequence[int],
) -> None:
    """Clamp one unit of each layer, here and there, and compare the logits."""
    recorder = ValueRecorder(network.root, network.graph)
    values = recorder.values(inputs)
    nodes = {node.name: node for node in network.graph.nodes}
    intact = values[result(network.graph).name]
    assert isinstance(intact, Tensor)
    choices = {layer.name: _choice(values[layer.node], layer) for layer in network.layers}
    began, together = time.monotonic(), False
    remaining = list(network.layers)
    while remaining:
        together = together or time.monotonic() - began > SECONDS
        part, remaining = (remaining, []) if together else (remaining[:1], remaining[1:])
        changes = {steps[layer.name]: (traced.sources[layer.name], *choices[layer.name]) for layer in part}

        def look(
            step: Step, value: Tensor, changes: Mapping[Step, tuple[Source, int, float]] = changes
        ) -> Tensor | None:
            return _clamped(value, *changes[step]) if step in changes else None

        there = comparable(chosen_outputs(head.logits(run(inputs, look)).float(), outputs), head)
        here = comparable(_resumed(network, values, nodes, {layer: choices[layer.name] for layer in part}), head)
        if _off(here, there, torch.stack([there, comparable(intact, head)])) > TOLERANCE:
            names = ", ".join(layer.name for layer in part[:3])
            raise SelvizError(
                f"Clamping a unit of layer {names} has another effect than in the network itself: what follows reads "
                "the value in a way that a graph cannot hold. Choose other layers: --layers NAME"
            )


def _choice(value: object, layer: UnitLayer) -> tuple[int, float]:
    """Return the unit to clamp, the one that varies most, and the value: above all that it has."""
    assert isinstance(value, Tensor)
    units = value.movedim(layer.axis, 0).flatten(1).double().nan_to_num(0, 0, 0)
    unit = int(units.std(dim=1).argmax()) if units.shape[1] > 1 else 0
    return unit, float(units[unit].max()) + 0.5 * max(float(units.abs().max()), 1e-3)


def _clamped(value: Tensor, source: Source, unit: int, number: float) -> Tensor:
    value = value.clone(memory_format=torch.preserve_format)
    first = source.batch.first(value)  # a view: writing into it writes into the value
    if first.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
        raise SelvizError(f"The layer at {source.node} cannot be clamped in the network itself.")
    sizes = [first.shape[axis] for axis in source.units]
    indices = torch.unravel_index(torch.tensor(unit), tuple(sizes))
    for axis, index in sorted(zip(source.units, map(int, indices)), reverse=True):
        first = first.select(axis, index)
    first.fill_(number)
    return value


def _resumed(
    network: UnitNetwork,
    values: Mapping[str, object],
    nodes: Mapping[str, fx.Node],
    changes: Mapping[UnitLayer, tuple[int, float]],
) -> Tensor:
    """Return the logits [N, C] with one unit of each of these layers at a number, from the intact values."""
    after = descendants(network.graph, [layer.node for layer in changes])
    by_node = {layer.node: (layer, *choice) for layer, choice in changes.items()}
    known = {nodes[name]: value for name, value in values.items() if name not in after and nodes[name].op != "output"}

    class Clamping(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            return self.clamped(n, super().run_node(n))

        def clamped(self, n: fx.Node, value: object) -> object:
            if n.name not in by_node or not isinstance(value, Tensor):
                return value
            layer, unit, number = by_node[n.name]
            value = value.clone()
            value.select(layer.axis, unit).fill_(number)
            return value

    runner = Clamping(fx.GraphModule(network.root, network.graph))
    by_name = {node.name: node for node in runner.graph.nodes}
    start = {by_name[node.name]: runner.clamped(node, value) for node, value in known.items()}
    logits = runner.run(initial_env=start)
    assert isinstance(logits, Tensor)
    return logits.float()


def _first_difference(run: PlainRun, inputs: Tensor, others: Tensor) -> str:
    """Return ` (first at conv1)`, the first step whose values for the first image differ between two runs; or ""."""
    seen: dict[Step, Tensor] = {}

    def keep(step: Step, value: Tensor) -> None:
        if len(seen) < 2000 and value.is_floating_point() and value.dim() and value.shape[:1] == inputs.shape[:1]:
            seen[step] = value[0].detach().clone()

    different: list[str] = []

    def compare(step: Step, value: Tensor) -> None:
        known = seen.get(step)
        if known is None or different or not value.dim() or value[0].shape != known.shape:
            return
        if _off(value[0], known) > TOLERANCE:
            different.append(step.path or step.function)

    run(inputs, keep)
    run(others, compare)
    return f" (first seen at {different[0]})" if different else ""
