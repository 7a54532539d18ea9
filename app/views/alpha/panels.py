"""A family of runs with several seeds: `accuracy(...)`, `against_si(...)`, `layers(...)`, `dead(...)`, `loss(...)`."""

import contextlib
import math
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.statistics import FEWEST_SEEDS, LEVEL, collapse, equivalence, equivalence_power, rank_test
from selviz.store import Store
from selviz.studies import published_values
from selviz.text import numbers

from ...look import theme
from ...page import run_families, tables
from ...state import address, reads

MARGINS = {"0.5": "0.5 points", "1": "1 point", "2": "2 points"}
ENOUGH, MOST_SEEDS = 0.8, 200
SHOWN = ["run", "alpha", "seed", "test_accuracy", "mean_si", "mean_si_live", "null_mean", "null_p95", "dead", "units"]


def with_own_null(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the table with the null of the live units in place of that of all, where `column` is of live units.

    Older runs hold only the null of all units; theirs stays.
    """
    if column != "mean_si_live" or "null_live_mean" not in table:
        return table
    own = {name: table[f"null_live_{name[5:]}"].fillna(table[name]) for name in ("null_mean", "null_p95")}
    return table.assign(**own)


def accuracy(runs: pd.DataFrame) -> None:
    """Show accuracy by alpha, every seed a point."""
    means = run_families.means(runs[["alpha", "test_accuracy"]], "test_accuracy")
    figure = partial(figures.sweep.by_alpha, runs, means, "test_accuracy", "test accuracy, %", 100, 2, theme.dark())
    how = (
        f"A point is one network, a dash the mean of its alpha, the whiskers its {run_families.intervals(means)}: for "
    )
    how += f"other seeds on these {numbers.whole(runs['images'].max())} images."
    tables.chart("Accuracy against alpha", figure, how, runs[SHOWN], "accuracy-alpha")


def collapsed(runs: pd.DataFrame) -> None:
    """Show median, collapse rate and a rank test, which a few collapsed networks do not move, beside the means."""
    if notice := run_families.collapse_notice(runs):
        st.markdown(notice)
    table = run_families.collapses(runs[["alpha", "test_accuracy"]], 1 / len(reads.class_names(runs["run"].iloc[0])))
    shown = table.assign(**{name: 100 * table[name] for name in ("mean", "median", "median_low", "median_high")})
    with st.expander("Medians, collapsed networks, rank test"):
        tables.table(
            shown,
            column_config={
                "n": st.column_config.NumberColumn("networks"),
                **{
                    name: st.column_config.NumberColumn(label, format="%.2f")
                    for name, label in (
                        ("mean", "mean, %"), ("median", "median, %"), ("median_low", "median: from"),
                        ("median_high", "to"),
                    )
                },
                "collapsed": st.column_config.NumberColumn("collapsed"),
                "p_rank": st.column_config.NumberColumn("rank test against α 0, p", format="%.3g"),
            },
        )  # fmt: skip
        st.caption(
            "The median's 95 % interval is that of its order statistics, which needs 6 networks; the test is Mann and "
            "Whitney's, two-sided, not corrected for the number of alphas."
        )


def against_si(runs: pd.DataFrame, column: str) -> None:
    """Show accuracy against mean SI, every seed a point; on request beside the authors' curve."""
    ghost = address.get("theirs") == "1"
    found, right = (
        run_families.means(runs[["alpha", column]], column),
        run_families.means(runs[["alpha", "test_accuracy"]], "test_accuracy"),
    )
    curve = published_values.SI_CURVE if ghost else None
    null = f"{with_own_null(runs, column)['null_mean'].mean():.3f}"
    how = "A point is one network, a circle the mean of its alpha with both intervals over seeds, joined in order of "
    how += f"alpha. Shuffled labels give a mean SI of {null}. Click a point to choose the network."
    if ghost:
        how += (
            " Dotted, with an axis of its own: the authors' curve (Leavitt & Morcos 2020, arXiv 2003.01262), "
            "digitized from their figure; another data set and network (by its accuracy ResNet18 on Tiny ImageNet), "
            "about 20 seeds. Compare shapes, not heights."
        )

    def pick() -> None:
        points = st.session_state["accuracy"]["selection"]["points"]
        if points and points[0].get("curve_number") == 0:
            address.update(run=runs["run"].iloc[points[0]["point_index"]])

    figure = partial(figures.sweep.accuracy_against_si, runs, found, right, column, curve, theme.dark())
    tables.chart("Accuracy against selectivity", figure, how, runs[SHOWN], "accuracy", on_select=pick)
    address.widget(
        st.toggle,
        "Beside it the authors' curve (another data set)",
        name="theirs",
        value=ghost,
        default=False,
        text=lambda on: "1" if on else "0",
    )


@st.cache_data(max_entries=16, show_spinner="Reading the layers ...")
def _layers(folder: str, versions: tuple, names: str) -> tuple[pd.DataFrame, list[str]]:
    """The layers of all runs, named a line each, as one table with a column `run`, and what could not be read."""
    runs = names.split("\n")
    with contextlib.suppress(SelvizError):  # all at once, unless one of them is damaged
        return Store(folder).layers_of(runs), []
    parts, troubles = [], []
    for run in runs:
        try:
            parts.append(Store(folder).layers(run).assign(run=run))
        except SelvizError as error:
            troubles.append(str(error))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(), troubles


def layers(runs: pd.DataFrame, column: str) -> None:
    """Show mean SI of each layer, a line an alpha."""
    names = runs["run"].tolist()
    table, troubles = _layers(reads.data(), reads.stage_versions(names, "metrics"), "\n".join(names))
    for trouble in troubles[:3]:
        st.error("A run could not be read and is left out here; nothing was lost.", icon=":material/error:")
        st.code(trouble, language=None, wrap_lines=True)
    if table.empty:
        return
    table = with_own_null(table.merge(runs[["run", "alpha", "seed"]], on="run"), column)
    by_layer = run_families.by_layer(table[["alpha", "layer", column]], column)
    null = table.groupby("layer", sort=False).agg(low=("null_mean", "min"), high=("null_p95", "max")).reset_index()
    order = list(dict.fromkeys(table["layer"]))
    tables.chart(
        "Selectivity by layer",
        partial(figures.sweep.layers, by_layer, order, "mean SI", theme.dark(), null),
        f"A line is an alpha, each point the mean over its networks with its {run_families.intervals(by_layer)}. Gray: "
        "what shuffled labels give, up to the largest 95th percentile.",
        table[["run", "alpha", "seed", "layer", "units", "mean_si", "mean_si_live", "null_mean", "null_p95", "dead"]],
        "depth",
    )


def dead(runs: pd.DataFrame) -> None:
    """Show the share of dead units by alpha."""
    runs = runs.assign(dead_share=runs["dead"].astype(float) / runs["units"].astype(float))
    means = run_families.means(runs[["alpha", "dead_share"]], "dead_share")
    means = means.assign(low=means["low"].clip(lower=0), high=means["high"].clip(upper=1))  # t knows of no bounds
    tables.chart(
        "Dead units",
        partial(figures.sweep.by_alpha, runs, means, "dead_share", "dead units, %", 100, 1, theme.dark()),
        f"The share of {numbers.whole(runs['units'].max())} units that are never active on the evaluation images; a "
        f"point is one network, with the {run_families.intervals(means)}. A dead unit has SI 0, so compare mean SI "
        "with and without them.",
        runs[["run", "alpha", "seed", "dead", "units", "dead_share"]],
        "dead",
    )


def loss(runs: pd.DataFrame) -> None:
    """Show whether the change in accuracy from alpha 0 is smaller than a margin: an equivalence test and its power."""
    st.subheader("Is the loss smaller than a margin?", anchor=False)
    others = sorted(alpha for alpha in runs["alpha"].dropna().unique() if alpha != 0)
    if not (runs["alpha"] == 0).any() or not others:
        st.markdown("This needs networks with alpha 0, and others with another alpha, of the same settings.")
        return
    default = -1.0 if -1.0 in others else min(others, key=abs)
    names = {f"{alpha:g}": alpha for alpha in others}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = address.choose("alpha", list(names), f"{default:g}", "alpha")
        labels = {name: f"α {numbers.alpha(alpha)}" for name, alpha in names.items()}
        address.widget(
            st.selectbox,
            "Compared with alpha 0",
            list(names),
            name="alpha",
            value=chosen,
            default=f"{default:g}",
            format_func=labels.get,
            width=200,
        )
        margin = address.choose("margin", list(MARGINS), "1")
        address.widget(
            st.segmented_control,
            "Margin",
            list(MARGINS),
            name="margin",
            value=margin,
            default="1",
            format_func=MARGINS.get,
            required=True,
        )
    alpha = names[chosen]
    first, base = (runs.loc[runs["alpha"] == value, "test_accuracy"].astype(float) for value in (alpha, 0.0))
    if min(len(first), len(base)) < FEWEST_SEEDS:
        st.markdown(
            f"There {'is' if len(first) == 1 else 'are'} {numbers.counted(len(first), 'network')} with α "
            f"{numbers.alpha(alpha)} and {len(base)} with α 0; a test needs {FEWEST_SEEDS} seeds of each."
        )
        return
    st.markdown(verdict(tuple(first), tuple(base), float(margin) / 100, alpha))


@st.cache_data(max_entries=64, show_spinner=False)
def verdict(first: tuple, base: tuple, margin: float, alpha: float) -> str:
    """Return what the equivalence test of accuracies at an alpha and at 0 says, and what it could have said."""
    test = equivalence(first, base, margin, LEVEL)
    bound = f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"
    difference = numbers.signed(100 * test.difference, 2)
    change = f"mean accuracy at α {numbers.alpha(alpha)} minus that at α 0: **{difference} points**"
    seeds = f"n = {test.n[0]} and {test.n[1]} seeds"
    if math.isnan(test.p):
        return f"{change} ({seeds}). No test: the accuracy is the same for every seed."
    interval = f"90 % interval {numbers.signed(100 * test.low, 2)} to {numbers.signed(100 * test.high, 2)}"
    halves = f"loss below the margin {numbers.p_value(test.p_not_lower)}, gain below it "
    halves += numbers.p_value(test.p_not_higher)
    if test.p < LEVEL:
        answer = f"**Yes**: the two are equivalent within ±{bound}."
    elif test.p_not_lower < LEVEL:
        answer = f"**Yes, the loss is smaller than {bound}**; a gain of more than {bound} is not excluded."
    elif test.high < -margin:
        answer = f"**No**: the loss is larger than {bound}."
    else:
        answer = f"**Not decided**: neither a loss below {bound} nor a larger one is shown."
    spread = (float(np.std(first, ddof=1)), float(np.std(base, ddof=1)))
    power = equivalence_power(margin, spread, *test.n)
    sentence = f"With the spread that these seeds have (standard deviations {100 * spread[0]:.2f} and "
    sentence += f"{100 * spread[1]:.2f} points), so many seeds show equivalence within ±{bound} with probability "
    sentence += f"{power:.2f}, if there is no difference at all."
    if power < ENOUGH:
        need = next((n for n in range(3, MOST_SEEDS + 1) if equivalence_power(margin, spread, n, n) >= ENOUGH), None)
        sentence += f" {need} seeds each would make it {ENOUGH}." if need else f" Over {MOST_SEEDS} would be needed."
    best = max(*first, *base)
    fallen = [collapse(values, 0.0, best=best).collapsed for values in (first, base)]
    sentence += f" Rank test of Mann and Whitney: {numbers.p_value(rank_test(first, base))}; medians "
    sentence += f"{numbers.percent(float(np.median(first)))} and {numbers.percent(float(np.median(base)))}."
    if any(fallen):
        sentence += (
            f" {fallen[0]} and {fallen[1]} of these networks collapsed (less than half of the best): the t tests "
            "above say little, the rank test and the medians do."
        )
    return (
        f"{answer} {change[0].upper()}{change[1:]} ({interval}, {seeds}). Two one-sided t tests (TOST, Welch), level "
        f"{LEVEL}: {halves}; equivalence {numbers.p_value(test.p)}.\n\n{sentence} The interval is for "
        "other seeds on the "
        f"same evaluation images; it does not say what other images would give."
    )


def note(runs: pd.DataFrame) -> None:
    """Show that a family has too few seeds to say more than what these networks do."""
    if runs.groupby("alpha", dropna=False)["seed"].nunique().max() < FEWEST_SEEDS:
        st.caption(
            "One or two seeds for each alpha: the points show these networks, not what happens on average. "
            "The networks of the demo are a chosen illustration. More seeds: `selviz sweep --help`"
        )
