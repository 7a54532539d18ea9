"""Which units are there, and what are they like?"""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from app.page import frame, measures, run_picker, tables, unit_selection
from app.state import address, reads
from app.state.navigation import page_at
from app.views.units import panels
from selviz.store import Wanted
from selviz.text import numbers, safe_text, unit_lists

ROUNDED = 1e-9  # what the address may have cut off the ends of a range
COLUMNS = ("layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "zero_share", "dead")


def show() -> None:
    """Draw the page."""
    run, store = run_picker.require_run()["name"], reads.store()
    frame.page(
        "Which units are there, and what are they like?",
        "A unit is one channel of a layer. Its class selectivity index (SI) says how much more it responds to one "
        "class than to the others; what shuffled labels give, its null, stands beside it. Click a row or a dot to "
        "open the unit.",
        f"store.units({run!r})",
    )
    known, names = measures.known(run), reads.class_names(run)
    layers = reads.store().layers(run)["layer"].tolist()

    def open_unit(layer: str, unit: int) -> None:
        """Switches to the page of that unit."""
        st.switch_page(page_at("unit"), query_params={"run": run, "layer": layer, "unit": str(unit)})

    def filters() -> tuple[Wanted, bool]:
        """The widgets that say which units are wanted, and whether those with the largest value come first."""
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            sought = address.get("find").strip()
            address.widget(
                st.text_input, "Find", name="find", value=sought, default="", width=150, placeholder="relu3:7, a class",
                help="A layer, LAYER:UNIT, or a preferred class, or a part of its name.",
            )  # fmt: skip
            layer = address.choose("layer", ["all", *layers], "all")
            address.widget(
                st.selectbox,
                "Layer",
                ["all", *layers],
                name="layer",
                value=layer,
                default="all",
                width=170,
                clears=("at",),
            )
            prefers = address.choose("class", ["any", *names], "any")
            address.widget(
                st.selectbox, "Preferred class", ["any", *names], name="class", value=prefers, default="any", width=150
            )
            state = address.segmented("Units", {"all": "all", "live": "live", "dead": "dead"}, "dead")
            metric = address.choose("metric", list(known), "si", "measure")
            address.widget(
                st.selectbox, "Sorted by", list(known), name="metric", value=metric, default="si", width=190,
                format_func=known.get, clears=("page",),
            )  # fmt: skip
            low, high = ends(metric)
            span = address.number_range(metric, low, high)
            step = 0.01 if high - low >= 0.1 else (high - low) / 100
            address.widget(
                st.slider, f"{known[metric]} between", low, high, step=step, name=metric, value=span, default=(low, high),
                text=lambda ends: f"{ends[0]:.3g}..{ends[1]:.3g}", width=220,
            )  # fmt: skip
            first = address.segmented("First", {"largest": "largest", "smallest": "smallest"}, "first")
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
        return wanted, first == "largest"

    def ends(metric: str) -> tuple[float, float]:
        """The ends of the slider: 0 to 1 for a measure that stays inside, else its lowest and highest value."""
        whole = store.count_units(run, Wanted(metric=metric))
        low, high = float(whole["lowest"]), float(whole["highest"])
        low, high = (low, high) if low <= high else (0.0, 1.0)  # no unit has a value
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        return (low, high) if high > low else (low, low + 1.0)

    def use(count: int, rows: Callable[[int], pd.DataFrame], told: str) -> None:
        """What can be done with several units at once: silence them, or save them as a group."""
        with frame.popover(told, ":material/bookmark_add:", "use", disabled=not count) as opened:
            if opened:
                first = int(st.number_input("The first", 1, count, min(20, count), key="use-count"))
                chosen = {layer: sorted(part["unit"].astype(int)) for layer, part in rows(first).groupby("layer")}
                text = unit_lists.format_units(chosen)
                st.caption(safe_text.code(text))
                if st.button("Silence them", icon=":material/content_cut:", key="use-silence"):
                    query = {"run": run, **unit_selection.query(run, chosen)}
                    st.switch_page(page_at("ablation"), query_params=query)
                unit_selection.save(run, chosen)

    def sorted_units(limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """The units that the filters leave, in the order asked for."""
        return store.find_units(run, wanted, descending=largest, limit=limit, offset=offset)

    wanted, largest = filters()
    found = store.count_units(run, wanted)
    if not found["units"]:
        st.info("No unit fits these filters.", icon=":material/filter_alt_off:")
        nothing = dict.fromkeys(("find", "layer", "class", "dead", "metric", "page", *known))
        st.button("Clear the filters", on_click=lambda: address.update(**nothing))
        st.stop()
    pages = -(-found["units"] // panels.PAGE)
    page = address.integer("page", 1, pages, 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        every = int(reads.store().layers(run)["units"].sum())
        counts = f"{numbers.counted(found['units'], 'unit')} of {numbers.whole(every)}, {found['dead']} dead."
        st.markdown(counts, width="content")
        actions = st.container(width="content")
        tables.saving("units", sorted_units)
    frame.unbounded(run, found["layers"])

    view = address.segmented("Seen as", {name: title for name, (title, _) in panels.VIEWS.items()}, "seen")
    if view in panels.WIDE:
        seen, listed = st.container(), st.container()
    else:
        listed, seen = st.columns([6, 5], gap="large")
    with listed:
        columns = list(dict.fromkeys([*COLUMNS[:3], wanted.metric, *COLUMNS[3:]]))
        here = sorted_units(panels.PAGE, (page - 1) * panels.PAGE)
        low, high = ends("si")
        picked = tables.table(
            here[columns],
            height=640,
            key="units-table",
            on_select="rerun",
            selection_mode="single-row",
            column_config={
                "layer": st.column_config.TextColumn(width=105),
                "unit": st.column_config.NumberColumn(width=45),
                "si": st.column_config.ProgressColumn("SI", format="%.2f", min_value=low, max_value=high, width=105),
                "null_p95": st.column_config.NumberColumn("null 95 %", format="%.3f", width=75),
                "preferred_class": st.column_config.TextColumn("prefers", width=90),
            },
        )
        if pages > 1:
            address.widget(
                st.number_input, f"Page, 1 to {pages}", 1, pages, step=1, name="page", value=page, default=1, width=150
            )
        st.caption("A null of 0.08 means: with shuffled labels this unit reaches SI 0.08 once in twenty.")
    with seen:
        told = panels.VIEWS[view][1](run, wanted, found, largest)
    marked = told.get("marked", here.head(0))
    with actions:
        if len(marked):
            use(len(marked), marked.head, f"Use {numbers.counted(len(marked), 'marked unit')}")
        else:
            use(found["units"], sorted_units, "Use")
    if rows := picked["selection"]["rows"]:
        open_unit(here["layer"].iloc[rows[0]], here["unit"].iloc[rows[0]])
    if place := told.get("open"):
        open_unit(*place)
