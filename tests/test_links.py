"""Units in an address, and other people's text made safe to show."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import links, wording

SIZES = {"relu1": 16, "layer4.1.relu_1": 64}


def test_units_are_written_short_and_read_back():
    units = {"relu1": [3, 5, 4, 9], "layer4.1.relu_1": [0]}
    text = links.units_to_text(units)
    assert text == "relu1:3-5,9;layer4.1.relu_1:0"
    assert links.text_to_units(text, SIZES) == ({"relu1": [3, 4, 5, 9], "layer4.1.relu_1": [0]}, [])


@given(st.dictionaries(st.sampled_from(sorted(SIZES)), st.sets(st.integers(0, 15), min_size=1)))
def test_every_set_of_units_survives_the_address(units):
    expected = {layer: sorted(numbers) for layer, numbers in units.items()}
    assert links.text_to_units(links.units_to_text(expected), SIZES) == (expected, [])


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
    assert links.text_to_units(text, SIZES) == (units, wrong)


@given(st.text())
def test_code_is_one_line_of_inline_code_that_nothing_can_leave(text):
    shown = wording.code(text)
    fence = len(shown) - len(shown.lstrip("`"))
    inner = shown[fence:-fence]
    assert shown == "`" * fence + inner + "`" * fence
    assert max(map(len, re.findall("`+", inner)), default=0) < fence
    assert "\n" not in shown


def test_names_cannot_write_html_into_charts():
    assert wording.label("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"
