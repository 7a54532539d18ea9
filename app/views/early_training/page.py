"""When do selective units appear?"""

import shlex

import streamlit as st

from selviz.store.run_list import resume_command
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
        "most selective units hurts more than silencing others, early and late.",
        f"store.snapshot_units({run!r})",
        f"selviz early {run} --epochs 1,2",
    )
    if panels.stored(run, "snapshots"):
        names = list(reads.store().layers(run)["layer"])
        panels.layers(run)
        layer = address.choose("layer", names, names[-1])
        address.widget(st.selectbox, "Layer", names, name="layer", value=layer, default=names[-1], width=260)
        left, right = st.columns([3, 2], gap="large")
        with left:
            panels.trajectories(run, layer)
        with right:
            panels.rising(run, layer)
        if about.get("kind") != "imported":  # a recorded training keeps no weights of its epochs
            panels.silencing(run)
    else:
        elsewhere = about.get("kind") == "imported"
        st.info(
            f"{safe_text.code(run)} was trained elsewhere, so nobody looked at it while it learned."
            if elsewhere
            else f"{safe_text.code(run)} was trained without snapshots, so only its epochs as a whole are known. The "
            "same network with four looks an epoch:",
            icon=":material/visibility_off:",
        )
        if elsewhere:
            panels.comparison(run)
            return
        again = resume_command(reads.store().path, {**about, "snapshots": 4})
        st.code(again or shlex.join(["selviz", "train", "--snapshots", "4"]), language="bash", wrap_lines=True)
    panels.comparison(run)
