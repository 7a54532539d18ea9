"""Studies with the network on another device store what they store with it on the CPU, and leave no tensor there."""

import shutil

import pandas as pd
import pytest
import torch
from torch import nn

import selviz
from selviz.networks import devices
from selviz.robustness.bench import AttackSettings
from selviz.runs.train import capture_run
from selviz.store import Store
from selviz.studies import ablation, attribution, basis
from selviz.studies.dimensionality import run_dimensionality
from selviz.studies.feature_visualization import run_visualisation
from selviz.studies.robustness import run_robustness
from selviz.studies.stage_writing import stored_settings
from tests.helpers.second_device import every_network_there

IMAGES = 40


def robustness(store, run):
    attack = AttackSettings(steps=2)
    run_robustness(store, run, ["contrast"], (5,), epsilons=(8.0,), attack=attack, images=IMAGES)
    return [store.robustness(run), store.robustness_layers(run), store.robustness_images(run)]


def dimensionality(store, run):
    return [run_dimensionality(store, run, ["contrast"], 5, images=IMAGES, draws=5)]


def atlas_and_curves(store, run):
    ablation.run_atlas(store, run, again=True)
    curves = ablation.run_curves(store, run, steps=3, layers=["relu3", "network"])
    return [store.atlas(run), store.atlas_classes(run), curves]


def silenced(store, run):
    settings = [
        {"mode": "scale", "factor": 2.0},
        {"keep": True},
        *({"mode": mode} for mode in ("mean", "noise", "shuffle")),
    ]
    units = {"relu2": [1, 4], "relu4": [7]}
    results = [ablation.run_ablation(store, run, units, draws=2, matched=2, **each) for each in settings]
    return [pd.DataFrame({name: [repr(value)] for name, value in result.items()}) for result in results]


def sanity(store, run):
    return [attribution.run_sanity(store, run, method, images=20) for method in ("gradcam", "gradient_x_input")]


def linear_maps(store, run):
    return [basis.run_linear_maps(store, run, restarts=5, steps=2, images=100)]


def captured(store, run):
    shutil.rmtree(store.run_path(run) / "partial", ignore_errors=True)
    for stage in ("capture", "metrics"):
        for file in store.run_path(run).glob(f"{stage}.*"):
            file.unlink()
    capture_run(store, run)
    return [store.units(run), store.layers(run)]


def imported(store, run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    images, labels = torch.randint(0, 255, (60, 1, 8, 8), dtype=torch.uint8), torch.arange(60) % 3
    selviz.capture(model, (images, labels), "imported", store=store.path)
    return [store.units("imported"), store.layers("imported"), store.activations("imported", "1", 2)]


def made_image(store, run):
    return [pd.DataFrame(run_visualisation(store, run, "relu2", 3)["pixels"].reshape(-1, 1))]


STUDIES = [robustness, dimensionality, atlas_and_curves, silenced, captured, made_image]
LONG = [pytest.param(study, marks=pytest.mark.slow) for study in (sanity, linear_maps)]


@pytest.mark.parametrize("study", [*STUDIES, *LONG], ids=lambda study: study.__name__)
def test_a_study_stores_the_same_from_another_device(study, tiny_store, tiny_run, tmp_path, monkeypatch):
    here, there = (Store(shutil.copytree(tiny_store.path, tmp_path / name)) for name in ("here", "there"))
    expected = study(here, tiny_run)
    with every_network_there(monkeypatch):
        found = study(there, tiny_run)
    assert len(found) == len(expected) > 0
    for one, other in zip(expected, found):
        pd.testing.assert_frame_equal(
            *(table.drop(columns="written", errors="ignore") for table in (one, other)), rtol=0, atol=1e-5
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("study", [atlas_and_curves, captured, imported, robustness], ids=lambda study: study.__name__)
def test_a_study_on_a_gpu_stores_what_the_cpu_stores_and_says_so(study, tiny_store, tiny_run, tmp_path, monkeypatch):
    """Stated tolerance: 0.02 in every number, which is that of one or two images that change sides."""
    tables = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv(devices.VARIABLE, device)
        store = Store(shutil.copytree(tiny_store.path, tmp_path / device))
        tables[device] = study(store, tiny_run)
        newest = max(store.path.glob("runs/*/*.duckdb"), key=lambda file: file.stat().st_mtime)
        assert stored_settings(newest.parent, newest.stem)["device"] == device
    for one, other in zip(*tables.values(), strict=True):
        numbers = one.select_dtypes("number").columns
        pd.testing.assert_frame_equal(one[numbers], other[numbers], rtol=0, atol=0.02, check_dtype=False)
