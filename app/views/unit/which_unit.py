"""Which unit is shown, and the ways to another: `requested(units)`, `controls(units, layer, unit)`."""

import random

import pandas as pd
import streamlit as st

from ...look import keyboard
from ...state import address


def requested(units: pd.DataFrame) -> tuple[str, int]:
    """Return layer and unit that the address names; else those last looked at; else the most selective one."""
    layers = list(dict.fromkeys(units["layer"]))
    layer, unit = st.session_state.get("unit", (None, None))
    if layer not in layers:
        layer, unit = units.sort_values("si", ascending=False)[["layer", "unit"]].iloc[0]
    layer = address.choose("layer", layers, layer)
    size = int((units["layer"] == layer).sum())
    unit = address.integer("unit", 0, size - 1, min(int(unit), size - 1))
    st.session_state["unit"] = (layer, unit)
    return layer, unit


def step(every: list[tuple[str, int]], drawn: tuple[str, int], by: int, key: str = "") -> None:
    """Go `by` units on, for each press of the button `key`, in the next layer after the last unit of one.

    It counts from where the last step led, which the page may not have drawn yet: keys pressed faster than that count.
    """
    now, by = st.session_state["unit"], by * (address.presses(key) if key else 1)
    layer, unit = every[(every.index(now if now in every else drawn) + by) % len(every)]
    st.session_state["unit"] = (layer, unit)
    address.update(layer=layer, unit=unit, image=None)


def controls(units: pd.DataFrame, layer: str, unit: int) -> None:
    """Draw layer, number, previous, next, random."""
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
                args=(every, (layer, unit), by, f"step-{title}"),
            )
    keyboard.step_keys("unit", lambda by: step(every, (layer, unit), by))
