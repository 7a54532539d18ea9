"""PWCCA and CKA against other routes to them, and what they do and do not see."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import linalg

from selviz.geometry import similarity
from selviz.networks.activations import observe, sample
from selviz.runs.load import load_network
from selviz.selectivity import index


def values(rows: int, first: int, second: int, seed: int = 0):
    """Two layers that share some of what they vary by."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(rows, 6))
    one = np.maximum(shared @ random.normal(size=(6, first)) + random.normal(size=(rows, first)), 0)
    other = np.maximum(shared @ random.normal(size=(6, second)) + 2 * random.normal(size=(rows, second)), 0)
    return one, other


def rotation(size: int, seed: int = 0) -> np.ndarray:
    return linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def pwcca_by_covariances(x, y) -> float:
    """google/svcca's route: the eigenvectors of the covariances, no singular values of the data."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    across = x.T @ y
    squared, directions = linalg.eigh(across @ linalg.solve(y.T @ y, across.T), x.T @ x)
    count = min(x.shape[1], y.shape[1])
    canonical = x @ directions[:, ::-1][:, :count]
    weights = np.abs(canonical.T @ x).sum(axis=1)
    return 1 - float(weights @ np.sqrt(np.clip(squared[::-1][:count], 0, 1)) / weights.sum())


def cka_by_gram_matrices(x, y) -> float:
    """Kornblith et al. 2019, equation 3 with linear kernels: images by images."""
    centring = np.eye(len(x)) - 1 / len(x)
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


@pytest.mark.parametrize(("first", "second"), [(12, 12), (20, 8), (8, 20), (1, 5)])
def test_pwcca_and_cka_agree_with_other_routes_to_them_within_a_ten_thousandth(first, second):
    x, y = values(400, first, second)
    found = similarity.compare(x, y)
    assert found.pwcca == pytest.approx(pwcca_by_covariances(x, y), abs=1e-4)
    assert found.cka == pytest.approx(cka_by_gram_matrices(x, y), abs=1e-4)
    assert 0.05 < found.pwcca < 0.95
    assert (found.directions, found.rank_first, found.rank_second) == (min(first, second), first, second)


def test_the_correlations_behind_pwcca_are_the_cosines_of_the_angles_between_the_subspaces():
    x, y = values(300, 5, 5)
    one, other = similarity.subspace(x), similarity.subspace(y)
    cosines = np.cos(linalg.subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0)))
    np.testing.assert_allclose(np.linalg.svd(one.axes.T @ other.axes)[1], np.sort(cosines)[::-1], atol=1e-10)


def test_a_layer_of_a_trained_network_is_at_distance_0_from_its_own_rotation_whose_units_have_another_si(
    tiny_store, tiny_run
):
    network, dataset = load_network(tiny_store, tiny_run)
    captured = sample(network, dataset.inputs(), ["relu2", "relu4"], positions=16)
    for part in captured.values():
        x = part.flatten(0, 1).double().numpy()
        turned = x @ rotation(x.shape[1])
        found = similarity.compare(x, turned)
        assert found.pwcca == pytest.approx(0, abs=1e-6)
        assert found.cka == pytest.approx(1, abs=1e-9)

        def si(rows, part=part):
            on_images = torch.relu(torch.from_numpy(rows)).unflatten(0, part.shape[:2]).mean(dim=1)
            return index.index(index.class_means(on_images, dataset.eval_labels, 10)[0])

        assert (si(x) - si(turned)).abs().mean() > 0.02


def test_pwcca_does_not_move_when_the_network_that_does_not_supply_the_weights_is_rotated_and_moves_with_the_other():
    x, y = values(500, 10, 14)
    plain = similarity.compare(x, y).pwcca
    assert similarity.compare(x, y @ rotation(14)).pwcca == pytest.approx(plain, abs=1e-9)
    assert abs(similarity.compare(x @ rotation(10), y).pwcca - plain) > 1e-4
    assert similarity.compare(y, x).pwcca != pytest.approx(plain, abs=1e-4)


def test_cka_moves_with_neither_rotation_nor_scale_but_with_the_size_of_a_direction_which_pwcca_does_not_see():
    x, y = values(500, 10, 14)
    plain = similarity.compare(x, y)
    assert similarity.compare(3 * x @ rotation(10), y @ rotation(14)).cka == pytest.approx(plain.cka, abs=1e-9)
    stretched = similarity.compare(x, y * np.linspace(1, 30, 14))
    assert stretched.pwcca == pytest.approx(plain.pwcca, abs=1e-9)
    assert abs(stretched.cka - plain.cka) > 0.01


def test_dead_and_repeated_units_add_no_direction_and_a_dead_layer_has_no_distance():
    x, y = values(300, 6, 6)
    wide = np.hstack([x, np.zeros((300, 2)), x[:, :1], np.full((300, 1), 7.0)])
    found = similarity.compare(wide, y)
    assert (found.directions, found.rank_first) == (6, 6)
    assert similarity.compare(y, wide).pwcca == pytest.approx(similarity.compare(y, x).pwcca, abs=1e-6)
    nothing = similarity.compare(x, np.zeros((300, 4)))
    assert math.isnan(nothing.pwcca) and math.isnan(nothing.cka) and nothing.directions == 0


def test_layers_on_other_images_are_refused():
    with pytest.raises(ValueError):
        similarity.compare(np.ones((3, 2)), np.ones((4, 2)))


def test_the_null_is_that_of_all_ordered_pairs_of_baselines_and_pairs_of_one_seed_do_not_count():
    of = dict(zip(["a", "b", "c", "near", "far"], [0, 1, 2, 0, 7]))
    distance = {"near": 0.1, "far": 0.9}
    rows = [
        {"run": run, "seed": seed, "other": other, "other_seed": of[other], "layer": "relu", "directions": 4, "rank": 4,
         "rank_other": 4, "pwcca": distance.get(run, 0.2 + 0.1 * of[other]), "cka": 0.5}
        for run, seed in of.items() for other in "abc" if run != other
    ]  # fmt: skip
    rows += [{**rows[0], "other": "stranger", "other_seed": 9, "pwcca": 0.0}]
    found = similarity.beside_null(pd.DataFrame(rows), ["a", "b", "c"]).set_index("run")
    assert found["null_pairs"].tolist() == [6] * 5
    assert found["null_pwcca"].to_numpy() == pytest.approx(0.3)
    assert found.loc["a", ["null_low", "null_high"]].tolist() == pytest.approx([0.2, 0.4])
    assert found.loc["a", "ratio"] == pytest.approx(0.35 / 0.3)
    assert found.loc[["near", "far"], "compared"].tolist() == [2, 3]
    assert found.loc[["near", "far"], "ratio"].tolist() == pytest.approx([0.1 / 0.3, 3.0])


def test_a_sample_of_positions_is_part_of_the_maps_and_all_positions_have_the_mean_that_is_captured(
    tiny_store, tiny_run
):
    network, dataset = load_network(tiny_store, tiny_run)
    inputs = dataset.inputs()[:60]
    names = [layer.name for layer in network.layers]
    everything = sample(network, inputs, names, positions=10_000, batch=25)
    some = sample(network, inputs, names, positions=5)
    for layer, activations in zip(network.layers, observe(network, inputs)[1]):
        whole = network.maps(inputs, layer.name).flatten(2).movedim(1, 2)
        torch.testing.assert_close(everything[layer.name], whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(everything[layer.name].mean(dim=1), activations, atol=1e-5, rtol=1e-5)
        places = min(5, whole.shape[1])
        assert some[layer.name].shape == (60, places, layer.units)
        apart = (some[layer.name].unsqueeze(2) - whole.unsqueeze(1)).abs().amax(dim=(0, 3))
        found = apart.argmin(dim=1).tolist()
        assert apart.amin(dim=1).max() < 1e-5 and found == sorted(set(found))
    torch.testing.assert_close(some["relu1"], sample(network, inputs, ["relu1"], positions=5)["relu1"])
