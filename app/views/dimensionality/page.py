"""How many directions does a layer use?"""

import streamlit as st

from selviz.store import Store

from ...page import frame, job_panels, perturbed_runs, run_picker
from . import panels


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    frame.page(
        "How many directions does a layer use?",
        "A layer of many units may use few directions: then its units say much the same. Left: the activations on "
        "clean images. Right: the change that a perturbation makes, which says in how many ways it can push the layer.",
        f"store.dimensionality({run!r})",
        f"selviz dimensionality {run}",
    )
    runs, stored, without = perturbed_runs.gathered(
        run, "dimensionality", Store.dimensionality, Store.gradient_variability
    )
    if run not in stored:
        job_panels.study(
            run,
            "dimensionality",
            "Counts the directions of every layer on 500 images, clean and in the change under four corruptions and an "
            "attack, with intervals and a shuffled baseline; and how much the gradients of units by the input vary.",
        )
        st.stop()

    study = panels.StoredStudy(run, runs, stored)
    count, over, change = panels.controls(study)
    left, right = st.columns(2, gap="large")
    with left:
        panels.clean_profile(study, count, over)
    with right:
        panels.change_profile(study, count, over, change)
    if over == "maps":
        st.caption(
            "Over whole maps there are more features than images, and no more directions than images less one can be "
            "seen: read these counts against each other, not by themselves."
        )
    perturbed_runs.missing_notice(without, "dimensionality")
    panels.gradients(study)
