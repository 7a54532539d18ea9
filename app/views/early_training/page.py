"""When do selective units appear?"""

import streamlit as st

from selviz.text import safe_text

from ...page import frame, run_picker
from ...state import address, reads
from . import panels


def show() -> None:
    """Draw the page."""
    about = run_picker.require_run()
    run = about["name"]
    frame.page(
        "When do selective units appear?",
        "Networks are looked at while they learn: how selective each layer and each unit is, and whether silencing the "
        "most selective units hurts more than silencing random sets, early and late.",
        f"store.snapshot_units({run!r})",
        f"selviz early {run} --epochs 1,2",
    )
    shown = panels.with_snapshots(about)
    if shown is None:
        panels.missing(about)
    else:
        if shown != run:
            st.info(
                f"{safe_text.code(run)} was trained without snapshots. Shown instead: {safe_text.code(shown)}, the "
                "same network, looked at while it learned.",
                icon=":material/visibility:",
            )
        names = list(reads.store().layers(shown)["layer"])
        panels.layers(shown)
        layer = address.choose("layer", names, names[-1])
        address.widget(st.selectbox, "Layer", names, name="layer", value=layer, default=names[-1], width=260)
        left, right = st.columns([3, 2], gap="large")
        with left:
            panels.trajectories(shown, layer)
        with right:
            panels.rising(shown, layer)
        if about.get("kind") != "imported":  # a recorded training keeps no weights of its epochs
            panels.silencing(shown)
    panels.comparison(run)
