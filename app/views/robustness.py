"""Who survives bad images, and who survives an attacker?"""

import streamlit as st

from app import common, links, perturbed, robustness_views, work

PARTS = {
    "curves": "Accuracy by strength",
    "grid": "All corruptions",
    "selectivity": "Against selectivity",
    "units": "Units that move",
}

run = common.require_run()["name"]
common.page(
    "Who survives bad images, and who survives an attacker?",
    "Corruptions are what weather and bad cameras do; an attack changes each pixel by a little, in the direction that "
    "hurts this very network. Choose one and see what the network makes of it; below, all networks like this one.",
    f"store.robustness({run!r})",
    f"selviz robustness {run}",
)
kind, name, level = "corruption", "gaussian_noise", 3.0
with common.failures():  # without its weights a network has no pictures, but it has its stored numbers
    kind, name, level = perturbed.samples(run)
runs, found, without = perturbed.gathered(run, "robustness", "robustness", "robustness_summary")
if run not in found:
    work.study(
        run,
        "robustness",
        "Fifteen corruptions at five severities, and two attacks at five strengths, on 1,000 images: accuracy, and "
        "what every unit does. It takes a few minutes for a small network.",
    )
    st.stop()

part = links.segmented("Look at", PARTS, "part")
if part == "curves":
    robustness_views.curves(run, runs, found, kind, name)
elif part == "grid":
    robustness_views.families(found, run)
    robustness_views.grid(runs, found)
elif part == "selectivity":
    robustness_views.selectivity(run, runs, found)
else:
    robustness_views.units(run, found, kind, name, level)
perturbed.told_missing(without, "robustness")
