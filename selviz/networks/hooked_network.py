"""A network that cannot be traced, seen at some of its modules: `WatchedNetwork(model, example, ["layer*.relu"])`.

Each watched module's output is a unit layer. It observes, and no more: nothing can be silenced or resumed, since what
follows a module is not known. Hooks belong to one module at a time, so one thread alone may use it.
"""

import fnmatch
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selviz.errors import SelvizError, unknown
from selviz.networks.activation_functions import MODULE_SIGNED
from selviz.networks.tracing import pick_logits
from selviz.networks.unit_layers import LAST, SECOND, SQUEEZE_CLASSES, UnitLayer, placed


class WatchedNetwork:
    """`layers` and `observe` as a UnitNetwork has them, of the modules whose names or globs are in `watch`.

    SelvizError for a pattern that names no module, and for a module that gives no tensor [N, U, ...] of floats.
    """

    def __init__(self, model: nn.Module, example: Tensor, watch: Sequence[str]):
        self.root = model.eval()
        names = [name for name, _ in model.named_modules() if name]
        chosen: set[str] = set()
        for pattern in watch:
            found = [name for name in names if name == pattern] or fnmatch.filter(names, pattern)
            if not found:
                raise unknown("module", pattern, names)
            chosen.update(found)
        self._watched = {name: model.get_submodule(name) for name in names if name in chosen}
        self.layers: tuple[UnitLayer, ...] = ()
        found = self._run(example)[1]
        layers, used = [], {}
        for name, value, axis in found:
            if (
                not isinstance(value, Tensor)
                or value.dim() < 2
                or len(value) != len(example)
                or not value.is_floating_point()
            ):
                raise SelvizError(f"The module {name} gives no tensor [images, units, ...], so it cannot be watched.")
            count = used[name] = used.get(name, -1) + 1
            kind = type(self._watched[name])
            inside = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
            squeeze = any(type(model.get_submodule(path)).__name__ in SQUEEZE_CLASSES for path in inside)
            layers.append(
                UnitLayer(
                    name=f"{name}_{count}" if count else name,
                    units=value.shape[axis],
                    axis=axis,
                    depth=0.0,
                    signed=MODULE_SIGNED.get(kind, True),
                    squeeze=squeeze,
                    shape=tuple(value.shape),
                    node=name,
                )
            )
        if not layers:
            raise SelvizError("None of the watched modules is used when the network runs; watch others.")
        self.layers = placed(layers)

    @torch.inference_mode()
    def observe(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [N, C], and each watched module's output averaged over positions [N, U]."""
        logits, found = self._run(inputs)
        if len(found) != len(self.layers):
            raise SelvizError("The network uses other modules on other images, so its units cannot be compared.")
        means = []
        for layer, (_, value, _) in zip(self.layers, found):
            positions = tuple(d for d in range(1, value.dim()) if d != layer.axis)
            means.append(value.mean(dim=positions) if positions else value)
        return logits, means

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits [N, C] of inputs [N, C, H, W]."""
        return self._run(inputs)[0]

    def _run(self, inputs: Tensor) -> tuple[Tensor, list[tuple[str, Tensor, int]]]:
        """Logits, and (name, output, unit axis) of every call of a watched module, in order."""
        found: list[tuple[str, Tensor, int]] = []
        last = [True]  # whether the step that mixed channels last put them last

        def mixed(module, args, output):
            if isinstance(module, LAST):
                last[0] = True
            elif isinstance(module, SECOND):
                last[0] = False

        def seen(name):
            def keep(module, args, output):
                if isinstance(output, Tensor):  # a later step may write into it
                    axis = output.dim() - 1 if last[0] or output.dim() == 2 else 1
                    output = output.clone()
                else:
                    axis = 0
                found.append((name, output, axis))

            return keep

        handles = [module.register_forward_hook(mixed) for module in self.root.modules()]
        handles += [module.register_forward_hook(seen(name)) for name, module in self._watched.items()]
        try:
            with torch.no_grad():
                return pick_logits(self.root(inputs)), found
        finally:
            for handle in handles:
                handle.remove()
