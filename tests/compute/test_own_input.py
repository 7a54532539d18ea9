"""A picture of the visitor's own: what differs from those that the network knows is noticed and mended."""

import numpy as np
import pytest

from app.compute import own_input
from app.compute.own_input import faults, habits, mended, respond, tones
from selviz.runs.load import load_network


def disk(side: int, row: float, column: float, radius: float, ink: int = 255, paper: int = 0) -> np.ndarray:
    """An image uint8 [1, side, side] of a disk; places and radius as shares of the side."""
    y, x = (np.indices((side, side)) + 0.5) / side
    inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
    return np.where(inside, ink, paper).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def usual():
    """Habits of white disks near the middle of black images."""
    dice = np.random.default_rng(0)
    images = [disk(28, *(0.5 + dice.normal(0, 0.02, 2)), dice.uniform(0.28, 0.34)) for _ in range(200)]
    return habits(np.stack(images))


def test_images_like_those_of_the_set_have_no_fault(usual):
    assert usual.background == 0 and usual.center == pytest.approx((0.5, 0.5), abs=0.02)
    for radius in (0.29, 0.31, 0.33):
        assert faults(disk(28, 0.5, 0.5, radius), usual) == []


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (disk(28, 0.5, 0.5, 0.31, 0, 255), ["inverted"]),
        (disk(28, 0.3, 0.65, 0.25), ["off-center"]),
        (disk(28, 0.5, 0.5, 0.12), ["small"]),
        (disk(28, 0.5, 0.5, 0.48), ["large"]),
        (disk(28, 0.25, 0.25, 0.12, 0, 255), ["inverted", "off-center", "small"]),
        (np.zeros((1, 28, 28), dtype=np.uint8), []),
    ],
)
def test_each_fault_is_named_and_mending_leaves_none(usual, picture, found):
    assert faults(picture, usual) == found
    whole = mended(picture, found, usual)
    assert whole.shape == picture.shape and whole.dtype == np.uint8
    assert faults(whole, usual) == []


def test_color_images_and_photographs_have_no_habits():
    dice = np.random.default_rng(0)
    assert habits(dice.integers(0, 255, (50, 3, 16, 16), dtype=np.uint8)) is None
    assert habits(dice.integers(0, 255, (50, 1, 16, 16), dtype=np.uint8)) is None
    assert faults(np.zeros((3, 16, 16), dtype=np.uint8), None) == []


@pytest.fixture(scope="module")
def photographs():
    """Tones of color images whose means are 90 to 150 and whose standard deviations are 30 to 60."""
    return tones(
        np.stack([photograph(mean, deviation) for mean in range(90, 151, 4) for deviation in range(30, 61, 3)])
    )


def photograph(mean: float, deviation: float) -> np.ndarray:
    """An image uint8 [3, 32, 32] of this mean and standard deviation."""
    waves = np.sin(np.linspace(0, 40, 3 * 32 * 32)).reshape(3, 32, 32)
    return np.clip(np.round(mean + deviation * waves / waves.std()), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("mean", "deviation", "found"),
    [
        (120, 45, []),
        (20, 12, ["dark", "flat"]),
        (235, 12, ["bright", "flat"]),
        (60, 40, ["dark"]),
        (120, 10, ["flat"]),
        (127, 110, ["harsh"]),
    ],
)
def test_a_photograph_of_other_tones_is_named_and_mending_leaves_no_fault(photographs, mean, deviation, found):
    picture = photograph(mean, deviation)
    assert faults(picture, photographs) == found
    whole = mended(picture, found, photographs)
    assert whole.shape == picture.shape and whole.dtype == np.uint8
    assert faults(whole, photographs) == []
    assert np.array_equal(whole, picture) == (not found)


def test_the_answer_with_silent_units_is_that_of_the_network_without_them(tiny_store, tiny_run, monkeypatch):
    import torch

    from selviz.networks.unit_edit import silence

    monkeypatch.setenv("SELVIZ_DATA", str(tiny_store.path))
    network, dataset = load_network(tiny_store, tiny_run)
    monkeypatch.setattr(own_input.reads, "network", lambda run: (network, dataset))
    pixels = dataset.eval_pixels[3].numpy()
    found = respond(tiny_run, pixels, {"relu2": [1, 4], "relu4": [7]})
    assert found.activations[: len(tiny_store.units(tiny_run, "relu1"))] == pytest.approx(
        tiny_store.matrix(tiny_run, "relu1")[3], abs=1e-4
    )
    inputs = dataset.normalise(dataset.eval_pixels[3:4])
    edits = {name: silence(network.layer(name), units) for name, units in (("relu2", [1, 4]), ("relu4", [7]))}
    with torch.no_grad():
        logits = network.resume(network.boundary(inputs, list(edits)), edits)
    assert found.silenced == pytest.approx(logits[0].softmax(dim=0).numpy(), abs=1e-6)
    assert respond(tiny_run, pixels, {}).silenced is None
