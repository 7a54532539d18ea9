"""The document of the reproduction: its verdicts follow its rules, and what was not run is said to be missing."""

import numpy as np
import pandas as pd
import pytest

from reproduction import first_paper, verdicts
from selviz.config import RunConfig
from selviz.runs.train import train_run
from selviz.store import Store


def table(**accuracies):
    """Ten networks for each alpha (`m1` is -1) with this mean accuracy; SI rises with alpha, 0.02 at the lowest."""
    rows = []
    for name, accuracy in accuracies.items():
        alpha = float(name.replace("m", "-").replace("p", ""))
        si = {-5.0: 0.02, -1.0: 0.07, 0.0: 0.2, 1.0: 0.4, 5.0: 0.6}[alpha]
        for seed in range(10):
            noise = 0.002 * np.sin(seed + 1)
            rows.append((alpha, seed, accuracy + noise, si + noise, si + noise, 0.01, 0.02, 0, 100))
    columns = "alpha seed test_accuracy mean_si mean_si_live null_mean null_p95 dead units".split()
    return pd.DataFrame(rows, columns=columns)


NONE = pd.DataFrame({"alpha": []})


SAME, OTHER, APART = "reproduced on this network", "the opposite on this network", "not told apart"


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        (
            {"m5": 0.94, "m1": 0.965, "0": 0.96, "p1": 0.95, "p5": 0.9},
            [SAME, SAME, SAME, "higher here at 1 of 2 alphas, lower at 1 of 2", "not tested yet"],
        ),
        (
            {"m5": 0.7, "m1": 0.94, "0": 0.96, "p1": 0.96, "p5": 0.9},
            [f"{SAME} at 1 of 2 alphas, {APART} at the others", OTHER, OTHER, f"{APART}, lower at 2 of 2",
             "not tested yet"],
        ),
        ({"m1": 0.96, "0": 0.96}, ["not tested yet", SAME, "not testable here", APART, "not tested yet"]),
    ],
)  # fmt: skip
def test_the_verdicts_follow_the_rules(accuracies, expected):
    assert [row[2] for row in verdicts.claims(table(**accuracies), NONE)] == expected


def test_a_cut_that_no_network_made_was_not_tested_and_a_single_network_is_named():
    data = table(m1=0.96, m5=0.93, **{"0": 0.96})
    data.loc[data["alpha"] == -1, "mean_si_live"] = 0.1  # 2-fold only
    few = data[(data["alpha"] != -5) | (data["seed"] == 0)]
    _, cut, zero, _, _ = verdicts.claims(few, NONE)
    assert cut[2] == "not tested: no alpha with three seeds cuts SI 2.5-fold"
    assert zero[1].startswith("α −5: SI 0.02") and zero[2] == "not tested: fewer than three seeds there"


def test_collapsed_networks_are_counted_and_a_rank_test_stands_beside_the_mean():
    from scipy import stats

    data = table(p1=0.90, **{"0": 0.96})
    data.loc[(data["alpha"] == 1) & (data["seed"] < 2), "test_accuracy"] = 0.1
    row = verdicts.claims(data, NONE)[0]
    p = stats.mannwhitneyu(*(data[data["alpha"] == a]["test_accuracy"] for a in (1, 0))).pvalue
    assert p < 0.001 and "2 of 10 collapsed, median 89.92 %" in row[1] and "rank test p < 0.001" in row[1]
    assert row[2] == SAME


def test_nothing_is_decided_from_two_seeds():
    few = table(m1=0.96, p1=0.6, **{"0": 0.96}).query("seed < 2")
    assert {row[2] for row in verdicts.claims(few, NONE)} == {"not tested yet"}


def test_the_control_says_of_si_and_of_accuracy_whether_they_were_told_apart():
    real, control = table(m1=0.96, **{"0": 0.96}), table(m1=0.96)
    assert verdicts.claims(real, control)[4][2] == "SI not told apart, accuracy not told apart"
    moved = control.assign(mean_si_live=control["mean_si_live"] + 0.1)
    assert verdicts.claims(real, moved)[4][2] == "SI told apart at 1 of 1 alphas, accuracy not told apart"


def test_the_document_is_written_from_a_store_and_says_what_is_missing(tmp_path):
    store = Store(tmp_path / "store")
    for alpha in (0, -1):
        train_run(store, RunConfig("digits", "cnn", alpha=alpha, epochs=1))
    text = first_paper.document(str(store.path), None, tmp_path)
    assert "68 of 70 networks are not trained yet" in text and "Too few seeds at alpha −1 and 0 (1 and 1)" in text
    assert text.count("**Not yet run.**") == 1 and (tmp_path / "reproduction-mnist.svg").stat().st_size > 1000
    accuracy = store.runs().set_index("alpha")["test_accuracy"][0]
    assert f"| 0 | 1 | {100 * accuracy:.2f} | baseline |" in text
