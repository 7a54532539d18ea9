"""What every chart shares: `figure = empty(height=300)`, `whiskers(y, low, high, dark)`, `finish(figure, height)`.

A chart is a function of a data frame and `dark`, with a Plotly figure as its result. Text in the tables is shown as
text: names pass through `wording.label`, since Plotly reads a little HTML.

Plotly checks everything it is given, a millisecond or two a call; `drawn(traces, height, ...)` hands it all at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz import statistics
from selviz.figures import colors

Values = pd.Series | np.ndarray  # a column of numbers

FONT = 14
AXIS = {
    "tickfont": {"size": FONT},
    "title": {"font": {"size": FONT}},
    "automargin": True,
    "fixedrange": True,
    "zeroline": False,
}
LOOKS = {
    "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
    "showlegend": False,
    "font": {"size": FONT},
    "hoverlabel": {"font": {"size": FONT}},
    "dragmode": False,
}
CIRCLE, CIRCLE_OPEN = 0, 100
LEGEND = {
    "orientation": "h",
    "y": 1,
    "yanchor": "bottom",
    "x": 0,
    "font": {"size": FONT},
    "itemclick": False,
    "itemdoubleclick": False,
}


def empty(height: int) -> go.Figure:
    """Return a figure with selviz's looks and nothing in it."""
    return drawn((), height)


def drawn(traces: Sequence[dict[str, Any]], height: int, **layout: Any) -> go.Figure:
    """Return a figure of traces, each a dict with its `type`, in selviz's looks; `layout` as Plotly's, axes by
    their names.
    """
    axes = {"xaxis": {}, "yaxis": {}, **{name: value for name, value in layout.items() if name[1:5] == "axis"}}
    looks = {**LOOKS, **layout, **{name: _merged(AXIS, axis) for name, axis in axes.items()}}
    return go.Figure(data=list(traces), layout={"height": height, **looks})


def hollow(flags: pd.Series | np.ndarray) -> np.ndarray:
    """Return a marker's symbols: open circles where a flag is set, else filled ones. As numbers, which Plotly
    checks fast.
    """
    return np.where(np.asarray(flags, dtype=bool), CIRCLE_OPEN, CIRCLE)


def colored(preferred: pd.Series, classes: int, dark: bool) -> dict[str, Any]:
    """Return a marker's {"color", ...} by preferred class: numbers on a scale of steps, which Plotly checks fastest."""
    hues = colors.classes(classes, dark)
    if len(set(hues)) == 1:
        return {"color": hues[0]}
    steps = [[end / classes, hue] for number, hue in enumerate(hues) for end in (number, number + 1)]
    return {"color": preferred.to_numpy(), "colorscale": steps, "cmin": -0.5, "cmax": classes - 0.5}


def finish(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure selviz's looks."""
    layout = _merged(figure.layout.to_plotly_json(), {"height": height, **LOOKS})
    axes = {"xaxis": {}, "yaxis": {}, **{name: value for name, value in layout.items() if name[1:5] == "axis"}}
    figure.layout = {**layout, **{name: _merged(axis, AXIS) for name, axis in axes.items()}}
    return figure


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {name: _merged(under[name], over[name]) for name in under.keys() & over.keys() if _dicts(under, over, name)}
    return {**under, **over, **both}


def _dicts(under: dict[str, Any], over: dict[str, Any], name: str) -> bool:
    return isinstance(under[name], dict) and isinstance(over[name], dict)


def across(y: float, color: str) -> dict[str, Any]:
    """Return a thin line over the whole width at the height y, one of a layout's `shapes`."""
    ends = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": y, "y1": y}
    return {**ends, "line": {"color": color, "width": 1}}


def with_accuracy_interval(
    table: pd.DataFrame, value: str = "accuracy", images: str = "images", low: str = "low", high: str = "high"
) -> pd.DataFrame:
    """Return the table with the 95 % Wilson interval, for new images, of shares 0..1; one that is there stays."""
    if low in table:
        return table
    ends = statistics.wilson((table[value] * table[images]).round(), table[images])
    return table.assign(**dict(zip((low, high), ends, strict=True)))


def with_mean_interval(table: pd.DataFrame, value: str = "mean", std: str = "std", prefix: str = "") -> pd.DataFrame:
    """Return the table with the 95 % interval (t, for new images) of means over `images`; one that is there stays."""
    if f"{prefix}low" in table:
        return table
    low, high = statistics.mean_interval(table[value], table[std], table["images"])
    return table.assign(**{f"{prefix}low": low, f"{prefix}high": high})


def whiskers(value: Values, low: Values, high: Values, dark: bool) -> dict[str, Any]:
    """Return error bars from low to high, arrays like `value`."""
    return {
        "type": "data",
        "symmetric": False,
        "array": high - value,
        "arrayminus": value - low,
        "color": colors.INK[dark],
        "thickness": 1.5,
        "width": 4,
    }


def line_labels(
    ends: list[tuple[float, str, str]], x: float, low: float, high: float, height: int
) -> list[dict[str, Any]]:
    """Return a label at the end of each line (value, text, color), moved apart where they would cover each other."""
    step = (high - low) * 20 / (height - 90)
    ends = sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0])
    places: list[float] = []
    for value, _, _ in ends:
        places.append(max(value, places[-1] + step) if places else value)
    excess = places[-1] - (high - step / 2) if places else 0
    if excess > 0:
        places[-1] -= excess
        for number in range(len(places) - 2, -1, -1):
            places[number] = min(places[number], places[number + 1] - step)
    return [
        {
            "x": x, "y": y, "text": text, "showarrow": False, "xanchor": "left", "xshift": 12,
            "font": {"size": FONT, "color": color},
        }
        for y, (_, text, color) in zip(places, ends)
    ]  # fmt: skip
