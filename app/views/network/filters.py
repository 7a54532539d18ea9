"""Which units are wanted, in which order: `filters = choose(run)` draws one row of widgets."""

from typing import NamedTuple

import pandas as pd
import streamlit as st

from selviz.store import Wanted

from ...page import measures
from ...state import address, reads

ROUNDED = 1e-9  # what the address may have cut off the ends of a range
STATES = {"all": "all", "live": "live", "dead": "dead"}
FIRST = {"largest": "↓", "smallest": "↑"}


class Filters(NamedTuple):
    """The units that are wanted, and whether those with the largest value of `wanted.metric` come first."""

    run: str
    wanted: Wanted
    largest: bool

    def units(self, limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """Return the units that are wanted, in their order."""
        return reads.store().find_units(self.run, self.wanted, descending=self.largest, limit=limit, offset=offset)


def choose(run: str) -> Filters:
    """Draw the widgets and return what they say."""
    known, names = measures.known(run), reads.class_names(run)
    layers = ["all", *reads.store().layers(run)["layer"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", key="network-filters"):
        sought = address.get("find").strip()
        address.widget(
            st.text_input,
            "Find",
            name="find",
            value=sought,
            default="",
            width=118,
            placeholder="relu3:7, a class",
            help="A layer, LAYER:UNIT, or a preferred class, or a part of its name.",
            clears=("page",),
        )
        layer = address.choose("layer", layers, "all")
        address.widget(
            st.selectbox,
            "Layer",
            layers,
            name="layer",
            value=layer,
            default="all",
            width=105,
            clears=("at", "page"),
        )
        classes = ["any", *names]
        prefers = address.choose("class", classes, "any")
        address.widget(
            st.selectbox,
            "Prefers",
            classes,
            name="class",
            value=prefers,
            default="any",
            width=112,
            clears=("page",),
        )
        state = address.segmented("Units", STATES, "dead", clears=("page",))
        metric = address.choose("metric", list(known), "si", "measure")
        address.widget(
            st.selectbox,
            "Sorted by",
            list(known),
            name="metric",
            value=metric,
            default="si",
            width=125,
            format_func=known.get,
            clears=("page",),
        )
        first = address.segmented(
            "First", FIRST, "first", clears=("page",), help="↓ the largest first, ↑ the smallest first"
        )
        low, high = ends(run, metric)
        span = address.number_range(metric, low, high)
        address.widget(
            st.slider,
            f"{known[metric]} between",
            low,
            high,
            step=0.01 if high - low >= 0.1 else (high - low) / 100,
            name=metric,
            value=span,
            default=(low, high),
            text=lambda ends: f"{ends[0]:.3g}..{ends[1]:.3g}",
            width=128,
            clears=("page",),
        )
    some = span != (low, high)  # else units without a value of the measure are wanted too
    wanted = Wanted(
        sought,
        None if layer == "all" else layer,
        None if prefers == "any" else prefers,
        None if state == "all" else state == "dead",
        metric,
        span[0] - ROUNDED if some else None,
        span[1] + ROUNDED if some else None,
    )
    return Filters(run, wanted, first == "largest")


def clear(run: str) -> None:
    """Take all filters out of the address."""
    names = ("find", "layer", "class", "dead", "metric", "page", *measures.known(run))
    address.update(**dict.fromkeys(names))


def ends(run: str, metric: str) -> tuple[float, float]:
    """Return the ends of a measure's slider: 0 to 1 where it stays inside, else its lowest and highest value."""
    whole = reads.store().count_units(run, Wanted(metric=metric))
    low, high = float(whole["lowest"]), float(whole["highest"])
    low, high = (low, high) if low <= high else (0.0, 1.0)  # no unit has a value
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    return (low, high) if high > low else (low, low + 1.0)
