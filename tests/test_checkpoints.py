"""Checkpoints that anybody may have written: how weights are found in them, and that nothing in them is run."""

import io
import os
import pickle
import random
import re
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from selviz.checkpoints import load_weights
from selviz.errors import SelvizError
from selviz.importing import import_run
from selviz.store import Store


class Tiny(nn.Module):
    def __init__(self, classes=10, channels=1):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(5)
    return {name: value.clone() for name, value in Tiny().state_dict().items()}


def prefixed(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 3, "best": 0.9},
        lambda w: {"model": w},
        lambda w: {"net": prefixed(w, "module.")},
        lambda w: {"model": {"state_dict": prefixed(w, "_orig_mod.module.model.")}, "optimizer": {"state": {}}},
        lambda w: prefixed(w, "model."),
        lambda w: {name: value for name, value in w.items() if "num_batches" not in name},
        lambda w: {name: value.double() if value.is_floating_point() else value for name, value in w.items()},
    ],
)
def test_weights_are_found_under_usual_keys_and_prefixes(weights, tmp_path, wrapped):
    torch.save(wrapped(weights), tmp_path / "w.pt")
    model = Tiny()
    load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items() if "num_" not in name)


def test_safetensors_are_read_by_content_whatever_their_name(weights, tmp_path):
    safetensors.torch.save_file(prefixed(weights, "module."), tmp_path / "w.bin")
    model = Tiny()
    load_weights(model, tmp_path / "w.bin")
    assert torch.equal(model.head.weight, weights["head.weight"])


def test_a_prefix_that_is_the_networks_own_stays(weights, tmp_path):
    outer = nn.ModuleDict({"model": Tiny(), "module": Tiny()})
    torch.save(outer.state_dict(), tmp_path / "w.pt")
    again = nn.ModuleDict({"model": Tiny(), "module": Tiny()})
    load_weights(again, tmp_path / "w.pt")
    assert all(torch.equal(value, outer.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.pop("conv.bias"), "'conv.bias' missing"),
        (lambda w: [w.pop("conv.bias"), w.pop("bn.weight")], "'conv.bias' and 1 more missing"),
        (lambda w: w.update({"fc.bias": torch.zeros(3)}), "'fc.bias' unexpected"),
        (lambda w: w.update({"head.bias": torch.zeros(3)}), "'head.bias' mis-shaped ([3], not [10])"),
        (lambda w: w.update({"head.bias": torch.zeros(10).int()}), "'head.bias' of type torch.int32, not torch.float3"),
        (lambda w: w["head.bias"].fill_(float("nan")), "'head.bias' not finite"),
        (lambda w: w.update({"fc.bias": w.pop("head.bias")}), "'head.bias' missing, 'fc.bias' unexpected"),
    ],
)
def test_weights_that_do_not_fit_are_told_by_their_first_keys(weights, tmp_path, change, told):
    changed = {name: value.clone() for name, value in weights.items()}
    change(changed)
    torch.save({"state_dict": prefixed(changed, "module.")}, tmp_path / "w.pt")
    with pytest.raises(SelvizError) as error:
        load_weights(Tiny(), tmp_path / "w.pt", "the network tiny")
    assert f"does not fit the network tiny: {told}" in str(error.value)


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
    """A zip of torch.save with its parts changed; `change` gets (name, bytes) and gives bytes, or None to leave out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            part = change(name, source.read(name))
            if part is not None:
                target.writestr(name, part)
    return buffer.getvalue()


def mutated(dice: random.Random, weights: dict, trace) -> bytes:
    """A checkpoint as chance damages it or a stranger bends it; most cannot be used, and some can."""
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


def test_no_checkpoint_of_250_damaged_and_bent_ones_crashes_runs_code_or_leaves_a_run(weights, tmp_path):
    dice, store, trace = random.Random(20260), Store(tmp_path / "data"), tmp_path / "trace"
    used, sentences = 0, []
    for number in range(250):
        file = tmp_path / f"{number}.pt"
        file.write_bytes(mutated(dice, weights, trace))
        try:
            load_weights(Tiny(), file)
            used += 1
        except SelvizError as error:
            sentences.append(str(error))
            with pytest.raises(SelvizError, match=re.escape(str(file))):
                bring(store, file)
        os.remove(file)
        assert not trace.exists(), f"checkpoint {number} ran code"
    assert store.names() == []
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sentences)
    assert used > 20 and len(sentences) > 150, "the mutations should be of both kinds"


def bring(store, file):
    make = {"factory": lambda classes, channels: Tiny(classes, channels), "checkpoint": file}
    return import_run(store, "bent", f"{__file__}:Tiny", {"dataset": "digits"}, **make)
