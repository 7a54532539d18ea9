"""Where a unit is in its network, and what breaks without it: `where_and_what_breaks(run, layer, unit, able)`."""

import numpy as np
import pandas as pd
import streamlit as st

from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...compute import ablation
from ...compute.ablation import AblationRequest, Result
from ...page import claims, frame, measures, silencing
from ...state import address, reads
from ...state.navigation import page_at


def where_and_what_breaks(run: str, layer: str, unit: int, able: bool) -> None:
    """Draw the board with this unit marked, and at its outputs what silencing it alone does to each class."""
    slot, words = st.container(key="unit-board"), st.container()
    result, note = None, ""
    if able:
        with words, frame.show_errors():
            result, note = _silenced(run, layer, unit)
    outcome = silencing.of_result(result) if result else silencing.untouched(run)
    view = board.View(
        {},
        outcome.before,
        outcome.accuracy_before,
        outcome.after,
        outcome.accuracy_after,
        mode="open",
        silencing=False,
        selected=unit_lists.format_units({layer: [unit]}),
        compared=True,
        class_action="Click to see this unit's images of it",
    )
    with slot:
        board.show(
            run,
            view,
            key="unit",
            height=272,
            on_open=lambda to_layer, to_unit: address.update(layer=to_layer, unit=to_unit, image=None),
            on_class=lambda name: address.update(of=name, evidence="images"),
        )
    with words:
        if result:
            _in_words(run, layer, unit, result, note)


def _silenced(run: str, layer: str, unit: int) -> tuple[Result, str]:
    max_images, note = ablation.image_limit(run)
    units = unit_lists.format_units({layer: [unit]})
    return ablation.ablate(AblationRequest(run, units, max_images=max_images)), note


def _in_words(run: str, layer: str, unit: int, result: Result, which_images: str) -> None:
    classes = pd.DataFrame(result["per_class"]).dropna(subset="change")
    largest = classes.loc[classes["change"].abs().idxmax()]
    changed = (
        f"Most changed class: {safe_text.plain(largest['class'])}, {numbers.points(largest['change'])} "
        f"({numbers.counted(largest['images'], 'image')})."
        if largest["change"]
        else "No class changes."
    )
    st.markdown(
        f"**Without it:** Accuracy goes from {numbers.percent(result['accuracy_before'])} to "
        f"{numbers.share(result['accuracy_after'], result['images'])}: {numbers.points(result['change'])}. "
        f"{changed}{which_images}{_place_in_layer(run, layer, unit)} If nothing but chance changed the answers: "
        f"{numbers.p_value(result['mcnemar_p'])} (McNemar's exact test)."
    )
    st.page_link(
        page_at("silence"),
        label="Silence it, and random units to compare",
        icon=":material/volume_off:",
        query_params={"run": run, "layer": layer, "silence": unit_lists.format_units({layer: [unit]})},
    )
    preferred = reads.store().unit(run, layer, unit)["preferred_class"]
    options = {"unit": f"{layer}:{unit}", "class": preferred}
    claims.fill_link("Make this a claim: the unit is necessary for its class", "necessary", run, **options)


def _place_in_layer(run: str, layer: str, unit: int) -> str:
    """Return where its effect ranks among those of its layer, where the run has an atlas."""
    if not measures.stored(run, "atlas"):
        return ""
    table = reads.store().atlas(run, layer)
    own = float(table.loc[table["unit"] == unit, "change"].iloc[0])
    others = table.loc[table["unit"] != unit, "change"].to_numpy(dtype=float)
    if not len(others):
        return ""
    worse, equal = int(np.sum(others < own)), int(np.sum(others == own))
    return (
        f" Of the {numbers.counted(len(others), 'other unit')} of its layer, {worse} cost more when silent alone, "
        f"{equal} as much."
    )
