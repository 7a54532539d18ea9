"""Maps of units by tuning: like units lie together, scale does not count, and the stored map is found again."""

import numpy as np
import pytest

from selviz.selectivity.embedding import layout
from selviz.studies.unit_measures import run_unit_map


def tuned(units_per_class=6, classes=4):
    """Units that prefer one class each, at very different scales."""
    random = np.random.default_rng(0)
    shape = np.repeat(np.eye(classes), units_per_class, axis=0) + 0.05 * random.random(
        (units_per_class * classes, classes)
    )
    return shape * random.uniform(0.1, 50, size=(len(shape), 1)), np.repeat(np.arange(classes), units_per_class)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_units_of_one_preferred_class_are_nearest_neighbours_whatever_their_scale(method):
    means, group = tuned()
    places = layout(means, method)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(len(places), np.inf))
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95


def test_pca_has_the_distances_of_scikit_learns():
    from sklearn.decomposition import PCA

    means, _ = tuned(classes=6)
    tuning = means - means.mean(axis=1, keepdims=True)
    tuning /= np.linalg.norm(tuning, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(layout(means)), np.abs(PCA(2).fit_transform(tuning)), atol=1e-9)


def test_the_same_units_lie_at_the_same_places_and_dead_ones_do_no_harm():
    means, _ = tuned()
    means = np.vstack([means, np.zeros(means.shape[1])])
    places = layout(means)
    assert np.isfinite(places).all()
    np.testing.assert_array_equal(places, layout(means))


def test_one_unit_or_two_classes_still_have_a_place():
    assert layout(np.array([[1.0, 2.0]])).shape == (1, 2)
    assert np.isfinite(layout(np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0]]))).all()


@pytest.mark.parametrize("units", [4, 2001])
def test_t_sne_of_too_few_or_too_many_units_is_refused(units):
    with pytest.raises(ValueError, match="t-SNE takes 5 to 2,000"):
        layout(np.random.default_rng(0).random((units, 3)), "tsne")


def test_the_stored_map_is_that_of_the_stored_class_means(own_store, tiny_run):
    table = run_unit_map(own_store, tiny_run)
    assert len(table) == 144
    means = own_store.class_means(tiny_run, "relu3").pivot(index="unit", columns="class_index", values="mean")
    stored = own_store.unit_map(tiny_run, "relu3")
    np.testing.assert_allclose(stored[["pca_x", "pca_y"]], layout(means.to_numpy()))
    file = own_store.run_path(tiny_run) / "unit_map.duckdb"
    written = file.stat().st_mtime_ns
    run_unit_map(own_store, tiny_run)
    assert file.stat().st_mtime_ns == written
