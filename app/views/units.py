"""Which units are there, and what are they like?"""

import streamlit as st

from app import charts, common, links, wording

run = common.require_run()
common.page(
    "Which units are there, and what are they like?",
    "A unit is one channel of a layer. Its class selectivity index (SI) says how much more it responds to one class "
    "than to the others; what shuffled labels give, its null, stands beside it. Click a row or a dot to open the unit.",
    f"store.units({run['name']!r})",
)
units, names = common.read("units", run["name"]), common.class_names(run["name"])
layers = list(dict.fromkeys(units["layer"]))
low, high = min(0.0, float(units["si"].min())), max(1.0, float(units["si"].max()))

with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    layer = links.choose("layer", ["all", *layers], "all")
    links.widget(st.selectbox, "Layer", ["all", *layers], name="layer", value=layer, default="all", width=200)
    prefers = links.choose("class", ["any", *names], "any")
    links.widget(
        st.selectbox, "Preferred class", ["any", *names], name="class", value=prefers, default="any", width=150
    )
    state = links.segmented("Units", {"all": "all", "live": "live", "dead": "dead"}, "dead")
    span = links.span("si", low, high)
    links.widget(
        st.slider,
        "SI between",
        low,
        high,
        step=0.01,
        name="si",
        value=span,
        default=(low, high),
        text=lambda ends: f"{ends[0]:.2f}..{ends[1]:.2f}",
        width=260,
    )
shown = units[units["si"].between(span[0] - 1e-9, span[1] + 1e-9)]
if layer != "all":
    shown = shown[shown["layer"] == layer]
if prefers != "any":
    shown = shown[shown["preferred_class"] == prefers]
if state != "all":
    shown = shown[shown["dead"] == (state == "dead")]
st.markdown(
    f"{wording.counted(len(shown), 'unit')} of {wording.whole(len(units))}, {int(shown['dead'].sum())} of them dead."
)
common.unbounded(run["name"], shown["layer"].unique())
if not len(shown):
    st.info("No unit fits these filters.", icon=":material/filter_alt_off:")
    st.button("Clear the filters", on_click=lambda: links.put(layer=None, dead=None, si=None, **{"class": None}))
    st.stop()


def open_unit(layer: str, unit: int) -> None:
    """Switches to the page of that unit."""
    st.switch_page("views/unit.py", query_params={"run": run["name"], "layer": layer, "unit": str(unit)})


table, histogram = st.columns([6, 5], gap="large")
with table:
    columns = ["layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "zero_share", "dead"]
    ranked = shown.sort_values("si", ascending=False, kind="stable").reset_index(drop=True)
    picked = common.table(
        ranked[columns],
        height=640,
        key="units-table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"si": st.column_config.ProgressColumn("SI", format="%.2f", min_value=low, max_value=high)},
    )
    st.caption(
        "Sort by a column's head. A null of 0.08 means: with shuffled labels this unit reaches SI 0.08 once in twenty."
    )
with histogram, st.container(height=740 if shown["layer"].nunique() > 5 else "content", border=False):
    clicked = common.chart(
        "SI, layer by layer",
        charts.si_histograms(shown, names, common.dark()),
        "A dot is a unit at its SI, coloured by the class it prefers, hollow if dead (bars where there are too many "
        "units). Grey band: where units of this layer lie with shuffled labels, median null mean to median null 95 %.",
        shown,
        "histograms",
        on_select="rerun",
    )
if rows := picked["selection"]["rows"]:
    open_unit(ranked["layer"].iloc[rows[0]], ranked["unit"].iloc[rows[0]])
if points := [p for p in clicked["selection"]["points"] if p.get("customdata")]:
    open_unit(*points[0]["customdata"])
