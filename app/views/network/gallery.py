"""Units as a board and as cards: `network(filters)`, `cards(filters, count)`; a click on either opens the unit."""

import numpy as np
import pandas as pd
import streamlit as st

from selviz.figures import colors
from selviz.store import Wanted
from selviz.text import numbers

from ...board import cards as unit_cards
from ...board import component as board
from ...look import theme
from ...page import measures, silencing
from ...state import address, reads
from ...state.navigation import page_at
from .filters import Filters, ends

PAGE = 48  # cards on one page
MAX_BARS = 40  # classes up to which each has a bar
GROUPS = {"none": "all together", "layer": "by layer", "class": "by class"}


def open_unit(run: str, layer: str, unit: int) -> None:
    """Remember that a unit is to be opened: a page can be left only while it is drawn."""
    st.session_state["units-open"] = {"run": run, "layer": layer, "unit": str(unit)}


def leave() -> None:
    """Go to the page of the unit that was clicked, if one was."""
    if query := st.session_state.pop("units-open", None):
        st.switch_page(page_at("unit"), query_params=query)


def network(filters: Filters) -> None:
    """Draw the board; units that the filters leave out recede, and brightness is the measure sorted by."""
    run, content = filters.run, board.read(filters.run)
    shown, strength = _seen(filters)
    outcome = silencing.untouched(run)
    view = board.View(
        {},
        outcome.before,
        outcome.accuracy_before,
        mode="open",
        silencing=False,
        focus_class=filters.wanted.preferred_class or "",
        class_action="Click to see the units that prefer it",
        shown=shown,
        strength=strength,
    )
    board.show(
        run,
        view,
        key="network",
        height=290 if len(content.si) <= 2000 else 330,
        on_open=lambda layer, unit: open_unit(run, layer, unit),
        on_class=lambda name: address.update(**{"class": name}),
    )


def _seen(filters: Filters) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return which units the filters leave [U], None for all, and their strength 0..1 [U], None for SI itself."""
    metric = filters.wanted.metric
    if filters.wanted == Wanted():
        return None, None
    every = reads.store().units(filters.run)[["layer", "unit"]]
    left = reads.store().find_units(filters.run, filters.wanted, order="unit", short=True)
    columns = ["layer", "unit"] + ([metric] if metric != "si" else [])
    merged = every.merge(left[columns].assign(left=1.0), on=["layer", "unit"], how="left")
    shown = merged["left"].notna().to_numpy(dtype=np.float32)
    if metric == "si":
        return shown, None
    low, high = ends(filters.run, metric)
    values = merged[metric].to_numpy(dtype=float)
    strength = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1)).astype(np.float32)
    return (None if shown.all() else shown), strength


def cards(filters: Filters, count: int, caption: str) -> None:
    """Draw a page of cards, and next to its controls what is told of them."""
    run = filters.run
    pages = -(-count // PAGE)
    page = address.integer("page", 1, pages, 1)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        group = address.segmented("Cards", GROUPS, "group", label_visibility="collapsed")
        if pages > 1:
            address.widget(
                st.number_input,
                f"Page, 1 to {pages}",
                1,
                pages,
                step=1,
                name="page",
                value=page,
                default=1,
                width=150,
                label_visibility="collapsed",
            )
            st.caption(f"page {page} of {pages}", width="content")
        st.caption(caption, width="content")
    units = filters.units(PAGE, (page - 1) * PAGE)
    groups: dict[str, list[unit_cards.Card]] = {}
    tuning = _tuning(run, units)
    hues = colors.classes(len(reads.class_names(run)), theme.dark())
    for row in units.to_dict("records"):
        title = {"none": "", "layer": row["layer"], "class": f"prefers {row['preferred_class']}"}[group]
        title = "dead" if group == "class" and row["dead"] else title
        groups.setdefault(title, []).append(_card(row, filters.wanted.metric, tuning, hues))
    unit_cards.show(run, groups, lambda layer, unit: open_unit(run, layer, unit))
    st.caption(
        "On a card: the mean of the nine images that drive the unit most, framed in the color of the class it prefers; "
        "its SI, and in brackets what shuffled labels reach once in twenty; its mean activation on each class."
    )


def _tuning(run: str, units: pd.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    """Return the mean activation on each class of these units [C]."""
    chosen = list(zip(units["layer"].astype(str), units["unit"].tolist()))
    return dict(zip(chosen, reads.store().tuning_of(run, chosen)))


def _card(row: dict, metric: str, tuning: dict[tuple[str, int], np.ndarray], hues: list[str]) -> unit_cards.Card:
    means = tuning.get((row["layer"], int(row["unit"])), np.zeros(0))
    top = float(np.abs(means).max()) if len(means) else 0.0
    heights = np.abs(means) / top if top > 0 else np.zeros(len(means))
    bars = [(float(height), hues[number]) for number, height in enumerate(heights)]
    if len(bars) > MAX_BARS:  # the classes that drive it most
        bars = sorted(bars, reverse=True)[:MAX_BARS]
    measure = f"SI {numbers.si(row['si'])} ({numbers.si(row['null_p95'])})"
    if metric != "si" and not pd.isna(row[metric]):
        measure = f"{measures.MEASURES[metric].title} {numbers.number(float(row[metric]))}"
    dead = bool(row["dead"])
    return unit_cards.Card(
        row["layer"],
        int(row["unit"]),
        "dead" if dead else f"prefers {row['preferred_class']}",
        "#8888" if dead else hues[int(row["preferred_index"])],
        "never active" if dead else measure,
        f"mean activation on each class; largest on {row['preferred_class']}",
        bars,
    )
