"""Exploding, dead, constant and tiny networks, in half precision too: what is stored and said of them stays finite."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selviz.errors import SelvizError
from selviz.runs.importing import import_run
from selviz.runs.load import load_network
from selviz.store import Store
from selviz.studies.ablation import run_ablation

SETTINGS = {"dataset": "digits", "max_images": 60}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.fc = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 3), nn.Linear(5, 10)

    def forward(self, x):
        x = x.to(self.a.weight.dtype)
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.fc(x.mean((2, 3)))


def exploding(net):
    net.a.weight.mul_(1e4 if net.a.weight.dtype == torch.float16 else 1e9)
    net.b.weight.mul_(100 if net.a.weight.dtype == torch.float16 else 1e9)


def dead(net):
    net.a.weight.mul_(0.01)
    net.a.bias.fill_(-5)


def constant(net):
    net.a.weight.zero_()
    net.a.bias.fill_(0.5)


def tiny(net):
    net.a.weight.mul_(1e-4 if net.a.weight.dtype == torch.float16 else 1e-20)
    net.a.bias.zero_()
    net.b.weight.mul_(1e-2 if net.a.weight.dtype == torch.float16 else 1e-18)
    net.b.bias.zero_()


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (exploding, torch.float32), (exploding, torch.bfloat16), (dead, torch.float32), (dead, torch.float16),
        (constant, torch.bfloat16), (tiny, torch.float32), (tiny, torch.float16), (tiny, torch.bfloat16),
    ],
)  # fmt: skip
def test_extreme_networks_stay_finite_and_honest_from_import_to_ablation(tmp_path, change, dtype):
    net = Net().to(dtype).eval().requires_grad_(False)
    change(net)
    store = Store(tmp_path)
    summary = import_run(store, "extreme", f"{__file__}:Net", SETTINGS, factory=lambda classes, channels: net)
    network, dataset = load_network(store, "extreme")
    plain, inputs = net.float(), dataset.inputs()
    with torch.no_grad():
        first = F.relu(plain.a(inputs))
        second = F.relu(plain.b(first))
        torch.testing.assert_close(network.logits(inputs), plain(inputs), rtol=1e-3, atol=1e-12)
    for layer, values in zip(network.layers, (first, second)):
        expected = values.mean((2, 3)).numpy()
        stored = store.matrix("extreme", layer.name)
        np.testing.assert_allclose(stored, expected, rtol=1e-3, atol=1e-4 * float(expected.max()) + 1e-38)
        units = store.units("extreme")
        units = units[units["layer"] == layer.name]
        assert units["dead"].tolist() == (expected.max(axis=0) <= 0).tolist()
        assert units["si"].between(0, 1).all() and not units.loc[units["dead"], "si"].any()
        if change is constant:
            assert (units["si"] < 0.05).all()
    numbers = store.units("extreme").select_dtypes("number").drop(columns="null_p95", errors="ignore")
    assert not np.isinf(numbers.to_numpy(float)).any()
    assert np.isfinite([summary["test_accuracy"], summary["mean_si"]]).all()
    result = run_ablation(store, "extreme", {network.layers[0].name: [0, 1]}, draws=2)
    with torch.no_grad():
        cut = F.relu(plain.a(inputs))
        cut[:, :2] = 0
        logits = plain.fc(F.relu(plain.b(cut)).mean((2, 3)))
    expected_after = float((logits.argmax(1) == dataset.eval_labels).float().mean())
    assert result["accuracy_after"] == pytest.approx(expected_after, abs=2 / 60)
    assert 0 <= result["accuracy_before"] <= 1


def test_outputs_that_are_not_finite_are_refused(tmp_path):
    net = Net().eval().requires_grad_(False)
    net.a.weight.mul_(1e30)
    net.b.weight.mul_(1e30)
    with pytest.raises(SelvizError, match="outputs are not finite"):
        import_run(Store(tmp_path), "x", f"{__file__}:Net", SETTINGS, factory=lambda classes, channels: net)


class Halves(Net):
    def forward(self, x):
        return super().forward(x).half() @ torch.eye(10, dtype=torch.float32)


def test_a_forward_that_asks_for_half_precision_is_told_that_selviz_computes_in_single(tmp_path):
    with pytest.raises(SelvizError, match=r"selviz computes in single precision: leave out \.half\(\)"):
        import_run(Store(tmp_path), "x", f"{__file__}:Halves", SETTINGS, factory=lambda classes, channels: Halves())
