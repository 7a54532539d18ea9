"""When do selective units appear?"""

import shlex

import streamlit as st

from app import common, early_views, links, wording
from selviz.store.listing import resume_command

about = common.require_run()
run = about["name"]
common.page(
    "When do selective units appear?",
    "Networks are looked at while they learn: how selective each layer and each unit is, and whether silencing the "
    "most selective units hurts more than silencing others, early and late.",
    f"store.snapshot_units({run!r})",
    f"selviz early {run} --epochs 1,2",
)
if early_views.stored(run, "snapshots"):
    names = list(common.read("layers", run)["layer"])
    early_views.layers(run)
    layer = links.choose("layer", names, names[-1])
    links.widget(st.selectbox, "Layer", names, name="layer", value=layer, default=names[-1], width=260)
    left, right = st.columns([3, 2], gap="large")
    with left:
        early_views.trajectories(run, layer)
    with right:
        early_views.rising(run, layer)
    early_views.silencing(run)
else:
    st.info(
        f"{wording.code(run)} was trained without snapshots, so only its epochs as a whole are known. The same network "
        "with four looks an epoch:",
        icon=":material/visibility_off:",
    )
    again = resume_command(common.store().path, {**about, "snapshots": 4})
    st.code(again or shlex.join(["selviz", "train", "--snapshots", "4"]), language="bash", wrap_lines=True)
early_views.beside(run)
