"""The document of the reproduction: its verdicts follow its rules, and what was not run is said to be missing."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from reproduction import early_training, first_paper, natural_images, pages, robustness, verdicts
from reproduction.experiments import configs, experiment
from reproduction.rows import add_row, read_rows, row_of
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


def test_the_document_is_written_from_rows_and_says_what_is_missing(tmp_path):
    store, planned = Store(tmp_path / "store"), experiment("mnist-5k")
    for alpha in (0, -1):
        config = next(c for c in configs(planned, "digits") if (c.alpha, c.seed) == (alpha, 0))
        train_run(store, dataclasses.replace(config, epochs=1))
        row = row_of(store, planned, dataclasses.replace(config, epochs=1))
        add_row(planned, row, tmp_path)
    text = first_paper.document(tmp_path, tmp_path)
    assert "68 of 70 networks are not trained yet" in text and "Too few seeds at alpha −1 and 0 (1 and 1)" in text
    assert (tmp_path / "reproduction-mnist.svg").stat().st_size > 1000
    accuracy = read_rows(planned, tmp_path).set_index("alpha")["test_accuracy"][0]
    assert f"| 0 | 1 | {100 * accuracy:.2f} | baseline |" in text
    (tmp_path / "none").mkdir()
    assert first_paper.document(tmp_path, tmp_path / "none").count("**Not yet run.**") == 1


def test_every_page_is_that_of_the_rows(tmp_path):
    """Regenerated from reproduction/data/ by one command; figures too."""
    for name, text in pages.documents(tmp_path).items():
        assert text == (pages.DOCS / name).read_text(), f"{name}: write it again, python reproduction/pages.py"
    for figure in tmp_path.glob("*.svg"):
        assert f"({figure.name})" in "".join((pages.DOCS / name).read_text() for name in pages.documents(tmp_path))
    assert natural_images.rules_hash() in (pages.DOCS / "reproduction-natural.md").read_text()


def early_rows(at_the_end):
    """Ten networks of each group, two snapshots each: SI rises from 0.1 to 0.2; accuracy at the end by group."""
    rows = []
    for (alpha, start), end in zip(early_training.GROUPS, at_the_end, strict=True):
        for seed in range(10):
            noise = 0.002 * np.sin(seed)
            rows += [(alpha, start, seed, done, 0.1 + done / 50 + noise, 0.05, 0.5, end + noise)
                     for done in (0, 2, 10)]  # fmt: skip
    return pd.DataFrame(rows, columns=list(early_training.NOTHING))


@pytest.mark.parametrize(
    ("ends", "verdicts_of_costs"),
    [
        ((0.96, 0.90, 0.958), ["reproduced", "reproduced", "reproduced"]),
        ((0.96, 0.96, 0.90), ["not shown here", "not shown here", "not shown here"]),
        ((0.96, 0.10, 0.95), ["not tested: these networks learned nothing"] * 2 + ["not shown here"]),
    ],
)
def test_early_training_is_judged_by_its_rules(ends, verdicts_of_costs):
    text = early_training.page(early_rows(ends))
    lines = [line.split(" | ")[-1].rstrip(" |") for line in text.split("## Claims")[1].splitlines() if "|" in line][2:]
    assert lines[:3] == ["reproduced", "not shown here", "reproduced"]
    assert lines[3:] == verdicts_of_costs


def test_early_training_without_networks_says_so():
    assert "**Not yet run**" in early_training.page(early_training.NOTHING)


def robust_rows(slope):
    """Three seeds at four alphas: robustness to corruptions falls by `slope` times SI."""
    rows = []
    for alpha, si in ((-2, 0.05), (-1, 0.1), (0, 0.2), (1, 0.4)):
        for seed in range(3):
            row = {"family": "cnn on digits", "images": 100, "images_dimensionality": 50, "alpha": alpha, "seed": seed}
            row |= {"mean_si": si, "mean_si_live": si + seed / 1000, "corruptions": 0.8 - slope * si - seed / 1000}
            row |= {"pgd 8": 0.2 + si, "early units": 5.0, "early units attack - corruption": 1.0 + seed}
            rows.append(row | {"gradient over images": si, "gradient over units": si, "mce": 1 + slope * si})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("slope", "verdict"), [(1, "reproduced"), (-1, "the opposite"), (0, "not told apart")])
def test_robustness_is_judged_from_its_rows(slope, verdict):
    rows = robust_rows(slope)
    if slope == 0:
        rows["corruptions"] = [0.5, 0.6, 0.7] * 4
    text = robustness.page(rows)
    line = next(line for line in text.splitlines() if line.startswith("| lower SI, more robust to corruptions"))
    assert line.rstrip(" |").endswith(verdict)
    assert "| 0 | 3 | 0.201 |" in text and "| baseline |" in text


def test_too_few_networks_test_nothing():
    assert "not testable" in robustness.page(robust_rows(1).iloc[:6]) and "**Not yet run.**" in robustness.page(NONE)
