"""A network run plainly, as its author runs it, and watched: the reference that an import is held against.

    run = PlainRun(model)
    value = run(images)                              # what the network returns
    value = run(images, watching=[step, ...])        # each step's `seen` gets its values
    value = run(images, changing={step: change})     # one step's value is changed on its way

Modules are watched with forward hooks, single steps (F.relu, x * y) with a TorchFunctionMode, which sees every call of
torch in eager execution. Nothing here knows the traced graph: a step is known by its module, its name and its number.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from selviz.networks.graph_nodes import plain_name

ENDINGS = ("softmax", "sigmoid")  # functions that make probabilities of logits
INTERNALS = frozenset(vars(nn.Module()))
KEEPABLE = (bool, int, float, str, tuple, list, dict, set, Tensor)
KEEPING = frozenset("squeeze flatten view reshape contiguous dropout unsqueeze clone float to".split())


@dataclass(frozen=True)
class Step:
    """One step of a plain run: the module whose forward took it (or the module itself), its name, its number there.

    `function` is "" for a whole module. Steps of one module and name are counted from 0 in the order they are taken.
    """

    path: str
    function: str
    number: int


Look = Callable[[Step, Tensor], Tensor | None]


class PlainRun:
    """Runs a network in evaluation mode without gradients; `look` sees each step's value and may return another."""

    def __init__(self, model: nn.Module):
        self.model = model.eval()
        self._paths = {module: path for path, module in reversed(list(model.named_modules())) if path}
        self.made_by: dict[int, str] = {}
        self._attributes = _attributes(model)

    def kept_values(self) -> list[str]:
        """Return the attributes of modules that are others than before the first pass, such as a cache's."""
        now = _attributes(self.model)
        changed = [key for key in now if not _same(now[key], self._attributes.get(key))]
        return [".".join(part for part in (self._paths.get(module, ""), name) if part) for module, name in changed]

    def forget(self) -> None:
        """Give modules the attributes that they had before the first pass."""
        for module, name in list(_attributes(self.model)):
            if (module, name) not in self._attributes:
                delattr(module, name)
        for (module, name), value in self._attributes.items():
            setattr(module, name, copy.copy(value) if isinstance(value, list | dict | set) else value)

    def __call__(self, inputs: Tensor, look: Look | None = None) -> object:
        """Return what the network returns for inputs [N, C, H, W]; `made_by` says how its tensors came up."""
        fused = torch.backends.mha.get_fastpath_enabled()
        mode = _Watching(self._paths, look)
        with torch.no_grad(), _hooks(self.model, mode), mode:
            try:
                torch.backends.mha.set_fastpath_enabled(look is None and fused)
                value = self.model(inputs.clone())
            finally:
                torch.backends.mha.set_fastpath_enabled(fused)
        ids = {id(tensor) for tensor in tree_leaves(value)} if look is None else set()
        ids |= {id(tensor) for tensor in _parts(value)}
        self.made_by = {key: name for key, name in mode.endings.items() if key in ids}
        return value


def _attributes(model: nn.Module) -> dict[tuple[nn.Module, str], object]:
    """Return what modules keep in attributes of their own, but for parameters, buffers and parts; containers copied."""
    kept: dict[tuple[nn.Module, str], object] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in INTERNALS and (value is None or isinstance(value, KEEPABLE)):
                kept[module, name] = copy.copy(value) if isinstance(value, list | dict | set) else value
    return kept


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) or isinstance(other, Tensor) or type(one) is not type(other):
        return False
    if isinstance(one, list | dict | set) and isinstance(other, list | dict | set):
        return len(one) == len(other)
    return one == other


def _parts(value: object) -> Iterator[Tensor]:
    for part in vars(value).values() if hasattr(value, "__dict__") and not isinstance(value, Tensor) else ():
        if isinstance(part, Tensor):
            yield part


class _Watching(TorchFunctionMode):
    def __init__(self, paths: Mapping[nn.Module, str], look: Look | None):
        super().__init__()
        self.paths, self.look = paths, look
        self.stack: list[str] = [""]
        self.counts: dict[tuple[str, str], int] = {}
        self.endings: dict[int, str] = {}
        self._alive: list[Tensor] = []  # so that no other tensor gets the id of one that ended

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            if func is Tensor.__setitem__ and self.look is not None:  # in a graph it is a step that gives the whole
                self._looked(self.stack[-1], "setitem", args[0], True)
            if isinstance(result, tuple | list) and self.look is not None:
                return self._several(result, self.stack[-1], "getitem")
            return result
        name = function_name(func)
        if name in ENDINGS or (name in KEEPING and args and id(args[0]) in self.endings):
            self.endings[id(result)] = name if name in ENDINGS else self.endings[id(args[0])]
            self._alive.append(result)
        if self.look is None:
            return result
        return self._looked(self.stack[-1], name, result, any(part is result for part in args))

    def _several(self, result: Any, path: str, name: str) -> Any:
        """Look at the tensors of a tuple such as that of torch.max(x, dim): each is a step `getitem` in a graph."""
        seen = [self._looked(path, name, part, False) if isinstance(part, Tensor) else part for part in result]
        if all(one is other for one, other in zip(seen, result)):
            return result
        return type(result)(*seen) if hasattr(result, "_make") else type(result)(seen)

    def _looked(self, path: str, name: str, value: Tensor, in_place: bool) -> Tensor:
        assert self.look is not None
        number = self.counts[path, name] = self.counts.get((path, name), -1) + 1
        with torch._C.DisableTorchFunction():
            other = self.look(Step(path, name, number), value)
            if other is None:
                return value
            if in_place:
                value.copy_(other)
                return value
        return other

    def enter(self, module: nn.Module) -> None:
        self.stack.append(self.paths.get(module, ""))

    def leave(self, module: nn.Module, value: object) -> object:
        path = self.stack.pop()
        if self.look is None or not path:
            return None
        if isinstance(value, tuple | list):  # as of a recurrent layer
            several = self._several(value, path, "")
            return None if several is value else several
        if not isinstance(value, Tensor):
            return None
        seen = self._looked(path, "", value, bool(getattr(module, "inplace", False)))
        return None if seen is value else seen


@contextmanager
def _hooks(model: nn.Module, mode: _Watching) -> Iterator[None]:
    handles = []
    for module in model.modules():
        if module is model:
            continue
        handles.append(module.register_forward_pre_hook(lambda m, args: mode.enter(m)))
        handles.append(module.register_forward_hook(lambda m, args, value: mode.leave(m, value), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def function_name(function: Callable[..., object]) -> str:
    """Return the plain name of a function of torch: relu for torch.relu, F.relu, Tensor.relu_ and others."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = re.sub(r".*attribute '(\w+)'.*", r"\1", str(getattr(function, "__self__", "")))
    return plain_name(name)


def image_rows(values: Sequence[Tensor]) -> Tensor:
    """Return tensors of single images [1, ...] as one [N, ...]."""
    return torch.cat(list(values))
