"""What does turning selectivity up or down do?"""

import pandas as pd
import streamlit as st

from app.look import theme
from app.page import frame, run_families, run_picker, tables
from app.state import address, reads
from app.views.overview import panels
from selviz import figures
from selviz.statistics import wilson
from selviz.text import numbers, safe_text

MOST_ROWS = 20  # of the table of all runs without a bar to scroll it


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    frame.page(
        "What does turning selectivity up or down do?",
        "Each network was trained with a number, alpha, that suppresses class selectivity (below 0, blue), leaves it alone "
        "(0, grey) or encourages it (above 0, orange). Compare how selective its units became with how well it classifies.",
    )
    table = reads.runs()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        _, chosen = run_families.choose(run["name"])
        which = address.segmented(
            "Mean SI over",
            {"live": "Live units", "all": "All units"},
            "units",
            help="A unit that is never active on the evaluation images is dead and has SI 0. A large positive alpha "
            "silences units, so the mean over all units can fall while the living ones become more selective.",
        )
    column = figures.runs.ALL_UNITS if which == "all" else figures.runs.LIVE_UNITS
    low, high = wilson((chosen["test_accuracy"] * chosen["images"]).round(), chosen["images"])
    chosen = chosen.assign(low_share=low, high_share=high, told=[numbers.run(row) for row in chosen.to_dict("records")])
    shown = [
        "run",
        "alpha",
        "seed",
        "test_accuracy",
        "low_share",
        "high_share",
        "mean_si",
        "mean_si_live",
        "null_mean",
        "null_p95",
        "dead",
    ]
    dead, units = int(chosen["dead"].sum()), int(chosen["units"].sum())

    def pick_point() -> None:
        """A click on a run's point makes it the run of every page."""
        if points := [p for p in st.session_state["accuracy"]["selection"]["points"] if p.get("customdata")]:
            address.put(run=chosen["run"].iloc[points[0]["point_index"]])

    def single_seeds() -> None:
        """A point and a line a run, where each alpha has one."""
        scatter, profile = st.columns(2, gap="large")
        with scatter:
            tables.chart(
                "Accuracy against selectivity",
                figures.runs.accuracy_against_si(chosen, column, theme.dark()),
                "A point is one network; its whiskers are the 95 % Wilson interval of its accuracy: the uncertainty for "
                f"new images ({numbers.whole(chosen['images'].max())} images each). The bars at the foot are the nulls: "
                "mean to 95th percentile of the mean SI that shuffled labels give. Click a point to choose the network.",
                chosen[shown],
                "accuracy",
                on_select=pick_point,
            )
        with profile:
            parts = []
            for row in chosen.itertuples():
                with frame.show_errors():  # one damaged file must not hide the other runs
                    parts.append(reads.store().layers(row.run).assign(run=row.run, alpha=row.alpha, told=row.told))
            if parts:
                layers = pd.concat(parts)
                tables.chart(
                    "Selectivity by depth",
                    figures.runs.depth_profile(layers, column, theme.dark()),
                    "A line is one network, from its first layer to its last. Dotted: what shuffled labels reach in the "
                    "same network (95th percentile); a layer at its dotted line is no more selective than chance.",
                    layers[["run", "alpha", "layer", "units", column, "null_mean", "null_p95", "dead"]],
                    "depth",
                )
        if dead:
            st.markdown(
                f"{numbers.counted(dead, 'unit')} of {numbers.whole(units)} in these networks are dead: never active on "
                "the evaluation images."
            )

    if chosen.groupby("alpha", dropna=False)["seed"].nunique().max() < 2:
        single_seeds()
    else:
        left, right = st.columns(2, gap="large")
        with left:
            panels.accuracy(chosen)
        with right:
            panels.against_si(chosen, column)
        panels.loss(chosen)
        left, right = st.columns(2, gap="large")
        with left:
            panels.layers(chosen, column)
        with right:
            panels.dead(chosen)
    panels.note(chosen)

    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("All runs", anchor=False, width="stretch")
        tables.downloads("runs", table)
    order = [
        "run",
        "state",
        "dataset",
        "model",
        "alpha",
        "seed",
        "epochs",
        "test_accuracy",
        "mean_si",
        "mean_si_live",
        "null_p95",
        "dead",
        "units",
    ]
    plain = ("state", "dataset", "model")  # what is the same everywhere only makes the table wider
    order = [name for name in order if name not in plain or table[name].nunique() > 1]
    tables.table(
        table.sort_values(["dataset", "model", "alpha", "seed"]),
        column_order=order,
        height="content" if len(table) <= MOST_ROWS else 520,
    )
    for row in table[table["state"] != "finished"].to_dict("records"):
        st.markdown(
            f"{safe_text.code(row['run'])} is {row['state']}"
            + (". Go on with:" if row["state"] == "unfinished" else ":")
        )
        st.code(run_picker.remedy(row), language=None, wrap_lines=True)
