"""What every chart shares: `figure = empty(height=300)`, `whiskers(y, low, high, dark)`, `finish(figure, height)`.

A chart is a function of a data frame and `dark`, with a Plotly figure as its result. Text in the tables is shown as
text: names pass through `wording.label`, since Plotly reads a little HTML.
"""

import plotly.graph_objects as go

from app import colours

FONT = 14


def empty(height: int) -> go.Figure:
    """A figure with selviz's looks and nothing in it."""
    return finish(go.Figure(), height)


def finish(figure: go.Figure, height: int) -> go.Figure:
    """Gives a figure selviz's looks."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        showlegend=False,
        font={"size": FONT},
        hoverlabel={"font": {"size": FONT}},
        dragmode=False,
    )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(tickfont={"size": FONT}, title_font={"size": FONT}, automargin=True, fixedrange=True, zeroline=False)
    return figure


def whiskers(value, low, high, dark: bool) -> dict:
    """Error bars from low to high, arrays like `value`."""
    return {
        "type": "data",
        "symmetric": False,
        "array": high - value,
        "arrayminus": value - low,
        "color": colours.INK[dark],
        "thickness": 1.5,
        "width": 4,
    }
