"""Charts of a claim: its power before it is tested; the null with the observed value, and the effects, afterwards."""

from typing import cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz import statistics
from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

BINS = 50
OBSERVED = {False: "#d55e00", True: "#ff8a3d"}


def null_distribution(null: pd.DataFrame, observed: float, unit: str, dark: bool) -> go.Figure:
    """Return histogram of the statistic if the claim is false, a line at what was observed. Column value."""
    scale = 100 if unit == "points" else 1
    values, at = scale * null["value"].to_numpy(), scale * observed
    counts, edges = np.histogram(np.append(values, at), bins=BINS)
    counts[min(BINS - 1, cast(int, np.searchsorted(edges, at, "right")) - 1)] -= (
        1  # the observed value is not one of them
    )
    middle = (edges[1:] + edges[:-1]) / 2
    bars = {
        "type": "bar",
        "x": middle,
        "y": counts,
        "width": edges[1] - edges[0],
        "marker": {"color": colors.ALPHA[dark][1]},
        "hovertemplate": "%{x:.3g}: %{y} of the null's values<extra></extra>",
    }
    line = {"type": "line", "x0": at, "x1": at, "yref": "y domain", "y0": 0, "y1": 1}
    right = at > (edges[0] + edges[-1]) / 2
    label = {
        "x": at,
        "y": 1,
        "yref": "y domain",
        "text": f"observed {at:.3g}".replace("-", numbers.MINUS),
        "showarrow": False,
        "xanchor": "right" if right else "left",
        "yanchor": "top",
        "xshift": -8 if right else 8,
        "font": {"size": basics.FONT, "color": OBSERVED[dark]},
    }
    return basics.drawn(
        [bars],
        height=230,
        xaxis={"title": {"text": f"statistic, {unit}" if unit else "statistic"}},
        yaxis={"title": {"text": "values"}},
        bargap=0,
        shapes=[{**line, "line": {"color": OBSERVED[dark], "width": 3}}],
        annotations=[label],
    )


def effects(parts: pd.DataFrame, unit: str, dark: bool) -> go.Figure:
    """Return each part's effect with its interval, one row per part, a dashed mark at its smallest effect that
    matters. Columns
    name, effect, low, high, margin."""
    scale = 100 if unit == "points" else 1
    rows = list(range(len(parts)))[::-1]
    middle = scale * parts["effect"]
    dots = {
        "type": "scatter",
        "x": middle,
        "y": rows,
        "mode": "markers",
        "marker": {"size": 13, "color": colors.INK[dark]},
        "error_x": basics.whiskers(middle, scale * parts["low"], scale * parts["high"], dark),
        "hovertemplate": "%{x:.3g}<extra></extra>",
    }
    marks = [
        {"type": "line", "x0": scale * margin, "x1": scale * margin, "y0": row - 0.4, "y1": row + 0.4,
         "line": {"color": OBSERVED[dark], "width": 2, "dash": "dash"}}
        for row, margin in zip(rows, parts["margin"])
    ]  # fmt: skip
    names = [safe_text.label(name) for name in parts["name"]]
    return basics.drawn(
        [dots],
        height=110 + 46 * len(parts),
        xaxis={"title": {"text": f"effect, {unit}" if unit else "effect"}},
        yaxis={"range": [-0.6, len(names) - 0.4], "tickvals": rows, "ticktext": names},
        shapes=marks,
    )


def power_curve(table: pd.DataFrame, smallest: float, unit: str, dark: bool) -> go.Figure:
    """Return the share of simulated tests that support a claim by its true effect, with Wilson intervals over draws.

    A dashed mark at the smallest effect that matters. Columns effect, power 0..1, draws.
    """
    scale = 100 if unit == "points" else 1
    x, y = scale * table["effect"], table["power"]
    low, high = statistics.wilson((y * table["draws"]).round(), table["draws"])
    line = {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines+markers",
        "marker": {"size": 11, "color": colors.INK[dark]},
        "line": {"color": colors.INK[dark], "width": 1},
        "error_y": basics.whiskers(y, pd.Series(low), pd.Series(high), dark),
        "hovertemplate": "%{x:.3g}: supported in %{y:.0%}<extra></extra>",
    }
    at = scale * smallest
    mark = {"type": "line", "x0": at, "x1": at, "yref": "y domain", "y0": 0, "y1": 1}
    return basics.drawn(
        [line],
        height=260,
        xaxis={"title": {"text": f"true effect, {unit}" if unit else "true effect"}},
        yaxis={"title": {"text": "power"}, "range": [-0.03, 1.03], "tickformat": ".0%"},
        shapes=[{**mark, "line": {"color": OBSERVED[dark], "width": 2, "dash": "dash"}}],
    )
