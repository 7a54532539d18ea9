"""Who survives bad images, and who survives an attacker?"""

import streamlit as st

from selviz.store import Store

from ...page import frame, job_panels, perturbed_runs, run_families, run_picker
from ...state import address
from . import panels

PARTS = {
    "curves": "Accuracy by strength",
    "grid": "All corruptions",
    "selectivity": "Against selectivity",
    "units": "Units that move",
}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    frame.page(
        "Who survives bad images, and who survives an attacker?",
        "Corruptions are what weather and bad cameras do; an attack changes each pixel by a little, in the direction "
        "that hurts this very network. Choose one and see what the network makes of it; below, all networks like this "
        "one.",
        f"store.robustness({run!r})",
        " ".join(["selviz robustness", run, *perturbed_runs.options()]),
    )
    kind, name, level = "corruption", "gaussian_noise", 3.0
    with frame.show_errors():  # without its weights a network has no pictures, but it has its stored numbers
        kind, name, level = perturbed_runs.samples(run)
    runs, tables, without = perturbed_runs.gathered(run, "robustness", Store.robustness, Store.robustness_summary)
    tables = perturbed_runs.with_constants(tables)
    if run not in tables:
        job_panels.study(
            run,
            "robustness",
            f"Accuracy, and what every unit does, under {panels.planned(run)}. It takes a few minutes for a small "
            "network.",
            *perturbed_runs.options(),
            stage="robustness",
        )
        st.stop()

    part = address.segmented("Look at", PARTS, "part")
    if part == "curves":
        panels.curves(run, runs, tables, kind, name)
    elif part == "grid":
        panels.families(tables, run)
        panels.grid(run, runs, tables)
    elif part == "selectivity":
        panels.selectivity(run, runs, tables)
    else:
        panels.units(run, tables, kind, name, level)
    if part in ("curves", "grid", "selectivity") and (notice := run_families.collapse_notice(runs)):
        st.caption(notice)
    perturbed_runs.missing_notice(without, "robustness")
