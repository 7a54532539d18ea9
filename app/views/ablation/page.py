"""What breaks when these units are silent?"""

import streamlit as st

from selviz.store.notes import MAX_ABOUT
from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...compute import ablation
from ...compute.ablation import AblationRequest
from ...page import ablation_result, claims, frame, note_panels, run_picker, silencing, unit_selection
from ...page.unit_selection import Units
from ...state import address, reads
from . import choice as choices
from . import cockpit, history, options, studies
from .options import Options

STUDIES = {"curves": "Units removed one by one", "atlas": "Every unit alone"}
MAX_CLAIMS = 4  # layers, the last ones, whose units have a link that makes them a claim
CLOSER = {"flips": "Images that changed sides", "classes": "Class by class", "confusion": "Confusion", **STUDIES}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    keys = ("silence-head", "silence-choice", board.room_key("silence", run), "silence-result")
    head, rules, board_slot, result_slot = (st.container(key=key) for key in keys)
    for slot in (head, rules, board_slot, result_slot):
        slot.empty()  # a container without content takes no place, and what comes later would push the rest down
    more = st.expander("More ways to choose, and what is done to them", icon=":material/tune:")
    with rules:
        choice = choices.choose(run, more)
    settings = options.choose(choice, more)
    with more:
        history.tools(run, choice.units)
        if choice.said:
            st.caption(choice.said)
    request = AblationRequest(
        run,
        unit_lists.format_units(choice.units),
        settings.mode,
        settings.factor,
        settings.keep,
        settings.fold,
    )
    with head:
        title(request, choice.units, settings)
    result = None
    with result_slot:
        cockpit.chosen_line(run, choice, settings.keep)
        if choice.units:
            with frame.show_errors():
                result = ablation_result.overall(request)
        else:
            cockpit.suggestion(run)
    with board_slot:
        untouched = silencing.untouched(run, settings.fold)
        cockpit.network(run, choice, settings, silencing.of_result(result) if result else untouched)
    if result:
        with result_slot:
            verdict_slot = st.container()
            how_sure = st.expander("How sure?", icon=":material/balance:")
            with how_sure:
                ablation_result.tests(result)
            make_claim(run, choice.units, result)
    look_closer(run, choice.units, result)
    if choice.units and len(about := unit_lists.format_units(choice.units)) <= MAX_ABOUT:
        note_panels.show(run, about, "these units")
    if result:
        with verdict_slot:
            cockpit.verdict(request, result, settings.draws, how_sure)


def title(request: AblationRequest, units: Units, settings: Options) -> None:
    """Draw the page's question, and the code that gives what is on screen."""
    frame.page(
        "What breaks when these units are silent?",
        "",
        ablation.python_call(request, units, settings.draws) if units else f"store.units({request.run!r})",
        ablation.shell_command(request, units, settings.draws) if units else "",
    )


def look_closer(run: str, units: Units, result: ablation.Result | None) -> None:
    """Draw one of the closer looks: images, classes, confusion, and the stored studies."""
    closer = address.segmented("Look closer", CLOSER if result else STUDIES, "show")
    layer = list(units or reads.store().layers(run)["layer"])[-1]
    with frame.show_errors():
        if closer == "curves":
            studies.curves(run, layer)
        elif closer == "atlas":
            studies.atlas(run, layer)
        elif closer == "flips":
            ablation_result.flips(run, result)
        elif closer == "classes":
            ablation_result.by_class(result)
        else:
            ablation_result.confusion(run, result)


def make_claim(run: str, units: Units, result: ablation.Result) -> None:
    """Draw the links that make the silenced units a claim, which is about units of one layer.

    It is about the class that all of these units prefer, where there is one, else about the class that lost most.
    """
    losses = [row for row in result["per_class"] if row["change"] is not None]
    if not losses:
        return
    worst = min(losses, key=lambda row: row["change"])["class"]
    preferred = unit_selection.preferred(run, units)
    about = preferred or worst
    why = ", which they prefer" if preferred else ", which lost most"
    if len(units) > 1:
        last = f"; for the last {MAX_CLAIMS}:" if len(units) > MAX_CLAIMS else ":"
        st.caption(f"A claim is about units of one layer, and these lie in {len(units)} layers{last}")
    for layer, chosen in list(units.items())[-MAX_CLAIMS:]:
        these = (
            f"the {numbers.counted(len(chosen), 'unit')} of {safe_text.code(layer)}"
            if len(units) > 1
            else ("these units" if len(chosen) > 1 else "this unit")
        )
        be = "is" if len(chosen) == 1 else "are"
        label = f"Make this a claim: {these} {be} necessary for class {safe_text.plain(about)}{why}"
        options = {"layer": layer, "units": unit_lists.format_numbers(chosen), "class": about}
        claims.fill_link(label, "necessary_units", run, **options)
