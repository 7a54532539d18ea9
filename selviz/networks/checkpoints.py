"""The weights in a checkpoint that anybody may have written: `load_weights(model, "resnet20.th")`.

A safetensors file, a `state_dict` that torch.save wrote, or dicts that hold one or several, whatever their keys. Files
are read with `weights_only=True`: what else a pickle asks for is refused, never run. Where several weights in a file
fit and differ (a moving average, a teacher), the user says which.
"""

import argparse
import collections
import pathlib
import re
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from selviz.errors import SelvizError, TransientError, first_line, told_by_system

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
DEEPEST = 4
MAX_PARTS = 16  # of a list or tuple that are looked into
COUNTER = "num_batches_tracked"  # of batch norm, for training only: old checkpoints lack it
SAVE = "write one with torch.save(model.state_dict(), FILE)"


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors that a checkpoint holds, and where: `key` is the way there with dots between, "" for the file itself."""

    key: str
    tensors: dict[str, Tensor]


def load_weights(model: nn.Module, path: Path | str, what: str = "the network", key: str = "") -> None:
    """Put the checkpoint's weights into the model. `what` names the network in errors, `key` weights in the file.

    Raises SelvizError for a file that cannot be read safely, for weights that do not fit, with the first missing,
    unexpected and mis-shaped keys, and for several different weights that fit.
    """
    path = Path(path)
    expected = model.state_dict()
    held = list(state_dicts(read_checkpoint(path)))
    if not held:
        raise SelvizError(
            f"{path} holds no weights: no dict of tensors, on its own or as {', '.join(map(repr, KEYS[:4]))}; {SAVE}."
        )
    if key:
        held = [weights for weights in held if _is_at(weights.key, key)] or _at_prefix(held, key)
        if not held:
            known = ", ".join(
                dict.fromkeys(entry.key or "the file itself" for entry in state_dicts(read_checkpoint(path)))
            )
            raise SelvizError(f"{path} has no weights at {key!r}; it has some at: {known[:300]}.")
    weights = _fitting(held, expected, path, what)
    try:
        model.load_state_dict({**expected, **{name: weights[name] for name in expected.keys() & weights.keys()}})
    except Exception as error:  # a tensor may be of a kind that cannot be copied
        raise SelvizError(f"{path} cannot be loaded into {what} ({first_line(error)[:200]}).") from error


def _fitting(held: list[Weights], expected: Mapping[str, Tensor], path: Path, what: str) -> dict[str, Tensor]:
    """Return the one set of weights that fits; SelvizError if none does, or several do that differ."""
    whole = [variant for weights in held for variant in unprefixed(weights)]
    candidates = [*whole, *(part for weights in held for part in _inside(weights, expected))]
    fitting: dict[str, Weights] = {}
    for candidate in candidates:
        if candidate.key not in fitting and not misfit(candidate.tensors, expected):
            fitting[candidate.key] = candidate
    different: list[Weights] = []
    for candidate in fitting.values():
        if not any(_equal(candidate.tensors, other.tensors, expected) for other in different):
            different.append(candidate)
    if len(different) > 1:
        names = [entry.key or "." for entry in different]
        raise SelvizError(
            f"{path} holds {len(different)} different weights that fit {what}: {', '.join(names[:8])}; say which: "
            f"--checkpoint-key {names[0]}."
        )
    if different:
        return different[0].tensors
    nearest = max(whole, key=lambda entry: len(entry.tensors.keys() & expected.keys()))
    raise SelvizError(
        f"{path} does not fit {what}: {misfit(nearest.tensors, expected)}. Check --model, and that the data set "
        "has its "
        "classes."
    )


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> bool:
    return all(
        name not in one or name not in other or torch.equal(one[name], other[name])
        for name in names
        if not name.endswith(COUNTER)
    )


def _is_at(key: str, requested: str) -> bool:
    return key == requested.strip(".") or key.endswith(f".{requested}") or (not key and requested == ".")


def _at_prefix(held: list[Weights], key: str) -> list[Weights]:
    """Return the tensors whose names begin with `key.`, without that."""
    candidates = []
    for weights in held:
        start = key.removeprefix(weights.key).strip(".") if weights.key else key.strip(".")
        inner = {
            name[len(start) + 1 :]: value for name, value in weights.tensors.items() if name.startswith(f"{start}.")
        }
        if inner:
            candidates.append(Weights(key, inner))
    return candidates


# ---------------------------------------------------------------------------------------------------------------
# reading


def _harmless_globals() -> list[tuple[Callable[..., object] | type, str] | type | Callable[..., object]]:
    """Return what may lie beside weights: numbers of numpy, paths, namespaces. None of them does anything."""
    old_home = "numpy.core.multiarray"
    array, scalar = np._core.multiarray._reconstruct, np._core.multiarray.scalar  # type: ignore[attr-defined]
    numpy_types = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSUO"]
    return [
        array, scalar, (array, f"{old_home}._reconstruct"), (scalar, f"{old_home}.scalar"), np.ndarray, np.dtype,
        *dict.fromkeys(numpy_types), pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath,
        (pathlib.PurePath, "pathlib.WindowsPath"), pathlib.PurePath, argparse.Namespace, types.SimpleNamespace,
        collections.Counter, int, float, bool, str, list, dict, set, tuple,
    ]  # fmt: skip


def read_checkpoint(path: Path) -> object:
    """Return what a file of safetensors or torch.save holds, tensors on CPU; SelvizError if it is none or not safe."""
    if path.is_dir():
        inside = sorted(
            entry.name for entry in path.iterdir() if entry.suffix in (".safetensors", ".pt", ".pth", ".bin")
        )
        raise SelvizError(
            f"{path} is a folder; give one file of weights"
            + (f" in it, such as {path / inside[0]}." if inside else f": {SAVE}.")
        )
    try:
        with told_by_system(path), open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise SelvizError(f"Cannot read the checkpoint {path} ({error.strerror or error}).") from error
    if problem := _other_format(path, start):
        raise SelvizError(f"{path} {problem}.")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless_globals()):
            warnings.simplefilter("ignore")
            with told_by_system(path):
                if start[8:9] == b"{":
                    return safetensors.torch.load_file(path)
                with open(path, "rb") as file:  # of a path torch goes by its suffix
                    return torch.load(file, map_location="cpu", weights_only=True)
    except TransientError:
        raise
    except Exception as error:  # a damaged file may make the reader raise anything
        reason = first_line(error)[:200]
        if "torchscript" in str(error).lower():
            raise SelvizError(f"{path} {TORCHSCRIPT}.") from error
        if "weights only" in str(error).lower() or "weights_only" in str(error).lower():
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            if named and _is_network(named.group(1)):
                raise SelvizError(
                    f"{path} is a whole network that was pickled ({named.group(1)[:80]}), which loading would run as a "
                    "program; load it where it was made and save its weights: torch.save(model.state_dict(), FILE)."
                ) from error
            reason = "it is damaged, or it holds Python objects beside weights, which are never loaded"
        if "PytorchStreamReader" in str(error) or "inline_container" in str(error):
            reason = "it is damaged or was cut off: copy or download it again"
        raise SelvizError(
            f"{path} is no checkpoint that can be read safely ({reason}); give a safetensors file, or {SAVE}."
        ) from error


TORCHSCRIPT = (
    "is a TorchScript archive, which holds a program; load it where it was made, with torch.jit.load, and save its "
    "weights: torch.save(model.state_dict(), FILE)"
)


def _is_network(name: str) -> bool:
    """Return whether a name in a pickle is likely the class of a network: of torch.nn or of somebody's module."""
    home, _, last = name.rpartition(".")
    return name.startswith("torch.nn.modules") or ((home != "" and last[:1].isupper()) and home.split(".")[0] not in (
        "numpy", "torch", "collections", "builtins", "datetime", "argparse", "pathlib", "os", "posix", "nt",
        "subprocess", "sys", "copyreg", "functools", "operator", "codecs", "_codecs", "types", "enum",
    ))  # fmt: skip


def _other_format(path: Path, start: bytes) -> str:
    """Return what a file is that holds no weights of torch, and what to give instead; "" for what may be weights."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "is empty; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself; fetch it: git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page and not the file behind it; download the file itself, by its direct address"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return f"is an HDF5 file, as Keras writes; selviz reads networks of PyTorch: {SAVE}"
    if path.suffix.lower() == ".onnx" or (start[:1] == b"\x08" and (b"pytorch" in start[:64] or b"onnx" in start[:64])):
        return f"is an ONNX graph; give the PyTorch network with --model, and its weights: {SAVE}"
    if start.startswith(b"PK\x03\x04") and (problem := _other_archive(path)):
        return problem
    packed = start[257:262] == b"ustar" or start.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh"))
    if packed:
        return "is a compressed archive; unpack it and give the file of weights in it"
    if re.search(r"-\d{5}-of-\d{5}\.", path.name):
        return (
            "is one part of several that together hold the weights; join them: load all parts into the network, then "
            "torch.save(model.state_dict(), FILE)"
        )
    if path.name.endswith(".index.json"):
        return "lists the parts of a checkpoint and holds no weights; load all parts, then torch.save their state_dict"
    if path.suffix.lower() in (".keras", ".h5", ".tflite", ".pb", ".npz", ".npy", ".mlmodel"):
        return f"is no file of PyTorch ({path.suffix}); {SAVE}"
    if text[:1] in (b"{", b"[") or (text[:1].isalpha() and text.isascii() and b"\0" not in text):
        return "is text and holds no weights; download the file itself again"
    return ""


def _other_archive(path: Path) -> str:
    """Return what a zip archive is that torch.save did not write, and what to give instead; "" for one that it did."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return ""
    files = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in files:
        return ""
    if any("exported_program" in name or "archive_format" in name for name in files):
        return f"is a program of torch.export; give the network with --model, and its weights: {SAVE}"
    if names and all(name.endswith(".npy") for name in names):
        return f"holds arrays of numpy; selviz reads weights of PyTorch: {SAVE}"
    inside = next((name for name in names if name.endswith((".pt", ".pth", ".safetensors", ".bin", ".ckpt"))), "")
    return (
        f"is a zip archive; unpack it and give {inside[:80]}" if inside else f"is a zip archive of other files; {SAVE}"
    )


def state_dicts(held: object, key: str = "", depth: int = 0) -> Iterator[Weights]:
    """Yield every dict of tensors in what a checkpoint holds, nested or not, those under usual keys first."""
    if isinstance(held, argparse.Namespace | types.SimpleNamespace):
        held = vars(held)
    if isinstance(held, list | tuple):
        held = {str(position): part for position, part in enumerate(held[:MAX_PARTS]) if not isinstance(part, Tensor)}
    if not isinstance(held, Mapping) or depth > DEEPEST:
        return
    tensors = {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)}
    arrays = {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, np.ndarray)}
    tensors |= {name: torch.from_numpy(value.copy()) for name, value in arrays.items() if value.dtype.kind in "fiub"}
    if tensors:
        yield Weights(key, tensors)
    names: list[Any] = [name for name in held if isinstance(name, str) and not isinstance(held[name], Tensor)]
    for name in sorted(names, key=lambda name: KEYS.index(name) if name in KEYS else len(KEYS)):
        yield from state_dicts(held[name], f"{key}.{name}" if key else name, depth + 1)


def unprefixed(weights: Weights, depth: int = 0) -> Iterator[Weights]:
    """Yield the weights as they are, and without the prefixes that wrappers put before the names, one after another."""
    yield weights
    for prefix in PREFIXES if depth < DEEPEST else ():
        inner = {name.removeprefix(prefix): value for name, value in weights.tensors.items() if name.startswith(prefix)}
        if inner:
            others = {name: value for name, value in weights.tensors.items() if not name.startswith(prefix)}
            yield from unprefixed(Weights(weights.key, {**others, **inner}), depth + 1)


def _inside(weights: Weights, expected: Mapping[str, Tensor]) -> Iterator[Weights]:
    """Yield the parts of the weights that lie under one prefix, such as `backbone.` or `student.`, by the prefix."""
    first = next(iter(expected), "")
    for name in weights.tensors:
        if first and name.endswith(f".{first}"):
            prefix = name[: -len(first)]
            inner = {
                key.removeprefix(prefix): value for key, value in weights.tensors.items() if key.startswith(prefix)
            }
            plain = prefix.strip(".")
            yield Weights(f"{weights.key}.{plain}" if weights.key else plain, inner)


def misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return how weights differ from those that a network has, in words; "" if they fit."""
    missing = [name for name in expected if name not in weights and not name.endswith(COUNTER)]
    unexpected = [name for name in weights if name not in expected and not name.endswith(COUNTER)]
    both = [name for name in expected if name in weights]
    shapes = [name for name in both if weights[name].shape != expected[name].shape]
    kinds = [name for name in both if _kind(weights[name]) != _kind(expected[name])]
    broken = [name for name in both if name not in shapes + kinds and not _finite(weights[name])]
    parts = []
    if missing:
        parts.append(f"{_listed(missing)} missing")
    if unexpected:
        parts.append(f"{_listed(unexpected)} unexpected")
    if shapes:
        given_shape, wanted = (list(side[shapes[0]].shape) for side in (weights, expected))
        parts.append(f"{_listed(shapes)} mis-shaped ({given_shape}, not {wanted})")
    if kinds:
        parts.append(f"{_listed(kinds)} of type {weights[kinds[0]].dtype}, not {expected[kinds[0]].dtype}")
    if broken:
        parts.append(f"{_listed(broken)} not finite")
    return ", ".join(parts)


def _kind(value: Tensor) -> tuple[bool, ...]:
    return value.is_floating_point(), value.is_complex(), value.is_quantized


def _finite(value: Tensor) -> bool:
    try:
        return bool(torch.isfinite(value).all())
    except (RuntimeError, NotImplementedError):  # of a kind without values
        return False


def _listed(names: list[str]) -> str:
    shown = repr(names[0][:80])
    return shown if len(names) == 1 else f"{shown} and {len(names) - 1} more"
