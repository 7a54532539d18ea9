"""The mean corruption error: on paper, its intervals, its pairs by seed, and where it is not defined."""

import numpy as np
import pandas as pd
import pytest

from selviz.robustness.corruption_error import mean_corruption_error
from selviz.store import Store
from selviz.studies.corruption_error import corruption_errors, over_seeds
from selviz.text.tables import corruption_error_lines
from tests.helpers.stored import IMAGES, make_run, write_answers

# Errors of 40 images at severities 1 and 2 under two corruptions; clean: 4.
BASE = {"fog": (8, 12), "contrast": (10, 20)}


def measured(store: Store, alpha: float, seed: int, errors: dict[str, tuple[int, ...]], clean=4, made=None) -> str:
    """A made-up run whose network takes so many of the images for another class."""
    run = make_run(store, alpha, seed)
    wrong = {("clean", "clean", 0.0): clean}
    wrong |= {("corruption", name, float(k)): n for name, counts in errors.items() for k, n in enumerate(counts, 1)}
    write_answers(store, run, {key: np.arange(IMAGES) >= n for key, n in wrong.items()}, **(made or {}))
    return run


def test_it_is_the_errors_summed_over_severities_over_those_of_the_baseline_of_the_same_seed(store):
    for seed, factor in enumerate((1.0, 1.5, 0.5)):
        measured(store, 0, seed, {name: tuple(int(n * factor) for n in counts) for name, counts in BASE.items()})
        measured(store, -1, seed, {"fog": (10, 10), "contrast": (20, 20)})
    run = measured(store, -1, 3, {"fog": (10, 10), "contrast": (20, 20)})
    table = corruption_errors(store, run).set_index("run")
    # Under fog 20 errors, under contrast 40; of the baselines 20, 30, 10 and 30, 45, 15.
    expected = {0: (20 / 20 + 40 / 30) / 2, 1: (20 / 30 + 40 / 45) / 2, 2: (20 / 10 + 40 / 15) / 2}
    others = table[table["alpha"] == -1].set_index("seed")
    for seed, mce in expected.items():
        assert others.loc[seed, "mce"] == pytest.approx(mce) and others.loc[seed, "why"] == ""
    assert (
        np.isnan(others.loc[3, "mce"]) and others.loc[3, "why"] == "no network of alpha 0 with seed 3 is in the store"
    )
    assert (table.loc[table["alpha"] == 0, ["mce", "mce_low", "mce_high"]] == 1).all(axis=None)
    seeds = over_seeds(table.reset_index()).query("measure == 'mce'").set_index("alpha")
    assert seeds.loc[-1, "n"] == 3 and seeds.loc[-1, "mean"] == pytest.approx(np.mean(list(expected.values())))
    from scipy import stats

    low, high = stats.t.interval(0.95, 2, seeds.loc[-1, "mean"], stats.sem(list(expected.values())))
    assert seeds.loc[-1, ["low", "high"]].tolist() == pytest.approx([low, high])
    # Chance is 1/4; clean 36/40; under corruptions 25 of 40 are right on average: (0.625 - 0.25) / (0.9 - 0.25).
    assert table.loc[run, "above_chance"] == pytest.approx(0.375 / 0.65)
    named = corruption_errors(store, run, baseline=table.index[table["alpha"] == 0][0]).set_index("run")
    assert named.loc[run, "mce"] == pytest.approx(expected[0])


@pytest.mark.parametrize(
    ("errors", "made", "told"),
    [
        ({"fog": (8, 12), "contrast": (0, 0)}, {}, "not defined: its baseline .* makes no error under contrast"),
        ({"fog": (8, 12)}, {}, "was not measured under contrast at the same severities"),
        ({"fog": (8, 12), "contrast": (10,)}, {}, "was not measured under contrast at the same severities"),
        (BASE, {"images": 30}, "was measured on another number of images"),
        (BASE, {"seed": 1}, "was measured with another seed of the corruptions"),
        (None, {}, "was not measured"),
    ],
)
def test_where_it_is_not_defined_the_reason_is_said_and_no_number(store, errors, made, told):
    if errors is None:
        make_run(store, 0, 0)
    else:
        measured(store, 0, 0, errors, made=made)
    run = measured(store, 1, 0, BASE)
    row = corruption_errors(store, run).set_index("run").loc[run]
    assert np.isnan(row["mce"]) and np.isnan(row["mce_low"])
    result = {"run": run, "corruption_error": corruption_errors(store, run)}
    result["corruption_error_over_seeds"] = over_seeds(result["corruption_error"])
    (line,) = [line for line in corruption_error_lines(result) if "mean corruption error" in line]
    pd.testing.assert_series_equal(pd.Series([line]).str.contains(told), pd.Series([True]))


def test_a_network_within_noise_of_chance_has_nothing_above_it(store):
    measured(store, 0, 0, BASE)
    run = measured(store, 1, 0, dict.fromkeys(BASE, (30, 30)), clean=28)
    row = corruption_errors(store, run).set_index("run").loc[run]
    assert np.isnan(row["above_chance"]) and row["mce"] == pytest.approx((60 / 20 + 60 / 30) / 2)


def test_the_interval_for_new_images_is_that_of_a_bootstrap_of_the_images_that_both_saw():
    random = np.random.default_rng(0)
    hard = random.beta(0.5, 1, 400)
    base, ours = ((random.random((5, 3, 400)) < hard * share).mean(axis=1) for share in (0.8, 0.9))
    found = mean_corruption_error(ours, base)
    draws = []
    for _ in range(1500):
        rows = random.integers(0, 400, 400)
        draws.append((ours[:, rows].mean(axis=1) / base[:, rows].mean(axis=1)).mean())
    assert found.mce == pytest.approx((ours.sum(axis=1) / base.sum(axis=1)).mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=0.012)
