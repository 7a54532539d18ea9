"""Which units are there, and what are they like?"""

from typing import Any

import pandas as pd
import streamlit as st

from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...page import frame, run_picker, tables, unit_selection
from ...state import address, reads
from ...state.navigation import page_at
from . import filters as unit_filters
from . import gallery, live_input, panels
from .filters import Filters

COLUMNS = ("layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "zero_share", "dead")
SEEN = {"cards": "Cards", "table": "Table"} | {name: title for name, (title, _) in panels.VIEWS.items()}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    frame.page("Which units are there, and what are they like?", "", f"store.units({run!r})")
    board_slot = st.container(key=board.room_key("network", run))
    board_slot.empty()  # a container without content takes no place, and what comes later would push the rest down
    filters = unit_filters.choose(run)
    counts_found = reads.store().count_units(run, filters.wanted)
    if not counts_found["units"]:
        st.info("No unit fits these filters.", icon=":material/filter_alt_off:")
        st.button("Clear the filters", on_click=unit_filters.clear, args=(run,))
        return
    with board_slot:
        with st.container(key="network-light"):
            lighting = live_input.choose(run)
        if lighting == "none":
            gallery.network(filters)
        else:
            live_input.lit(run, lighting)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = address.segmented("Seen as", SEEN, "seen", clears=("page",), label_visibility="collapsed")
        actions = st.container(width="content")
        tables.saving("units", filters.units)
    frame.unbounded(run, counts_found["layers"])
    marked = seen_as(view, filters, counts_found)
    with actions:
        if len(marked):
            use(run, marked, f"Use {numbers.counted(len(marked), 'marked unit')}")
        else:
            use(run, filters, f"Use {numbers.counted(counts_found['units'], 'unit')}")
    gallery.leave()


def counts(run: str, count: dict[str, Any]) -> str:
    """Return how many units the filters leave, in words."""
    every = int(reads.store().layers(run)["units"].sum())
    return f"{numbers.counted(count['units'], 'unit')} of {numbers.whole(every)}, {count['dead']} dead."


def seen_as(view: str, filters: Filters, count: dict[str, Any]) -> pd.DataFrame:
    """Draw the units in one of the ways to see them; return the rows that were marked."""
    nothing = pd.DataFrame()
    if view == "cards":
        gallery.cards(filters, count["units"], counts(filters.run, count))
        return nothing
    st.caption(counts(filters.run, count))
    if view == "table":
        table(filters, count["units"])
        return nothing
    figure = panels.VIEWS[view][1](filters.run, filters.wanted, count, filters.largest)
    if clicked := figure.get("open"):
        gallery.open_unit(filters.run, *clicked)
    return figure.get("marked", nothing)


def table(filters: Filters, count: int) -> None:
    """Draw a page of the table; a click on a row opens the unit."""
    pages = -(-count // panels.PAGE)
    page = address.integer("page", 1, pages, 1)
    rows = filters.units(panels.PAGE, (page - 1) * panels.PAGE)
    low, high = unit_filters.ends(filters.run, "si")
    picked = tables.table(
        rows[list(dict.fromkeys([*COLUMNS[:3], filters.wanted.metric, *COLUMNS[3:]]))],
        height=640,
        key="units-table",
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        column_config={
            "si": st.column_config.ProgressColumn("SI", format="%.2f", min_value=low, max_value=high),
            "null_p95": st.column_config.NumberColumn("null 95 %", format="%.3f"),
            "preferred_class": st.column_config.TextColumn("prefers"),
        },
    )
    if pages > 1:
        address.widget(
            st.number_input, f"Page, 1 to {pages}", 1, pages, step=1, name="page", value=page, default=1, width=150
        )
    st.caption(
        "Click a row to open the unit. A null of 0.08 means: with shuffled labels this unit reaches SI 0.08 once in "
        "twenty."
    )
    selection = picked["selection"]
    clicked = [*selection.get("rows", []), *(cell[0] for cell in selection.get("cells", []))]
    if clicked:
        gallery.open_unit(filters.run, str(rows["layer"].iloc[clicked[0]]), int(rows["unit"].iloc[clicked[0]]))


def use(run: str, units: pd.DataFrame | Filters, label: str) -> None:
    """Draw what can be done with several units at once: silence them, or save them as a group."""
    with frame.popover(label, ":material/bookmark_add:", "use") as opened:
        if opened:
            rows = of_one_layer(units.units() if isinstance(units, Filters) else units)
            first = int(st.number_input("The first", 1, len(rows), min(20, len(rows)), key=f"use-{len(rows)}"))
            layers = rows.head(first).groupby("layer", sort=False)
            chosen = {str(layer): sorted(part["unit"].astype(int)) for layer, part in layers}
            st.caption(safe_text.code(unit_lists.format_units(chosen)))
            if st.button("Silence them", icon=":material/volume_off:", key="use-silence"):
                query = {"run": run, **unit_selection.query(run, chosen)}
                st.switch_page(page_at("silence"), query_params=query)
            unit_selection.save(run, chosen)


def of_one_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Draw, where units lie in several layers, how many in which, and return those of the layer that is chosen."""
    counts = rows["layer"].value_counts(sort=False)
    if len(counts) < 2:
        return rows
    every = f"all {len(counts)} layers"
    names = {"": f"{every}: {numbers.counted(len(rows), 'unit')}"}
    names |= {str(layer): f"{layer}: {numbers.counted(int(count), 'unit')}" for layer, count in counts.items()}
    layer = st.selectbox("Units of", list(names), format_func=names.get, key="use-layer")
    return rows[rows["layer"] == layer] if layer else rows
