"""Hold a stored run against its network's own code, run with hooks of PyTorch alone, one image at a time.

    python -m selviz.testing.plain_hooks RUN --model networks.py:NAME --data DIR [--checkpoint FILE]

Nothing of `selviz.networks` is used: the network is called as its author calls it, every module and every function of
torch is watched, and each stored layer must be one of the values that were seen, averaged over all axes but those of
its units, on every image; which axes these are is printed and not judged. Then one unit of each layer is set to zero
in the plain network, and the accuracy must be that of `selviz ablate --mode zero`. Prints a line for each layer and
ends with status 1 if one differs.
"""

import argparse
import contextlib
import importlib.util
import inspect
import io
import itertools
import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from selviz.cli import main as selviz
from selviz.datasets import Dataset
from selviz.runs.load import load_dataset
from selviz.store import Store

TOLERANCE = 1e-3  # of a layer's largest activation
BORDERLINE = 1e-4  # of the largest logit: two classes so close that other kernels may swap them


@dataclass(frozen=True)
class Seen:
    """A value of the plain network: which one it is in the order they come up, and what gave it."""

    position: int
    label: str


@dataclass(frozen=True)
class Match:
    """Where a stored layer comes up in the plain network: the value, and the axes of its units there."""

    seen: Seen
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Checked:
    """A stored layer held against the plain network; `fault` is "" where nothing differs.

    `label` names the plain network's value and `axes` are those of its units there, as far as the numbers tell them.
    """

    layer: str
    units: int
    label: str
    silenced: int
    accuracy: float
    fault: str
    axes: tuple[int, ...] = ()


Change = Callable[[Tensor], Tensor]


class _Functions(TorchFunctionMode):
    """Watches every function of torch that is called by the network's own code."""

    def __init__(self, watch: "Watch"):
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        value = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if func is Tensor.__setitem__:
            self.watch.look(args[0], name, in_place=True)
        elif isinstance(value, tuple | list):
            parts = [self.watch.look(part, name, False) for part in value]
            if any(one is not other for one, other in zip(parts, value)):
                return type(value)(*parts) if hasattr(value, "_make") else type(value)(parts)
        else:
            return self.watch.look(value, name, in_place=any(part is value for part in args))
        return value


class Watch:
    """Sees each value of a plain pass; `changes` says which of them are replaced, by their position."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.values: list[tuple[Seen, Tensor]] = []
        self.changes: Mapping[int, Change] = {}
        self._path = [""]
        self._number = 0
        self._names = {module: name for name, module in reversed(list(model.named_modules()))}

    def __call__(self, image: Tensor, changes: Mapping[int, Change] = {}, keep: bool = True) -> object:
        """Return what the network returns for one image [1, C, H, W]; `values` are those that came up."""
        self.values, self.changes, self._number, self._keep = [], changes, 0, keep
        handles = []
        for module in self.model.modules():
            handles.append(module.register_forward_pre_hook(lambda m, args: self._path.append(self._names[m])))
            handles.append(module.register_forward_hook(self._left))
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # it computes whole layers of a transformer in one step
        try:
            with torch.no_grad(), warnings.catch_warnings(), _Functions(self):
                warnings.simplefilter("ignore")
                return self.model(image.clone())
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            for handle in handles:
                handle.remove()

    def _left(self, module: nn.Module, args: object, value: object) -> object:
        self._path.pop()
        if module is self.model or not isinstance(value, Tensor):
            return None
        return self.look(value, "", bool(getattr(module, "inplace", False)), self._names[module])

    def look(self, value: Any, name: str, in_place: bool, path: str | None = None) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
            return value
        number, self._number = self._number, self._number + 1
        with torch._C.DisableTorchFunction():
            if number in self.changes:
                changed = self.changes[number](value.clone())
                value = value.copy_(changed) if in_place else changed
            if self._keep:
                where = self._path[-1] if path is None else path
                label = ".".join(part for part in (where, name.strip("_")) if part)
                self.values.append((Seen(number, label), value.detach().clone()))
        return value


def logits_of(value: object, name: str = "") -> Tensor:
    """Return the outputs [1, C] in what a network returns."""
    if name:
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    if isinstance(value, Mapping):
        value = value["logits"] if "logits" in value else next(iter(value.values()))
    elif hasattr(value, "logits"):
        value = value.logits
    elif isinstance(value, tuple | list):
        value = value[0]
    assert isinstance(value, Tensor), type(value)
    logits = value.flatten(1).float()
    return torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits


def means(value: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the mean [U] of each unit over all axes that are not of units."""
    rest = [axis for axis in range(value.dim()) if axis not in axes]
    moved = value.double().permute(*axes, *rest)
    return moved.reshape(int(np.prod([value.shape[axis] for axis in axes])), -1).mean(1)


def possible_axes(shape: Sequence[int], units: int) -> Iterator[tuple[int, ...]]:
    """Yield the axes, up to three, whose sizes multiply to the number of units."""
    for count in (1, 2, 3):
        for axes in itertools.combinations(range(len(shape)), count):
            sizes = [shape[axis] for axis in axes]
            if int(np.prod(sizes)) == units and (units == 1 or count == 1 or 1 not in sizes):
                yield axes


def close(one: Tensor, other: Tensor, scale: float) -> bool:
    """Return whether two layers' activations are the same number by number; NaN and infinite ones too."""
    same = (one == other) | (one.isnan() & other.isnan())
    return bool((same | ((one - other).abs() <= TOLERANCE * scale)).all())


def check_run(
    model: nn.Module, images: Tensor, labels: Tensor, activations: Mapping[str, Tensor],
    silence: Callable[[str, int], tuple[int, float]], logits: str = "", layers: Sequence[str] = (),
) -> list[Checked]:  # fmt: skip
    """Return each stored layer held against the plain network on images [N, C, H, W].

    `activations` are what is stored, layer -> [N, U] in forward order; `silence(layer, unit)` returns on how many
    images, and with which accuracy (0..1), the run is right without that unit.
    """
    watch = Watch(model.eval())
    matches = {name: _matches(watch, images, values) for name, values in activations.items()}
    checked = []
    taken: set[int] = set()
    for name, values in activations.items():
        found = sorted(matches[name], key=lambda match: (match.seen.position in taken, _unlike(name, match.seen.label)))
        unit = int(values.std(0).nan_to_num(-1).argmax())
        if not found:
            checked.append(Checked(name, values.shape[1], "-", unit, 0.0, "no value of the plain network is this"))
            continue
        match = found[0]
        taken.add(match.seen.position)
        number, accuracy = silence(name, unit)
        right, close_calls = _without(watch, images, labels, match, unit, logits)
        off = abs(right / len(images) - accuracy) * len(images)
        fault = "" if number == len(images) else f"{number} images, not {len(images)}"
        if off > close_calls + 1e-6:
            fault = (
                f"accuracy without unit {unit} is {right / len(images):.4f} in the plain network, not {accuracy:.4f}"
            )
        checked.append(Checked(name, values.shape[1], match.seen.label, unit, accuracy, fault, match.axes))
    return checked


def _unlike(layer: str, label: str) -> int:
    """Return 0 where a value has the layer's name, without the number of a further use; else more."""
    stem = re.sub(r"_\d+$", "", layer)
    return 0 if label == layer else 1 if label == stem else 2 if label.startswith(stem) else 3


def _matches(watch: Watch, images: Tensor, values: Tensor) -> list[Match]:
    """Return the plain values that are this layer on all images."""
    scale = max(float(values.double().abs().nan_to_num(0, 0, 0).max()), 1e-30)
    found: list[Match] = []
    for number, (image, stored) in enumerate(zip(images.split(1), values.double())):
        watch(image)
        if number == 0:
            found = [
                Match(seen, axes) for seen, value in watch.values for axes in possible_axes(value.shape, len(stored))
            ]
        by_position = {seen.position: value for seen, value in watch.values}
        found = [
            match
            for match in found
            if match.seen.position in by_position
            and close(means(by_position[match.seen.position], match.axes), stored, scale)
        ]
        if not found:
            break
    return found


def _without(watch: Watch, images: Tensor, labels: Tensor, match: Match, unit: int, logits: str) -> tuple[int, int]:
    """Return on how many images the plain network is right without a unit, and how many are a matter of rounding."""

    def zeroed(value: Tensor) -> Tensor:
        rest = [axis for axis in range(value.dim()) if axis not in match.axes]
        order = (*match.axes, *rest)
        moved = value.permute(*order).contiguous()
        sizes = moved.shape
        flat = moved.reshape(int(np.prod(sizes[: len(match.axes)])), -1)
        flat[unit] = 0
        return flat.reshape(sizes).permute(*np.argsort(order).tolist())

    right = close_calls = 0
    for image, label in zip(images.split(1), labels.tolist()):
        outputs = logits_of(watch(image, {match.seen.position: zeroed}, keep=False), logits)[0]
        first, second = outputs.topk(2).values.tolist()
        right += int(outputs.argmax()) == label
        close_calls += not first - second > BORDERLINE * max(abs(first), abs(second), 1e-6)
    return right, close_calls


# ----------------------------------------------------------------------------------------------------- of a stored run


def made(spec: str, classes: int, channels: int) -> nn.Module:
    """Return the network that FILE.py:FUNCTION makes."""
    file, _, name = spec.rpartition(":")
    loader = importlib.util.spec_from_file_location("plain_network", file)
    assert loader is not None and loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module
    loader.loader.exec_module(module)
    function = getattr(module, name)
    known = {"classes": classes, "num_classes": classes, "channels": channels, "in_channels": channels}
    arguments = inspect.signature(function).parameters
    model: nn.Module = function(**{key: value for key, value in known.items() if key in arguments})
    return model.eval()


def command(*words: str) -> Any:
    """Return the JSON document that a command of selviz prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        status = selviz([*words, "--json"])
    assert status == 0, words
    return json.loads(out.getvalue())


def dataset_of(run: str, data: Path) -> Dataset:
    """Return a run's data set as everybody may look at it."""
    about = Store(data).run(run)
    return load_dataset(about, statistics=about).with_sealed(about.get("sealed_images", 0)).without_sealed()


def check_stored(run: str, model: nn.Module, data: Path, logits: str = "") -> list[Checked]:
    """Return each layer of a stored run held against the network that it was made from."""
    dataset = dataset_of(run, data)
    images, labels = dataset.inputs(), torch.as_tensor(np.asarray(dataset.eval_labels))
    folder = f"--data={data}"
    activations = {}
    for layer in command("layers", run, folder):
        name = layer["layer"].replace("'", "''")
        query = f"select unit, image, value from activations where layer = '{name}'"
        rows = command("sql", query, "--runs", run, "--limit", str(len(images) * layer["units"] + 1), folder)
        values = torch.full((len(images), layer["units"]), torch.nan, dtype=torch.float64)
        for row in rows:
            values[row["image"], row["unit"]] = row["value"]
        activations[layer["layer"]] = values

    def silence(layer: str, unit: int) -> tuple[int, float]:
        result = command("ablate", run, "--units", f"{layer}:{unit}", "--mode", "zero", "--draws", "0", folder)
        return result["images"], result["accuracy_after"]

    return check_run(model, images, labels, activations, silence, logits)


def main() -> int:
    """Print a line for each layer of a run and return 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--model", required=True, help="FILE.py:FUNCTION that makes the network")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--checkpoint", help="a state_dict for it")
    parser.add_argument("--logits", default="", help="which part of what it returns")
    args = parser.parse_args()
    dataset = dataset_of(args.run, args.data)
    model = made(args.model, len(dataset.class_names), dataset.channels)
    if args.checkpoint:
        model.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    checked = check_stored(args.run, model, args.data, args.logits)
    for entry in checked:
        print(
            f"{args.run}  {entry.layer}  {entry.units} units = axis {','.join(map(str, entry.axes))} of {entry.label}; "
            f"without {entry.silenced}: {entry.accuracy:.4f}  {entry.fault or 'the same'}"
        )
    outcomes = Counter(bool(entry.fault) for entry in checked)
    print(f"{args.run}: {outcomes[False]} of {len(checked)} layers are those of the plain network")
    return int(outcomes[True] > 0)


if __name__ == "__main__":
    sys.exit(main())
