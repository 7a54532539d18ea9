"""The overview of a sweep: every seed, intervals by the rule, the authors' curve, and the equivalence test in words."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest

from app.views.alpha import panels
from selviz import figures
from selviz.runs.families import by_alpha, groups
from selviz.statistics import equivalence, equivalence_power
from selviz.store import Store
from selviz.studies import published_values
from selviz.text import numbers
from tests.helpers.pages import address_of, text
from tests.helpers.stored import CLASSES, make_run

ACCURACIES = {-1.0: (0.961, 0.965, 0.96), 0.0: (0.963, 0.962, 0.966), 1.0: (0.90, 0.92, 0.91)}
FACTS = {"classes": CLASSES, "kind": "trained", "images": 1000, "null_mean": 0.05, "null_p95": 0.1}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three alphas with three seeds each."""
    store = Store(tmp_path_factory.mktemp("sweep"))
    for alpha, accuracies in ACCURACIES.items():
        for seed, accuracy in enumerate(accuracies):
            si = 0.2 + 0.05 * alpha + 0.01 * seed
            make_run(store, alpha, seed, test_accuracy=accuracy, mean_si=si, mean_si_live=si + 0.01, **FACTS)
    return store


def test_a_sweep_shows_every_seed_and_what_so_many_seeds_can_say(visit, sweep):
    page = visit(sweep)
    assert not page.exception and not page.error
    told = text(page)
    assert "95 % interval over seeds (Student's t; 3 seeds for each alpha)" in told
    found = equivalence(ACCURACIES[-1], ACCURACIES[0], 0.01)
    assert -1 < 100 * found.low < 0 < 100 * found.high < 1
    assert f"90 % interval {numbers.signed(100 * found.low, 2)} to {numbers.signed(100 * found.high, 2)}" in told
    assert f"**{100 * found.difference:.2f} points**".replace("-", "−") in told
    assert "n = 3 and 3 seeds" in told and "**Yes**: the two are equivalent within ±1 point" in told
    spread = tuple(float(np.std(ACCURACIES[alpha], ddof=1)) for alpha in (-1, 0))
    assert f"with probability {equivalence_power(0.01, spread, 3, 3):.2f}" in told
    assert "One or two seeds" not in told


def test_the_alpha_and_the_margin_of_the_test_are_in_the_address_and_a_wrong_one_is_told(visit, sweep):
    page = visit(sweep, alpha="1", margin="2", theirs="1")
    assert "**No**: the loss is larger than 2 points" in text(page)
    assert "Compare shapes, not heights" in text(page) and "another data set" in text(page)
    page.selectbox(key="link-alpha").set_value("-1").run()
    assert "alpha" not in address_of(page) and "±2 points" in text(page)
    page = visit(sweep, alpha="7", margin="<b>")
    assert not page.exception
    warned = "\n".join(warning.value for warning in page.warning)
    assert "`7`, which is not here" in warned and "`<b>`, which is not here" in warned


def test_one_seed_an_alpha_has_the_wilson_interval_of_each_network_and_no_test(visit, tiny_store):
    told = text(visit(tiny_store))
    assert "95 % Wilson interval of its accuracy" in told and "One or two seeds for each alpha" in told
    assert "TOST" not in told and "Dead units" not in told


def test_a_run_that_cannot_be_read_is_told_and_the_others_stay(visit, sweep, tmp_path):
    copy = Store(shutil.copytree(sweep.path, tmp_path / "copy"))
    broken = copy.runs().query("alpha == 1")["run"].iloc[0]
    (copy.run_path(broken) / "metrics.duckdb").write_bytes(b"")
    page = visit(copy)
    assert not page.exception
    assert broken in text(page) and "Selectivity by layer" in text(page)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((0.962, 0.964, 0.963), "**Yes**: the two are equivalent within ±1 point."),
        ((0.985, 0.987, 0.986), "**Yes, the loss is smaller than 1 point**; a gain of more than 1 point is not"),
        ((0.93, 0.935, 0.932), "**No**: the loss is larger than 1 point."),
        ((0.94, 0.97, 0.96), "**Not decided**: neither"),
    ],
)
def test_the_verdict_says_what_the_test_shows(first, said):
    told = panels.verdict(first, ACCURACIES[0], 0.01, -1.0)
    assert told.startswith(said)
    assert "same evaluation images" in told


def test_where_the_power_is_low_the_verdict_says_how_many_seeds_would_do():
    told = panels.verdict((0.94, 0.97, 0.96), ACCURACIES[0], 0.01, -1.0)
    spread = tuple(float(np.std(values, ddof=1)) for values in ((0.94, 0.97, 0.96), ACCURACIES[0]))
    need = int(told.split(" seeds each would make it 0.8")[0].split()[-1])
    assert equivalence_power(0.01, spread, need, need) >= 0.8 > equivalence_power(0.01, spread, need - 1, need - 1)
    assert "No test" in panels.verdict((0.9,) * 3, (0.9,) * 3, 0.01, -1.0)


def test_charts_of_a_sweep_have_a_point_a_seed_beside_its_alpha_and_the_interval_of_the_mean(sweep):
    runs = groups(sweep.runs())["digits · cnn"]
    means = by_alpha(runs, "test_accuracy")
    figure = figures.sweep.by_alpha(runs, means, "test_accuracy", "accuracy", 100, 2, False)
    points, dashes = figure.data
    assert len(points.x) == 9
    assert np.round(points.x).astype(int).tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(set(np.round(points.x, 3))) == 9
    np.testing.assert_allclose(dashes.error_y.array, 100 * (means["high"] - means["mean"]))
    si = by_alpha(runs, "mean_si")
    figure = figures.sweep.accuracy_against_si(runs, si, means, "mean_si", published_values.SI_CURVE, False)
    assert [trace.yaxis for trace in figure.data] == [None, None, "y2"]
    assert len(figure.data[2].x) == 15
    few = figures.sweep.by_alpha(runs.iloc[[0, 3]], by_alpha(runs.iloc[[0, 3]], "dead"), "dead", "dead", 1, 0, True)
    assert few.data[1].error_y.array is None


def test_families_are_called_by_what_tells_them_apart_and_lone_baselines_are_no_family():
    row = {"state": "finished", "dataset": "digits", "model": "cnn", "kind": "trained", "fingerprint": "f", "epochs": 8}
    rows = [
        {**row, "alpha": alpha, "seed": seed, "penalty_labels": labels, "run": f"{labels}{alpha}{seed}"}
        for alpha, labels in ((0, "true"), (-1, "true"), (-1, "shuffled"), (1, "true"))
        for seed in range(2)
    ]
    rows += [{**row, "epochs": 0, "alpha": 0, "seed": 0, "penalty_labels": "true", "run": "untrained"}]
    rows += [{**row, "model": "resnet20", "alpha": math.nan, "seed": None, "run": "imported", "penalty_labels": None}]
    rows += [{**row, "state": "running", "alpha": 5, "seed": 0, "run": "running", "penalty_labels": "true"}]
    found = {name: members["run"].tolist() for name, members in groups(pd.DataFrame(rows)).items()}
    assert found == {
        "digits · cnn · epochs 8 · penalty labels true": ["true-10", "true-11", "true00", "true01", "true10", "true11"],
        "digits · cnn · epochs 8 · penalty labels shuffled": ["shuffled-10", "shuffled-11", "true00", "true01"],
        "digits · cnn · epochs 0 · penalty labels true": ["untrained"],
        "digits · resnet20": ["imported"],
    }


def test_collapsed_networks_are_counted_beside_means_with_the_median_and_a_rank_test(visit, tmp_path):
    from scipy import stats

    store = Store(tmp_path)
    accuracies = {0.0: (0.96, 0.962, 0.965, 0.961), 1.0: (0.94, 0.10, 0.95, 0.945), 5.0: (0.1, 0.11, 0.1, 0.1)}
    for alpha, group in accuracies.items():
        for seed, accuracy in enumerate(group):
            make_run(store, alpha, seed, test_accuracy=accuracy, mean_si=0.2, mean_si_live=0.2, **FACTS)
    told = text(visit(store, alpha="1"))
    chance = f"nearer to chance ({100 / len(CLASSES):.1f} %)"
    assert (
        "Collapsed networks: 1 of 4 at α 1 (mean accuracy 73.4 %, median 94.2 %); 4 of 4 at α 5" in told
        and chance in told
    )
    p = stats.mannwhitneyu(accuracies[1.0], accuracies[0.0]).pvalue
    assert f"Rank test of Mann and Whitney: {numbers.p_value(p)}; medians 94.2 % and 96.2 %" in told
    assert "1 and 0 of these networks collapsed" in told
    (table,) = [frame.value for frame in visit(store).dataframe if "p_rank" in frame.value]
    assert table["collapsed"].tolist() == [0, 1, 4] and table["p_rank"].iloc[1] == pytest.approx(p)
