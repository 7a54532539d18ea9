"""Charts of runs: accuracy against selectivity, selectivity by depth. Tables in, Plotly figures out."""

from typing import cast

import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

ALL_UNITS, LIVE_UNITS = "mean_si", "mean_si_live"
WIDTH = 0.15  # of a point's label, as a share of the largest value on the axis
PHONE = (275, 330)  # pixels between the axes of a chart on a phone
LETTER, LINE, GAP = 8, 18, 4  # pixels of a letter of a point's label, of its height, and between it and the point
RING, MARGIN = 12, 12  # pixels from the middle of a point to its rim, and beyond the axes of a chart

Box = tuple[float, float, float, float]  # left, low, right, high


def with_intervals(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the 95 % Wilson interval of their test accuracy, for new images: low_share, high_share, 0..1."""
    return basics.with_accuracy_interval(runs, "test_accuracy", "images", "low_share", "high_share")


def accuracy_against_si(runs: pd.DataFrame, column: str, dark: bool, chosen: str = "") -> go.Figure:
    """Test accuracy against mean SI, a point a run. Columns run, alpha, told (the point's label), test_accuracy,
    low_share, high_share, null_mean, null_p95 and `column`, shares and SI 0..1. Bars at the foot are the nulls, one
    for each alpha; the point of the run `chosen` has a broad ring."""
    runs = with_intervals(runs)
    if "told" not in runs:
        runs = runs.assign(told=[numbers.run(row) for row in runs.to_dict("records")])
    x, y = runs[column], 100 * runs["test_accuracy"]
    low, high = 100 * float(runs["low_share"].min()), 100 * float(runs["high_share"].max())
    widest = max(float(x.max()), float(runs["null_p95"].fillna(0).max()), 0.05)
    nulls = runs.dropna(subset="null_p95").groupby("alpha", dropna=False)
    step = 0.03 * (high - low)
    foot = low - step * (len(nulls) + 1)
    traces = [
        {
            "type": "scatter",
            "x": [part["null_mean"].min(), max(part["null_p95"].max(), part["null_mean"].min() + 0.004 * widest)],
            "y": [foot + step * (row + 0.5)] * 2,
            "mode": "lines",
            "line": {"color": colors.alpha(alpha, dark), "width": 6},
            "hovertemplate": f"shuffled labels, α {numbers.alpha(cast(float, alpha))}: %{{x:.3f}}<extra></extra>",
        }
        for row, (alpha, part) in enumerate(nulls)
    ]
    points = {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "markers+text",
        "name": "runs",
        "error_y": basics.whiskers(y, 100 * runs["low_share"], 100 * runs["high_share"], dark),
        "marker": {
            "size": [24 if run == chosen else 17 for run in runs["run"]],
            "color": [colors.alpha(a, dark) for a in runs["alpha"]],
            "line": {"color": colors.INK[dark], "width": [4 if run == chosen else 1.5 for run in runs["run"]]},
        },
        "text": [safe_text.label(label) for label in runs["told"]],
        "textposition": _text_positions(
            pd.DataFrame({"x": x, "y": y, "low": 100 * runs["low_share"], "high": 100 * runs["high_share"]}).assign(
                text=runs["told"]
            ),
            (-WIDTH * widest, 1.14 * widest),
            high + 0.06 * (high - low) - foot,
        ),
        "textfont": {"size": basics.FONT + 1},
        "customdata": [[safe_text.label(run), numbers.alpha(a)] for run, a in zip(runs["run"], runs["alpha"])],
        "hovertemplate": "%{customdata[0]}<br>alpha %{customdata[1]}<br>mean SI %{x:.3f}<br>%{y:.1f} %<extra></extra>",
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}, "textfont": {"color": colors.INK[dark]}},
    }
    foot_label = {"text": "shuffled labels", "x": runs["null_p95"].max(), "y": foot + step * len(nulls) / 2}
    return basics.drawn(
        [*traces, points],
        height=430,
        xaxis={"title": {"text": "mean class selectivity index (SI)"}, "range": [-WIDTH * widest, 1.14 * widest]},
        yaxis={"title": {"text": "test accuracy, %"}, "range": [foot, high + 0.06 * (high - low)]},
        annotations=[{**foot_label, "xanchor": "left", "showarrow": False}],
        shapes=[basics.across(foot + step * len(nulls) + step / 2, colors.OTHER[dark])],
    )


def depth_profile(layers: pd.DataFrame, column: str, dark: bool) -> go.Figure:
    """Return mean SI by layer, a line a run, its null dotted. Columns run, alpha, told (the line's label), layer,
    null_p95
    and `column`, layers in forward order."""
    order = list(dict.fromkeys(layers["layer"]))
    names = [safe_text.label(name) for name in order]
    traces = []
    for (alpha, run), part in layers.groupby(["alpha", "run"], sort=True, dropna=False):
        color, label = colors.alpha(alpha, dark), safe_text.label(part["told"].iloc[0])
        part = part.set_index("layer").reindex(order)
        null = {
            "type": "scatter",
            "x": names,
            "y": part["null_p95"],
            "mode": "lines",
            "line": {"color": color, "width": 1.5, "dash": "dot"},
            "hovertemplate": f"{label}, shuffled labels, %{{x}}: %{{y:.3f}}<extra></extra>",
        }
        line = {
            "type": "scatter",
            "x": names,
            "y": part[column],
            "mode": "lines+markers+text",
            "text": [None] * (len(order) - 1) + [label],
            "textposition": "middle right",
            "textfont": {"size": basics.FONT + 1},
            "line": {"color": color, "width": 3},
            "marker": {"size": 10, "color": color},
            "hovertemplate": f"{safe_text.label(run)}<br>%{{x}}: mean SI %{{y:.3f}}<extra></extra>",
        }
        traces += [null, line]
    room = 0.2 + 0.03 * (len(order) - 1) * layers["told"].str.len().max()
    ends = [-0.15, len(order) - 1 + room]
    return basics.drawn(
        traces,
        height=430,
        xaxis={"title": {"text": "layer, first to last"}, "type": "category", "range": ends},
        yaxis={"title": {"text": "mean SI"}, "rangemode": "tozero"},
    )


def _text_positions(points: pd.DataFrame, x_range: tuple[float, float], y_span: float) -> list[str]:
    """Return where each point's label goes on a phone: the first place around it that meets least, right of it first.

    Columns x, y, text, low and high, the ends of the whiskers. To leave the chart is worse than to meet a point or a
    label, and that is worse than to meet a whisker.
    """
    across, up = PHONE[0] / (x_range[1] - x_range[0]), PHONE[1] / y_span
    widths = [LETTER * len(text) + GAP for text in points["text"]]
    xs, ys, lows, highs = (points[name].astype(float).tolist() for name in ("x", "y", "low", "high"))
    middles = [(x * across, y * up) for x, y in zip(xs, ys)]
    taken = [(x - RING, y - RING, x + RING, y + RING) for x, y in middles]
    whiskers = [(x * across - 4, low * up, x * across + 4, high * up) for x, low, high in zip(xs, lows, highs)]
    positions = []
    for number, (x, y) in enumerate(middles):
        boxes = {
            f"{row} {side}": (x + dx, y + dy, x + dx + widths[number], y + dy + LINE)
            for row, dy in (("middle", -LINE / 2), ("top", RING / 2), ("bottom", -RING / 2 - LINE))
            for side, dx in (("right", RING), ("left", -RING - widths[number]))
        }
        met = {
            place: 100 * sum(_meet(box, other) for at, other in enumerate(taken) if at != number)
            + 1000 * (box[0] < x_range[0] * across or box[2] > x_range[1] * across + MARGIN)
            + sum(_meet(box, other) for at, other in enumerate(whiskers) if at != number)
            for place, box in boxes.items()
        }
        positions.append(min(met, key=lambda place: met[place]))
        taken.append(boxes[positions[-1]])
    return positions


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
