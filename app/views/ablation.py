"""What breaks when these units are silent?"""

import streamlit as st

from app import common, links, selection, silencing, wording

MODES = {"zero": "zero", "mean": "their mean", "shuffle": "another image"}
FOLDS = {"all": "all images", "0": "fold 0", "1": "fold 1"}
DRAWS = {"20": "20", "100": "100", "400": "400"}

run = common.require_run()["name"]
table = common.read("units", run)
common.page(
    "What breaks when these units are silent?",
    "Choose units on the left. On the right is how well the network classifies without them, exactly, beside random "
    "sets of as many units of the same layers.",
    f"from selviz.pipeline import run_ablation\nrun_ablation(store, {run!r}, {{'LAYER': [3, 5]}}, mode='zero')",
)
left, right = st.columns([2, 3], gap="large")
with left:
    rule = links.segmented("Choose units", selection.RULES, "rule")
    chosen = selection.units(run, table, rule)
    mode = links.segmented(
        "Set them to",
        MODES,
        "mode",
        help="Zero; the unit's mean over the images; or the map that the unit has on another, random image.",
    )
    fold, said = 1, "Chosen by SI on fold 0 and reported on fold 1, so that no image judges a choice that it made."
    if rule != "top":
        at = links.segmented("Report on", FOLDS, "fold")
        fold, said = (None if at == "all" else int(at)), ""
        if rule == "hand":
            said = "A choice that was made looking at all images is judged on images that it has seen."
    draws = int(links.segmented("Random sets beside it", DRAWS, "draws"))
    count = sum(len(numbers) for numbers in chosen.values())
    st.markdown(f"**{wording.counted(count, 'unit')} silent:** " + wording.code(links.units_to_text(chosen) or "none"))
    if said:
        st.caption(said)
    clear = {"silence": None, "rule": None}
    if count:
        silent = table[[unit in chosen.get(layer, ()) for layer, unit in zip(table["layer"], table["unit"])]]
        common.table(silent[["layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]])
    st.button("Clear", icon=":material/backspace:", disabled=not count, on_click=links.put, kwargs=clear)

with right:
    if not count:
        st.info("No unit is silent. Choose one on the left, or begin with the most selective.", icon=":material/mouse:")
        st.button("Silence the five most selective units of the last layer", on_click=links.put, kwargs={"rule": "top"})
        st.stop()
    result = silencing.outcome(run, chosen, mode, fold)
    silencing.overall(result)
    waiting = st.container()
    silencing.by_class(result)
    with waiting:
        silencing.against_random(result, silencing.control(run, chosen, mode, fold, draws))
