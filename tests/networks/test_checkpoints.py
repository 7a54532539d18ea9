"""Checkpoints that anybody may have written: how weights are found in them, and that nothing in them is run."""

import os
import random
import re

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
