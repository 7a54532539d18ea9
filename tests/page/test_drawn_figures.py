"""A figure that is kept is what Plotly would have made, and goes when anything that it was made of differs."""

import json
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from app.page import drawn_figures
from selviz import figures
from selviz.figures import colors

MEANS = pd.DataFrame(
    {
        "class": ["cat", "dog", "<b>", "owl"],
        "class_index": range(4),
        "mean": [0.5, 1.5, float("nan"), 0.25],
        "std": [0.1, 0.2, 0.3, float("nan")],
        "images": [10, 12, 9, 11],
        "low": [0.4, 1.4, 0.1, 0.2],
        "high": [0.6, 1.6, 0.4, 0.3],
    }
)
drawings: list[int] = []


def noted(table: pd.DataFrame, dark: bool) -> go.Figure:
    """Draw a table and note that it was drawn."""
    drawings.append(len(table))
    return figures.unit.tuning(table, 1, dark)


@pytest.mark.parametrize("dark", [False, True])
def test_the_spec_is_the_figure_that_plotly_makes_with_its_words_colored_by_plotly(dark):
    plain = figures.unit.tuning(MEANS, 1, dark)
    ink = {"color": colors.INK[dark]}
    plain.update_layout(font=ink, legend={"font": ink})
    plain.update_xaxes(tickfont=ink, title={"font": ink})
    plain.update_yaxes(tickfont=ink, title={"font": ink})
    for _ in range(2):  # made, then remembered
        spec = drawn_figures.spec(partial(figures.unit.tuning, MEANS, 1, dark), dark)
        assert spec == json.loads(plain.to_json())


def test_a_figure_is_made_once_and_again_where_a_value_a_theme_or_an_option_differs():
    drawings.clear()
    changed = MEANS.assign(mean=[0.5, 1.5, 0.0, 0.25])
    for table, dark in ((MEANS, False), (MEANS.copy(), False), (changed, False), (MEANS, True), (MEANS, False)):
        drawn_figures.spec(partial(noted, table, dark), dark)
    assert drawings == [4, 4, 4]
    first, second = (drawn_figures.spec(partial(noted, table, False), False) for table in (MEANS, changed))
    assert first != second


def test_what_a_page_does_to_its_spec_reaches_no_other_page():
    make = partial(figures.unit.tuning, MEANS, 1, False)
    before = json.dumps(drawn_figures.spec(make, False))
    drawn_figures.spec(make, False)["layout"].clear()
    assert json.dumps(drawn_figures.spec(make, False)) == before


def test_streamlit_sends_a_checked_figure_as_it_sends_plotlys_own():
    def page() -> None:
        import plotly.graph_objects as go
        import streamlit as st

        from app.page import drawn_figures

        content = {"data": [{"type": "bar", "y": [1, None, 3]}], "layout": {"height": 300}}
        st.plotly_chart(go.Figure(content), key="plain")
        st.plotly_chart(drawn_figures.CheckedFigure(go.Figure(content).to_dict()), key="checked")

    test = AppTest.from_function(page).run()
    assert not test.exception
    plain, checked = (element.proto for element in test.get("plotly_chart"))
    assert checked.spec == plain.spec
