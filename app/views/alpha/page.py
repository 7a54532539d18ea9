"""What does turning selectivity up or down do?"""

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.store.notes import RUN
from selviz.text import numbers, safe_text

from ...page import frame, note_panels, run_families, run_picker, tables
from ...state import address, reads
from . import panels, single_seeds

MAX_ROWS = 20  # of the table of all runs without a bar to scroll it
ORDER = ["run", "state", "dataset", "model", "alpha", "seed", "epochs", "test_accuracy", "mean_si", "mean_si_live"]
ORDER += ["null_p95", "dead", "units"]
SAME_EVERYWHERE = ("state", "dataset", "model")  # columns that are left out where all rows have one value


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    trained = (
        "Each network was trained with a number, alpha, that suppresses class selectivity (below 0, blue), leaves it "
        "alone (0, gray) or encourages it (above 0, orange). Compare how selective its units became with how well it "
        "classifies."
    )
    elsewhere = (
        "This network was trained elsewhere, so nothing turned its selectivity up or down. Here is how selective it is "
        "and how well it classifies; networks with an alpha are trained on the page Train and import."
    )
    frame.page("What does turning selectivity up or down do?", elsewhere if numbers.missing(run["alpha"]) else trained)
    runs, column = family(run["name"])
    if runs.groupby("alpha", dropna=False)["seed"].nunique().max() < 2:
        one_seed(runs, column)
    else:
        several_seeds(runs, column)
    panels.note(runs)
    note_panels.show(run["name"], RUN, f"the run {run['name']}")
    all_runs(reads.runs())


def family(run: str) -> tuple[pd.DataFrame, str]:
    """Draw which runs are shown, and over which units SI is averaged; return the runs and the column of that mean."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        _, runs = run_families.choose(run)
        which = address.segmented(
            "Mean SI over",
            {"live": "Live units", "all": "All units"},
            "units",
            help="A unit that is never active on the evaluation images is dead and has SI 0. A large positive alpha "
            "silences units, so the mean over all units can fall while the living ones become more selective.",
        )
    labels = [numbers.run(row) for row in runs[["alpha", "epochs"]].to_dict("records")]
    column = figures.runs.ALL_UNITS if which == "all" else figures.runs.LIVE_UNITS
    return figures.runs.with_intervals(runs).assign(told=labels), column


def one_seed(runs: pd.DataFrame, column: str) -> None:
    """Draw a point and a line per run, where each alpha has one."""
    left, right = st.columns(2, gap="large")
    with left:
        single_seeds.scatter(runs, column)
    with right:
        single_seeds.depth(runs, column)
    single_seeds.dead_units(runs)


def several_seeds(runs: pd.DataFrame, column: str) -> None:
    """Draw means over seeds with their intervals."""
    left, right = st.columns(2, gap="large")
    with left:
        panels.accuracy(runs)
    with right:
        panels.against_si(runs, column)
    panels.collapsed(runs)
    panels.loss(runs)
    left, right = st.columns(2, gap="large")
    with left:
        panels.layers(runs, column)
    with right:
        panels.dead(runs)


def all_runs(table: pd.DataFrame) -> None:
    """Draw the table of all runs, and why some of them are not finished."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("All runs", anchor=False, width="stretch")
        tables.downloads("runs", table)
    tables.table(
        table.sort_values(["dataset", "model", "alpha", "seed"]),
        column_order=[name for name in ORDER if name not in SAME_EVERYWHERE or table[name].nunique() > 1],
        height="content" if len(table) <= MAX_ROWS else 520,
    )
    for row in table[table["state"] != "finished"].to_dict("records"):
        advice = ". Go on with:" if row["state"] == "unfinished" else ":"
        st.markdown(f"{safe_text.code(row['run'])} is {row['state']}{advice}")
        st.code(run_picker.remedy(row), language=None, wrap_lines=True)
