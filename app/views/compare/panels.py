"""The parts of the page that compares networks, each drawn by one function: `accuracy(runs, by_class)`, ..."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.text import numbers, safe_text

from ...look import theme
from ...page import frame, tables
from ...state import address, reads
from ...state.navigation import page_at
from . import differences

WHICH = {"differing": "Only differences", "all": "All"}
COLUMNS = {
    "matches": "baseline si preferred_class other match_si match_class correlation null_within null_all mutual".split(),
    "classes": "told class images before after change change_low change_high lost gained p_holm".split(),
    "strips": "run layer unit si null_p95 preferred_class dead".split(),
    "profile": "run layer depth units mean_si mean_si_live null_mean null_p95 dead".split(),
}


def strangers(rows: dict[str, dict], base: str) -> None:
    """Show which networks have seen other images than the baseline, and what that means."""
    if others := [name for name in rows if not differences.same_images(rows, base, name)]:
        named = ", ".join(f"{safe_text.code(name)} ({safe_text.code(rows[name]['dataset'])})" for name in others)
        st.info(
            f"Evaluated on other images than the baseline ({safe_text.code(rows[base]['dataset'])}): {named}. Accuracy "
            "and SI stand side by side, but nothing can be compared image by image: no difference in accuracy, no "
            "test, no classes, no matched units.",
            icon=":material/image_not_supported:",
        )


def settings(rows: dict[str, dict], labels: dict[str, str]) -> None:
    """Show the settings of all networks, by default only those that differ."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("What was set differently", anchor=False, width="stretch")
        which = address.segmented("Settings", WHICH, "settings", label_visibility="collapsed")
        table = differences.settings(rows, labels, which == "all")
        tables.saving("settings", table.reset_index())
    if len(table):
        st.dataframe(table, height="content")
    else:
        st.caption("These networks have the same settings.")


def accuracy(runs: pd.DataFrame) -> None:
    """Show how well each network classifies, and how far that is from the baseline."""
    tables.chart(
        "Accuracy",
        partial(figures.compare.accuracies, runs, theme.dark()),
        "Each network with its 95 % Wilson interval, and next to it its difference from the baseline on the same "
        "images, with the 95 % interval of a paired difference (Agresti and Min); one that crosses 0 may be chance.",
        runs.drop(columns=["position", "alpha", "p"]),
        "accuracies",
    )


def tests(runs: pd.DataFrame) -> None:
    """Show what the tests say of each difference, in words."""
    tested = runs.dropna(subset="p").to_dict("records")
    lines = [
        f"- **{differences.plain(row['told'])}**: {numbers.points(row['change'])} "
        f"({numbers.signed(100 * row['change_low'])} to {numbers.signed(100 * row['change_high'])}); "
        f"{int(row['lost'])} images are right only in the baseline, {int(row['gained'])} only here; "
        f"{numbers.p_value(row['p_holm'])}"
        for row in tested
    ]
    if lines:
        corrected = f", Holm-corrected for {len(lines)} comparisons" if len(lines) > 1 else ""
        st.markdown("\n".join(lines))
        st.caption(f"p: McNemar's exact test that both networks are right equally often{corrected}.")


def classes(by_class: pd.DataFrame) -> None:
    """Show which classes a network gains and loses against the baseline."""
    if by_class.empty:
        return
    beyond, max_classes = int((by_class["p_holm"] < 0.05).sum()), figures.compare.MOST_CLASSES
    cut = f" Shown are the {max_classes} classes that differ most." if by_class["class"].nunique() > max_classes else ""
    tables.chart(
        "Class by class",
        partial(figures.compare.class_differences, by_class, theme.dark()),
        "A mark is one network's accuracy on a class minus the baseline's, with the 95 % interval of a paired "
        f"difference.{cut} {beyond} of {numbers.whole(len(by_class))} differences have p < 0.05 (McNemar's exact "
        "test, Holm-corrected).",
        by_class[COLUMNS["classes"]],
        "class-differences",
    )


def depth(layers: pd.DataFrame, column: str) -> None:
    """Show mean SI of each network from its first layer to its last."""
    tables.chart(
        "Selectivity by depth",
        partial(figures.compare.profile, layers, column, theme.dark()),
        "A line is one network. Dotted: what shuffled labels reach in it (95th percentile). Compare networks at one "
        "layer rather than layers of one network.",
        layers[COLUMNS["profile"]],
        "profile",
    )


def units(table: pd.DataFrame, layer: str) -> None:
    """Show the SI of every unit of one layer, network by network."""
    elsewhere = " Networks without this layer show the one nearest in depth." if set(table["layer"]) != {layer} else ""
    clicked = tables.chart(
        f"Every unit of {safe_text.plain(layer)}",
        partial(figures.compare.si_strips, table, theme.dark()),
        "A dot is a unit at its SI, hollow if dead; click it to open the unit. Bar in the color of the text: mean of "
        f"the live units. Gray bar: median of what shuffled labels give them (95th percentile).{elsewhere}",
        table[COLUMNS["strips"]],
        "strips",
        on_select="rerun",
    )
    for run, part in table.groupby("run", sort=False):
        frame.unbounded(run, part["layer"].unique())
    _open(clicked)


def matches(rows: dict[str, dict], read: dict, labels: dict[str, str], base: str, other: str, layer: str) -> None:
    """Show each unit of the baseline's layer beside the unit of another network that behaves most like it."""
    st.subheader("Which units do the same in both?", anchor=False)
    if not differences.same_images(rows, base, other):
        same = [name for name in rows if name != base and differences.same_images(rows, base, name)]
        none = "No other network here was evaluated on the baseline's images, so no units can be matched."
        some = "It was evaluated on other images than the baseline, so no units can be matched; choose another above."
        st.info(some if same else none)
        return
    other_layer = differences.counterpart(layer, read[base]["layers"], read[other]["layers"])
    pairs, nulls = differences.pairs(base, other, layer, other_layer)
    left, right = st.columns(2, gap="large")
    with left:
        named = {differences.NULLS[kind]: values for kind, values in nulls.items()}
        clicked = tables.chart(
            f"Matches of {safe_text.plain(layer)}",
            partial(figures.compare.matched, pairs, named, reads.class_names(base), theme.dark()),
            "A dot is a unit of the baseline at its correlation (Pearson, over images) with the unit of the other "
            "network that correlates most with it; it has the color of its preferred class and is hollow if the match "
            "prefers another. Gray: the best match once the other network's images are shuffled, within classes (what "
            "is left is the taste for classes) or altogether, 5th to 95th percentile.",
            pairs,
            "matches",
            on_select="rerun",
        )
        _open(clicked)
    with right:
        st.markdown(_summary(pairs, len(nulls["within"]), rows, base, other, layer, other_layer))
        _match_table(pairs, base, other, layer, other_layer)


def _summary(pairs: pd.DataFrame, shuffles: int, rows: dict, base: str, other: str, layer: str, at: str) -> str:
    live = pairs.dropna(subset="correlation")
    beyond = int((live["correlation"] > live["null_within"]).sum())
    sentence = (
        f"For {beyond} of {numbers.counted(len(live), 'live unit')} the match correlates more than the best match "
        f"does in 95 % of {shuffles} shuffles within classes; by chance that would be about {0.05 * len(live):.0f}. "
        f"{numbers.counted(int(live['mutual'].sum()), 'unit')} and their matches are each other's best. "
    )
    if at != layer:
        return sentence + f"The other network has no such layer; {safe_text.code(at)} is nearest in depth."
    if all(rows[base][key] == rows[other][key] for key in ("seed", "model", "kind")):
        own = int((live["match"] == live["unit"]).sum())
        sentence += (
            f"Both began with the same weights (seed {rows[base]['seed']}): {own} match the unit of their own number."
        )
    return sentence


def _match_table(pairs: pd.DataFrame, base: str, other: str, layer: str, other_layer: str) -> None:
    table = pairs.sort_values("correlation", ascending=False, na_position="last")
    for side, run, at, unit_column in (("baseline", base, layer, "unit"), ("other", other, other_layer, "match")):
        place = urlencode({"run": run, "layer": at})
        table[side] = [f"unit?{place}&unit={number}" if number >= 0 else None for number in table[unit_column]]
    number = r"unit=(\d+)$"
    heads = {
        "baseline": st.column_config.LinkColumn("unit", display_text=number),
        "other": st.column_config.LinkColumn("match", display_text=number),
    }
    tables.table(table[COLUMNS["matches"]], column_config=heads, height=400)
    st.caption("A low correlation does not mean that what a unit does is missing: it may be spread over several units.")


def _open(event: Any) -> None:
    """Open the page of the unit whose dot was clicked."""
    if points := [point for point in event["selection"]["points"] if point.get("customdata")]:
        run, layer, unit = points[0]["customdata"]
        st.switch_page(page_at("unit"), query_params={"run": run, "layer": layer, "unit": str(unit)})
