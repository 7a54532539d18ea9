"""Figures take what the store gives and compute their own intervals, those of `selviz.statistics`, as whiskers."""

import numpy as np
import pandas as pd
import pytest

from selviz import figures, statistics


def drawn_ends(trace, values):
    return np.asarray(values) - trace.error_y.arrayminus, np.asarray(values) + trace.error_y.array


def test_accuracies_by_class_have_wilsons_interval_and_keep_one_that_is_given():
    table = pd.DataFrame({"class": ["a", "b"], "class_index": [0, 1], "before": [0.9, 0.5], "after": [0.4, 0.5],
                          "images": [50, 60]})  # fmt: skip
    low, high = statistics.wilson(table["before"] * table["images"], table["images"])
    before, _ = figures.ablation.before_and_after(table, False).data
    np.testing.assert_allclose(drawn_ends(before, before.y), (100 * low, 100 * high))
    given = table.assign(before_low=0.0, before_high=1.0)
    before, _ = figures.ablation.before_and_after(given, False).data
    np.testing.assert_allclose(drawn_ends(before, before.y), ([0, 0], [100, 100]), atol=1e-9)


def test_what_a_unit_pushes_has_the_t_interval_of_its_mean():
    table = pd.DataFrame({"class": ["a", "b"], "class_index": [0, 1], "removed": [1.0, -2.0], "removed_std": [0.5, 1.0],
                          "slope": [1.0, 1.0], "slope_std": [1.0, 1.0], "images": [40, 40]})  # fmt: skip
    bars = figures.unit.push(table, False).data[0]
    low, high = statistics.mean_interval(table["removed"], table["removed_std"], table["images"])
    np.testing.assert_allclose(drawn_ends(bars, bars.y), (low, high))


def test_runs_and_robustness_have_wilsons_interval(tiny_store):
    runs = tiny_store.runs()
    points = figures.runs.accuracy_against_si(runs, "mean_si", False).data[-1]
    low, high = statistics.wilson((runs["test_accuracy"] * runs["images"]).round(), runs["images"])
    np.testing.assert_allclose(drawn_ends(points, points.y), (100 * low, 100 * high))
    table = pd.DataFrame({"alpha": [0.0, 0.0], "told": ["one", "one"], "level": [0, 1], "accuracy": [0.9, 0.4],
                          "n": [100, 100]})  # fmt: skip
    line = figures.robustness.curves(table, "severity", False).data[0]
    assert drawn_ends(line, line.y)[1] == pytest.approx(100 * statistics.wilson(np.array([90, 40]), 100)[1])
