"""Each verdict says yes, no and not testable where the rules say so, and nothing before all networks are there."""

import numpy as np
import pandas as pd
import pytest

from reproduction import paired_verdicts
from reproduction.experiments import EXPERIMENTS, Experiment, configs, experiment
from reproduction.rows import COLUMNS, add_row, has_row, read_rows

LESS = Experiment("less", "less", "cnn", {}, (0, -1, -2), tuple(range(10)))
MORE = Experiment("more", "more", "cnn", {}, (0, 1), tuple(range(5)))
CONTROL = Experiment("control", "control", "cnn", {}, (-2,), tuple(range(5)))


def rows(planned, accuracy, si=None, **columns):
    """A network for each alpha and seed: `accuracy` and `si` by alpha, with a spread over seeds that pairs share."""
    generator = np.random.default_rng(0)
    shared = {seed: generator.normal(0, 0.005) for seed in planned.seeds}
    table = [
        {
            "alpha": float(alpha), "seed": seed, "diverged": False, "null_mean": 0.01,
            "test_accuracy": accuracy[alpha] + shared[seed] + generator.normal(0, 0.001),
            "mean_si_live": (si or {}).get(alpha, 0.2) + generator.normal(0, 0.001),
            **columns,
        }
        for seed in planned.seeds for alpha in planned.alphas
    ]  # fmt: skip
    return pd.DataFrame(table)


CUT = {0: 0.2, -1: 0.07, -2: 0.03}


@pytest.mark.parametrize(
    ("judge", "planned", "accuracy", "si", "verdict"),
    [
        (paired_verdicts.costs, MORE, {0: 0.8, 1: 0.75}, None, "supported"),
        (paired_verdicts.costs, MORE, {0: 0.8, 1: 0.8}, None, "refuted"),
        (paired_verdicts.costs, MORE, {0: 0.8, 1: 0.83}, None, "open"),
        (paired_verdicts.cut_is_free, LESS, {0: 0.8, -1: 0.8, -2: 0.7}, CUT, "supported"),
        (paired_verdicts.cut_is_free, LESS, {0: 0.8, -1: 0.75, -2: 0.7}, CUT, "refuted"),
        (paired_verdicts.cut_is_free, LESS, {0: 0.8, -1: 0.79, -2: 0.7}, CUT, "open"),
        (paired_verdicts.cut_is_free, LESS, {0: 0.8, -1: 0.8, -2: 0.8}, {0: 0.2, -1: 0.15, -2: 0.1}, "not testable"),
        (paired_verdicts.nearly_zero, LESS, {0: 0.8, -1: 0.8, -2: 0.78}, CUT, "supported"),
        (paired_verdicts.nearly_zero, LESS, {0: 0.8, -1: 0.8, -2: 0.6}, CUT, "refuted"),
        (paired_verdicts.nearly_zero, LESS, {0: 0.8, -1: 0.8, -2: 0.8}, {0: 0.2, -1: 0.15, -2: 0.1}, "not testable"),
        (paired_verdicts.gains, LESS, {0: 0.8, -1: 0.81, -2: 0.7}, CUT, "supported"),
        (paired_verdicts.gains, LESS, {0: 0.8, -1: 0.8, -2: 0.7}, CUT, "refuted"),
    ],
)
def test_verdicts_say_yes_no_and_not_testable(judge, planned, accuracy, si, verdict):
    assert judge(rows(planned, accuracy, si), planned).verdict.startswith(verdict)


def test_no_verdict_is_given_before_every_planned_network_has_a_row():
    table = rows(MORE, {0: 0.8, 1: 0.75})
    assert paired_verdicts.costs(table.iloc[:-1], MORE).verdict == "not tested yet (9 of 10 networks)"
    assert paired_verdicts.costs(table.iloc[:0], MORE).verdict == "not tested yet (0 of 10 networks)"


def test_where_training_failed_in_more_than_one_network_of_ten_the_mean_decides_nothing():
    table = rows(MORE, {0: 0.8, 1: 0.75})
    last = table["alpha"].eq(1) & table["seed"].eq(4)
    for broken in (table.assign(diverged=last), table.assign(test_accuracy=table["test_accuracy"].mask(last, 0.3))):
        assert paired_verdicts.costs(broken, MORE).verdict == "not testable here (collapsed: 20 % at α 1)"


@pytest.mark.parametrize(("permuted", "verdict"), [(0.1, "supported"), (0.03, "refuted"), (0.02, "refuted")])
def test_the_control_compares_how_far_si_moves(permuted, verdict):
    real = rows(LESS, {0: 0.8, -1: 0.8, -2: 0.8}, CUT)
    control = rows(CONTROL, {-2: 0.8}, {-2: permuted})
    found = paired_verdicts.due_to_selectivity(real, control, LESS, CONTROL)
    assert found.verdict == verdict
    early = paired_verdicts.due_to_selectivity(real, control.iloc[:2], LESS, CONTROL)
    assert early.verdict == "not tested yet (2 of 5 networks)"


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [({0: 0.8, 1: 0.7}, "supported"), ({0: 0.8, 1: 0.9}, "refuted"), ({0: 0.8, 1: 0.8}, "open")],
)
def test_a_picture_carries_over_where_every_sign_is_the_same(accuracy, verdict):
    source = rows(MORE, {0: 0.8, 1: 0.75}, {0: 0.2, 1: 0.5})
    assert paired_verdicts.significant_signs(source, MORE) == {(1, "test_accuracy"): -1, (1, "mean_si_live"): 1}
    table = rows(MORE, accuracy, {0: 0.2, 1: 0.6})
    assert paired_verdicts.carries_over(table, MORE, [(source, MORE)]).verdict == verdict
    flat = rows(MORE, {0: 0.8, 1: 0.8})
    assert paired_verdicts.carries_over(table, MORE, [(flat, MORE)]).verdict.startswith("not testable here: nothing")


def test_what_is_to_carry_over_must_itself_be_known():
    source, table = rows(MORE, {0: 0.8, 1: 0.75}, {0: 0.2, 1: 0.5}), rows(MORE, {0: 0.8, 1: 0.7}, {0: 0.2, 1: 0.6})
    early = paired_verdicts.carries_over(table, MORE, [(source.iloc[:-1], MORE)])
    assert early.verdict == "not tested yet (9 of 10 networks of `more`)"
    assert "α 1: −9.97 points" in early.measured and "SI +0.4" in early.measured
    failed = source.assign(test_accuracy=source["test_accuracy"].mask(source["alpha"] == 1, 0.3))
    assert "collapsed of `more`: 100 % at α 1" in paired_verdicts.carries_over(table, MORE, [(failed, MORE)]).verdict


def test_a_control_has_collapsed_below_half_of_the_baselines_it_is_compared_with():
    real, control = rows(LESS, {0: 0.8, -1: 0.8, -2: 0.8}, CUT), rows(CONTROL, {-2: 0.8}, {-2: 0.1})
    assert not paired_verdicts.collapsed(control, real).any() and not paired_verdicts.collapsed(control).any()
    broken = control.assign(test_accuracy=control["test_accuracy"].mask(control["seed"] == 1, 0.3))
    assert paired_verdicts.collapsed(broken, real).tolist() == [False, True, False, False, False]
    found = paired_verdicts.due_to_selectivity(real, broken, LESS, CONTROL)
    assert found.verdict == "not testable here (collapsed with permuted labels: 20 % at α −2)"


def test_a_network_that_was_not_planned_does_not_stand_for_one_that_was():
    table = rows(MORE, {0: 0.8, 1: 0.75})
    assert paired_verdicts.costs(table.assign(seed=table["seed"] + 5), MORE).verdict.startswith("not tested yet (0 of")


def test_seeds_are_the_outer_loop_and_the_stable_recipe_is_waited_for():
    planned = configs(experiment("cifar10-16"), "folder:x")
    assert len(planned) == 50 and [(c.alpha, c.seed) for c in planned[:6]] == [
        (0, 0), (-2, 0), (-1, 0), (-0.4, 0), (-5, 0), (0, 1),
    ]  # fmt: skip
    assert sum(entry.networks for entry in EXPERIMENTS) == 107


def test_a_row_is_added_once_and_read_back(tmp_path):
    planned = experiment("cifar10-16")
    config = configs(planned, "folder:x")[1]
    row = dict.fromkeys(COLUMNS) | {"experiment": planned.key, "alpha": config.alpha, "seed": config.seed}
    assert not has_row(read_rows(planned, tmp_path), config)
    add_row(planned, row | {"test_accuracy": 0.7123456789}, tmp_path)
    table = read_rows(planned, tmp_path)
    assert has_row(table, config) and not has_row(table, configs(planned, "folder:x")[0])
    assert table["test_accuracy"].tolist() == [0.7123456789]


def test_a_setting_that_is_newer_than_a_row_is_at_its_default_in_it(tmp_path):
    planned = experiment("cifar10-16")
    row = dict.fromkeys(COLUMNS) | {"alpha": 0.0, "test_accuracy": 0.123456789012345}
    old = pd.DataFrame([row | {"seed": 0}]).drop(columns=["clip_norm", "max_images"])
    old.to_csv(tmp_path / f"{planned.key}.csv", index=False)
    add_row(planned, row | {"seed": 1, "clip_norm": 1.0, "max_images": 5}, tmp_path)
    table = read_rows(planned, tmp_path)
    assert list(table) == list(COLUMNS)
    assert table["clip_norm"].tolist() == [0.0, 1.0] and table["max_images"].tolist() == [0, 5]
    assert table["test_accuracy"].tolist() == [0.123456789012345] * 2
