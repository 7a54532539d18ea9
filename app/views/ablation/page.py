"""What breaks when these units are silent?"""

import streamlit as st

from app.compute import ablation
from app.page import ablation_result, frame, run_picker, unit_selection
from app.state import address, reads
from app.views.ablation import studies
from selviz.text import numbers, safe_text, unit_lists

MODES = {"zero": "zero", "mean": "mean", "shuffle": "another image", "noise": "noise", "scale": "scale"}
EXPLAINED = {
    "zero": "The unit's whole map is 0.",
    "mean": "Every position is the unit's mean over the evaluation images.",
    "shuffle": "The map that the unit has on another, random image.",
    "noise": "The map is shifted by Gaussian noise, one draw an image, in standard deviations of the unit.",
    "scale": "The map is multiplied by a factor: below 1 turns the unit down, above 1 up.",
}
FOLDS = {"all": "folds 0 and 1", "0": "fold 0", "1": "fold 1"}
DRAWS = {"20": "20", "100": "100", "1000": "1,000"}
STUDIES = {"curves": "Units removed one by one", "atlas": "Every unit alone"}
CLOSER = {"flips": "Images that changed sides", "confusion": "Confusion of classes", **STUDIES}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    head = st.container()
    left, right = st.columns([2, 3], gap="large")
    with left:
        choice = unit_selection.choose(run)
        units = choice.units
        count = sum(map(len, units.values()))
        keep = address.choose("keep", ["off", "on"], "off") == "on"
        told = "keep, all others of their layers silent" if keep else "silent"
        text = unit_lists.format_units(units)
        st.markdown(f"**{numbers.counted(count, 'unit')} {told}:** " + safe_text.code(text or "none"))
        unit_selection.tools(run, units)
        mode = address.segmented(
            "Set them to", MODES, "mode", help="\n\n".join(f"{MODES[m]}: {EXPLAINED[m]}" for m in MODES)
        )
        factor = None
        if mode in ("scale", "noise"):
            factor = address.number("factor", 0.0, 3.0, 0.5 if mode == "scale" else 1.0)
            title = "Times" if mode == "scale" else "Standard deviations"
            address.widget(st.slider, title, 0.0, 3.0, step=0.05, name="factor", value=factor, text="{:g}".format)
        address.widget(
            st.toggle,
            "Keep only these",
            name="keep",
            value=keep,
            default=False,
            text=lambda on: "on" if on else "off",
            help="Silences all other units of the same layers: do the chosen ones suffice?",
        )
        if choice.on_fold_0:
            fold = 1
        else:
            at = address.segmented("Report on", FOLDS, "fold")
            fold = None if at == "all" else int(at)
        draws = int(address.segmented("Control sets beside it", DRAWS, "draws"))
        if choice.said:
            st.caption(choice.said)

    asked = ablation.AblationRequest(run, text, mode, factor, keep, fold)
    with head:
        frame.page(
            "What breaks when these units are silent?",
            "Choose units on the left. On the right is how well the network classifies without them, exactly, beside "
            "as many other units of the same layers.",
            ablation.python_call(asked, units, draws) if count else f"store.units({run!r})",
            ablation.shell_command(asked, units, draws) if count else "",
        )

    with right:
        if count:
            result = ablation_result.overall(asked)
            waiting = st.container()  # the control sets take longest, so they are drawn last
            ablation_result.by_class(result)
        else:
            st.info(
                "No unit is silent. Choose one on the left, or begin with the most selective.", icon=":material/mouse:"
            )
            first = {"rule": "top", "layers": None, "k": None, "metric": None}
            st.button("Silence the five most selective units of the last layer", on_click=address.update, kwargs=first)
    closer = address.segmented("Look closer", CLOSER if count else STUDIES, "show")
    layer = list(units or reads.store().layers(run)["layer"])[-1]
    with frame.show_errors():
        if closer == "curves":
            studies.curves(run, layer)
        elif closer == "atlas":
            studies.atlas(run, layer)
        elif closer == "flips":
            ablation_result.flips(run, result)
        else:
            ablation_result.confusion(run, result)
    if count:
        with waiting:
            ablation_result.against_controls(asked, result, draws)
