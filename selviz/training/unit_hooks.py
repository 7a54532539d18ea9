"""What units do while a network of one's own trains: `units = UnitActivations(model, images[:1])`, then `units()`.

For the penalty in a training loop of one's own; everything else is looked at in evaluation mode (`networks.tracing`).
"""

import copy
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from selviz.errors import SelvizError
from selviz.networks.activation_functions import GATES, MODULE_NAMES
from selviz.networks.hooked_network import WatchedNetwork, unit_means
from selviz.networks.plain_run import Step


class UnitActivations:
    """The activations of a network's units in its last forward pass, differentiable: one [N, U] per layer.

        units = UnitActivations(model, images[:1])
        loss = cross_entropy(model(images), labels) - alpha * penalty(units(), labels, classes)

    A layer is the output of an activation function that is a module (nn.ReLU, nn.GELU, ...), or of the modules that
    `layers` names (globs too); an activation is the mean over positions. `names` are the layers in forward order. In a
    network that one process trains in several copies (DDP), give it before it is wrapped. `remove()` ends it; so does
    the end of a `with` block. Raises SelvizError for a network without such modules and for one whose axes of images
    and units cannot be told.
    """

    def __init__(self, model: nn.Module, example: Tensor, layers: Sequence[str] = ()):
        chosen = list(layers) or [
            name for name, module in model.named_modules()
            if name and type(module) in MODULE_NAMES and MODULE_NAMES[type(module)] not in GATES
        ]  # fmt: skip
        if not chosen:
            raise SelvizError(
                "The network has no activation function that is a module (F.relu is none); write nn.ReLU(), or name "
                "the modules whose outputs are units: layers=['conv1', ...]"
            )
        # A copy finds the axes, in evaluation mode and without gradients; this network is left as it is.
        plain = copy.deepcopy(model).requires_grad_(False)
        watched = WatchedNetwork(plain, example[:1].detach(), chosen)
        self.names = tuple(layer.name for layer in watched.layers)
        self._axes = watched.axes
        self._values: dict[Step, Tensor] = {}
        modules = dict(model.named_modules())
        paths = dict.fromkeys(step.path for step in self._axes)
        self._handles = [model.register_forward_pre_hook(_Hook(self, ""))]
        self._handles += [modules[path].register_forward_hook(_Hook(self, path)) for path in paths]

    def __call__(self) -> list[Tensor]:
        """Return the activations [N, U] of each layer in the last forward pass; SelvizError where there was none."""
        if list(self._values) != list(self._axes):
            raise SelvizError(
                "The network has not run since, or it used other modules; call it right before its activations."
            )
        values, self._values = self._values, {}
        return [unit_means(value, *self._axes[step]) for step, value in values.items()]

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._values = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _begin(self) -> None:
        self._values = {}

    def _keep(self, path: str, value: Tensor) -> None:
        number = sum(step.path == path for step in self._values)
        # A later step may write into it; a clone keeps its gradient.
        self._values[Step(path, "", number)] = value.clone()


class _Hook:
    """A hook of one network; in a copy of the network it does nothing."""

    def __init__(self, owner: UnitActivations | None, path: str):
        self.owner, self.path = owner, path

    def __call__(self, module: nn.Module, inputs: Any, output: Any = None) -> None:
        if self.owner is None:
            return
        if self.path:
            self.owner._keep(self.path, output)
        else:
            self.owner._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Hook":
        return _Hook(None, self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": None, "path": self.path}
