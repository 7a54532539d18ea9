"""Training loops of one's own: the examples of the docs run, and what they record is what a plain look gives."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import selviz
from selviz.callbacks import SelectivityRecorder, UnitActivations
from selviz.errors import SelvizError
from selviz.selectivity import class_means, class_selectivity, penalty
from selviz.testing.dashboard import ROOT

PAGE = (ROOT / "docs" / "training-loops.md").read_text()
LOOPS = dict(re.findall(r"^## (.*?)\n.*?```python\n(.*?)```", PAGE, re.S | re.M))
RUNS = {"Plain PyTorch": "plain-loop", "accelerate": "accelerate-loop", "Lightning": "lightning-loop"}


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 8), nn.GELU(), nn.Linear(8, 3)
    )


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 1, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(60) % 3


@pytest.mark.parametrize("title", LOOPS)
def test_each_loop_of_the_docs_runs_as_it_stands_and_leaves_its_epochs(tmp_path, monkeypatch, title):
    monkeypatch.chdir(tmp_path)
    exec(compile(LOOPS[title], f"docs/training-loops.md: {title}", "exec"), {"__name__": "example"})
    if title in RUNS:
        store = selviz.open("data")
        epochs = store.epochs(RUNS[title])
        assert epochs["epoch"].tolist() == [*range(1, len(epochs) + 1)] and len(epochs) >= 2
        assert epochs["loss"].notna().all() and epochs["mean_si"].between(0, 1).all()
        assert len(store.snapshot_units(RUNS[title])) == len(epochs) * store.run(RUNS[title])["units"]
        final = store.units(RUNS[title])["si"].to_numpy()
        units = store.snapshot_units(RUNS[title])
        last = units.loc[units["done"] == len(epochs), "si"].to_numpy()
        np.testing.assert_allclose(last, final, atol=1e-5)
    if title in ("Lightning", "To a logger and no store"):
        logged = pd.concat(pd.read_csv(file) for file in tmp_path.glob("logs/**/metrics.csv"))
        assert logged["si/mean"].notna().any() and logged["si/null_mean"].notna().any()
    assert set(LOOPS) == {*RUNS, "To a logger and no store"}


def test_units_of_a_loop_are_those_of_a_plain_look_and_carry_gradients(data):
    model, images = make_model().train(), data[0] / 255
    units = UnitActivations(model, images[:1])
    assert units.names == ("2", "5")
    with torch.no_grad():
        expected = copy.deepcopy(model)[:3](images).mean((2, 3))
    model(images)
    first, second = units()
    torch.testing.assert_close(first, expected)
    assert second.shape == (60, 8)
    penalty([first, second], data[1], 3).backward()
    assert model[0].weight.grad.abs().sum() > 0
    with pytest.raises(SelvizError, match="has not run since"):
        units()
    units.remove()
    model(images)
    with pytest.raises(SelvizError, match="has not run since"):
        units()


def test_a_module_that_is_used_twice_is_two_layers_and_a_copy_of_the_network_reports_nothing(data):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.act = nn.Linear(64, 5), nn.Linear(5, 3), nn.ReLU()

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x.flatten(1)))))

    model, images = Twice(), data[0] / 255
    units = UnitActivations(model, images[:1])
    model(images[:7])
    copy.deepcopy(model)(images)
    assert [value.shape for value in units()] == [(7, 5), (7, 3)]


def test_a_network_without_activation_modules_is_told_what_to_write(data):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(64, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.two(torch.relu(self.one(x.flatten(1))))

    with pytest.raises(SelvizError, match="write nn.ReLU.*layers="):
        UnitActivations(Functional(), data[0][:1] / 255)
    assert UnitActivations(Functional(), data[0][:1] / 255, layers=["one"]).names == ("one",)


def test_a_recorded_epoch_has_the_index_of_plain_arithmetic_and_leaves_the_network_alone(data, tmp_path):
    model = make_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recorder = SelectivityRecorder(data, name="mine", store=tmp_path)
    found = recorder(model, 1)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    run = recorder.finish(model)
    images = len(run.store.images("mine"))
    means, _ = class_means(
        torch.tensor(run.store.matrix("mine", "2")), torch.tensor(run.store.images("mine")["label_index"].to_numpy()), 3
    )
    expected = class_selectivity(means)
    np.testing.assert_allclose(found.units.query("layer == '2'")["si"], expected, atol=1e-6)
    assert found.test_accuracy == pytest.approx(run.test_accuracy) and images == run.summary["images"]
    assert recorder.to_pandas()["layer"].tolist() == ["2", "5"]


def test_a_training_that_is_cut_off_keeps_its_epochs(data, tmp_path):
    model = make_model()
    SelectivityRecorder(data, name="mine", store=tmp_path)(model, 1, loss=1.5)
    assert selviz.open(tmp_path).runs()["state"].tolist() == ["unfinished"]
    recorder = SelectivityRecorder(data, name="mine", store=tmp_path)
    recorder(model, 2, loss=1.25)
    run = recorder.finish(model)
    assert run.store.epochs("mine")["loss"].tolist() == [1.5, 1.25]
    with pytest.raises(SelvizError, match="has a run mine already"):
        SelectivityRecorder(data, name="mine", store=tmp_path)


def test_a_recorder_says_what_it_lacks(data):
    with pytest.raises(SelvizError, match="Say where the selectivity is to go"):
        SelectivityRecorder(data)
    with pytest.raises(SelvizError, match="An epoch has no 'accuracy'; it may have loss, penalty"):
        SelectivityRecorder(data, logger=Quiet())(make_model(), 1, accuracy=1)


class Quiet:
    def log_metrics(self, metrics, step=None):
        raise AssertionError("nothing is logged of an epoch that was refused")
