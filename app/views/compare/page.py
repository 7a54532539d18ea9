"""How do these networks differ?"""

import streamlit as st

from selviz import figures

from ...page import frame, run_picker
from ...state import address, reads
from . import boards, differences, panels

COLUMN = {"live": figures.runs.LIVE_UNITS, "all": figures.runs.ALL_UNITS}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    table = reads.runs()
    finished = {row["run"]: row for row in table[table["state"] == "finished"].to_dict("records")}
    names = differences.chosen(finished, run)
    rows = {name: finished[name] for name in names}
    base = differences.baseline(rows)
    differences.remember(names, base)
    frame.page(
        "How do these networks differ?",
        "Choose up to six networks and pin one as the baseline: the others are shown beside it, and as differences "
        "from it wherever they saw the same images.",
        differences.python(base, names),
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        address.widget(
            st.multiselect,
            f"Networks, two to {differences.MOST}",
            list(finished),
            name="runs",
            value=names,
            text=",".join,
            format_func=differences.run_labels(finished).get,
            max_selections=differences.MOST,
        )
        address.widget(
            st.selectbox,
            "Baseline",
            names,
            name="baseline",
            value=base,
            format_func=differences.run_labels(rows).get,
            width=260,
        )
    if len(rows) < 2:
        few = "There is one network in this store" if len(finished) < 2 else "One network is chosen"
        st.info(f"{few}, and a comparison needs two.", icon=":material/compare_arrows:")
        if len(finished) < 2:
            st.code("selviz train --dataset mnist-5k --model cnn --alpha=-1", language="bash", wrap_lines=True)
        st.stop()

    read = differences.read({base: rows[base], **rows})
    if base not in read or len(read) < 2:
        st.info(
            "Without these files there is nothing to compare; choose other networks.", icon=":material/compare_arrows:"
        )
        st.stop()
    rows = {name: rows[name] for name in read}
    runs, by_class = differences.accuracies(rows, base)
    labels = runs.set_index("run")["told"].to_dict()
    other = boards.other_network(rows, labels, base)
    boards.side_by_side(rows, labels, base, other)
    panels.strangers(rows, base)
    panels.settings(rows, labels)
    left, right = st.columns(2, gap="large")
    with left:
        panels.accuracy(runs)
    with right:
        panels.classes(by_class)
    panels.tests(runs)

    layers = read[base]["layers"]["layer"].tolist()
    layer = differences.layer(read, base)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        address.widget(st.selectbox, "Layer", layers, name="layer", value=layer, default=layers[-1], width=260)
        which = address.segmented("Mean SI over", {"live": "Live units", "all": "All units"}, "units")
    left, right = st.columns(2, gap="large")
    with left:
        panels.depth(differences.joined(runs), COLUMN[which])
    with right:
        panels.units(differences.joined(runs, differences.counterparts(read, base, layer)), layer)
    panels.matches(rows, read, labels, base, other, layer)
