"""Which units are there, and what are they like?"""

import pandas as pd
import streamlit as st

from app import common, links, measures, selection, unit_views, wording

COLUMNS = ("layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "zero_share", "dead")

run = common.require_run()["name"]
common.page(
    "Which units are there, and what are they like?",
    "A unit is one channel of a layer. Its class selectivity index (SI) says how much more it responds to one class "
    "than to the others; what shuffled labels give, its null, stands beside it. Click a row or a dot to open the unit.",
    f"store.units({run!r})",
)
units, names = measures.table(run), common.class_names(run)
known = measures.known(units)
layers = units["layer"].unique().tolist()


def open_unit(layer: str, unit: int) -> None:
    """Switches to the page of that unit."""
    st.switch_page("views/unit.py", query_params={"run": run, "layer": layer, "unit": str(unit)})


def filtered() -> pd.DataFrame:
    """The units that the filters leave, in the order asked for."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        sought = links.get("find", "").strip()
        links.widget(
            st.text_input, "Find", name="find", value=sought, default="", width=150, placeholder="relu3:7, a class",
            help="A layer, LAYER:UNIT, or a preferred class, or a part of its name.",
        )  # fmt: skip
        layer = links.choose("layer", ["all", *layers], "all")
        links.widget(
            st.selectbox, "Layer", ["all", *layers], name="layer", value=layer, default="all", width=170, clears=("at",)
        )
        prefers = links.choose("class", ["any", *names], "any")
        links.widget(
            st.selectbox, "Preferred class", ["any", *names], name="class", value=prefers, default="any", width=150
        )
        state = links.segmented("Units", {"all": "all", "live": "live", "dead": "dead"}, "dead")
        metric = links.choose("metric", list(known), "si", "measure")
        links.widget(
            st.selectbox, "Sorted by", list(known), name="metric", value=metric, default="si", width=190,
            format_func=known.get, clears=("page",),
        )  # fmt: skip
        low, high = _ends(units[metric])
        span = links.span(metric, low, high)
        step = 0.01 if high - low >= 0.1 else (high - low) / 100
        links.widget(
            st.slider, f"{known[metric]} between", low, high, step=step, name=metric, value=span, default=(low, high),
            text=lambda ends: f"{ends[0]:.3g}..{ends[1]:.3g}", width=220,
        )  # fmt: skip
        order = links.segmented("First", {"largest": "largest", "smallest": "smallest"}, "first")
    inside = units[metric].between(span[0] - 1e-9, span[1] + 1e-9)
    shown = units[inside | (units[metric].isna() & (span == (low, high)))]
    if sought:
        shown = shown[_found(shown, sought.lower())]
    if layer != "all":
        shown = shown[shown["layer"] == layer]
    if prefers != "any":
        shown = shown[shown["preferred_class"] == prefers]
    if state != "all":
        shown = shown[shown["dead"] == (state == "dead")]
    return shown.sort_values(metric, ascending=order == "smallest", kind="stable").reset_index(drop=True)


def _found(units: pd.DataFrame, sought: str) -> pd.Series:
    """Which units have these letters in their layer, in LAYER:UNIT (to its end), or in their preferred class."""
    layer, preferred = units["layer"].str.lower(), units["preferred_class"].astype(str).str.lower()
    address = layer + ":" + units["unit"].astype(str)
    return (
        layer.str.contains(sought, regex=False)
        | address.str.endswith(sought)
        | preferred.str.contains(sought, regex=False)
    )


def _ends(values: pd.Series) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    return (low, high) if high > low else (low, low + 1.0)


def use(rows: pd.DataFrame, told: str) -> None:
    """What can be done with several units at once: silence them, or save them as a group."""
    with st.popover(told, icon=":material/bookmark_add:", on_change="rerun", key="use", disabled=not len(rows)) as box:
        if box.open:
            count = int(st.number_input("The first", 1, len(rows), min(20, len(rows)), key="use-count"))
            chosen = {layer: sorted(part["unit"].astype(int)) for layer, part in rows.head(count).groupby("layer")}
            text = links.units_to_text(chosen)
            st.caption(wording.code(text))
            if st.button("Silence them", icon=":material/content_cut:", key="use-silence"):
                query = {"run": run, **selection.query(run, chosen)}
                st.switch_page("views/ablation.py", query_params=query)
            selection.save(run, chosen)


shown = filtered()
if not len(shown):
    st.info("No unit fits these filters.", icon=":material/filter_alt_off:")
    nothing = dict.fromkeys(("find", "layer", "class", "dead", "metric", "page", *known))
    st.button("Clear the filters", on_click=lambda: links.put(**nothing))
    st.stop()
pages = -(-len(shown) // unit_views.PAGE)
page = links.integer("page", 1, pages, 1)
with st.container(horizontal=True, vertical_alignment="center"):
    counts = f"{wording.counted(len(shown), 'unit')} of {wording.whole(len(units))}, {int(shown['dead'].sum())} dead."
    st.markdown(counts, width="content")
    actions = st.container(width="content")
    common.saving("units", shown)
common.unbounded(run, shown["layer"].unique())

view = links.segmented("Seen as", {name: title for name, (title, _) in unit_views.VIEWS.items()}, "seen")
if view in unit_views.WIDE:
    seen, listed = st.container(), st.container()
else:
    listed, seen = st.columns([6, 5], gap="large")
with listed:
    metric = links.get("metric", "si") if links.get("metric", "si") in known else "si"
    columns = list(dict.fromkeys([*COLUMNS[:3], metric, *COLUMNS[3:]]))
    here = shown.iloc[(page - 1) * unit_views.PAGE : page * unit_views.PAGE]
    low, high = _ends(units["si"])
    picked = common.table(
        here[columns],
        height=640,
        key="units-table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"si": st.column_config.ProgressColumn("SI", format="%.2f", min_value=low, max_value=high)},
    )
    if pages > 1:
        links.widget(
            st.number_input, f"Page, 1 to {pages}", 1, pages, step=1, name="page", value=page, default=1, width=150
        )
    st.caption("A null of 0.08 means: with shuffled labels this unit reaches SI 0.08 once in twenty.")
with seen:
    told = unit_views.VIEWS[view][1](run, shown)
marked = told.get("marked", shown.head(0))
with actions:
    use(
        marked if len(marked) else shown, f"Use {wording.counted(len(marked), 'marked unit')}" if len(marked) else "Use"
    )
if rows := picked["selection"]["rows"]:
    open_unit(here["layer"].iloc[rows[0]], here["unit"].iloc[rows[0]])
if place := told.get("open"):
    open_unit(*place)
