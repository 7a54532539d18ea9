"""Where networks compute, and how exactly: `devices.chosen()` is the device of all but training.

The one owner of both. `SELVIZ_DEVICE` (auto, cpu, cuda or mps; the commands' `--device`) chooses for this process and
those that it starts; cpu without it. A `UnitNetwork` takes inputs from any device and returns results to theirs, so
nothing else has to know. Float32 is exact: TF32 is off on CUDA, unless `SELVIZ_TF32=1`.
"""

import os

import torch

from selviz.errors import SelvizError, unknown

VARIABLE, TF32 = "SELVIZ_DEVICE", "SELVIZ_TF32"
DEVICES = ("auto", "cpu", "cuda", "mps")


def chosen() -> torch.device:
    """Return the device that this process was told to use."""
    return resolve(os.environ.get(VARIABLE) or "cpu")


def resolve(name: str) -> torch.device:
    """Return the device of that name, `auto` the fastest one here; SelvizError if there is none.

    A number may follow, as in `cuda:1`.
    """
    base = name.partition(":")[0]
    if base not in DEVICES:
        raise unknown("device", name, DEVICES)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if base == "auto":
        base = name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[base]:
        raise SelvizError(f"Device {name!r} cannot be used here: torch finds none; use --device auto or --device cpu.")
    if base == "cuda":
        exact_float32()
    return torch.device(name)


def exact_float32() -> None:
    """Switch TF32 off, in which CUDA rounds the inputs of products to 10 bits, unless it was asked for."""
    asked_for = os.environ.get(TF32) == "1"
    torch.backends.cuda.matmul.allow_tf32 = asked_for
    torch.backends.cudnn.allow_tf32 = asked_for
