"""What does this unit respond to, and does it matter?"""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.text import numbers, safe_text

from ...look import theme
from ...page import claims, frame, gallery, note_panels, run_picker, tables
from ...state import address, reads
from . import ablation_effect, attributions, own_image, profile, which_unit

MEANING = {"spread": "Spread", "answers": "Answers it pushes", "alike": "Units like it"}
EVIDENCE = {"images": "Images", "pixels": "Pixels", "made": "Made for it", "own": "Your own image"}
NEED_NETWORK = ("answers", "pixels", "made", "own")


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    name = run["name"]
    units = reads.store().units(name)
    layer, unit = which_unit.requested(units)
    row = units[(units["layer"] == layer) & (units["unit"] == unit)].iloc[0].to_dict()
    frame.page(
        "What does this unit respond to, and does it matter?",
        f"Unit {unit} of layer {safe_text.code(layer)}.",
        f"store.activations({name!r}, {layer!r}, {unit})",
    )
    which_unit.controls(units, layer, unit)
    watched = reads.watched(name)
    ablation_effect.where_and_what_breaks(name, layer, unit, able=not watched)
    strip(units, row)
    notices(name, row, watched)
    activations = reads.store().activations(name, layer, unit)
    means = reads.store().class_means(name, layer, unit)
    left, right = st.columns([5, 6], gap="large")
    with left:
        meaning(run, row, activations, means, watched)
    with right:
        evidence(name, layer, unit, activations, watched)
    with st.expander(
        "How each number is computed", icon=":material/calculate:", on_change="rerun", key="numbers"
    ) as box:
        if box.open:
            profile.measures_table(name, row, activations, means)
    note_panels.show(name, f"{layer}:{unit}", "this unit")
    profile.provenance(name)


def notices(run: str, row: dict[str, Any], watched: bool) -> None:
    """Say what limits what this page can tell."""
    frame.unbounded(run, [row["layer"]])
    if row["dead"]:
        st.warning(
            "This unit is dead: it is never active on the evaluation images, so its SI is 0.",
            icon=":material/power_off:",
        )
    if watched:
        st.info(
            "This network could not be traced, so its units were watched while it ran: what was stored of them is "
            "here, what has to be computed, such as silencing a unit, is left out.",
            icon=":material/visibility:",
        )


def meaning(
    run: dict[str, Any], row: dict[str, Any], activations: pd.DataFrame, means: pd.DataFrame, watched: bool
) -> None:
    """Draw what the unit responds to: its tuning, and one of the closer looks."""
    name, layer, unit, preferred = run["name"], row["layer"], int(row["unit"]), int(row["preferred_index"])
    means = figures.with_mean_interval(means)
    tables.chart(
        "Response to each class",
        partial(figures.unit.tuning, means, preferred, theme.dark()),
        "A bar is the unit's mean activation over the images of a class, with the 95 % interval (t) of that mean "
        "for new images. The outlined class is the preferred one.",
        means[["class", "mean", "low", "high", "std", "images"]],
        "tuning",
    )
    looks = {key: title for key, title in MEANING.items() if not watched or key not in NEED_NETWORK}
    look = address.segmented("More about it", looks, "meaning", label_visibility="collapsed")
    with frame.show_errors():
        if look == "spread":
            profile.spread(activations, reads.class_names(name), preferred)
        elif look == "answers":
            profile.outgoing(name, layer, unit)
        else:
            profile.alike(run, layer, unit)


def evidence(run: str, layer: str, unit: int, activations: pd.DataFrame, watched: bool) -> None:
    """Draw what the unit is active on: images of the data set, their pixels, one made for it, the visitor's own."""
    kinds = {key: title for key, title in EVIDENCE.items() if not watched or key not in NEED_NETWORK}
    kind = address.segmented("Evidence", kinds, "evidence", label_visibility="collapsed")
    with frame.show_errors():
        if kind == "images":
            gallery.images(run, layer, unit, of_one_class(run, activations))
        elif kind == "pixels":
            attributions.attribution(run, layer, unit, gallery.chosen(activations), activations)
        elif kind == "made":
            gallery.synthesised(run, layer, unit, activations)
            label = "Make it a claim: made images drive it more"
            claims.fill_link(label, "made_image", run, unit=f"{layer}:{unit}")
        else:
            own_image.show(run, layer, unit)


def of_one_class(run: str, activations: pd.DataFrame) -> pd.DataFrame:
    """Return the images of the class that was clicked on the board, or all, and draw the way back to all."""
    if not address.has("of"):
        return activations
    names = reads.class_names(run)
    name = address.choose("of", names, names[0], "class")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"Images of class **{safe_text.plain(name)}** alone", width="content")
        st.button("All images", icon=":material/close:", type="tertiary", on_click=address.update, kwargs={"of": None})
    part = activations[activations["label"] == name]
    return part if len(part) else activations


def strip(units: pd.DataFrame, row: dict) -> None:
    """Draw the unit's numbers, each with what it is to be compared with."""
    live = units[(units["layer"] == row["layer"]) & ~units["dead"]]
    below = (live["si"] < row["si"]).mean() if len(live) else 0.0
    cells = (
        (
            "SI",
            numbers.si(row["si"]),
            f"null {numbers.si(row['null_mean'])}, up to {numbers.si(row['null_p95'])}",
            "Class selectivity index; its null is what shuffled labels give, mean and 95th percentile.",
        ),
        (
            "Preferred class",
            "–" if row["dead"] else safe_text.plain(row["preferred_class"]),
            "largest class mean",
            None,
        ),
        (
            "More selective than",
            "–" if row["dead"] else f"{100 * below:.0f} %",
            f"of {numbers.counted(len(live), 'live unit')} of the layer",
            None,
        ),
        (
            "Mean activation",
            numbers.number(row["mean_activation"]),
            f"largest {numbers.number(row['max_activation'])}",
            None,
        ),
        (
            "Share of zeros",
            numbers.percent(row["zero_share"]),
            "of the images",
            "Images on which the unit is not active.",
        ),
    )
    columns = st.container(key="strip").columns(len(cells))
    for column, (name, value, comparison, why) in zip(columns, cells):
        column.metric(name, value, delta=comparison, delta_color="off", delta_arrow="off", help=why)
