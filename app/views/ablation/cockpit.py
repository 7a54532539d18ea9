"""The board with the silent units, and what came of them: `network(...)`, `verdict(...)`."""

from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...compute.ablation import AblationRequest, Result
from ...page import ablation_result, measures, silencing, unit_selection
from ...page.unit_selection import Units
from ...state import address, reads
from ...state.navigation import page_at
from .choice import Choice
from .options import Options, by_hand_fold

HEIGHT = 300
TILES = {"class": "Tiles: preferred class", "cost": "Tiles: what each costs alone"}


def silent_units(run: str, units: Units, keep: bool) -> Units:
    """Return the units that are dark: the chosen ones, or where they are kept, all others of their layers."""
    if not keep:
        return units
    sizes = reads.store().units(run).groupby("layer", sort=False).size()
    return {layer: sorted(set(range(int(sizes[layer]))) - set(chosen)) for layer, chosen in units.items()}


def network(run: str, choice: Choice, options: Options, outcome: silencing.Outcome) -> None:
    """Draw the board; a click on it chooses units, a click on a class the units that prefer it."""

    def picked(silent: Units) -> Units:
        if options.keep:  # dark is what is not kept
            return silent_units(run, {layer: silent.get(layer, []) for layer in {*choice.units, *silent}}, True)
        return silent

    def request(silent: Units) -> AblationRequest:
        units = unit_lists.format_units(picked(silent))
        return AblationRequest(run, units, options.mode, options.factor, options.keep, by_hand_fold())

    def opened(layer: str, unit: int) -> None:
        st.session_state["silence-open"] = {"run": run, "layer": layer, "unit": str(unit)}

    tiles = tile_values(run)
    view = board.View(
        silent_units(run, choice.units, options.keep),
        outcome.before,
        outcome.accuracy_before,
        outcome.after,
        outcome.accuracy_after,
        silencing=silencing.can_silence(run),
        focus_class=address.get("prefers") if address.get("rule") == "class" else "",
        class_action="Click to silence all units that prefer it",
        **tiles,
    )
    board.show(
        run,
        view,
        key="silence",
        height=HEIGHT,
        on_silent=lambda silent: unit_selection.put(run, picked(silent)),
        on_open=opened,
        on_class=lambda name: address.update(rule="class", prefers=name),
        request=request,
    )
    if query := st.session_state.pop("silence-open", None):
        st.switch_page(page_at("unit"), query_params=query)


def tile_values(run: str) -> dict[str, Any]:
    """Draw what the tiles show, where the run has an atlas; return what the board needs for it."""
    if not measures.stored(run, "atlas"):
        return {}
    names = reads.class_names(run)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = address.segmented("Tiles show", TILES, "tiles", label_visibility="collapsed")
        if shown == "class":
            return {}
        options = ["all images", *names]
        cost = address.choose("cost", options, options[0], "class")
        address.widget(
            st.selectbox,
            "Cost for",
            options,
            name="cost",
            value=cost,
            default=options[0],
            width=150,
            label_visibility="collapsed",
            format_func=safe_text.plain,
        )
        st.caption("purple: accuracy is lost when the unit alone is silent, green: gained", width="content")
    if cost == options[0]:
        effects = reads.store().atlas(run)
    else:
        effects = reads.store().atlas_classes(run)
        effects = effects[effects["class_index"] == names.index(cost)]
    units = reads.store().units(run)[["layer", "unit"]].merge(effects[["layer", "unit", "change"]], how="left")
    change = units["change"].fillna(0.0).to_numpy(dtype=float)
    scale = max(float(np.abs(change).max()), 1e-9)
    return {
        "values": (change / scale).astype(np.float32),
        "value_label": "silent alone, accuracy changes by",
        "value_scale": 100 * scale,
    }


def chosen_line(run: str, choice: Choice, keep: bool) -> None:
    """Say which units are silent, and draw the way to put them back."""
    count = sum(map(len, choice.units.values()))
    done = "keep, all others of their layers silent" if keep else "silent"
    listed = unit_lists.format_units(choice.units)
    shown = listed if len(listed) <= 200 else f"{listed[:200]} …"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{numbers.counted(count, 'unit')} {done}:** " + safe_text.code(shown or "none"), width="content")
        if count:
            icon = ":material/undo:"
            st.button("Put all back", icon=icon, type="tertiary", on_click=unit_selection.put, args=(run, {}))


def suggestion(run: str) -> None:
    """Draw the way to a first choice that shows something, where nothing is silent."""
    if not silencing.can_silence(run):
        st.info(
            "This network cannot be run again, so its units cannot be silenced here: "
            + ("it was watched when it was imported." if reads.watched(run) else "its weights are not in the store."),
            icon=":material/visibility:",
        )
        return
    st.info("No unit is silent. Choose on the board or above, or begin with one of these.", icon=":material/mouse:")
    with st.container(horizontal=True):
        st.button(
            "Silence the units that prefer one class",
            type="primary",
            on_click=address.update,
            kwargs={"rule": "class", "layers": None, "prefers": None},
        )
        st.button(
            "Silence the five most selective units of the last layer",
            on_click=address.update,
            kwargs={"rule": "top", "layers": None, "k": None, "metric": None},
        )


def verdict(request: AblationRequest, result: Result, draws: int, how_sure: DeltaGenerator) -> None:
    """Say in words what silencing broke, next to random and matched sets as they come in; tests into `how_sure`."""
    slot = st.empty()
    change = result["change"]
    moved = "does not move" if change == 0 else f"{'falls' if change < 0 else 'rises'} by {_size(change)}"
    first = f"Accuracy **{moved}**, from {numbers.percent(result['accuracy_before'])} to "
    first += f"{numbers.percent(result['accuracy_after'])}. {_worst_class(result)}"
    slot.markdown(f"{first} Comparing with other units …")
    with how_sure:
        controls = ablation_result.against_controls(
            request, result, draws, lambda progress: slot.markdown(f"{first} Comparing: {progress} …")
        )
    sentences = " ".join(
        sentence
        for name, control in controls.items()
        if (sentence := _rank_in_words(name, control, result["accuracy_after"], request.keep))
    )
    slot.markdown(f"{first} {sentences}")


def _size(change: float) -> str:
    points = abs(100 * change)
    return f"{points:.1f} point" + ("" if f"{points:.1f}" == "1.0" else "s")


def _worst_class(result: Result) -> str:
    rows = [row for row in result["per_class"] if row["change"] is not None]
    worst = min(rows, key=lambda row: row["change"], default=None)
    if worst is None or worst["change"] >= 0:
        return "No class loses."
    as_bad = sum(row["change"] <= worst["change"] / 2 for row in rows) - 1
    others = f"{numbers.counted(as_bad, 'other class')} at least" if as_bad else "no other class"
    return (
        f"Class **{safe_text.plain(worst['class'])}** loses most: {numbers.percent(worst['before'])} → "
        f"{numbers.percent(worst['after'])}; {others} half as much."
    )


def _rank_in_words(name: str, result: Result, after: float, keep: bool) -> str:
    draws = len(result["accuracies"])
    if not draws:
        return ""
    worse = sum(accuracy <= after for accuracy in result["accuracies"])  # sets that break at least as much
    better = draws - worse
    kinds = {"control": "random sets of the same size", "matched": "matched sets (equally active units)"}
    if keep:
        return f"Keeping them leaves more than {worse} of {draws} {kinds[name]} do."
    if worse == 0:
        return f"It breaks more than all of {draws} {kinds[name]}."
    breaks = "1 breaks" if worse == 1 else f"{worse} break"
    return f"It breaks more than {better} of {draws} {kinds[name]}; {breaks} as much or more."
