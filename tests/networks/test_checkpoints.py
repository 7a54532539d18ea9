"""Checkpoints that anybody may have written: how weights are found in them, and that nothing in them is run."""

import os
import random
import re
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from selviz.errors import SelvizError
from selviz.networks.checkpoints import load_weights
from selviz.runs.importing import import_run
from selviz.store import Store
from selviz.testing.hostile.checkpoints import Tiny, mutated, prefixed


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(5)
    return {name: value.clone() for name, value in Tiny().state_dict().items()}


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


def test_files_of_torch_are_read_by_content_too(weights, tmp_path):
    for name in ("w.safetensors", "w.zip", "w"):
        torch.save(weights, tmp_path / name)
        model = Tiny()
        load_weights(model, tmp_path / name)
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


# ------------------------------------------------------------------------------------------ several weights in one file


def other(weights):
    return {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("held", "keys"),
    [
        (lambda w: {"model": w, "ema": other(w)}, ("model", "ema")),
        (lambda w: {"state_dict": w, "state_dict_ema": other(w), "epoch": 1}, ("state_dict", "state_dict_ema")),
        (
            lambda w: {"student": prefixed(w, "module."), "teacher": prefixed(other(w), "module.")},
            ("student", "teacher"),
        ),
        (lambda w: {**prefixed(w, "student."), **prefixed(other(w), "teacher.")}, ("student", "teacher")),
        (lambda w: {"checkpoint": {"model": w, "ema": other(w)}}, ("checkpoint.model", "ema")),
    ],
)
def test_several_weights_that_fit_are_asked_for_and_never_chosen(weights, tmp_path, held, keys):
    torch.save(held(weights), tmp_path / "w.pt")
    with pytest.raises(SelvizError, match="2 different weights that fit .*say which: --checkpoint-key"):
        load_weights(Tiny(), tmp_path / "w.pt")
    for key, expected in zip(keys, (weights, other(weights))):
        model = Tiny()
        load_weights(model, tmp_path / "w.pt", key=key)
        assert torch.equal(model.head.weight, expected["head.weight"])
    with pytest.raises(SelvizError, match="has no weights at 'best'; it has some at"):
        load_weights(Tiny(), tmp_path / "w.pt", key="best")


@pytest.mark.parametrize(
    "held",
    [
        lambda w: {"model": w, "ema": dict(w)},  # the same twice
        lambda w: {"classifier": w, "loss": {"center": torch.zeros(3)}},
        lambda w: {"checkpoint": {"model": w}},
        lambda w: {"ema": w},
        lambda w: {"student": w, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
        lambda w: prefixed(w, "backbone."),
        lambda w: {"state_dict": {**prefixed(w, "encoder.net."), "criterion.weight": torch.zeros(4)}},
        lambda w: {"a": {"b": {"c": w}}},
        lambda w: (w, {"lr": 0.1}),
        lambda w: {"params": {name: value.numpy() for name, value in w.items()}},
    ],
)
def test_the_one_set_of_weights_that_fits_is_found_under_any_key_or_prefix(weights, tmp_path, held):
    torch.save(held(weights), tmp_path / "w.pt")
    model = Tiny()
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.head.weight, weights["head.weight"])


def test_harmless_values_beside_weights_are_read_safely(weights, tmp_path):
    beside = {
        "best": np.float64(0.93), "epoch": np.int64(3), "history": np.arange(3.0), "out": Path("runs/1"),
        "args": Namespace(lr=0.1, out=Path("x")), "name": np.str_("best"),
    }  # fmt: skip
    torch.save({"model": weights, **beside}, tmp_path / "w.pt")
    torch.save({"model": weights, **beside}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for file in ("w.pt", "old.pt"):
        model = Tiny()
        load_weights(model, tmp_path / file)
        assert torch.equal(model.head.weight, weights["head.weight"])


def scripted(path):
    torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU())).save(str(path))


def zipped(path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")


OTHER_FILES = {
    "a pickled network": (lambda path: torch.save(nn.Sequential(nn.Linear(2, 2)), path), "m.pt", "a whole network"),
    "TorchScript": (scripted, "m.pt", "TorchScript archive"),
    "ONNX": (
        lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(99)),
        "m.onnx",
        "ONNX graph",
    ),
    "ONNX by another name": (lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x05"), "m.bin", "ONNX graph"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "m.h5", "HDF5 file"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid x\n"),
        "m.pt",
        "Git LFS",
    ),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html>\n<html>404</html>"), "m.pth", "a web page"),
    "a web page, shouting": (lambda path: path.write_text("\n <HTML>"), "m.safetensors", "a web page"),
    "a shard": (lambda path: path.write_bytes(b"x" * 99), "model-00001-of-00003.safetensors", "one part of several"),
    "a list of shards": (lambda path: path.write_text("{}"), "pytorch_model.bin.index.json", "lists the parts"),
    "a folder": (lambda path: path.mkdir(), "folder", "is a folder; give one file"),
    "nothing": (lambda path: path.touch(), "m.pt", "is empty"),
    "a zip around it": (lambda path: zipped(path, "best.pth"), "m.pth", "zip archive; unpack it and give best.pth"),
    "a zip of photographs": (lambda path: zipped(path, "a.jpg"), "m.pt", "zip archive of other files"),
    "arrays of numpy": (lambda path: zipped(path, "a.npy"), "m.pt", "arrays of numpy"),
    "a program": (lambda path: zipped(path, "m/archive_format"), "m.pt2", "program of torch.export"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(99)), "m.pt", "compressed archive"),
    "a message": (lambda path: path.write_text('{"error": "not found"}'), "m.pt", "is text and holds no weights"),
    "what was cut off": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "m.pt", "was cut off"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
@pytest.mark.filterwarnings("ignore")
def test_files_that_hold_no_weights_are_told_by_what_they_are(tmp_path, name):
    write, file, sentence = OTHER_FILES[name]
    write(tmp_path / file)
    with pytest.raises(SelvizError, match=sentence) as error:
        load_weights(Tiny(), tmp_path / file)
    assert str(error.value).endswith((".", ")")) and "\n" not in str(error.value)
