"""What of the first paper holds in a table of runs: each claim, what was measured, and a verdict by the rules here.

A verdict says what was tested: *not told apart* is a difference that the test did not find, which is not *the same* and
does not speak against the paper; *not tested* is what these networks cannot show; *the opposite* was found. The
rules were
fixed before the runs, and corrected once for what their words said beyond the tests. A table has one row per network:
`alpha`, `test_accuracy` (share), `mean_si_live`, `null_mean`; see `selviz runs`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from reproduction.reported import interval, named, p_value, signed
from selviz.statistics import collapse, equivalence, equivalence_power, holm, over_seeds, rank_test

MARGIN = 0.01  # of accuracy: a smaller loss counts as none
LEVEL = 0.05
NEAR = 0.05  # of SI above its null: nearly zero
FOLD = 2.5
SMALL_LOSS = 4  # points: what still counts as about two
NO = "not testable here"
YET = "not tested yet"
FEW = "fewer than three seeds at each such alpha"
APART = "not told apart"
SAME, OTHER = "reproduced on this network", "the opposite on this network"
ELSEWHERE = [
    ["ResNet18 on Tiny ImageNet gains more than 2 points, ResNet50 more than 1, from less selectivity",
     "the data set is not at hand", NO],
]  # fmt: skip


class Measured(NamedTuple):
    """A table, its means by alpha, and each alpha against the baseline."""

    table: pd.DataFrame
    si: pd.Series  # mean SI of live units by alpha
    change: pd.Series  # of accuracy to the baseline by alpha, in points
    p: dict[float, float]  # of that change
    lower: list[float]  # alphas below 0 with enough seeds for a test
    upper: list[float]


def two_sided_p(one, other) -> float:
    """Two-sided p of Welch's t test; NaN below two values."""
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue) if min(len(one), len(other)) > 1 else np.nan


def differences(table: pd.DataFrame) -> dict[float, float]:
    """p of each alpha's accuracy against the baseline's, Holm-corrected over alphas; NaN below three seeds."""
    baseline = table[table["alpha"] == 0]["test_accuracy"]
    raw = {a: part["test_accuracy"] for a, part in table.groupby("alpha") if a != 0}
    found = {a: two_sided_p(values, baseline) if len(values) >= 3 else np.nan for a, values in raw.items()}
    tested = [a for a, p in found.items() if not np.isnan(p)]
    return {**found, **dict(zip(tested, holm([found[a] for a in tested]), strict=True))} if tested else found


def measure(table: pd.DataFrame) -> Measured:
    """What all claims are about."""
    p, mean = differences(table), table.groupby("alpha")[["test_accuracy", "mean_si_live"]].mean()
    change = 100 * (mean["test_accuracy"] - mean["test_accuracy"][0])
    enough = [alpha for alpha, value in p.items() if not np.isnan(value)]
    return Measured(table, mean["mean_si_live"], change, p, [a for a in enough if a < 0], [a for a in enough if a > 0])


def claims(table: pd.DataFrame, control: pd.DataFrame) -> list[list[str]]:
    """[claim, what was measured, verdict] of each claim about accuracy, and of the control with permuted labels."""
    found = measure(table)
    return [
        more_costs(found),
        cut_is_free(found),
        nearly_zero(found),
        less_gains(found),
        due_to_selectivity(found, control),
    ]


def _changes(found: Measured, alphas: list[float]) -> str:
    return "; ".join(f"{named(a)}: {signed(found.change[a], 2)} points, {p_value(found.p[a])}" for a in alphas) or FEW


def more_costs(found: Measured) -> list[str]:
    """Reproduced where accuracy is lower than the baseline's at every alpha above 0; collapsed networks are counted.

    Where networks collapsed, p is that of Mann and Whitney's rank test, which a few of them do not decide.
    """
    claim = "More selectivity costs accuracy, significantly (the paper: in every model and data set)"
    if not found.upper:
        return [claim, FEW, YET]
    lines, lower, higher = [], [], []
    base = found.table[found.table["alpha"] == 0]["test_accuracy"]
    for a in found.upper:
        values = found.table[found.table["alpha"] == a]["test_accuracy"]
        failed, p = collapse(values, 0.0), found.p[a]
        text = f"{named(a)}: {signed(found.change[a], 2)} points, {p_value(p)}"
        if failed.collapsed:
            p = rank_test(values, base)
            text += (
                f"; {failed.collapsed} of {failed.n} collapsed, median {100 * failed.median:.2f} %, "
                f"rank test {p_value(p)}"
            )
        lines.append(text)
        below = float(values.median()) < float(base.median())
        if p < LEVEL:
            (lower if below else higher).append(a)
    if higher:
        verdict = f"{OTHER} at {len(higher)} of {len(found.upper)} alphas"
    elif len(lower) == len(found.upper):
        verdict = SAME
    else:
        verdict = f"{SAME} at {len(lower)} of {len(found.upper)} alphas, {APART} at the others" if lower else APART
    return [claim, "; ".join(lines), verdict]


def cut_is_free(found: Measured) -> list[str]:
    """Reproduced where, at one alpha, SI is cut FOLD times and the loss is below MARGIN by a one-sided test.

    Not tested where no alpha with enough seeds cuts it so far; the opposite where each that does loses more than
    MARGIN.
    """
    claim = f"Mean SI can be cut {FOLD:g}-fold without a loss of accuracy (rule here: below {100 * MARGIN:g} point)"
    if not found.lower:
        return [claim, FEW, YET]
    lines, kept, worse, tested = [], False, [], []
    base = found.table[found.table["alpha"] == 0]["test_accuracy"]
    for a in found.lower:
        fold = found.si[0] / found.si[a]
        tost = equivalence(found.table[found.table["alpha"] == a]["test_accuracy"], base, MARGIN)
        if fold >= FOLD:
            tested.append(a)
            kept |= tost.p_not_lower < LEVEL
            worse.append(tost.high < -MARGIN)
        lines.append(
            f"{named(a)}: SI cut {fold:.1f}-fold, {signed(found.change[a], 2)} points "
            f"(loss below {100 * MARGIN:g} point: {p_value(tost.p_not_lower)})"
        )
    if not tested:
        verdict = f"not tested: no alpha with three seeds cuts SI {FOLD:g}-fold"
    else:
        verdict = SAME if kept else OTHER if all(worse) else "a loss of a point or more not excluded"
    return [claim, "; ".join(lines), verdict]


def nearly_zero(found: Measured) -> list[str]:
    """Reproduced where SI within NEAR of its null costs less than SMALL_LOSS points, by at least three seeds."""
    claim = f"Mean SI can be cut nearly to zero at a loss of about 2 points (rule here: below {SMALL_LOSS})"
    if not found.lower:
        return [claim, FEW, YET]
    null = found.table.groupby("alpha")["null_mean"].mean()
    near = [a for a in found.si.index if a < 0 and found.si[a] - null[a] < NEAR]
    lines = "; ".join(f"{named(a)}: SI {found.si[a]:.3f}, {signed(found.change[a], 2)} points" for a in near)
    tested = [a for a in near if a in found.lower]
    if not near:
        lowest = found.si[found.si.index < 0].min()
        return [claim, f"no alpha here brings mean SI within {NEAR:g} of its null (the lowest is {lowest:.3f})", NO]
    if not tested:
        return [claim, lines, "not tested: fewer than three seeds there"]
    kept = any(found.change[a] > -SMALL_LOSS for a in tested)
    return [claim, lines, SAME if kept else OTHER]


def less_gains(found: Measured) -> list[str]:
    """Found where accuracy is higher than the baseline's at one alpha below 0; a gain not found is no loss shown."""
    claim = (
        "Less selectivity raises accuracy (the paper: ResNet18 and ResNet50 on Tiny ImageNet, which is not tested here)"
    )
    if not found.lower:
        return [claim, FEW, YET]
    better = [a for a in found.lower if found.change[a] > 0 and found.p[a] < LEVEL]
    worse = [a for a in found.lower if found.change[a] < 0 and found.p[a] < LEVEL]
    verdict = f"higher here at {len(better)} of {len(found.lower)} alphas" if better else APART
    if worse:
        verdict += f", lower at {len(worse)} of {len(found.lower)}"
    return [claim, _changes(found, found.lower), verdict]


def due_to_selectivity(found: Measured, control: pd.DataFrame) -> list[str]:
    """Say at how many alphas of the control true labels change SI, and accuracy, otherwise than permuted ones do."""
    claim = (
        "(Control, ours) What the penalty does to SI and to accuracy is due to classes, not to any penalty of its kind"
    )
    both = [a for a in sorted(set(control["alpha"])) if a in (*found.lower, *found.upper)]
    if not both:
        return [claim, "the control was not run", YET]
    lines, apart = [], {"mean_si_live": 0, "test_accuracy": 0}
    for a in both:
        real, permuted = found.table[found.table["alpha"] == a], control[control["alpha"] == a]
        p = {name: two_sided_p(real[name], permuted[name]) for name in apart}
        for name in apart:
            apart[name] += p[name] < LEVEL
        lines.append(
            f"{named(a)}: SI {real['mean_si_live'].mean():.3f} against {permuted['mean_si_live'].mean():.3f} with "
            f"permuted labels ({p_value(p['mean_si_live'])}), accuracy {100 * real['test_accuracy'].mean():.2f} "
            "against "
            f"{100 * permuted['test_accuracy'].mean():.2f} % ({p_value(p['test_accuracy'])})"
        )
    counts = (f"{what} {APART if not apart[name] else f'told apart at {apart[name]} of {len(both)} alphas'}"
              for name, what in (("mean_si_live", "SI"), ("test_accuracy", "accuracy")))  # fmt: skip
    return [claim, "; ".join(lines), ", ".join(counts)]


def not_hidden(found: pd.DataFrame) -> list[str]:
    """Reproduced where, at each alpha below 0, PWCCA distances to baselines exceed those between baseline seeds.

    `found`: what `reproduction.basis` gives.
    """
    claim = "What is suppressed is not just hidden in another basis"
    if found.empty:
        return [claim, "`selviz basis` was not run on these networks", YET]
    lines, verdicts = [], []
    for alpha, part in found[found["alpha"] < 0].groupby("alpha"):
        ratio = over_seeds(part["ratio"])
        if np.isnan(ratio.low):
            continue
        lines.append(
            f"{named(alpha)}: PWCCA distance {interval(part['ratio'], 1, 2)} times that between baseline seeds"
        )
        verdicts.append(ratio.low > 1)
    if "found_si" in found and lines:
        at = found.groupby("alpha")["found_si"].mean().dropna()
        best = ", ".join(f"{named(a)}: {v:.2f}" for a, v in at.items())
        lines.append(f"best mean SI found over linear maps: {best}")
        lines.append("a linear map finds what can be decoded, at any alpha, so it does not decide this")
    verdict = NO if not verdicts else f"{SAME}, by PWCCA" if all(verdicts) else "not told from a rotated baseline"
    return [claim, "; ".join(lines) or "too few seeds", verdict]


def loss_sentence(table: pd.DataFrame) -> str:
    """Whether the loss at alpha -1 is smaller than the margin, and the power of this test."""
    one, base = (table[table["alpha"] == a]["test_accuracy"] for a in (-1, 0))
    if min(len(one), len(base)) < 3:
        return f"Too few seeds at alpha −1 and 0 ({len(one)} and {len(base)}) for an equivalence test."
    found = equivalence(one, base, MARGIN)
    power = equivalence_power(MARGIN, (one.std(ddof=1), base.std(ddof=1)), len(one), len(base))
    return (
        f"Is the loss at alpha −1 smaller than {100 * MARGIN:g} point? The difference is "
        f"{signed(100 * found.difference, 2)} points (90 % interval {signed(100 * found.low, 2)} to "
        f"{signed(100 * found.high, 2)}; n = {found.n[0]} and {found.n[1]}). Not lower by a point: "
        f"{p_value(found.p_not_lower)}; equivalent within ±1 point (TOST): {p_value(found.p)}. With this spread and "
        f"these seeds, two networks that are really equal would pass that test {100 * power:.0f} % of the time."
    )
