"""What does turning selectivity up or down do?"""

import pandas as pd
import streamlit as st

from app import charts, common, family, links, sweep_views, wording
from selviz.statistics import wilson

MOST_ROWS = 20  # of the table of all runs without a bar to scroll it

run = common.require_run()
common.page(
    "What does turning selectivity up or down do?",
    "Each network was trained with a number, alpha, that suppresses class selectivity (below 0, blue), leaves it alone "
    "(0, grey) or encourages it (above 0, orange). Compare how selective its units became with how well it classifies.",
)
table = common.runs()
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    _, chosen = family.choose(run["name"])
    which = links.segmented(
        "Mean SI over",
        {"live": "Live units", "all": "All units"},
        "units",
        help="A unit that is never active on the evaluation images is dead and has SI 0. A large positive alpha "
        "silences units, so the mean over all units can fall while the living ones become more selective.",
    )
column = charts.runs.ALL_UNITS if which == "all" else charts.runs.LIVE_UNITS
low, high = wilson((chosen["test_accuracy"] * chosen["images"]).round(), chosen["images"])
chosen = chosen.assign(low_share=low, high_share=high, told=[wording.run(row) for row in chosen.to_dict("records")])
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
        links.put(run=chosen["run"].iloc[points[0]["point_index"]])


def single_seeds() -> None:
    """A point and a line a run, where each alpha has one."""
    scatter, profile = st.columns(2, gap="large")
    with scatter:
        common.chart(
            "Accuracy against selectivity",
            charts.runs.accuracy_against_si(chosen, column, common.dark()),
            "A point is one network; its whiskers are the 95 % Wilson interval of its accuracy: the uncertainty for "
            f"new images ({wording.whole(chosen['images'].max())} images each). The bars at the foot are the nulls: "
            "mean to 95th percentile of the mean SI that shuffled labels give. Click a point to choose the network.",
            chosen[shown],
            "accuracy",
            on_select=pick_point,
        )
    with profile:
        parts = []
        for row in chosen.itertuples():
            with common.failures():  # one damaged file must not hide the other runs
                parts.append(common.read("layers", row.run).assign(run=row.run, alpha=row.alpha, told=row.told))
        if parts:
            layers = pd.concat(parts)
            common.chart(
                "Selectivity by depth",
                charts.runs.depth_profile(layers, column, common.dark()),
                "A line is one network, from its first layer to its last. Dotted: what shuffled labels reach in the "
                "same network (95th percentile); a layer at its dotted line is no more selective than chance.",
                layers[["run", "alpha", "layer", "units", column, "null_mean", "null_p95", "dead"]],
                "depth",
            )
    if dead:
        st.markdown(
            f"{wording.counted(dead, 'unit')} of {wording.whole(units)} in these networks are dead: never active on "
            "the evaluation images."
        )


if chosen.groupby("alpha", dropna=False)["seed"].nunique().max() < 2:
    single_seeds()
else:
    left, right = st.columns(2, gap="large")
    with left:
        sweep_views.accuracy(chosen)
    with right:
        sweep_views.against_si(chosen, column)
    sweep_views.loss(chosen)
    left, right = st.columns(2, gap="large")
    with left:
        sweep_views.layers(chosen, column)
    with right:
        sweep_views.dead(chosen)
sweep_views.note(chosen)

with st.container(horizontal=True, vertical_alignment="center"):
    st.subheader("All runs", anchor=False, width="stretch")
    common.downloads("runs", table)
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
common.table(
    table.sort_values(["dataset", "model", "alpha", "seed"]),
    column_order=order,
    height="content" if len(table) <= MOST_ROWS else 520,
)
for row in table[table["state"] != "finished"].to_dict("records"):
    st.markdown(
        f"{wording.code(row['run'])} is {row['state']}" + (". Go on with:" if row["state"] == "unfinished" else ":")
    )
    st.code(common.remedy(row), language=None, wrap_lines=True)
