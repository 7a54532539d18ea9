"""Charts of several networks side by side: tables in, Plotly figures out, as in `basics`.

A network has the color of its alpha and, since two may share it, a symbol of its own; `told` is what it is called.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_CLASSES = 20
ROW, PILES = 50, 96  # pixels of a row with a network's name above its marks, or above its dots
STEP = 0.09  # between the dots of a pile, of a row's height; a higher pile is packed closer


def accuracies(runs: pd.DataFrame, dark: bool) -> go.Figure:
    """Return accuracy of each network on the left, its difference from the baseline on the right, one row per network.
    Columns
    told, alpha, position, test_accuracy, low_share, high_share, change, change_low, change_high (shares, 0..1)."""
    runs = basics.with_accuracy_interval(runs, "test_accuracy", "images", "low_share", "high_share")
    names = [safe_text.label(label) for label in runs["told"]]
    traces = []
    for side, value, low, high, unit in (
        ("", "test_accuracy", "low_share", "high_share", "%"),
        ("2", "change", "change_low", "change_high", "points"),
    ):
        middle, ends = 100 * runs[value], (100 * runs[low], 100 * runs[high])
        points = {
            "type": "scatter",
            "x": middle,
            "y": list(range(len(names)))[::-1],
            "mode": "markers",
            "marker": _markers(runs, dark, 13),
            "error_x": basics.whiskers(middle, *ends, dark),
            "customdata": np.stack([names, *ends], axis=1),
            "hovertemplate": f"%{{customdata[0]}}: %{{x:.1f}} {unit} (%{{customdata[1]:.1f}} to %{{customdata[2]:.1f}})"
            "<extra></extra>",
        }
        traces.append({**points, "xaxis": f"x{side}", "yaxis": "y"})
    zero = {"type": "line", "xref": "x2", "yref": "y domain", "x0": 0, "x1": 0, "y0": 0, "y1": 1}
    return basics.drawn(
        traces,
        height=110 + ROW * len(runs),
        xaxis={"title": {"text": "accuracy, %"}, "domain": [0, 0.47]},
        xaxis2={"title": {"text": "change, points"}, "domain": [0.53, 1]},
        yaxis={"range": [-0.5, len(names) - 0.4], "tickvals": list(range(len(names))), "showticklabels": False},
        shapes=[{**zero, "line": {"color": colors.INK[dark], "width": 1}}],
        annotations=_names(names, [row + 0.4 for row in reversed(range(len(names)))]),
    )


def _names(names: Sequence[str], heights: Sequence[float]) -> list[dict[str, Any]]:
    """Return names as lines of text at the left of their rows; beside the chart they would leave it no room on a
    phone.
    """
    place = {"xref": "paper", "x": 0, "xanchor": "left", "showarrow": False}
    return [{**place, "y": height, "text": name} for name, height in zip(names, heights)]


def class_differences(changes: pd.DataFrame, dark: bool) -> go.Figure:
    """Change of each class's accuracy from the baseline, a dot a network, side by side. Columns told, alpha, position,
    class, change, change_low, change_high (-1..1), images; of many classes those that change most."""
    biggest = changes.groupby("class", sort=False)["change"].agg(lambda values: values.abs().max())
    shown = biggest.nlargest(MOST_CLASSES).index
    order = [name for name in biggest.index if name in set(shown)]
    names = [safe_text.label(name) for name in order]
    networks = list(changes.groupby("position", sort=True))
    traces = []
    for number, (_, part) in enumerate(networks):
        row, part = part.iloc[0].to_dict(), part.set_index("class").reindex(order)
        offset = 0.7 * ((number + 0.5) / len(networks) - 0.5)
        y = 100 * part["change"]
        dots = {
            "type": "scatter",
            "x": np.arange(len(order)) + offset,
            "y": y,
            "mode": "markers",
            "name": safe_text.label(row["told"]),
            "marker": _marker(row, dark, 10),
            "error_y": basics.whiskers(y, 100 * part["change_low"], 100 * part["change_high"], dark),
            "customdata": np.stack([names, part["images"]], axis=1),
            "hovertemplate": "class %{customdata[0]}: %{y:+.1f} points, %{customdata[1]} images",
        }
        traces.append(dots)
    ticks = [safe_text.label(safe_text.short(name)) for name in order]
    return basics.drawn(
        traces,
        height=360,
        xaxis={
            "title": {"text": "class"},
            "tickvals": list(range(len(order))),
            "ticktext": ticks,
            "range": [-0.6, len(order) - 0.4],
        },
        yaxis={"title": {"text": "difference, points"}},
        shapes=[basics.across(0, colors.INK[dark])],
        showlegend=True,
        legend=basics.LEGEND,
    )


def profile(layers: pd.DataFrame, column: str, dark: bool) -> go.Figure:
    """Return mean SI by depth, a line a network, its null dotted. Columns told, alpha, position, layer, depth,
    null_p95 and
    `column`; where all networks have the same layers, these are named."""
    traces, own = [], []
    for _, part in layers.groupby("position", sort=True):
        row = part.iloc[0].to_dict()
        color, label = colors.alpha(row["alpha"], dark), safe_text.label(row["told"])
        at = {"type": "scatter", "x": part["depth"], "text": [safe_text.label(name) for name in part["layer"]]}
        null = {
            "y": part["null_p95"],
            "mode": "lines",
            "showlegend": False,
            "line": {"color": color, "width": 1.5, "dash": "dot"},
            "hovertemplate": f"{label}, shuffled labels, %{{text}}: %{{y:.3f}}<extra></extra>",
        }
        line = {
            "y": part[column],
            "mode": "lines+markers",
            "name": label,
            "line": {"color": color, "width": 3},
            "marker": _marker(row, dark, 11),
            "hovertemplate": "%{text}: mean SI %{y:.3f}",
        }
        traces += [{**at, **null}, {**at, **line}]
        own.append(tuple(zip(part["layer"], part["depth"])))
    axis: dict[str, Any] = {"title": {"text": "depth in the network, 0 first to 1 last"}}
    if len(set(own)) == 1 and len(own[0]) <= 24:
        axis = {"title": {"text": "layer, first to last"}, "tickvals": [depth for _, depth in own[0]]}
        axis["ticktext"] = [safe_text.label(name) for name, _ in own[0]]
    return basics.drawn(
        traces,
        height=400,
        xaxis=axis,
        yaxis={"title": {"text": "mean SI"}, "rangemode": "tozero"},
        showlegend=True,
        legend=basics.LEGEND,
    )


def si_strips(units: pd.DataFrame, dark: bool) -> go.Figure:
    """Return every unit's SI, a row of dots a network, hollow if dead; the bar is the mean of the live ones, the
    gray tick the
    median of their nulls' 95th percentiles. Columns told, alpha, position, run, layer, unit, si, dead, null_p95;
    customdata [run, layer, unit]."""
    positions = sorted(units["position"].unique(), reverse=True)
    low, high = min(0.0, float(units["si"].min())), max(1.0, float(units["si"].max()))
    traces, names = [], []
    ticks: dict[str, tuple[list[Any], list[Any], list[str]]] = {"null": ([], [], []), "mean": ([], [], [])}
    for height, position in enumerate(positions):
        part = units[units["position"] == position]
        row, live = part.iloc[0].to_dict(), part[~part["dead"]]
        names.append(safe_text.label(row["told"]))
        dots = {
            "type": "scatter",
            "x": part["si"],
            "y": height + _piles(part["si"], low, high),
            "mode": "markers",
            "marker": {
                "size": 7,
                "symbol": basics.hollow(part["dead"]),
                "color": colors.alpha(row["alpha"], dark),
                "line": {"width": 0.8, "color": colors.INK[dark]},
            },
            "customdata": part[["run", "layer", "unit"]].to_numpy(dtype=object),
            "hovertemplate": "unit %{customdata[2]}: SI %{x:.2f}<extra></extra>",
            "unselected": {"marker": {"opacity": 1}},
        }
        traces.append(dots)
        if len(live):
            marks = {"null": float(live["null_p95"].median()), "mean": float(live["si"].mean())}
            words = {"null": "shuffled labels, 95th percentile", "mean": "mean of the live units"}
            for name, value in marks.items():
                x, y, hover = ticks[name]
                x += [value, value, None]
                y += [height - 0.12, height + 0.72, None]
                hover += [f"{words[name]}: {value:.2f}"] * 3
    for name, color in (("null", colors.ALPHA[dark][1]), ("mean", colors.INK[dark])):
        x, y, hover = ticks[name]
        line = {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": {"color": color, "width": 3}}
        traces.append({**line, "text": hover, "hovertemplate": "%{text}<extra></extra>"})
    return basics.drawn(
        traces,
        height=90 + PILES * len(positions),
        xaxis={"title": {"text": "class selectivity index (SI)"}, "range": [low - 0.02, high + 0.02]},
        yaxis={"range": [-0.2, len(positions)], "showgrid": False, "showticklabels": False},
        annotations=_names(names, [height + 0.82 for height in range(len(positions))]),
    )


def matched(pairs: pd.DataFrame, nulls: dict[str, np.ndarray], class_names: list[str], dark: bool) -> go.Figure:
    """Return the correlation of each unit with its match, a dot a unit in the color of its preferred class,
    hollow if the match prefers another; under it where the nulls (name -> correlations) lie, 5th to 95th percentile.

    Columns run, layer, unit, si, preferred_class, preferred_index, match, match_class, correlation; customdata [run,
    layer, unit].
    """
    matched_pairs = pairs.dropna(subset="correlation")
    low = min(0.0, float(matched_pairs["correlation"].min()) - 0.03) if len(matched_pairs) else 0.0
    same = matched_pairs["preferred_class"] == matched_pairs["match_class"]
    heights = _piles(matched_pairs["correlation"], low, 1.0, top=1.4)
    dots = {
        "type": "scatter",
        "x": matched_pairs["correlation"],
        "y": 0.1 + heights,
        "mode": "markers",
        "marker": {
            "size": 10,
            "symbol": basics.hollow(~same),
            **basics.colored(matched_pairs["preferred_index"], len(class_names), dark),
            "line": {"width": np.where(same, 1, 2.5)},
        },
        "text": [_pair(row) for row in matched_pairs.to_dict("records")],
        "customdata": matched_pairs[["run", "layer", "unit"]].to_numpy(dtype=object),
        "hovertemplate": "%{text}<extra></extra>",
        "unselected": {"marker": {"opacity": 1}},
    }
    traces, notes = [dots], []
    for step, (name, values) in enumerate(nulls.items(), 1):
        values = values[~np.isnan(values)]
        if not values.size:
            continue
        start, middle, end = np.quantile(values, (0.05, 0.5, 0.95))
        y = -0.28 * step
        bar: dict[str, Any] = {"type": "scatter", "x": [start, end], "y": [y, y], "mode": "lines"}
        bar["line"] = {"color": colors.ALPHA[dark][1], "width": 9}
        traces.append({**bar, "hovertemplate": f"{name}: {start:.2f} to {end:.2f}, median {middle:.2f}<extra></extra>"})
        right = 1 - end > start - low  # where there is more room
        side = {"x": end, "xanchor": "left", "xshift": 8} if right else {"x": start, "xanchor": "right", "xshift": -8}
        notes.append({"text": name, "y": y, "showarrow": False, **side})
    top = max(0.6, float(heights.max(initial=0)) + 0.25)
    return basics.drawn(
        traces,
        height=330,
        xaxis={"title": {"text": "correlation with the matched unit, over images"}, "range": [low - 0.02, 1.02]},
        yaxis={"visible": False, "range": [-0.28 * len(nulls) - 0.25, top]},
        annotations=notes,
    )


def _markers(runs: pd.DataFrame, dark: bool, size: int) -> dict[str, Any]:
    each = [_marker(row, dark, size) for row in runs.to_dict("records")]
    looks = {name: [marker[name] for marker in each] for name in ("symbol", "color")}
    return {**looks, "size": size, "line": {"width": 1.2, "color": colors.INK[dark]}}


def _marker(row: dict[Hashable, Any], dark: bool, size: int) -> dict[str, Any]:
    return {
        "size": size,
        "symbol": SYMBOLS[int(row["position"]) % len(SYMBOLS)],
        "color": colors.alpha(row["alpha"], dark),
        "line": {"width": 1.2, "color": colors.INK[dark]},
    }


def _piles(values: pd.Series, low: float, high: float, top: float = 0.72) -> np.ndarray:
    """Return heights 0..top that pile up equal values, so that none hides another."""
    bins = pd.Series(np.clip(((values - low) / max(high - low, 1e-9) * 60).astype(int), 0, 59))
    rank = bins.groupby(bins).cumcount().to_numpy()
    return rank * min(STEP, top / max(1, int(rank.max(initial=0))))


def _pair(row: dict[Hashable, Any]) -> str:
    return (
        f"unit {row['unit']} (SI {numbers.si(row['si'])}, prefers {safe_text.label(row['preferred_class'])})<br>"
        f"matches unit {row['match']} (SI {numbers.si(row['match_si'])}, prefers {safe_text.label(row['match_class'])})"
        f"<br>correlation {row['correlation']:.2f}"
    )
