"""Dimensionality: known clouds, rotation, scikit-learn, streaming, the stored stage; gradient variability on paper."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.geometry.dimensionality import (
    Covariance,
    bootstrap,
    components,
    eigenvalues,
    gradient_variability,
    participation_ratio,
    profile,
    shuffled,
    streamed_eigenvalues,
)
from selviz.networks.activations import observe
from selviz.runs.load import load_network
from selviz.studies.dimensionality import run_dimensionality

SPECTRUM = np.array([9.0, 4.0, 4.0, 1.0, 0.25])


def cloud(rows: int, features: int, spectrum=SPECTRUM, seed: int = 0) -> np.ndarray:
    """A Gaussian cloud with this covariance spectrum in randomly turned axes, around a far-off mean."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(features, len(spectrum))))[0]
    return 50 + (generator.normal(size=(rows, len(spectrum))) * np.sqrt(spectrum)) @ axes.T


def test_on_paper_the_two_counts_of_a_spectrum():
    assert components(SPECTRUM) == 4 and components(SPECTRUM, 0.7) == 2  # 18 of 18.25; 13 of 18.25
    assert participation_ratio(SPECTRUM) == pytest.approx(18.25**2 / (81 + 16 + 16 + 1 + 0.0625))
    assert components(np.ones(20)) == 19 and participation_ratio(np.ones(20)) == 20
    assert components(np.zeros(3)) == 0 and participation_ratio(np.zeros(3)) == 0


@pytest.mark.parametrize(("rows", "features"), [(20_000, 30), (900, 1000)])
def test_a_gaussian_cloud_of_known_rank_and_spectrum_is_recovered(rows, features):
    found = eigenvalues(cloud(rows, features))
    np.testing.assert_allclose(found[:5], SPECTRUM, rtol=0.15)
    assert found[5:].max() < 1e-6
    assert components(found) == 4
    assert participation_ratio(found) == pytest.approx(participation_ratio(SPECTRUM), rel=0.06)


@pytest.mark.parametrize(("rows", "features"), [(600, 40), (60, 700)])
def test_it_equals_scikit_learns_pca_and_a_rotation_changes_nothing(rows, features):
    x = np.random.default_rng(1).gamma(2, size=(rows, features)) @ np.diag(np.linspace(0.1, 3, features))
    fit = PCA().fit(x)
    found = eigenvalues(x)
    np.testing.assert_allclose(found, fit.explained_variance_, rtol=1e-8, atol=1e-10)
    assert components(found) == int(np.searchsorted(np.cumsum(fit.explained_variance_ratio_), 0.95) + 1)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(features, features)))[0]
    np.testing.assert_allclose(eigenvalues(x @ turn), found, rtol=1e-8, atol=1e-10)


def test_rows_in_blocks_of_any_size_give_the_covariance_of_all():
    x = cloud(1000, 12) + 1e4  # a mean that would swamp a naive sum of squares
    for sizes in ([1000], [1] * 10 + [990], [333, 0, 667]):
        parts = np.split(x, np.cumsum(sizes)[:-1])
        covariance = Covariance(12)
        for part in parts:
            covariance.add(part)
        np.testing.assert_allclose(covariance.matrix(), np.cov(x.T), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(streamed_eigenvalues(parts), eigenvalues(x), rtol=1e-9, atol=1e-9)


def test_a_stream_never_holds_more_than_a_block():
    import tracemalloc

    def blocks():
        for seed in range(200):
            yield cloud(500, 20, seed=seed)

    streamed_eigenvalues([cloud(10, 20)])
    tracemalloc.start()
    found = streamed_eigenvalues(blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 20 and peak < 3e6  # all rows would take 16 MB


@pytest.mark.parametrize("features", [8, 300])
def test_a_bootstrap_draw_is_the_count_of_the_rows_that_were_drawn(features):
    x = np.random.default_rng(3).normal(size=(50, features))
    found = bootstrap(x, 3, seed=7)
    generator = np.random.default_rng(7)
    for draw in range(3):
        drawn = x[generator.integers(0, 50, 50)]
        spectrum = eigenvalues(drawn)
        assert found[draw, 0] == components(spectrum)
        assert found[draw, 1] == pytest.approx(participation_ratio(spectrum))


def test_the_interval_holds_the_participation_ratio_of_the_population_about_as_often_as_it_says():
    population = participation_ratio(SPECTRUM)
    hits = 0
    for seed in range(60):
        row = profile(cloud(300, 6, seed=seed), draws=40, shuffles=0)
        hits += row["participation_low"] <= population <= row["participation_high"]
    assert hits >= 50


def test_shuffling_keeps_each_columns_values_and_breaks_what_ties_them():
    x = cloud(500, 20)
    y = shuffled(x)
    np.testing.assert_array_equal(np.sort(x, axis=0), np.sort(y, axis=0))
    row = profile(x, draws=5)
    assert row["components"] == 4 and row["components_shuffled"] > 12
    assert row["participation_shuffled"] > 2 * row["participation"]
    assert row["components_low"] <= row["components"] <= row["components_high"] <= 20


def test_on_paper_gradients_that_grow_with_the_image_vary_over_images_only():
    inputs = torch.tensor([[1.0, 0], [3.0, 0]])
    # unit 0: x^2/2 + 0 y, gradient (x, 0); unit 1: the same; unit 2: dead
    table, row = gradient_variability(
        lambda x: torch.stack([x[:, 0] ** 2 / 2, x[:, 0] ** 2 / 2, 0 * x[:, 0]], dim=1), inputs, range(3)
    )
    assert table.tolist() == [[1, 1, 0], [3, 3, 0]]
    assert row["units"] == 2 and row["over_images"] == pytest.approx(np.sqrt(2) / 2)
    assert row["over_units"] == 0 and row["norm"] == 2
    _, linear = gradient_variability(lambda x: x @ torch.tensor([[1.0, 3], [0, 0]]), inputs, range(2))
    assert linear["over_images"] == 0 and linear["over_units"] == pytest.approx(np.sqrt(2) / 2)


@pytest.fixture(scope="module")
def stored(tiny_store, tmp_path_factory):
    import shutil

    from selviz.store import Store

    folder = tmp_path_factory.mktemp("dimensions") / "store"
    shutil.copytree(tiny_store.path, folder)
    run_dimensionality(Store(folder), tiny_store.names()[0], ("contrast",), images=60, draws=10)
    return Store(folder)


def test_the_stored_counts_are_those_of_the_activations(stored, tiny_run):
    network, dataset = load_network(stored, tiny_run)
    inputs = dataset.normalise(dataset.eval_pixels[:60])
    averaged = observe(network, inputs)[1][1].numpy()
    whole = network.maps(inputs, "relu2").flatten(1).detach().numpy()
    table = stored.dimensionality(tiny_run, "relu2").query("kind == 'clean'").set_index("over")
    for over, values in (("units", averaged), ("maps", whole)):
        variance = PCA().fit(values.astype(np.float64)).explained_variance_
        assert table.loc[over, "components"] == components(variance)
        assert table.loc[over, "participation"] == pytest.approx(participation_ratio(variance), rel=1e-4)
        assert table.loc[over, "features"] == values.shape[1]
    changed = stored.dimensionality(tiny_run)
    assert set(changed["name"]) == {"clean", "contrast", "pgd"}
    gradients = stored.gradient_variability(tiny_run)
    assert len(gradients) == 4 and (gradients["over_images"] > 0).all()
    assert (gradients["over_images_low"] <= gradients["over_images"]).all()


def test_it_is_computed_once_goes_on_where_it_was_cut_off_and_again_for_other_settings(stored, tiny_run, monkeypatch):
    from selviz.studies import dimensionality

    file = stored.run_path(tiny_run) / "dimensionality.duckdb"
    before, first = file.stat().st_mtime_ns, stored.dimensionality(tiny_run)
    run_dimensionality(stored, tiny_run, ("contrast",), images=60, draws=10)
    assert file.stat().st_mtime_ns == before
    plain, seen = dimensionality._Measurement.of_layer, []

    def cut(self, layer):
        if layer.name == "relu3" and not seen.count("cut"):
            seen.append("cut")
            raise KeyboardInterrupt
        seen.append(layer.name)
        return plain(self, layer)

    monkeypatch.setattr(dimensionality._Measurement, "of_layer", cut)
    settings = {"images": 60, "draws": 10, "again": False, "seed": 1}
    with pytest.raises(KeyboardInterrupt):
        run_dimensionality(stored, tiny_run, ("contrast",), **settings)
    run_dimensionality(stored, tiny_run, ("contrast",), **settings)
    assert seen == ["relu1", "relu2", "cut", "relu3", "relu4"]
    columns = ["layer", "over", "name", "components"]
    clean = first[first["kind"] == "clean"][columns].reset_index(drop=True)
    again = stored.dimensionality(tiny_run).query("kind == 'clean'")[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(clean, again)


def test_bad_input_is_refused(tiny_store, tiny_run, capsys):
    with pytest.raises(SelvizError, match="at least 10 images"):
        run_dimensionality(tiny_store, tiny_run, images=5)
    for words, said in (
        ("--severity 0", "severity is 0"),
        ("--epsilon=-2", "epsilon is -2.0"),
        ("--corruption x", "Unknown corruption"),
    ):
        assert main(["dimensionality", tiny_run, *words.split(), "--data", str(tiny_store.path)]) == 2
        assert said in capsys.readouterr().err
