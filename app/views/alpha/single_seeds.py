"""A family of runs with one seed per alpha: `scatter(runs, column)`, `depth(runs, column)`, `dead_units(runs)`."""

from functools import partial

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.text import numbers

from ...look import theme
from ...page import frame, tables
from ...state import address, reads
from . import panels

COLUMNS = ["run", "alpha", "seed", "test_accuracy", "low_share", "high_share", "mean_si", "mean_si_live"]
COLUMNS += ["null_mean", "null_p95", "dead"]


def scatter(runs: pd.DataFrame, column: str) -> None:
    """Draw accuracy against mean SI, a point per network; a click makes it the run of every page."""

    def pick_point() -> None:
        selected = st.session_state["accuracy"]["selection"]["points"]
        if points := [point for point in selected if point.get("customdata")]:
            address.update(run=runs["run"].iloc[points[0]["point_index"]])

    tables.chart(
        "Accuracy against selectivity",
        partial(
            figures.runs.accuracy_against_si,
            panels.with_own_null(runs, column),
            column,
            theme.dark(),
            st.session_state["run"],
        ),
        "A point is one network; its whiskers are the 95 % Wilson interval of its accuracy: the uncertainty for new "
        f"images ({numbers.whole(runs['images'].max())} images each). The bars at the foot are the nulls: mean to 95th "
        "percentile of the mean SI that shuffled labels give. Click a point to choose the network.",
        runs[COLUMNS],
        "accuracy",
        on_select=pick_point,
    )


def depth(runs: pd.DataFrame, column: str) -> None:
    """Draw mean SI by layer, a line per network."""
    parts = []
    for row in runs.itertuples():
        with frame.show_errors():  # one damaged file must not hide the other runs
            parts.append(reads.store().layers(row.run).assign(run=row.run, alpha=row.alpha, told=row.told))
    if not parts:
        return
    layers = pd.concat(parts)
    tables.chart(
        "Selectivity by depth",
        partial(figures.runs.depth_profile, panels.with_own_null(layers, column), column, theme.dark()),
        "A line is one network, from its first layer to its last. Dotted: what shuffled labels reach in the same "
        "network (95th percentile); a layer at its dotted line is no more selective than chance.",
        layers[["run", "alpha", "layer", "units", column, "null_mean", "null_p95", "dead"]],
        "depth",
    )


def dead_units(runs: pd.DataFrame) -> None:
    """Say how many units are dead, if any."""
    if dead := int(runs["dead"].sum()):
        st.markdown(
            f"{numbers.counted(dead, 'unit')} of {numbers.whole(int(runs['units'].sum()))} in these networks are dead: "
            "never active on the evaluation images."
        )
