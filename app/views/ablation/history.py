"""Earlier choices and named ones: `tools(run, units)` draws undo, redo, clear, the table of units, saved groups."""

import contextlib

import streamlit as st

from selviz.errors import SelvizError
from selviz.store import delete_group, list_groups, read_group, rename_group
from selviz.text import numbers, safe_text, unit_lists

from ...look import keyboard
from ...page import frame, job_panels, tables
from ...page.unit_selection import Units, put, save
from ...state import address, reads

STATE = ("rule", "silence", "group", "layers", "k", "seed", "prefers", "metric")  # what undo brings back
MAX_UNDOS = 50


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
                args=(step, title),
                key=title,
            )
        keyboard.step_keys("undo", _step, {"z": -1, "y": 1})
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


def _remember() -> tuple[list[dict], int]:
    """Return the choices of this visit and which of them is on screen."""
    now = {name: address.get(name) or None for name in STATE}
    past, at = st.session_state.get("choices", ([now], 0))
    if past[at] != now:
        past = [*past[: at + 1], now][-MAX_UNDOS:]
        at = len(past) - 1
    st.session_state["choices"] = (past, at)
    return past, at


def _step(by: int, key: str = "") -> None:
    """Go `by` choices on, for each press of the button `key`, to the first or last at most."""
    past, before = st.session_state["choices"]
    at = min(max(before + by * (address.presses(key) if key else 1), 0), len(past) - 1)
    st.session_state["choices"] = (past, at)
    address.update(**past[at])


def _groups(run: str, units: Units) -> None:
    sizes = reads.store().units(run).groupby("layer", sort=False).size().to_dict()
    known = list_groups(reads.data())
    if left_out := known.attrs["left_out"]:
        st.caption(
            f"{numbers.counted(len(left_out), 'group')} cannot be read and is left out: "
            f"{safe_text.code(next(iter(left_out.values())))}"
        )
    if not len(known) and not left_out:
        st.caption("No group is saved yet. Save the chosen units under a name to silence them again with one click.")
    for row in known.to_dict("records"):
        key = row["group"]
        units_of_group = read_group(reads.data(), key)["units"]
        there, _ = unit_lists.parse_existing_units(unit_lists.format_units(units_of_group), sizes)
        label = numbers.counted(sum(map(len, there.values())), "unit")
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.button(
                f"{safe_text.plain(row['name'])} · {label}",
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
    """Delete a group; where it is on screen, its units stay chosen."""
    st.session_state.pop("group asked", None)
    if address.get("group") == key:
        put(run, units)
    with contextlib.suppress(SelvizError):  # another visitor was faster
        delete_group(reads.data(), key)
