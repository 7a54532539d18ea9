"""Intervals and tests against statsmodels, against enumeration, and at their ends."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from selviz import statistics
from selviz.statistics import (
    change_interval,
    equivalence,
    equivalence_power,
    holm,
    mcnemar,
    mean_interval,
    over_seeds,
    rank_among,
    split_interval,
    wilson,
)


def test_wilson_is_the_interval_of_statsmodels_for_every_count():
    for n in (1, 2, 10, 1000):
        counts = np.arange(n + 1)
        low, high = wilson(counts, n)
        expected = proportion_confint(counts, n, method="wilson")
        np.testing.assert_allclose(low, expected[0], atol=1e-12)
        np.testing.assert_allclose(high, expected[1], atol=1e-12)


def test_wilson_contains_the_proportion_and_is_exact_at_both_ends():
    low, high = wilson([0, 5, 10, 0], [10, 10, 10, 0])
    assert low.tolist()[0] == 0
    assert high.tolist()[2] == 1
    assert low[1] < 0.5 < high[1]
    assert (low[3], high[3]) == (0, 1)  # nothing seen, nothing known


def test_more_successes_than_images_are_refused():
    with pytest.raises(ValueError):
        wilson(11, 10)
    with pytest.raises(ValueError):
        split_interval(-1, 10, 20)


def test_split_interval_is_narrower_than_wilson_and_has_no_width_when_all_images_are_seen():
    assert split_interval(960, 1000, 1000) == (0.96, 0.96)
    low, high = split_interval(480, 500, 1000)
    wide_low, wide_high = wilson(480, 500)
    assert wide_low < low < 0.96 < high < wide_high


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.data())
def test_split_interval_never_excludes_nor_exceeds_what_the_unseen_images_allow(total, data):
    n = data.draw(st.integers(0, total))
    successes = data.draw(st.integers(0, n))
    low, high = split_interval(successes, n, total)
    assert successes / total - 1e-12 <= low <= high <= (successes + total - n) / total + 1e-12
    if n:
        assert low - 1e-12 <= np.clip(successes / n, low, high) <= high + 1e-12
    if n == total:
        assert low == high


def test_split_interval_covers_the_accuracy_of_the_split_in_95_of_100_orders():
    random = np.random.default_rng(0)
    right = np.arange(1000) < 900
    covered = []
    for _ in range(2000):
        seen = random.permutation(right)[:300]
        low, high = split_interval(seen.sum(), 300, 1000)
        covered.append(low <= 0.9 <= high)
    assert 0.935 <= np.mean(covered) <= 0.97


def test_mcnemar_is_the_exact_test_of_statsmodels_for_every_pair_of_counts():
    for lost, gained in itertools.product(range(8), range(8)):
        expected = statsmodels_mcnemar([[5, lost], [gained, 5]], exact=True).pvalue if lost + gained else 1.0
        assert mcnemar(lost, gained) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_takes_arrays_and_gives_one_where_nothing_changed():
    np.testing.assert_allclose(mcnemar([0, 10, 3], [0, 0, 3]), [1.0, 2 / 2**10, 1.0])
    assert 0 < mcnemar(1000, 500) < 1e-30


def test_change_interval_contains_the_change_and_covers_it_in_95_of_100_samples():
    low, high = change_interval(30, 10, 1000)
    assert low < -0.02 < high < 0
    random = np.random.default_rng(1)
    cells = random.multinomial(1000, [0.03, 0.01, 0.96], size=4000)
    low, high = change_interval(cells[:, 0], cells[:, 1], 1000)
    assert 0.94 <= np.mean((low <= -0.02) & (high >= -0.02)) <= 0.965
    low, high = change_interval(0, 0, 100)
    assert low == -high
    assert 0 < high < 0.03


def test_mean_interval_is_the_t_interval_of_statsmodels():
    values = np.random.default_rng(0).gamma(2, size=23)
    low, high = mean_interval(values.mean(), values.std(ddof=1), len(values))
    assert (low, high) == pytest.approx(DescrStatsW(values).tconfint_mean())
    low, high = mean_interval([1.0, 1.0], [0.0, 2.0], [5, 1])
    assert low.tolist() == [1.0, -math.inf]
    assert high.tolist() == [1.0, math.inf]


@pytest.mark.parametrize("n", [21, 50, 600])
def test_the_bootstrap_is_that_of_scipy(n):
    from scipy import stats

    generator = np.random.default_rng(n)
    for values in (generator.normal(0.5, 0.1, n), generator.exponential(size=n), (generator.random(n) < 0.1) * 1.0):
        known = stats.bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=0).confidence_interval
        assert over_seeds(values)[1:3] == pytest.approx((known.low, known.high), rel=1e-9)


def test_over_seeds_there_is_no_interval_below_3_seeds_a_t_interval_up_to_20_and_then_the_bootstrap():
    values = np.random.default_rng(0).normal(0.9, 0.01, 24)
    for n in (1, 2):
        few = over_seeds(values[:n])
        assert few.mean == pytest.approx(values[:n].mean())
        assert math.isnan(few.low) and math.isnan(few.high) and (few.kind, few.n) == ("", n)
    for n in (3, 9, 10, 20):
        low, high = DescrStatsW(values[:n]).tconfint_mean()
        assert over_seeds(values[:n]) == pytest.approx((values[:n].mean(), low, high, "t", n))
    for n in (21, 24):
        found = over_seeds(values[:n])
        assert (found.kind, found.n) == ("bootstrap", n)
        assert found.low < values[:n].mean() < found.high
        assert found == over_seeds(values[:n])
    assert over_seeds([0.5] * 4) == (0.5, 0.5, 0.5, "t", 4)
    assert over_seeds([0.5, math.nan, 0.5]).n == 2


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_over_few_seeds_covers_the_mean_also_with_heavy_tails(n):
    random = np.random.default_rng(n)
    for draw in (random.normal(size=(1500, n)), random.standard_t(5, (1500, n)), random.laplace(size=(1500, n))):
        found = [over_seeds(row) for row in draw]
        assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.935


def test_where_networks_collapse_their_rate_the_median_and_a_rank_test_say_what_a_mean_cannot():
    from scipy import stats

    values = np.array([0.71, 0.72, 0.73, 0.70, 0.74, 0.72, 0.71, 0.73, 0.10, 0.25])
    found = statistics.collapse(values, chance=0.1)
    assert (found.collapsed, found.n, found.rate) == (2, 10, 0.2)
    assert (found.rate_low, found.rate_high) == pytest.approx(proportion_confint(2, 10, method="wilson"))
    # Of ten values the second lowest and second highest hold the median with 97.9 %: 1 - 2 (1 + 10) / 1024.
    assert (found.median, found.median_low, found.median_high) == (0.715, 0.25, 0.73)
    assert math.isnan(statistics.collapse([0.7] * 5, 0.1).median_low)
    random = np.random.default_rng(0)
    covered = [
        (f := statistics.collapse(row, 0.0)).median_low <= 1.0 <= f.median_high
        for row in np.exp(random.normal(0, 1, (2000, 10)))
    ]
    assert np.mean(covered) >= 0.95
    other = values - 0.05
    assert statistics.rank_test(values, other) == pytest.approx(stats.mannwhitneyu(values, other).pvalue, rel=1e-12)
    with pytest.raises(ValueError):
        statistics.collapse([], 0.1)


def test_the_rank_test_is_that_of_scipy_with_and_without_ties_and_with_few_values():
    from scipy import stats

    random = np.random.default_rng(1)
    for n, m, digits in (
        (5, 7, 9),
        (5, 7, 1),
        (9, 9, 9),
        (12, 30, 1),
        (600, 40, 2),
        (8, 100, 9),
        (3, 3, 0),
        (1, 20, 9),
    ):
        first, second = random.normal(0.2, 1, n).round(digits), random.normal(0, 1, m).round(digits)
        reference = stats.mannwhitneyu(first, second, alternative="two-sided").pvalue
        assert statistics.rank_test(first, second) == pytest.approx(reference, rel=1e-9), (n, m, digits)
    assert statistics.rank_test([0.5] * 12, [0.5] * 9) == 1.0
    assert math.isnan(statistics.rank_test([math.nan, 0.5, 0.6], [0.1, 0.2, 0.3]))


def test_an_estimates_ends_and_its_p_are_those_of_one_test():
    from scipy import stats

    random = np.random.default_rng(0)
    first, second = random.normal(0.3, 1, 7), random.normal(0, 2, 9)
    estimate = statistics.welch_estimate(first, second)
    both = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (estimate.lower(0.025), estimate.upper(0.025)) == pytest.approx(tuple(both))
    for boundary in (-1.0, 0.0, 0.5):
        reference = stats.ttest_ind(first - boundary, second, equal_var=False, alternative="greater").pvalue
        assert estimate.p_above(boundary) == pytest.approx(reference)
        assert (estimate.p_above(boundary) <= 0.025) == (estimate.lower(0.025) >= boundary)
    pearson = stats.spearmanr(first, second[:7])
    tanh = statistics.correlation_estimate(float(pearson.statistic), 7)
    assert (
        tanh.p_above(tanh.lower(0.05)) == pytest.approx(0.05) and tanh.p_above(1.0) == 1.0 and tanh.p_above(-1.0) == 0
    )
    assert -1 < tanh.lower(1e-6) < tanh.effect < tanh.upper(1e-6) < 1


def test_equivalence_is_the_test_of_statsmodels_and_agrees_with_its_own_interval():
    random = np.random.default_rng(0)
    for n, m, shift in ((3, 3, 0.0), (10, 10, 0.005), (5, 12, -0.004), (10, 10, 0.02)):
        first, second = random.normal(0.9 + shift, 0.004, n), random.normal(0.9, 0.007, m)
        found = equivalence(first, second, 0.01)
        p, lower, upper = ttost_ind(first, second, -0.01, 0.01, usevar="unequal")
        assert (found.p, found.p_not_lower, found.p_not_higher) == pytest.approx((p, lower[1], upper[1]))
        interval = CompareMeans(DescrStatsW(first), DescrStatsW(second)).tconfint_diff(0.1, usevar="unequal")
        assert (found.low, found.high) == pytest.approx(interval)
        assert (found.p < 0.05) == (found.low > -0.01 and found.high < 0.01)
        assert (found.p_not_lower < 0.05) == (found.low > -0.01)
    worse = equivalence([0.90, 0.91, 0.92], [0.80, 0.81, 0.82], 0.01)
    assert worse.p_not_lower < 0.001 < 0.99 < worse.p_not_higher == worse.p
    assert math.isnan(equivalence([0.5] * 3, [0.5] * 3, 0.01).p)
    for wrong in (([0.5], [0.5, 0.6], 0.01), ([0.5, 0.4], [0.5, 0.6], 0.0)):
        with pytest.raises(ValueError):
            equivalence(*wrong)


@pytest.mark.parametrize(
    ("n", "m", "std", "difference"), [(10, 10, 0.008, 0.0), (3, 3, 0.004, 0.004), (10, 4, 0.006, 0)]
)
def test_the_power_of_the_equivalence_test_is_the_share_of_simulated_studies_that_show_it(n, m, std, difference):
    random = np.random.default_rng(0)
    first, second = random.normal(difference, std, (20_000, n)), random.normal(0, std, (20_000, m))
    p = ttost_ind(first.T, second.T, -0.01, 0.01, usevar="unequal")
    shown = np.mean(np.maximum(p[1][1], p[2][1]) < 0.05)
    assert 0.1 < shown < 0.95
    assert equivalence_power(0.01, std, n, m, difference) == pytest.approx(shown, abs=0.02)


def test_the_power_of_the_equivalence_test_rises_with_seeds_and_is_the_level_at_the_margin():
    by_seeds = [equivalence_power(0.01, 0.006, n, n) for n in (3, 5, 10, 40)]
    assert by_seeds == sorted(by_seeds)
    assert by_seeds[-1] > 0.999
    assert equivalence_power(0.01, 0.004, 20, 20, difference=0.01) == pytest.approx(0.05, abs=0.002)
    assert equivalence_power(0.01, (0.004, 0.004), 20, 20) == equivalence_power(0.01, 0.004, 20, 20)
    assert (equivalence_power(0.01, 0, 3, 3), equivalence_power(0.01, 0, 3, 3, 0.02)) == (1, 0)


def test_a_rank_says_how_small_its_p_could_have_been():
    draws = np.arange(20.0)
    lowest = rank_among(-1, draws)
    assert lowest == (0.0, 1 / 21, 1.0, 2 / 21, 2 / 21, 20)
    assert rank_among(100, draws) == (1.0, 1.0, 1 / 21, 2 / 21, 2 / 21, 20)
    middle = rank_among(9.5, draws)
    assert middle.quantile == 0.5
    assert middle.p == 1.0


def test_ties_count_half_in_the_quantile_and_fully_in_p():
    rank = rank_among(1, [1, 1, 1, 1])
    assert rank.quantile == 0.5
    assert rank.p == 1.0


def test_p_of_a_rank_is_valid_where_the_value_is_one_more_draw():
    random = np.random.default_rng(0)
    p = np.array([rank_among(row[0], row[1:]).p for row in random.normal(size=(4000, 40))])
    for level in (0.05, 0.1, 0.5):
        assert np.mean(p <= level) <= level + 0.015


@pytest.mark.parametrize(("value", "draws"), [(1.0, []), (math.nan, [1.0]), (1.0, [math.nan])])
def test_a_rank_without_draws_or_with_nan_is_refused(value, draws):
    with pytest.raises(ValueError):
        rank_among(value, draws)


def test_holm_is_the_correction_of_statsmodels():
    random = np.random.default_rng(0)
    for size in range(1, 13):
        for p_values in (random.random(size), random.random(size) ** 4, random.integers(0, 3, size) / 10):
            np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


def test_holm_does_not_count_what_was_not_tested():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_importing_the_statistics_loads_no_slow_library():
    slow = "{'scipy.stats', 'statsmodels', 'torch', 'pandas'}"
    code = f"import sys, selviz.statistics; print(sorted({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_what_claims_are_judged_by_agrees_with_scipy_and_statsmodels():
    from scipy import stats

    random = np.random.default_rng(0)
    first, second = random.normal(0.3, 1, 7), random.normal(0, 2, 9)
    difference, low, high, p = statistics.welch(first, second, 0.1)
    reference = stats.ttest_ind(first - 0.1, second, equal_var=False, alternative="greater")
    both = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose([p, low, high], [reference.pvalue, *both])
    assert difference == pytest.approx(first.mean() - second.mean())
    assert statistics.welch(np.ones(3), np.zeros(3))[3] == 1 / 20  # no spread: one of 20 orders
    assert statistics.welch(np.ones(3), np.ones(3))[3] == 1

    p_values = random.random(20) ** 3
    np.testing.assert_allclose(
        statistics.benjamini_hochberg(p_values), multipletests(p_values, method="fdr_bh")[1], rtol=1e-12
    )
    assert np.isnan(statistics.benjamini_hochberg([0.1, np.nan])[1])

    # Three values of a paired change, as `change_interval` has them.
    lost, gained, n = 9, 4, 60
    values = np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained])
    estimate = statistics.bounded_mean(values)
    ends = (estimate.lower(0.025), estimate.upper(0.025))
    np.testing.assert_allclose(ends, statistics.change_interval(lost, gained, n))


def test_delong_gives_the_difference_of_areas_and_the_bootstraps_spread():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(1)
    positive = np.arange(400) < 150
    first = np.round(random.normal(size=400) + 1.2 * positive, 1)  # with ties
    second = 0.5 * first + random.normal(size=400) + 0.3 * positive
    estimate = statistics.delong(positive, first, second)
    assert estimate.effect == pytest.approx(roc_auc_score(positive, first) - roc_auc_score(positive, second))
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    drawn = []
    for _ in range(400):
        rows = np.concatenate([random.choice(inside, 150), random.choice(outside, 250)])
        drawn.append(roc_auc_score(positive[rows], first[rows]) - roc_auc_score(positive[rows], second[rows]))
    assert estimate.error == pytest.approx(np.std(drawn), rel=0.12) and estimate.degrees == 149
    assert estimate.p_above(0) < 0.01 and statistics.delong(positive, second, first).p_above(0) > 0.99
