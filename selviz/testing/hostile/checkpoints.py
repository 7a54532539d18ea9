"""Checkpoints as chance damages them or a stranger bends them: `mutated(dice, weights, trace)`."""

import io
import pickle
import random
import zipfile

import safetensors.torch
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, classes=10, channels=1):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def prefixed(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def bytes_of(held) -> bytes:
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return buffer.getvalue()


def repacked(content: bytes, change) -> bytes:
    """Return a zip of torch.save with its parts changed; `change` gets (name, bytes) and gives bytes, or None to leave out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            part = change(name, source.read(name))
            if part is not None:
                target.writestr(name, part)
    return buffer.getvalue()


def mutated(dice: random.Random, weights: dict, trace) -> bytes:
    """Return a checkpoint as chance damages it or a stranger bends it; most cannot be used, and some can."""
    held = {name: value.clone() for name, value in weights.items()}
    name = dice.choice(list(held))
    nested = {"state_dict": held}
    kind = dice.randrange(14)
    if kind == 0:
        held[name + dice.choice(["", ".x", "\x00", "é" * 50])] = held.pop(name)
    elif kind == 1:
        held[name] = torch.zeros(dice.choice([(), (0,), (7,), (4, 1, 3, 3, 1), (4, 10)]))
    elif kind == 2:
        held[name] = held[name].to(dice.choice([torch.int8, torch.complex64, torch.float16, torch.bool]))
    elif kind == 3:
        held[name] = dice.choice([None, "weights", 3, [1.0], {"a": 1}, torch.Size([3]), b"\x80\x04"])
    elif kind == 4:
        for _ in range(dice.randrange(1, 60)):
            nested = {dice.choice(["state_dict", "model", "net", "other"]): nested}
    elif kind == 5:
        nested = {
            "model": prefixed(held, dice.choice(["module.", "model.", "x.", "_orig_mod.module."]) * dice.randrange(4))
        }
    elif kind == 6:
        held[name] = held[name].float() * dice.choice([float("nan"), float("inf"), 1e38])
    elif kind == 7:
        nested = dice.choice([Bomb(trace), [Bomb(trace)], {"state_dict": held, "args": Bomb(trace)}])
    elif kind == 8:
        return pickle.dumps(dice.choice([Bomb(trace), {"state_dict": Bomb(trace)}, held]), dice.randrange(6))
    elif kind == 9:
        return safetensors.torch.save({k: v.contiguous() for k, v in held.items()})[: dice.randrange(400)]
    content = bytes_of(nested)
    if kind == 10:
        return content[: dice.randrange(len(content))]
    if kind == 11:
        damaged = bytearray(content)
        for _ in range(dice.randrange(1, 30)):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        return bytes(damaged)
    if kind == 12:
        evil = pickle.dumps(Bomb(trace), 2)
        return repacked(content, lambda part, old: evil if part.endswith("data.pkl") else old)
    if kind == 13:
        return repacked(content, lambda part, old: None if dice.random() < 0.3 else old[: dice.randrange(len(old) + 1)])
    return content
