"""Two networks on the same images: changes counted on paper, matches that must be found, and nulls that must hold."""

import numpy as np
import pytest

from selviz.geometry.matching import changes, correlations, match_null, matches
from selviz.statistics import change_interval, mcnemar


def test_changes_are_counted_over_all_images_and_in_each_class():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    one = np.array([0, 0, 1, 1, 1, 0, 0])  # right: 2 of 3, 2 of 4
    other = np.array([0, 1, 1, 1, 1, 1, 0])  # right: 1 of 3, 3 of 4
    table = changes(labels, one, other, ["a", "b", "c"])
    assert table["class"].tolist()[1:] == ["a", "b", "c"]
    assert table["images"].tolist() == [7, 3, 4, 0]
    assert table["lost"].tolist() == [1, 1, 0, 0]
    assert table["gained"].tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(table["before"], [4 / 7, 2 / 3, 2 / 4, np.nan])
    np.testing.assert_allclose(table["after"], [4 / 7, 1 / 3, 3 / 4, np.nan])
    np.testing.assert_allclose(table["change"], [0, -1 / 3, 1 / 4, np.nan], atol=1e-15)
    np.testing.assert_allclose(table["p"], [*mcnemar([1, 1, 0], [1, 0, 1]), np.nan])
    low, high = change_interval(1, 1, 7)
    assert (table["change_low"][0], table["change_high"][0]) == (low, high)


def test_a_network_does_not_differ_from_itself():
    labels, one = np.random.default_rng(0).integers(0, 4, (2, 100))
    table = changes(labels, one, one, list("abcd"))
    assert (table["change"] == 0).all() and (table["p"] == 1).all()
    assert (table["change_low"] < 0).all() and (table["change_high"] > 0).all()


def test_networks_that_saw_different_images_are_refused():
    with pytest.raises(ValueError, match="the same images"):
        changes(np.zeros(3), np.zeros(3), np.zeros(4), ["a"])


def test_correlations_are_pearsons_and_unknown_where_a_unit_never_changes():
    generator = np.random.default_rng(0)
    one, other = generator.random((50, 3)), generator.random((50, 4))
    expected = np.corrcoef(one.T, other.T)[:3, 3:]
    np.testing.assert_allclose(correlations(one, other), expected, atol=1e-6)
    one[:, 1], other[:, 2] = 0.1, 0  # 0.1 has no exact mean in floating point
    found = correlations(one, other)
    assert np.isnan(found[1]).all() and np.isnan(found[:, 2]).all()
    assert np.isnan(found).sum() == 4 + 3 - 1


def test_units_that_were_permuted_and_scaled_are_found_again():
    generator = np.random.default_rng(0)
    one = generator.gamma(2, size=(300, 12)).astype(np.float32)
    order = generator.permutation(12)
    other = 7 * one[:, order] + 100 + 0.1 * generator.standard_normal((300, 12)).astype(np.float32)
    table = matches(one, other)
    assert order[table["match"]].tolist() == list(range(12))
    assert table["mutual"].all() and (table["correlation"] > 0.99).all()


def test_the_match_of_two_units_may_be_one_and_is_mutual_for_one_of_them():
    generator = np.random.default_rng(0)
    one = generator.random((200, 1))
    pair = np.concatenate([one, one + 0.3 * generator.random((200, 1))], axis=1)
    table = matches(pair, np.concatenate([one, generator.random((200, 1))], axis=1))
    assert table["match"].tolist() == [0, 0]
    assert table["mutual"].tolist() == [True, False]


def test_a_dead_unit_has_no_match_and_is_nobodys():
    generator = np.random.default_rng(0)
    one, other = generator.random((60, 3)), generator.random((60, 3))
    one[:, 2], other[:, 0] = 0, 0
    table = matches(one, other)
    assert table["match"].tolist()[2] == -1 and np.isnan(table["correlation"][2]) and not table["mutual"][2]
    assert 0 not in table["match"].tolist()
    assert matches(one, np.zeros((60, 2)))["match"].tolist() == [-1, -1, -1]
    assert np.isnan(match_null(one, other, shuffles=3)[:, 2]).all()
    assert np.isnan(match_null(one, np.zeros((60, 2)), shuffles=3)).all()


def test_unrelated_units_lie_within_their_null():
    generator = np.random.default_rng(0)
    one, other = generator.gamma(2, size=(200, 100)), generator.gamma(2, size=(200, 30))
    null = match_null(one, other, shuffles=60)
    assert null.shape == (60, 100)
    beyond = (matches(one, other)["correlation"].to_numpy() > np.quantile(null, 0.95, axis=0)).mean()
    assert 0 <= beyond <= 0.14
    assert 0.1 < null.mean() < 0.3  # the best of 30 is above 0 by chance


def test_shuffles_within_classes_leave_what_a_taste_for_the_same_classes_gives():
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 4
    taste = np.eye(4)[labels]
    one, other = (taste + 0.5 * generator.random((400, 4)) for _ in range(2))
    within, everywhere = match_null(one, other, labels, shuffles=20), match_null(one, other, shuffles=20)
    assert within.mean() > 0.8 and everywhere.mean() < 0.2
    beyond = matches(one, other)["correlation"].to_numpy() > np.quantile(within, 0.95, axis=0) + 0.02
    assert not beyond.any()  # nothing but the taste is shared
    shared = 0.5 * generator.random((400, 1))
    beyond = matches(one + shared, other + shared)["correlation"].to_numpy() > np.quantile(
        match_null(one + shared, other + shared, labels, shuffles=20), 0.95, axis=0
    )
    assert beyond.all()  # and here something more is


def test_a_null_is_the_same_for_the_same_seed():
    one, other = np.random.default_rng(0).random((2, 40, 5))
    np.testing.assert_array_equal(match_null(one, other, shuffles=5), match_null(one, other, shuffles=5))
    assert not np.array_equal(match_null(one, other, shuffles=5), match_null(one, other, shuffles=5, seed=1))
