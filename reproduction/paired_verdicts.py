"""Verdicts on networks that are paired by seed, by the rules of rules.md: `costs(rows, planned)`.

`rows` has one row per network (`rows.read_rows`): alpha, seed, test_accuracy (a share), mean_si_live, null_mean,
diverged. A verdict is given once every planned network of its alphas has a row, and not before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from reproduction.experiments import Experiment
from reproduction.reported import named, p_value, signed
from selviz.statistics import holm

LEVEL, MARGIN, LARGE_MARGIN, FOLD, NEAR, SI_MARGIN, MAX_COLLAPSED = 0.05, 0.01, 0.04, 2.5, 0.05, 0.01, 0.1
# What question 6 compares: its scale, digits and words.
COMPARED = {"test_accuracy": (100, 2, "{} points"), "mean_si_live": (1, 3, "SI {}")}
SUPPORTED, REFUTED, OPEN, UNTESTABLE = "supported", "refuted", "open", "not testable here"


class Verdict(NamedTuple):
    """A claim, what was measured, and what follows by the rules."""

    claim: str
    measured: str
    verdict: str


class Difference(NamedTuple):
    """One alpha against alpha 0 of the same seeds: mean difference (a share), p values of paired tests, n."""

    alpha: float
    mean: float
    median: float
    p: float  # two-sided t test
    p_rank: float  # exact signed ranks
    p_not_lower: float  # one-sided: not lower by the margin
    p_not_higher: float
    n: int


def differences(rows: pd.DataFrame, alphas: Sequence[float], margin: float = MARGIN) -> dict[float, Difference]:
    """Return each alpha's accuracy minus alpha 0's of the same seed; alphas with fewer than 3 pairs are left out."""
    table = rows.pivot(index="seed", columns="alpha", values="test_accuracy")
    found = {}
    for alpha in sorted(alphas):
        if alpha not in table or 0 not in table:
            continue
        values = (table[alpha] - table[0]).dropna().to_numpy(float)
        if len(values) >= 3:
            found[alpha] = _difference(alpha, values, margin)
    return found


def _difference(alpha: float, values: np.ndarray, margin: float) -> Difference:
    if np.ptp(values) == 0:  # a t test has no spread to go by
        sign = values[0]
        p = [1.0 if sign == 0 else 0.0, 0.0 if sign > -margin else 1.0, 0.0 if sign < margin else 1.0]
    else:
        p = [
            float(stats.ttest_1samp(values, 0).pvalue),
            float(stats.ttest_1samp(values, -margin, alternative="greater").pvalue),
            float(stats.ttest_1samp(values, margin, alternative="less").pvalue),
        ]
    rank = float(stats.wilcoxon(values).pvalue) if np.any(values) else 1.0
    mean, median = float(values.mean()), float(np.median(values))
    return Difference(alpha, mean, median, p[0], rank, p[1], p[2], len(values))


def collapsed(rows: pd.DataFrame, baseline: pd.DataFrame | None = None) -> pd.Series:
    """Return for each network whether it diverged or has less than half the mean accuracy of alpha 0.

    `baseline` has the rows at alpha 0 where an experiment trains none of its own: those of the one it is a control of.
    Without any, only what diverged is known to have collapsed.
    """
    table = rows if baseline is None else baseline
    mean = table[(table["alpha"] == 0) & ~table["diverged"].astype(bool)]["test_accuracy"].mean()
    diverged = rows["diverged"].astype(bool)
    return diverged if np.isnan(mean) else diverged | ~(rows["test_accuracy"] >= mean / 2)


def missing(rows: pd.DataFrame, planned: Experiment, alphas: Sequence[float], told: str = "") -> str | None:
    """Return `not tested yet` and the number of networks where not all planned ones have a row; None where they do."""
    wanted = {(alpha, seed) for alpha in planned.alphas if alpha in (0, *alphas) for seed in planned.seeds}
    done = len(wanted & set(zip(rows["alpha"], rows["seed"])))
    return None if done == len(wanted) else f"not tested yet ({done} of {len(wanted)} networks{told})"


def failed_training(
    rows: pd.DataFrame, alphas: Sequence[float], baseline: pd.DataFrame | None = None, told: str = ""
) -> str | None:
    """Return why the means at these alphas say nothing of selectivity: too many networks collapsed; None if few."""
    share = collapsed(rows, baseline).groupby(rows["alpha"]).mean()
    bad = [alpha for alpha in (0, *alphas) if share.get(alpha, 0) > MAX_COLLAPSED]
    if not bad:
        return None
    shares = ", ".join(f"{100 * share[alpha]:.0f} % at {named(alpha)}" for alpha in bad)
    return f"{UNTESTABLE} (collapsed{told}: {shares})"


def _judged(rows: pd.DataFrame, planned: Experiment, alphas: Sequence[float]) -> str | None:
    return missing(rows, planned, alphas) or failed_training(rows, alphas)


def _changes(found: dict[float, Difference], p: dict[float, float]) -> str:
    return "; ".join(
        f"{named(a)}: {signed(100 * d.mean, 2)} points (median {signed(100 * d.median, 2)}; {p_value(p[a])}, signed "
        f"ranks {p_value(d.p_rank)}; n = {d.n})"
        for a, d in found.items()
    ) or "no pairs yet"  # fmt: skip


def _holm(found: dict[float, Difference], values: Sequence[float]) -> dict[float, float]:
    return dict(zip(found, holm(list(values)), strict=True)) if found else {}


def _same(difference: Difference) -> bool:
    """Whether two one-sided tests find it within the margin."""
    return max(difference.p_not_lower, difference.p_not_higher) < LEVEL


def costs(rows: pd.DataFrame, planned: Experiment) -> Verdict:
    """Question 1: supported where accuracy is lower at every alpha above 0."""
    alphas = [alpha for alpha in planned.alphas if alpha > 0]
    found = differences(rows, alphas)
    p = _holm(found, [d.p for d in found.values()])
    lower = [a for a, d in found.items() if d.mean < 0 and p[a] < LEVEL]
    verdict = _judged(rows, planned, alphas)
    if verdict is None:
        if len(lower) == len(alphas):
            verdict = SUPPORTED
        elif lower:
            verdict = f"{OPEN}; lower at {len(lower)} of {len(alphas)} alphas"
        else:
            verdict = REFUTED if all(_same(d) for d in found.values()) else OPEN
    return Verdict("More selectivity costs accuracy", _changes(found, p), verdict)


def _loss_within(
    rows: pd.DataFrame, planned: Experiment, claim: str, reached: Sequence[float], margin: float, text: str, none: str
) -> Verdict:
    """Supported where the loss at one of the alphas that reach an SI is smaller than the margin."""
    alphas = [alpha for alpha in planned.alphas if alpha < 0]
    found = differences(rows, reached, margin)
    smaller = _holm(found, [d.p_not_lower for d in found.values()])
    verdict = _judged(rows, planned, alphas)
    if verdict is None:
        if not reached:
            verdict = f"{UNTESTABLE}: {none}"
        elif any(p < LEVEL for p in smaller.values()):
            verdict = SUPPORTED
        else:
            verdict = REFUTED if all(1 - d.p_not_lower < LEVEL for d in found.values()) else OPEN
    parts = [
        f"{named(a)}: {signed(100 * d.mean, 2)} points (loss below {100 * margin:g}: {p_value(smaller[a])})"
        for a, d in found.items()
    ]
    return Verdict(claim, "; ".join([text, *parts]), verdict)


def cut_is_free(rows: pd.DataFrame, planned: Experiment) -> Verdict:
    """Question 2: mean SI 2.5 times smaller at a loss of less than 1 point."""
    table = rows.pivot(index="seed", columns="alpha", values="mean_si_live")
    folds = {
        alpha: float((table[0] / table[alpha]).mean())
        for alpha in sorted(planned.alphas)
        if alpha < 0 and alpha in table and 0 in table
    }
    text = "SI cut " + (", ".join(f"{fold:.1f}-fold at {named(a)}" for a, fold in folds.items()) or "nowhere yet")
    reached = [alpha for alpha, fold in folds.items() if fold >= FOLD]
    claim = f"Mean SI can be cut {FOLD:g}-fold at a loss of less than 1 point"
    return _loss_within(rows, planned, claim, reached, MARGIN, text, f"no alpha cuts SI {FOLD:g}-fold")


def nearly_zero(rows: pd.DataFrame, planned: Experiment) -> Verdict:
    """Question 3: mean SI within 0.05 of its null at a loss of less than 4 points."""
    below = rows[rows["alpha"] < 0]
    above = (below["mean_si_live"] - below["null_mean"]).groupby(below["alpha"]).mean()
    text = "SI above its null: " + (", ".join(f"{v:.3f} at {named(a)}" for a, v in above.items()) or "nowhere yet")
    reached = [alpha for alpha in planned.alphas if alpha < 0 and above.get(alpha, np.inf) < NEAR]
    claim = f"Mean SI can be brought within {NEAR:g} of its null at a loss of less than 4 points"
    return _loss_within(rows, planned, claim, reached, LARGE_MARGIN, text, "no alpha comes so near")


def gains(rows: pd.DataFrame, planned: Experiment) -> Verdict:
    """Question 4: accuracy higher at one alpha below 0."""
    alphas = [alpha for alpha in planned.alphas if alpha < 0]
    found = differences(rows, alphas)
    p = _holm(found, [d.p for d in found.values()])
    verdict = _judged(rows, planned, alphas)
    if verdict is None:
        if any(d.mean > 0 and p[a] < LEVEL for a, d in found.items()):
            verdict = SUPPORTED
        else:
            below = [(d.mean < 0 and p[a] < LEVEL) or _same(d) for a, d in found.items()]
            verdict = REFUTED if all(below) else OPEN
    return Verdict("Less selectivity raises accuracy", _changes(found, p), verdict)


def due_to_selectivity(
    rows: pd.DataFrame, control: pd.DataFrame, planned: Experiment, planned_control: Experiment
) -> Verdict:
    """Question 5: SI moves farther from the baseline with true labels than with permuted ones, at each alpha."""
    claim = "What the penalty does is due to selectivity, not to any penalty of its kind"
    alphas = [alpha for alpha in planned_control.alphas if alpha in planned.alphas]
    tables = [part.pivot(index="seed", columns="alpha", values="mean_si_live") for part in (rows, control)]
    gaps: dict[float, np.ndarray] = {}
    for alpha in alphas:
        if 0 not in tables[0] or any(alpha not in table for table in tables):
            continue
        moved = [(table[alpha] - tables[0][0]).dropna() * np.sign(alpha) for table in tables]
        gap = (moved[0] - moved[1]).dropna().to_numpy(float)
        if len(gap) >= 3:
            gaps[alpha] = gap
    p = dict(zip(gaps, holm([_paired_p(gap) for gap in gaps.values()]), strict=True)) if gaps else {}
    measured = "; ".join(
        f"{named(a)}: SI moves {signed(gap.mean(), 3)} farther with true labels ({p_value(p[a])}; n = {len(gap)})"
        for a, gap in gaps.items()
    ) or "no pairs yet"  # fmt: skip
    verdict = missing(control, planned_control, alphas)
    seeds = [seed for seed in planned_control.seeds if not {0, *alphas} <= set(rows[rows["seed"] == seed]["alpha"])]
    verdict = verdict or (f"not tested yet ({len(seeds)} seeds lack their pair)" if seeds else None)
    verdict = verdict or failed_training(rows, alphas)
    verdict = verdict or failed_training(control, alphas, baseline=rows, told=" with permuted labels")
    if verdict is None:
        if all(gap.mean() > 0 and p[a] < LEVEL for a, gap in gaps.items()):
            verdict = SUPPORTED
        else:
            verdict = REFUTED if all(_not_farther(gap, p[a]) for a, gap in gaps.items()) else OPEN
    return Verdict(claim, measured, verdict)


def _paired_p(values: np.ndarray) -> float:
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 0.0
    return float(stats.ttest_1samp(values, 0).pvalue)


def _not_farther(gap: np.ndarray, p: float) -> bool:
    return bool((gap.mean() < 0 and p < LEVEL) or _same(_difference(0, gap, SI_MARGIN)))


def carries_over(
    rows: pd.DataFrame, planned: Experiment, sources: Sequence[tuple[pd.DataFrame, Experiment]]
) -> Verdict:
    """Question 6: every difference that is significant in `sources` at an alpha of `planned` has its sign here too.

    `sources` are experiments with their rows; what is significant there is known once all of their networks are.
    """
    claim = f"The picture carries over: {planned.title}"
    known = {
        pair: sign
        for table, source in sources
        for pair, sign in significant_signs(table, source).items()
        if pair[0] in planned.alphas
    }
    signs: dict[tuple[float, str], int] = {}
    parts = []
    for alpha, column in ((a, column) for a in planned.alphas if a for column in COMPARED):
        table = rows.pivot(index="seed", columns="alpha", values=column)
        if alpha not in table or 0 not in table:
            continue
        values = (table[alpha] - table[0]).dropna().to_numpy(float)
        if len(values) < 3:
            continue
        half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        low, high = values.mean() - half, values.mean() + half
        signs[alpha, column] = int(low > 0) - int(high < 0)
        scale, digits, unit = COMPARED[column]
        ends = f"[{signed(scale * low, digits)}, {signed(scale * high, digits)}]"
        parts.append(f"{named(alpha)}: {unit.format(signed(scale * values.mean(), digits))} {ends}")
    alphas = [alpha for alpha in planned.alphas if alpha]
    verdict = _judged(rows, planned, alphas)
    for table, source in sources:
        told = f" of `{source.key}`"
        verdict = verdict or missing(table, source, source.alphas, told)
        verdict = verdict or failed_training(table, [a for a in alphas if a in source.alphas], told=told)
    if verdict is None:
        if not known:
            verdict = f"{UNTESTABLE}: nothing was significant to carry over"
        elif all(signs.get(key) == sign for key, sign in known.items()):
            verdict = SUPPORTED
        else:
            verdict = REFUTED if any(signs.get(key) == -sign for key, sign in known.items()) else OPEN
    return Verdict(claim, "; ".join(parts) or "no pairs yet", verdict)


def significant_signs(rows: pd.DataFrame, planned: Experiment) -> dict[tuple[float, str], int]:
    """Return the sign of each difference of accuracy and SI to alpha 0 that is significant, by alpha and column."""
    signs: dict[tuple[float, str], int] = {}
    for column in COMPARED:
        found = differences(rows.assign(test_accuracy=rows[column]), [a for a in planned.alphas if a])
        p = _holm(found, [d.p for d in found.values()])
        signs |= {(a, column): int(np.sign(d.mean)) for a, d in found.items() if p[a] < LEVEL}
    return signs
