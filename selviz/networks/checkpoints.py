"""The weights in a checkpoint that anybody may have written: `load_weights(model, "resnet20.th")`.

A safetensors file, a `state_dict` that torch.save wrote, or a dict that holds one under a usual key. Files are read
with `weights_only=True`: what else a pickle asks for is refused, never run.
"""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from selviz.errors import SelvizError, first_line

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
DEEPEST = 4
COUNTER = "num_batches_tracked"  # of batch norm, for training only: old checkpoints lack it


def load_weights(model: nn.Module, path, what: str = "the network") -> None:
    """Puts the checkpoint's weights into the model. `what` names the network in errors.

    Raises SelvizError for a file that cannot be read safely, and for weights that do not fit, with the first missing,
    unexpected and mis-shaped keys.
    """
    path = Path(path)
    expected = model.state_dict()
    candidates = [weights for state in state_dicts(read_checkpoint(path)) for weights in unprefixed(state)]
    if not candidates:
        raise SelvizError(
            f"{path} holds no weights: no dict of tensors, on its own or as {', '.join(map(repr, KEYS[:4]))}; write "
            "one with torch.save(model.state_dict(), FILE)."
        )
    weights = max(candidates, key=lambda found: len(found.keys() & expected.keys()))
    if wrong := misfit(weights, expected):
        raise SelvizError(f"{path} does not fit {what}: {wrong}. Check --model, and that the data set has its classes.")
    try:
        model.load_state_dict({**expected, **{name: weights[name] for name in expected.keys() & weights.keys()}})
    except Exception as error:  # a tensor may be of a kind that cannot be copied
        raise SelvizError(f"{path} cannot be loaded into {what} ({first_line(error)[:200]}).") from error


def read_checkpoint(path: Path) -> object:
    """What a file of safetensors or of torch.save holds, tensors on CPU; SelvizError if it cannot be read safely."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise SelvizError(f"Cannot read the checkpoint {path} ({error.strerror or error}).") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".safetensors" or start[8:] == b"{":
                return safetensors.torch.load_file(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may make the reader raise anything
        reason = first_line(error)[:200]
        if "weights only" in str(error).lower() or "weights_only" in str(error).lower():
            reason = "it is damaged, or it holds Python objects beside weights, which are never loaded"
        raise SelvizError(
            f"{path} is no checkpoint that can be read safely ({reason}); give a safetensors file, or write one with "
            "torch.save(model.state_dict(), FILE)."
        ) from error


def state_dicts(held: object, depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """Every dict of tensors in what a checkpoint holds, on its own or under a usual key, nested or not."""
    if not isinstance(held, Mapping) or depth > DEEPEST:
        return
    tensors = {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield tensors
    for key in KEYS:
        yield from state_dicts(held.get(key), depth + 1)


def unprefixed(weights: dict[str, Tensor], depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """The weights as they are, and without the prefixes that wrappers put before the names, one after another."""
    yield weights
    for prefix in PREFIXES if depth < DEEPEST else ():
        inner = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if inner:
            others = {name: value for name, value in weights.items() if not name.startswith(prefix)}
            yield from unprefixed({**others, **inner}, depth + 1)


def misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How weights differ from those that a network has, in words; "" if they fit."""
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
        found, wanted = (list(side[shapes[0]].shape) for side in (weights, expected))
        parts.append(f"{_listed(shapes)} mis-shaped ({found}, not {wanted})")
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
