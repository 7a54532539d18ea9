"""Units in an address, and other people's text made safe to show."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from selviz.text import safe_text, unit_lists

SIZES = {"relu1": 16, "layer4.1.relu_1": 64}


def test_units_are_written_short_and_read_back():
    units = {"relu1": [3, 5, 4, 9], "layer4.1.relu_1": [0]}
    text = unit_lists.format_units(units)
    assert text == "relu1:3-5,9;layer4.1.relu_1:0"
    assert unit_lists.parse_existing_units(text, SIZES) == ({"relu1": [3, 4, 5, 9], "layer4.1.relu_1": [0]}, [])


@given(st.dictionaries(st.sampled_from(sorted(SIZES)), st.sets(st.integers(0, 15), min_size=1)))
def test_every_set_of_units_survives_the_address(units):
    expected = {layer: sorted(numbers) for layer, numbers in units.items()}
    assert unit_lists.parse_existing_units(unit_lists.format_units(expected), SIZES) == (expected, [])


@pytest.mark.parametrize(
    ("text", "units", "wrong"),
    [
        ("", {}, []),
        ("relu1:16", {}, ["relu1:16"]),
        ("relu9:1;relu1:2", {"relu1": [2]}, ["relu9:1"]),
        ("relu1:5-3", {}, ["relu1:5-3"]),
        ("relu1:1,x,-4,2", {"relu1": [1, 2]}, ["relu1:x", "relu1:-4"]),
        ("relu1:1;relu1:2", {"relu1": [1, 2]}, []),
        ("relu1", {}, [":relu1"]),
        ("relu1:0-99999999999", {}, ["relu1:0-99999999999"]),
    ],
)
def test_what_names_no_unit_is_told_and_the_rest_is_kept(text, units, wrong):
    assert unit_lists.parse_existing_units(text, SIZES) == (units, wrong)


@given(st.text())
def test_code_is_one_line_of_inline_code_that_nothing_can_leave(text):
    shown = safe_text.code(text)
    fence = len(shown) - len(shown.lstrip("`"))
    inner = shown[fence:-fence]
    assert shown == "`" * fence + inner + "`" * fence
    assert max(map(len, re.findall("`+", inner)), default=0) < fence
    assert "\n" not in shown


def test_names_cannot_write_html_into_charts():
    assert safe_text.label("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"


def clicked(late: bool):
    """A page whose visitor takes a click back before the address has it, or (late) before it is counted."""
    from streamlit import segmented_control
    from streamlit.proto.WidgetStates_pb2 import WidgetStates
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.state import address

    def take_back() -> None:
        context = get_script_run_ctx()
        states = WidgetStates(widgets=context.session_state.get_widget_states())
        states.widgets[0].string_array_value.data[:] = ["zero"]
        context.script_requests.request_rerun(RerunData(query_string=context.query_string, widget_states=states))

    class Mean:
        def __str__(self):
            if late:
                take_back()
            return "mean"

    def changed(mode: str) -> None:
        if mode == "mean" and not late:
            take_back()
        address.update(mode=Mean() if mode == "mean" else None)

    mode = address.get("mode", "zero")
    address.bound_widget(segmented_control, "Mode", ["zero", "mean"], key="mode", value=mode, on_change=changed)


@pytest.mark.parametrize("late", [False, True])
def test_a_click_that_is_taken_back_while_it_is_being_written_is_taken_back(late):
    page = AppTest.from_function(clicked, args=(late,)).run()
    page.segmented_control[0].set_value("mean").run()
    assert not page.exception
    assert page.segmented_control[0].value == "zero" and page.session_state["view"].now == {}


def went():
    """A page that draws itself again just when its visitor has gone to another address."""
    from streamlit import session_state
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.state import address

    address.get("mode")
    if "begun" not in session_state:
        session_state["begun"] = True
        address.update(mode="mean")
        asked = RerunData(query_string="mode=scale", is_history_navigation=True)
        get_script_run_ctx().script_requests.request_rerun(asked)
        address.rerun()


def test_a_page_that_draws_itself_again_keeps_the_address_that_its_visitor_went_to_meanwhile():
    page = AppTest.from_function(went).run()
    assert not page.exception
    assert page.session_state["view"].now == {"mode": "scale"}


def other_options():
    """A list whose options change; its browser goes on saying the label of one that is gone."""
    from streamlit import multiselect, session_state
    from streamlit.proto.WidgetStates_pb2 import WidgetStates
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.state import address

    context, first = get_script_run_ctx(), "second" not in session_state
    units = {7: "7 · cat", 8: "8 · dog"} if first else {1: "1 · cat"}
    value = [int(unit) for unit in filter(None, address.get("units").split(","))]
    how = {"key": "units", "value": value, "format_func": lambda unit: units.get(unit, str(unit))}
    address.bound_widget(
        multiselect, "Units", list(units), on_change=lambda v: address.update(units=",".join(map(str, v))), **how
    )
    if first:
        session_state["second"] = True
    elif "said" not in session_state:
        session_state["said"] = True
        states = WidgetStates(widgets=context.session_state.get_widget_states())
        states.widgets[0].string_array_value.data[:] = ["8 · dog"]
        context.script_requests.request_rerun(RerunData(query_string=context.query_string, widget_states=states))


def test_a_label_that_a_list_has_no_more_is_not_taken_for_a_choice():
    page = AppTest.from_function(other_options).run()
    page.run()
    assert not page.exception
    assert page.session_state["view"].now == {} and page.multiselect[0].value == []


def overtaken(*asked):
    """A page whose visitor asks for several things before it is drawn again: (address, went there, mode) each."""
    from streamlit import segmented_control, session_state
    from streamlit.proto.ClientState_pb2 import ContextInfo
    from streamlit.proto.WidgetStates_pb2 import WidgetStates
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.state import address

    context, mode = get_script_run_ctx(), address.get("mode", "zero")
    how = {"key": "mode", "value": mode, "on_change": lambda chosen: address.update(mode=chosen)}
    address.bound_widget(segmented_control, "Mode", ["zero", "mean", "scale"], **how)
    if "asked" not in session_state:
        session_state["asked"] = True
        address.update(units="7")
        for query, went, said in asked:
            (widget,) = context.shared.widget_ids_this_run.snapshot()
            states = WidgetStates()
            states.widgets.add(id=widget).string_array_value.data.append(said)
            more = {"page_script_hash": context.page_script_hash, "context_info": ContextInfo(locale="en")}
            data = RerunData(query_string=query, widget_states=states, is_history_navigation=went, **more)
            context.script_requests.request_rerun(data)


@pytest.mark.parametrize(
    ("asked", "now"),
    [
        ([("units=9", True, "zero"), ("units=7", False, "mean")], {"units": "9", "mode": "mean"}),
        (
            [("mode=scale", True, "zero"), ("mode=scale", False, "mean"), ("mode=scale", False, "zero")],
            {"mode": "zero"},
        ),
        ([("", False, "mean"), ("units=9&mode=scale", True, "mean")], {"units": "9", "mode": "scale"}),
        ([("units=9", True, "zero"), ("units=8", True, "zero")], {"units": "8"}),
        ([("", False, "mean"), ("", False, "zero")], {"units": "7"}),
        ([("units=7", False, "scale")], {"units": "7", "mode": "scale"}),
    ],
)
def test_what_a_visitor_asked_before_the_page_could_look_counts_in_its_order(asked, now):
    page = AppTest.from_function(overtaken, args=tuple(asked)).run()
    assert not page.exception
    assert page.session_state["view"].now == now
    assert page.segmented_control[0].value == now.get("mode", "zero")
