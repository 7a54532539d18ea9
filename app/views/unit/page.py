"""What does this unit respond to, and does it matter?"""

import random

import pandas as pd
import streamlit as st

from app.look import theme
from app.page import frame, gallery, run_picker, tables
from app.state import address, reads
from app.views.unit import ablation_effect, attributions, own_image, profile
from selviz import figures
from selviz.statistics import mean_interval
from selviz.text import numbers, safe_text

MEANING = {"spread": "Spread", "answers": "Answers it pushes", "alike": "Units like it"}
EVIDENCE = {"images": "Images", "pixels": "Pixels", "made": "Made for it", "own": "Your own image"}
NEED_NETWORK = ("answers", "pixels", "made", "own")


def requested_unit(units: pd.DataFrame) -> tuple[str, int]:
    """Layer and unit that the address names; else those last looked at; else the most selective unit of the run."""
    layers = list(dict.fromkeys(units["layer"]))
    layer, unit = st.session_state.get("unit", (None, None))
    if layer not in layers:
        layer, unit = units.sort_values("si", ascending=False)[["layer", "unit"]].iloc[0]
    layer = address.choose("layer", layers, layer)
    size = int((units["layer"] == layer).sum())
    unit = address.integer("unit", 0, size - 1, min(int(unit), size - 1))
    st.session_state["unit"] = (layer, unit)
    return layer, unit


def step(every: list[tuple[str, int]], drawn: tuple[str, int], by: int) -> None:
    """Goes `by` units on, in the next layer after the last unit of one.

    It counts from where the last step led, which the page may not have drawn yet: keys pressed faster than that count.
    """
    now = st.session_state["unit"]
    layer, unit = every[(every.index(now if now in every else drawn) + by) % len(every)]
    st.session_state["unit"] = (layer, unit)
    address.update(layer=layer, unit=unit, image=None)


def address_bar(units: pd.DataFrame, layer: str, unit: int) -> None:
    """Layer, number, previous, next, random."""
    every = list(zip(units["layer"], units["unit"].astype(int)))
    size = int((units["layer"] == layer).sum())
    steps = {
        "Previous": (-1, "Left", ":material/arrow_back:"),
        "Next": (1, "Right", ":material/arrow_forward:"),
        "Random": (random.randrange(1, max(len(every), 2)), "X", ":material/casino:"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layers = list(dict.fromkeys(units["layer"]))
        address.widget(st.selectbox, "Layer", layers, name="layer", value=layer, clears=("unit", "image"), width=220)
        address.widget(
            st.number_input,
            f"Unit, 0 to {size - 1}",
            0,
            size - 1,
            step=1,
            name="unit",
            value=unit,
            clears=("image",),
            width=150,
        )
        for title, (by, key, icon) in steps.items():
            st.button(
                title,
                icon=icon,
                shortcut=key,
                key=f"step-{title}",
                on_click=step,
                args=(every, (layer, unit), by),
            )


def strip(units: pd.DataFrame, row: dict) -> None:
    """The unit's numbers, each with what it is to be compared with."""
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
    for column, (name, value, beside, why) in zip(columns, cells):
        column.metric(name, value, delta=beside, delta_color="off", delta_arrow="off", help=why)


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    name = run["name"]
    units, names = reads.store().units(name), reads.class_names(name)
    layer, unit = requested_unit(units)
    row = units[(units["layer"] == layer) & (units["unit"] == unit)].iloc[0].to_dict()
    frame.page(
        "What does this unit respond to, and does it matter?",
        f"Unit {unit} of layer {safe_text.code(layer)}: on the left what it responds to and what breaks without it, on "
        "the right the evidence, first the images that drive it most and least.",
        f"store.activations({name!r}, {layer!r}, {unit})",
    )
    address_bar(units, layer, unit)
    strip(units, row)
    frame.unbounded(name, [layer])
    if row["dead"]:
        st.warning(
            "This unit is dead: it is never active on the evaluation images, so its SI is 0.",
            icon=":material/power_off:",
        )
    meanings, evidences = MEANING, EVIDENCE
    if watched := reads.watched(name):
        meanings, evidences = ({k: v for k, v in tabs.items() if k not in NEED_NETWORK} for tabs in (MEANING, EVIDENCE))
        st.info(
            "This network could not be traced, so its units were watched while it ran: what was stored of them is "
            "here, what has to be computed anew, such as silencing a unit, is left out.",
            icon=":material/visibility:",
        )
    activations = reads.store().activations(name, layer, unit)
    preferred = int(row["preferred_index"])
    means = reads.store().class_means(name, layer, unit)
    low, high = mean_interval(means["mean"], means["std"], means["images"])
    means = means.assign(low=low, high=high)
    left, right = st.columns([5, 6], gap="large")
    with left:
        tables.chart(
            "Response to each class",
            figures.unit.tuning(means, preferred, theme.dark()),
            "A bar is the unit's mean activation over the images of a class, with the 95 % interval (t) of that mean "
            "for new images. The outlined class is the preferred one.",
            means[["class", "mean", "low", "high", "std", "images"]],
            "tuning",
        )
        if not watched:
            with frame.show_errors():
                ablation_effect.effect(name, layer, unit)
        meaning = address.segmented("More about it", meanings, "meaning", label_visibility="collapsed")
        with frame.show_errors():
            if meaning == "spread":
                profile.spread(activations, names, preferred)
            elif meaning == "answers":
                profile.outgoing(name, layer, unit)
            else:
                profile.alike(run, layer, unit)
    with right:
        evidence = address.segmented("Evidence", evidences, "evidence", label_visibility="collapsed")
        with frame.show_errors():
            if evidence == "images":
                gallery.images(name, layer, unit, activations)
            elif evidence == "pixels":
                attributions.attribution(name, layer, unit, gallery.chosen(activations), activations)
            elif evidence == "made":
                gallery.synthesised(name, layer, unit, activations)
            else:
                own_image.show(name, layer, unit)
    with st.expander(
        "How each number is computed", icon=":material/calculate:", on_change="rerun", key="numbers"
    ) as box:
        if box.open:
            profile.measures_table(name, row, activations, means)
    profile.provenance(name)
