"""A network that cannot be traced, seen at some of its modules: `WatchedNetwork(model, example, ["layer*.relu"])`.

Each watched module's output is a unit layer. It observes, and no more: nothing can be silenced or resumed, since what
follows a module is not known. Hooks belong to one module at a time, so one thread alone may use it.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from selviz.errors import SelvizError, unknown
from selviz.networks.activation_functions import MODULE_SIGNED
from selviz.networks.activation_nodes import unique_names
from selviz.networks.axes import BatchAxis, grown_axis, moved_axes, nudged
from selviz.networks.heads import Head, find_head
from selviz.networks.plain_run import PlainRun, Step
from selviz.networks.unit_layers import SQUEEZE_CLASSES, UnitLayer, matching_names, with_depths

MAX_TRIED = 12  # parameters before a watched module that are tried for its unit axis


def unit_means(value: Tensor, batch: BatchAxis, units: tuple[int, ...]) -> Tensor:
    """Return a module's output averaged over positions, [N, U]; `units` are the axes of units in `batch.first`."""
    first = batch.first(value)
    rest = [axis for axis in range(1, first.dim()) if axis not in units]
    if not rest:
        return first.permute(0, *units).flatten(1)
    return first.permute(0, *units, *rest).flatten(len(units) + 1).flatten(1, len(units)).mean(dim=-1)


class WatchedNetwork:
    """`layers` and `observe` as a UnitNetwork has them, of the modules whose names or globs are in `watch`.

    SelvizError for a pattern that names no module, for a module that gives no tensor of floats, and for one whose axes
    of images and units cannot be told.
    """

    def __init__(self, model: nn.Module, example: Tensor, watch: Sequence[str], head: Head | None = None):
        self.root, self._run = model.eval(), PlainRun(model)
        names = [name for name, _ in model.named_modules() if name]
        chosen: set[str] = set()
        for pattern in watch:
            if not (matching := matching_names(names, pattern)):
                raise unknown("module", pattern, names)
            chosen.update(matching)
        self._watched = chosen
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(3, *example.shape[1:], generator=generator).to(example.device, example.dtype)
        self.head = head or find_head(self._run(inputs))
        one, two, three = (self._values(inputs[:count])[1] for count in (1, 2, 3))
        if not three:
            raise SelvizError("None of the watched modules is used when the network runs; watch others.")
        if not list(one) == list(two) == list(three):
            raise SelvizError("The network uses other modules for other numbers of images, so it cannot be watched.")
        self.axes: dict[Step, tuple[BatchAxis, tuple[int, ...]]] = {}
        self.layers: tuple[UnitLayer, ...] = ()
        layers = []
        for step, name in zip(three, unique_names(step.path for step in three)):
            batch = grown_axis(tuple(one[step].shape), tuple(three[step].shape))
            if isinstance(batch, str) or batch.folded or not three[step].is_floating_point() or three[step].dim() < 2:
                reason = batch if isinstance(batch, str) else "an image has several rows of it, or it holds no numbers"
                raise SelvizError(f"The module {name} cannot be watched: {reason}.")
            units = self._unit_axes(step, batch, inputs[:2], two[step])
            if units is None and batch.first(one[step]).numel() == 1:  # one unit lies on any of its axes
                units = (0,)
            if units is None:
                raise SelvizError(
                    f"The module {name} cannot be watched: no parameter before it moves one index of an axis alone, so "
                    "which axis its units lie on is not known."
                )
            self.axes[step] = batch, units
            first = batch.first(one[step])
            count = int(torch.tensor([first.shape[axis] for axis in units]).prod())
            inside = [step.path.rsplit(".", depth)[0] for depth in range(1, step.path.count(".") + 1)]
            squeeze = any(type(model.get_submodule(path)).__name__ in SQUEEZE_CLASSES for path in inside)
            kind = type(model.get_submodule(step.path))
            layers.append(
                UnitLayer(
                    name=name,
                    units=count,
                    axis=units[0],
                    depth=0.0,
                    signed=MODULE_SIGNED.get(kind, True),
                    squeeze=squeeze,
                    shape=tuple(first.shape),
                    node=step.path,
                    activation=kind.__name__,
                )
            )
        self.layers = with_depths(layers)

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return next((part.device for part in (*self.root.parameters(), *self.root.buffers())), torch.device("cpu"))

    @torch.inference_mode()
    def observe(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [N, C], and each watched module's output averaged over positions [N, U]."""
        logits, values = self._values(inputs)
        if list(values) != list(self.axes):
            raise SelvizError("The network uses other modules on other images, so its units cannot be compared.")
        return logits, [unit_means(value, *self.axes[step]) for step, value in values.items()]

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits [N, C] of inputs [N, C, H, W]."""
        return self._values(inputs)[0]

    def _values(self, inputs: Tensor) -> tuple[Tensor, dict[Step, Tensor]]:
        """Return logits, and the output of every call of a watched module, in order."""
        values: dict[Step, Tensor] = {}

        def keep(step: Step, value: Tensor) -> None:
            if not step.function and step.path in self._watched:
                values[step] = value.clone()  # a later step may write into it

        return self.head.logits(self._run(inputs, keep)).float(), values

    def _unit_axes(self, step: Step, batch: BatchAxis, inputs: Tensor, intact: Tensor) -> tuple[int, ...] | None:
        """Return the axes on which single numbers of the nearest parameters move one index, in `batch.first(value)`."""
        called: list[str] = []

        def note(other: Step, value: Tensor) -> None:
            if not other.function:
                called.append(other.path)
            if other == step:
                done.append(True)

        done: list[bool] = []
        self._run(inputs, lambda other, value: None if done else note(other, value))
        tried = 0
        for path in dict.fromkeys(reversed(called)):
            module = self.root.get_submodule(path)
            for _, parameter in reversed(list(module.named_parameters(recurse=False))):
                if parameter.numel() < 2 or not parameter.is_floating_point():
                    continue
                tried += 1
                if tried > MAX_TRIED:
                    return None
                changes = (batch.first(value) - batch.first(intact) for value in self._with(parameter, step, inputs))
                if (axes := moved_axes(changes, parameter)) is not None:
                    return axes
        return None

    def _with(self, parameter: Tensor, step: Step, inputs: Tensor) -> Iterator[Tensor]:
        """Yield the step's values with `nudged` copies in the place of a parameter, which stays as it was."""
        kept = parameter.detach().clone()
        for other in nudged(parameter):
            try:
                with torch.no_grad():
                    parameter.copy_(other)
                values = self._values(inputs)[1]
            finally:
                with torch.no_grad():
                    parameter.copy_(kept)
            if step in values:
                yield values[step]
