"""Images made for a unit: they drive it, the same seed makes the same one, and the run's folder keeps them."""

import numpy as np
import pytest
import torch

from selviz.attribution.feature_visualization import synthesise
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network
from selviz.studies.feature_visualization import run_visualisation
from selviz.testing.toy import ToyNetwork


def colours(pixels):
    return pixels.float() / 255


def test_the_image_made_for_a_hand_set_unit_is_the_one_that_drives_it_most():
    """Unit 0 is the first channel, unit 2 minus that channel: a dead end from which no gradient leads."""
    network = UnitNetwork(ToyNetwork().eval(), torch.zeros(1, 3, 8, 8)).for_inference()
    found = synthesise(network, "relu", 0, colours, (3, 8, 8))
    assert found.pixels.shape == (3, 8, 8) and found.pixels.dtype == np.uint8
    assert found.pixels[0].mean() > 245
    assert found.activation > 0.95 > 0.7 > found.at_start
    dead = synthesise(network, "relu", 2, colours, (3, 8, 8), steps=5)
    assert dead.activation == dead.at_start == 0


@pytest.mark.parametrize("layer", ["relu1", "relu4"])
def test_a_trained_unit_is_driven_beyond_noise_and_the_seed_decides(tiny_store, tiny_run, layer):
    network, dataset = load_network(tiny_store, tiny_run)
    units = tiny_store.units(tiny_run, layer)
    unit = int(units.sort_values("mean_activation")["unit"].iloc[-1])
    shape = tuple(dataset.eval_pixels.shape[1:])
    first, again, other = (
        synthesise(network, layer, unit, dataset.normalise, shape, steps=80, seed=seed) for seed in (0, 0, 1)
    )
    assert shape[0] == 1 and first.activation > 1.3 * first.at_start > 0
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.at_start != other.at_start and (layer == "relu1" or (first.pixels != other.pixels).any())
    inputs = dataset.normalise(torch.from_numpy(first.pixels[None].copy()))
    assert first.activation == pytest.approx(float(network.maps(inputs, layer)[0, unit].mean()), rel=1e-5)


def test_the_runs_folder_keeps_the_picture_and_a_damaged_one_is_made_again(own_store, tiny_run):
    found = run_visualisation(own_store, tiny_run, "relu2", 3)
    (path,) = (own_store.run_path(tiny_run) / "pictures").iterdir()
    written = path.stat().st_mtime_ns
    again = run_visualisation(own_store, tiny_run, "relu2", 3)
    assert path.stat().st_mtime_ns == written
    np.testing.assert_array_equal(found["pixels"], again["pixels"])
    assert found["activation"] == again["activation"]
    path.write_bytes(path.read_bytes()[:60])
    assert run_visualisation(own_store, tiny_run, "relu2", 3)["activation"] == found["activation"]


def test_a_unit_that_is_not_there_is_told(own_store, tiny_run):
    with pytest.raises(SelvizError, match="relu2"):
        run_visualisation(own_store, tiny_run, "relu2", 99)
