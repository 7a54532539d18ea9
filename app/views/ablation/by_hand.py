"""Units chosen one by one: on the board, in a list, a plot or a table, or typed: `by_hand(run, sizes)`."""

from functools import partial

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.store import read_group
from selviz.text import numbers, unit_lists

from ...look import theme
from ...page import tables
from ...page.unit_selection import Units, metrics, put
from ...state import address, reads

WAYS = {"list": "List", "plot": "Plot", "table": "Table", "text": "Type"}
MAX_MARKS = 5000
METRICS = {
    "si": "SI",
    "mean_activation": "mean activation",
    "max_activation": "largest activation",
    "std": "standard deviation",
    "zero_share": "share of zeros",
}
DROP = "accuracy drop when silenced alone, points"


def by_hand(run: str, sizes: dict[str, int]) -> Units:
    chosen = listed(sizes)
    way = address.segmented("Pick from", WAYS, "by", label_visibility="collapsed")
    if way == "text":
        address.bound_widget(
            st.text_area,
            "Units, layer by layer",
            key="typed",
            value=unit_lists.format_units(chosen),
            on_change=lambda typed: address.update(rule=None, group=None, silence=typed.strip() or None),
            placeholder=f"{next(iter(sizes))}:0,4-7;{list(sizes)[-1]}:3",
            help="LAYER:numbers and ranges, layers parted by a semicolon, as in the address and on the command line.",
        )
        return chosen
    every = sum(sizes.values()) <= MAX_MARKS and way != "list"
    layers = [*(["all"] if every else []), *sizes]
    layer = address.choose("layer", layers, next(iter(chosen), layers[-1]))
    address.widget(st.selectbox, "Layer to choose from", layers, name="layer", value=layer)
    table = reads.store().units(run)
    table = table if layer == "all" else table[table["layer"] == layer]
    if way == "list":
        _list(run, table, layer, chosen)
        return chosen
    rows = _plot(run, layer, chosen) if way == "plot" else _table(run, table, chosen)
    picked = by_layer(rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"{numbers.counted(len(rows), 'unit')} marked" if len(rows) else "Mark units to silence them."
        st.markdown(label)
        both = {name: sorted({*chosen.get(name, ()), *picked.get(name, ())}) for name in sizes}
        st.button("Silence only these", disabled=not picked, on_click=put, args=(run, picked))
        st.button("Add them", disabled=not picked or not chosen, on_click=put, args=(run, both))
    return chosen


def listed(sizes: dict[str, int]) -> Units:
    """Return the units that the address lists, by name or by a group's key."""
    text = address.get("silence")
    if key := address.get("group"):
        try:
            text = unit_lists.format_units(read_group(reads.data(), key)["units"])
        except SelvizError:
            address.not_found("group", key, "no unit")
    chosen, wrong = unit_lists.parse_existing_units(text, sizes)
    for part in wrong[:3]:
        address.not_found("unit", part, unit_lists.format_units(chosen) or "no unit")
    return {layer: chosen[layer] for layer in sizes if layer in chosen}


def _list(run: str, table: pd.DataFrame, layer: str, chosen: Units) -> None:
    known = table.sort_values("si", ascending=False).set_index("unit").to_dict("index")

    def label(unit: int) -> str:
        row = known[unit]
        return f"{unit} · " + ("dead" if row["dead"] else f"{row['preferred_class']} · SI {numbers.si(row['si'])}")

    address.bound_widget(
        st.multiselect,
        "Units: number, preferred class, SI",
        list(known),
        key="picked",
        value=chosen.get(layer, []),
        on_change=lambda picked: put(run, {**chosen, layer: picked}),
        format_func=label,
        placeholder="Type a class or a number",
        help="The most selective units come first. Units of other layers stay silent when you change the layer.",
    )


def _plot(run: str, layer: str, chosen: Units) -> pd.DataFrame:
    """Return a scatter of two metrics; gives the rows of the units that were marked with the lasso, a box or a
    click.
    """
    table = metrics(run)
    table = table if layer == "all" else table[table["layer"] == layer]
    drop = _drops(run)
    known = METRICS if drop is None else {**METRICS, "drop": DROP}
    if drop is not None:
        table = table.merge(drop, on=["layer", "unit"], how="left")
    axes = {}
    for column, name, default in zip(st.columns(2), ("x", "y"), ("si", "mean_activation")):
        axes[name] = address.choose(name, list(known), default, f"{name} axis")
        title = {"x": "Across", "y": "Upwards"}[name]
        with column:
            address.widget(st.selectbox, title, list(known), name=name, value=axes[name], format_func=known.get)
    silent = [unit in chosen.get(layer_name, ()) for layer_name, unit in zip(table["layer"], table["unit"])]
    titles = {name: known[axis] for name, axis in axes.items()}
    figure = partial(
        figures.units.unit_scatter,
        table.assign(x=table[axes["x"]], y=table[axes["y"]], silent=silent),
        reads.class_names(run),
        titles,
        theme.dark(),
    )
    how = (
        "A mark is a unit in the color of its preferred class, hollow if dead, ringed if silent. Draw around "
        "units. All metrics here are of fold 0, so a choice made here can be judged on fold 1"
        + (", except the accuracy drop, which is of all images." if "drop" in axes.values() else ".")
    )
    event = tables.chart(
        "Units", figure, how, table, "scatter", on_select="rerun", selection_mode=("lasso", "box", "points")
    )
    marked = {tuple(point["customdata"]) for point in event["selection"]["points"] if point.get("customdata")}
    return table[[(layer_name, unit) in marked for layer_name, unit in zip(table["layer"], table["unit"])]]


def _table(run: str, table: pd.DataFrame, chosen: Units) -> pd.DataFrame:
    ranked = table.sort_values("si", ascending=False, kind="stable").head(MAX_MARKS).reset_index(drop=True)
    picked = tables.table(
        ranked[["layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]],
        height=320,
        key="pick-table",
        on_select="rerun",
        selection_mode="multi-row",
    )
    return ranked.iloc[picked["selection"]["rows"]]


def by_layer(rows: pd.DataFrame) -> Units:
    return {layer: sorted(part["unit"].astype(int)) for layer, part in rows.groupby("layer", sort=False)}


def _drops(run: str) -> pd.DataFrame | None:
    """Return each unit's drop of accuracy in points when it is silenced alone, from the run's atlas; None if it
    has none.
    """
    try:
        table = reads.store().atlas(run)
    except SelvizError:
        return None
    return table[["layer", "unit"]].assign(drop=-100 * table["change"])
