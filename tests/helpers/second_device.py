"""A second device on a machine that has none: `on_second_device(network)`, whose tensors say that they are on `meta`.

Each is a wrapper of a CPU tensor. An operation on tensors of both devices raises TwoDevices, as CUDA would, and what
leaves the second device has to be copied (`.cpu()`, `.to(other.device)`); so a test that passes left no tensor behind.
"""

import copy
import threading
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from selviz.networks import graph_surgery
from selviz.networks.unit_network import UnitNetwork

HERE = torch.device("meta")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
# What torch itself lets mix devices: indices of a CPU may pick from a tensor elsewhere.
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class TwoDevices(RuntimeError):
    """An operation met tensors of two devices."""


class Elsewhere(torch.Tensor):
    """A tensor that says it is on the second device; `held` is its value."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=HERE, requires_grad=held.requires_grad,
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"Elsewhere({self.held!r})"

    def tolist(self):
        return self.held.tolist()

    def __deepcopy__(self, memo):
        copied = Elsewhere(self.held.detach().clone())
        return torch.nn.Parameter(copied, self.requires_grad) if getattr(self, "_is_param", False) else copied

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def run(function, args, kwargs):
    """The operation on held values; SecondDevice and CPU tensors of more than one number may not meet."""
    parts = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
    elsewhere = [part for part in parts if isinstance(part, Elsewhere)]
    here = [part for part in parts if not isinstance(part, Elsewhere) and part.dim() > 0]
    if elsewhere and here and function not in COPIES | INDEXING:
        raise TwoDevices(f"{function} met tensors of two devices")
    target = kwargs.get("device")
    if function is aten.copy_.default:
        stays = isinstance(args[0], Elsewhere)
    elif target is not None:
        stays = torch.device(target) == HERE
    else:
        stays = bool(elsewhere)
    args, kwargs = tree_map(lambda part: part.held if isinstance(part, Elsewhere) else part, (args, kwargs))
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = function(*args, **kwargs)
    if function is aten.copy_.default or not stays:
        return parts[0] if function is aten.copy_.default else result
    return tree_map(lambda part: Elsewhere(part) if isinstance(part, torch.Tensor) else part, result)


class SecondDevice(TorchDispatchMode):
    """While it is on, tensors made on or moved to `meta` are on the second device and hold values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def move_module(root):
    """Move the weights of a module to the second device."""
    with torch.no_grad():
        for module in root.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    held = Elsewhere(parameter.detach().clone())
                    module._parameters[name] = torch.nn.Parameter(held, requires_grad=parameter.requires_grad)
            for name, buffer in list(module._buffers.items()):
                if buffer is not None:
                    module._buffers[name] = Elsewhere(buffer.clone())


def on_second_device(network):
    """A copy of a UnitNetwork whose weights are on the second device."""
    moved = copy.copy(network)
    moved.root, moved.graph = copy.deepcopy(network.root), copy.deepcopy(network.graph)
    graph_surgery.place(moved.graph, HERE)
    move_module(moved.root)
    moved._modules, moved._lock = {}, threading.Lock()
    moved.observer = moved.graph_module(graph_surgery.observing(moved.graph, moved.layers)).eval()
    return moved


@contextmanager
def every_network_there(monkeypatch):
    """Within it whatever loads a network has it on the second device."""
    plain = UnitNetwork.for_inference
    with monkeypatch.context() as patched, SecondDevice():
        patched.setattr(
            UnitNetwork, "for_inference", lambda network, device=None: on_second_device(plain(network, "cpu"))
        )
        yield
