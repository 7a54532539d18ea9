"""Choosing units to silence: `choice = choose(run)` draws the widgets and gives a Choice, `put(run, units)` makes one.

A choice lives in the address: as a rule with its settings, or as a list of units (a stored group where the list would
be too long for a link). What was chosen before comes back with undo.
"""

import contextlib
import random
from typing import NamedTuple

import pandas as pd
import streamlit as st

from app.look import theme
from app.page import frame, job_panels, tables
from app.state import address, reads
from selviz import figures
from selviz.errors import SelvizError
from selviz.store import delete_group, list_groups, read_group, rename_group, write_group
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text, unit_lists

RULES = {
    "hand": "By hand",
    "top": "Top k",
    "bottom": "Bottom k",
    "random": "Random k",
    "class": "Class",
    "dead": "Dead",
}
WAYS = {"list": "List", "plot": "Plot", "table": "Table", "text": "Type"}
STATE = ("rule", "silence", "group", "layers", "k", "seed", "prefers", "metric")  # what undo brings back
MOST_MARKS = 5000
UNDOS = 50
METRICS = {
    "si": "SI",
    "mean_activation": "mean activation",
    "max_activation": "largest activation",
    "std": "standard deviation",
    "zero_share": "share of zeros",
}
DROP = "accuracy drop when silenced alone, points"

Units = dict[str, list[int]]


class Choice(NamedTuple):
    """The chosen units by layer; whether they were chosen on fold 0 alone; and what the page says about it."""

    units: Units
    on_fold_0: bool
    said: str


def choose(run: str) -> Choice:
    """The widgets of a choice, and what is chosen."""
    rule = address.segmented("Choose units", RULES, "rule")
    table = metrics(run)
    sizes = {layer: int(count) for layer, count in table.groupby("layer", sort=False).size().items()}
    if rule == "hand":
        units = _by_hand(run, sizes)
        said = "A choice that was made looking at all images is judged on images that it has seen."
        return Choice(units, False, said)
    layers = _layers(sizes, list(sizes) if rule == "dead" else list(sizes)[-1:])
    inside = table[table["layer"].isin(layers)]
    if rule == "random":
        return Choice(_at_random(sizes, layers), False, "")
    said = "Chosen on fold 0 and reported on fold 1, so that no image judges a choice that it made."
    if rule == "class":
        names = reads.class_names(run)
        prefers = address.choose("prefers", names, names[0], "class")
        address.widget(st.selectbox, "All live units that prefer", names, name="prefers", value=prefers)
        return Choice(_by_layer(inside[~inside["dead"] & (inside["preferred_class"] == prefers)]), True, said)
    if rule == "dead":
        return Choice(_by_layer(inside[inside["dead"]]), True, said)
    metric = address.choose("metric", list(METRICS), "si")
    count = _count(sizes, layers)
    address.widget(
        st.selectbox, "Ranked by", list(METRICS), name="metric", value=metric, default="si", format_func=METRICS.get
    )
    return Choice(_extreme(inside, metric, count, rule == "top"), True, said)


def put(run: str, units: Units) -> None:
    """Puts a list of units into the address."""
    address.update(**{"rule": None, "silence": None, "group": None, **query(run, units)})


def query(run: str, units: Units) -> dict[str, str]:
    """What an address says of a list of units: the list, or where it is too long for a link, a stored group's key."""
    text = unit_lists.format_units(units)
    if len(text) > address.MAX_LINK_LENGTH and not read_only():
        return {"group": write_group(reads.data(), units, run=run)}
    return {"silence": text} if text else {}


def tools(run: str, units: Units) -> None:
    """Undo, redo, clear, a table of the chosen units, and the saved groups."""
    past, at = _remember()
    with st.container(horizontal=True, gap="xsmall"):
        for title, step, key, icon in (("Undo", -1, "Z", "undo"), ("Redo", 1, "Y", "redo")):
            there = 0 <= at + step < len(past)
            st.button(
                title,
                icon=f":material/{icon}:",
                shortcut=key,
                disabled=not there,
                on_click=_step,
                args=(step,),
                key=title,
            )
        st.button("Clear", icon=":material/backspace:", disabled=not units, on_click=put, args=(run, {}))
        with frame.popover("Units", ":material/table:", "chosen", disabled=not units) as opened:
            if opened:
                table = reads.store().units(run)
                silent = [unit in units.get(layer, ()) for layer, unit in zip(table["layer"], table["unit"])]
                columns = ["layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]
                tables.table(table[silent][columns])
                tables.downloads("chosen", table[silent][columns])
        with frame.popover("Groups", ":material/bookmark:", "groups") as opened:
            if opened:
                _groups(run, units)


# ------------------------------------------------------------------------------------------------------------- by hand


def _by_hand(run: str, sizes: dict[str, int]) -> Units:
    chosen = _listed(sizes)
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
    every = sum(sizes.values()) <= MOST_MARKS and way != "list"
    layers = [*(["all"] if every else []), *sizes]
    layer = address.choose("layer", layers, next(iter(chosen), layers[-1]))
    address.widget(st.selectbox, "Layer to choose from", layers, name="layer", value=layer)
    table = reads.store().units(run)
    table = table if layer == "all" else table[table["layer"] == layer]
    if way == "list":
        _list(run, table, layer, chosen)
        return chosen
    rows = _plot(run, layer, chosen) if way == "plot" else _table(run, table, chosen)
    picked = _by_layer(rows)
    with st.container(horizontal=True, vertical_alignment="center"):
        told = f"{numbers.counted(len(rows), 'unit')} marked" if len(rows) else "Mark units to silence them."
        st.markdown(told)
        both = {name: sorted({*chosen.get(name, ()), *picked.get(name, ())}) for name in sizes}
        st.button("Silence only these", disabled=not picked, on_click=put, args=(run, picked))
        st.button("Add them", disabled=not picked or not chosen, on_click=put, args=(run, both))
    return chosen


def _listed(sizes: dict[str, int]) -> Units:
    """The units that the address lists, by name or by a group's key."""
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

    def told(unit: int) -> str:
        row = known[unit]
        return f"{unit} · " + ("dead" if row["dead"] else f"{row['preferred_class']} · SI {numbers.si(row['si'])}")

    address.bound_widget(
        st.multiselect,
        "Units: number, preferred class, SI",
        list(known),
        key="picked",
        value=chosen.get(layer, []),
        on_change=lambda picked: put(run, {**chosen, layer: picked}),
        format_func=told,
        placeholder="Type a class or a number",
        help="The most selective units come first. Units of other layers stay silent when you change the layer.",
    )


def _plot(run: str, layer: str, chosen: Units) -> pd.DataFrame:
    """A scatter of two metrics; gives the rows of the units that were marked with the lasso, a box or a click."""
    table = metrics(run)
    table = table if layer == "all" else table[table["layer"] == layer]
    drop = _drops(run)
    known = METRICS if drop is None else {**METRICS, "drop": DROP}
    if drop is not None:
        table = table.merge(drop, on=["layer", "unit"], how="left")
    axes = {}
    for column, name, default in zip(st.columns(2), ("x", "y"), ("si", "mean_activation")):
        axes[name] = address.choose(name, list(known), default, f"{name} axis")
        told = {"x": "Across", "y": "Upwards"}[name]
        with column:
            address.widget(st.selectbox, told, list(known), name=name, value=axes[name], format_func=known.get)
    silent = [unit in chosen.get(of, ()) for of, unit in zip(table["layer"], table["unit"])]
    titles = {name: known[axis] for name, axis in axes.items()}
    figure = figures.units.unit_scatter(
        table.assign(x=table[axes["x"]], y=table[axes["y"]], silent=silent),
        reads.class_names(run),
        titles,
        theme.dark(),
    )
    how = (
        "A mark is a unit in the colour of its preferred class, hollow if dead, ringed if silent. Draw around "
        "units. All metrics here are of fold 0, so a choice made here can be judged on fold 1"
        + (", except the accuracy drop, which is of all images." if "drop" in axes.values() else ".")
    )
    event = tables.chart(
        "Units", figure, how, table, "scatter", on_select="rerun", selection_mode=("lasso", "box", "points")
    )
    marked = {tuple(point["customdata"]) for point in event["selection"]["points"] if point.get("customdata")}
    return table[[(of, unit) in marked for of, unit in zip(table["layer"], table["unit"])]]


def _table(run: str, table: pd.DataFrame, chosen: Units) -> pd.DataFrame:
    ranked = table.sort_values("si", ascending=False, kind="stable").head(MOST_MARKS).reset_index(drop=True)
    picked = tables.table(
        ranked[["layer", "unit", "si", "null_p95", "preferred_class", "mean_activation", "dead"]],
        height=320,
        key="pick-table",
        on_select="rerun",
        selection_mode="multi-row",
    )
    return ranked.iloc[picked["selection"]["rows"]]


# --------------------------------------------------------------------------------------------------------------- rules


def _layers(sizes: dict[str, int], default: list[str]) -> list[str]:
    asked = [part for part in address.get("layers").split(",") if part]
    for part in asked:
        if part not in sizes:
            address.not_found("layer", part, "the others" if set(asked) & set(sizes) else default[-1])
    layers = [layer for layer in sizes if layer in asked] or default
    address.widget(
        st.multiselect, "Layers", list(sizes), name="layers", value=layers, text=lambda picked: ",".join(picked)
    )
    return layers


def _count(sizes: dict[str, int], layers: list[str]) -> int:
    most = min(sizes[layer] for layer in layers)
    count = address.integer("k", 1, most, min(5, most))
    if most > 1:
        address.widget(st.slider, "Units from each layer (k)", 1, most, name="k", value=count)
    return count


def _at_random(sizes: dict[str, int], layers: list[str]) -> Units:
    count = _count(sizes, layers)
    seed = address.integer("seed", 0, 10**6, 0)
    st.button("Draw again", icon=":material/casino:", shortcut="X", on_click=address.update, kwargs={"seed": seed + 1})
    generator = random.Random(seed)
    return {layer: sorted(generator.sample(range(sizes[layer]), count)) for layer in layers}


def _extreme(table: pd.DataFrame, metric: str, count: int, largest: bool) -> Units:
    """The `count` units of each layer with the largest or smallest values; of equals, the lower number.

    Ranks are taken within a layer: comparing selectivity across layers is ill-advised (Amjad et al. 2022, arXiv
    1804.06679).
    """
    ranked = table.sort_values([metric, "unit"], ascending=[not largest, True], kind="stable")
    return _by_layer(ranked.groupby("layer", sort=False).head(count))


def _by_layer(rows: pd.DataFrame) -> Units:
    return {layer: sorted(part["unit"].astype(int)) for layer, part in rows.groupby("layer", sort=False)}


@st.cache_data(max_entries=32, show_spinner=False)
def _fold_metrics(folder: str, files: tuple, run: str, fold: int) -> pd.DataFrame:
    import torch

    from selviz.selectivity.unit_tables import layer_metrics

    images, names = reads.store().images(run), reads.class_names(run)
    inside = (images["fold"] == fold).to_numpy()
    labels = torch.from_numpy(images["label_index"].to_numpy()[inside].astype("int64"))
    parts = []
    for layer in reads.store().layers(run)["layer"]:
        values = torch.from_numpy(reads.store().matrix(run, layer)[inside])
        parts.append(layer_metrics(values, labels, len(names), shuffles=1)["units"].assign(layer=layer))
    table = pd.concat(parts, ignore_index=True).rename(columns={"preferred_class": "preferred_index"})
    return table.assign(preferred_class=[names[index] for index in table["preferred_index"]])


def metrics(run: str) -> pd.DataFrame:
    """The unit metrics of a run on fold 0 alone, so that fold 1 can judge a choice made by them."""
    return _fold_metrics(reads.data(), reads.run_version(run), run, 0)


def _drops(run: str) -> pd.DataFrame | None:
    """Each unit's drop of accuracy in points when it is silenced alone, from the run's atlas; None if it has none."""
    try:
        table = reads.store().atlas(run)
    except SelvizError:
        return None
    return table[["layer", "unit"]].assign(drop=-100 * table["change"])


# -------------------------------------------------------------------------------------------------- undo, redo, groups


def _remember() -> tuple[list[dict], int]:
    """The choices of this visit and which of them is on screen."""
    now = {name: address.get(name) or None for name in STATE}
    past, at = st.session_state.get("choices", ([now], 0))
    if past[at] != now:
        past = [*past[: at + 1], now][-UNDOS:]
        at = len(past) - 1
    st.session_state["choices"] = (past, at)
    return past, at


def _step(by: int) -> None:
    past, at = st.session_state["choices"]
    st.session_state["choices"] = (past, at + by)
    address.update(**past[at + by])


def _groups(run: str, units: Units) -> None:
    sizes = reads.store().units(run).groupby("layer", sort=False).size().to_dict()
    known = list_groups(reads.data())
    if not len(known):
        st.caption("No group is saved yet. Save the chosen units under a name to silence them again with one click.")
    for row in known.to_dict("records"):
        key = row["group"]
        there, _ = unit_lists.parse_existing_units(
            unit_lists.format_units(read_group(reads.data(), key)["units"]), sizes
        )
        told = numbers.counted(sum(map(len, there.values())), "unit")
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.button(
                f"{safe_text.plain(row['name'])} · {told}",
                key=f"group-{key}",
                disabled=not there,
                help=f"chosen in {safe_text.code(row['run'])}" if row["run"] and row["run"] != run else None,
                width="stretch",
                on_click=address.update,
                kwargs={"rule": None, "silence": None, "group": key},
            )
            for what, icon in (("Rename", "edit"), ("Delete", "delete")):
                st.button(
                    "",
                    icon=f":material/{icon}:",
                    key=f"{what}-{key}",
                    type="tertiary",
                    on_click=st.session_state.update,
                    args=({"group asked": (what, key)},),
                    **job_panels.writing_control(help=f"{what} {safe_text.plain(row['name'])}"),
                )
        if st.session_state.get("group asked") == ("Rename", key):
            _renaming(key, row["name"])
        elif st.session_state.get("group asked") == ("Delete", key):
            st.markdown("Links to it will say that it is not here any more.")
            with st.container(horizontal=True, gap="xsmall"):
                st.button("Delete it", type="primary", key="delete-group", on_click=_delete, args=(run, key, units))
                st.button("Keep it", key="keep-group", on_click=st.session_state.pop, args=("group asked", None))
    save(run, units)


def _renaming(key: str, name: str) -> None:
    with st.form("rename-group", border=False):
        new = st.text_input("Its new name; links to the old one stay good", name, max_chars=80)
        if st.form_submit_button("Rename it") and new.strip():
            renamed = rename_group(reads.data(), key, new)
            st.session_state.pop("group asked", None)
            if address.get("group") == key:
                address.update(group=renamed)
            address.rerun()


def _delete(run: str, key: str, units: Units) -> None:
    """Deletes a group; where it is on screen, its units stay chosen."""
    st.session_state.pop("group asked", None)
    if address.get("group") == key:
        put(run, units)
    with contextlib.suppress(SelvizError):  # another visitor was faster
        delete_group(reads.data(), key)


def save(run: str, units: Units) -> None:
    """A form that saves these units as a group with a name."""
    with st.form("save-group", border=False, clear_on_submit=True):
        name = st.text_input("Save them as a group called", max_chars=80, placeholder="the most cat-selective")
        if st.form_submit_button("Save", **job_panels.writing_control(not units)) and name.strip():
            write_group(reads.data(), units, name, run)
            st.toast(f"Saved {safe_text.plain(name.strip())}", icon=":material/bookmark_added:")
