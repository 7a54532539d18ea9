"""A run whose images have more than 256 levels a channel, kept in half precision, on every page that shows pixels."""

import numpy as np
import pytest
import torch
from torch import nn

import selviz
from selviz.runs.load import load_network
from selviz.studies.robustness import run_robustness
from tests.helpers.pages import board, text


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A store with a small network on 40 images [3, 12, 12] of real numbers."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 6),
        nn.ReLU(),
        nn.Linear(6, 2),
    )
    images = torch.randn(40, 3, 12, 12).cumsum(dim=3)
    store = selviz.open(tmp_path_factory.mktemp("deep"))
    run = selviz.capture(model, (images, torch.arange(40) % 2), "deep", store=store)
    assert load_network(store, "deep")[1].eval_pixels.dtype == torch.float16
    return run


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("units", {"input": "image", "image": "2"}),
        ("unit", {"layer": "1", "unit": "0", "evidence": "pixels", "technique": "occlusion"}),
        ("robustness", {"kind": "attack", "epsilon": "8"}),
        ("robustness", {"kind": "corruption", "corruption": "contrast", "severity": "5"}),
        ("ablation", {"silence": "1:0"}),
    ],
)
def test_pages_that_show_pixels_open(visit, deep, page, address):
    opened = visit(deep.store, page, run="deep", **address)
    assert not opened.exception and not opened.error, text(opened)
    if page == "units":
        assert board(opened, "lit")["lit"] is not None


def test_corruptions_and_attacks_are_measured_and_a_clean_image_is_the_half_precise_one(deep):
    table = run_robustness(deep.store, "deep", ("contrast",), (5,), ("fgsm",), (0.0, 8.0), images=20)
    rows = table.set_index(["name", "level"])
    clean, still = rows.loc[("clean", 0.0)], rows.loc[("fgsm", 0.0)]
    assert still["accuracy"] == clean["accuracy"] and still["pixel_change"] == 0
    assert 0 < rows.loc[("fgsm", 8.0), "pixel_change"] <= 8 and np.isfinite(rows.loc[("contrast", 5.0), "accuracy"])


def test_an_attribution_is_of_the_image_and_not_of_its_bytes(deep):
    network, dataset = load_network(deep.store, "deep")
    result = selviz.attribute(deep, 3, "1", 0, method="gradient_x_input", faithful=False)
    inputs = dataset.normalise(dataset.eval_pixels[3:4]).requires_grad_(True)
    (gradient,) = torch.autograd.grad(network.maps(inputs, "1")[:, 0].mean(), inputs)
    np.testing.assert_allclose(result.values, (gradient * inputs)[0].detach().numpy(), rtol=1e-5, atol=1e-6)
