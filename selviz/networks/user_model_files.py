"""A network from a user's own file: `factory("nets/mine.py:make_model")(classes=10, channels=3)`.

Loading such a file runs it. So only the command line, where a user names the file, may come here: the dashboard cannot
import this module (pyproject.toml holds that), and nothing that a run stores leads to it.
"""

import contextlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selviz.errors import SelvizError, first_line, unknown
from selviz.networks.tracing import fault

# Class of a wrapper -> where it holds the network: torch.compile, DataParallel, moving averages of weights.
WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


def is_factory(model: str) -> bool:
    """Return whether the name of a network is FILE.py:FUNCTION."""
    return model.rpartition(":")[0].endswith(".py")


def unwrapped(model: object, maker: str) -> nn.Module:
    """Return the network inside wrappers such as DataParallel and torch.compile, in any order, in parts of it too.

    SelvizError, naming the `maker`, for what is no network, or one without Python code to follow.
    """
    while isinstance(model, nn.Module) and type(model).__name__ in WRAPPERS:
        model = getattr(model, WRAPPERS[type(model).__name__])
    if not isinstance(model, nn.Module):
        raise SelvizError(f"{maker} gives a {type(model).__name__}; it must return a torch.nn.Module.")
    try:
        model.eval()
    except NotImplementedError:  # its modes were settled when it was exported
        raise SelvizError(
            f"{maker} gives a program of torch.export, which has no Python code to follow; return the nn.Module that "
            "it was made from, and give its weights with --checkpoint."
        ) from None
    for path, part in list(model.named_modules()):
        where = f"{maker} gives a network" if not path else f"{path} in the network of {maker}"
        if isinstance(part, torch.jit.ScriptModule):
            raise SelvizError(
                f"{where} that is TorchScript, which has no Python code to follow; return the "
                "nn.Module that it was made from, and give its weights with --checkpoint."
            )
        if ".quantized" in type(part).__module__ or ".ao." in type(part).__module__:
            raise SelvizError(
                f"{where} that is quantized ({type(part).__name__}), and selviz computes in floating point; return the "
                "network as it was before torch.ao.quantization.convert."
            )
        part._compiled_call_impl = None  # of module.compile(), which changes the module itself
        for name, child in list(part.named_children()):
            inner: object = child
            while isinstance(inner, nn.Module) and type(inner).__name__ in WRAPPERS:
                inner = getattr(inner, WRAPPERS[type(inner).__name__])
            if inner is not child and isinstance(inner, nn.Module):
                part._modules[name] = inner
    return model


def factory(spec: str) -> Callable[[int, int], nn.Module]:
    """Return FILE.py:FUNCTION as a function of (classes, channels) that gives a network.

    The user's function may take arguments named `classes` (or num_classes) and `channels` (or in_channels), others
    need defaults. Runs the file. SelvizError if there is no such file or function, or if it fails.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file).absolute()
    if not path.is_file():
        raise SelvizError(f"There is no file {file}; --model FILE.py:FUNCTION names a function that makes the network.")
    with _running(path, f"{file} cannot be loaded"):
        loader = importlib.util.spec_from_file_location(f"selviz_user_{path.stem}", path)
        assert loader is not None and loader.loader is not None  # of a .py file there is always one
        module = importlib.util.module_from_spec(loader)
        sys.modules[loader.name] = module
        loader.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown("function", name, own, f"({file} defines these.)")

    def make(classes: int, channels: int) -> nn.Module:
        offered = {"classes": classes, "num_classes": classes, "channels": channels, "in_channels": channels}
        with _running(path, f"{name} of {file} failed"):
            taken = inspect.signature(function).parameters
            model = function(**{key: value for key, value in offered.items() if key in taken})
        return unwrapped(model, f"{name} of {file}")

    return make


@contextlib.contextmanager
def _plain_functions() -> Iterator[None]:
    """Let torch.jit.script and torch.compile leave functions as they are: compiled ones have no steps to follow."""
    script, compiled = torch.jit.script, torch.compile

    def plain_script(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args and inspect.isfunction(args[0]) else script(*args, **kwargs)

    def plain_compiled(*args: Any, **kwargs: Any) -> Any:
        if not args and kwargs.get("model") is None:  # as a decorator with settings
            return lambda function: plain_compiled(function, **kwargs)
        return args[0] if args and inspect.isfunction(args[0]) else compiled(*args, **kwargs)

    torch.jit.script, torch.compile = plain_script, plain_compiled
    try:
        yield
    finally:
        torch.jit.script, torch.compile = script, compiled


@contextlib.contextmanager
def _running(path: Path, what: str) -> Iterator[None]:
    """Let the user's code inside find files beside it; what it raises becomes a sentence that names its line."""
    sys.path.insert(0, str(path.parent))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _plain_functions():
                yield
    except (Exception, SystemExit) as error:
        place = fault(error, path)
        reason = first_line(error) if str(error).strip() else ""
        raise SelvizError(
            f"{what}{f' in {place}' if place else ''}: {type(error).__name__}{f', {reason}' if reason else ''}."
        ) from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(path.parent))
