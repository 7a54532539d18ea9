"""Charts of many units at once: tables in, Plotly figures out, as in `basics`."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

BINS = 40
MOST_DOTS = 28  # dots in a histogram's column; more become a bar


def si_histograms(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """Return one SI histogram per layer, a dot a unit where they fit, colored by preferred class, customdata
    [layer, unit].

    Columns layer, unit, si, null_mean, null_p95, preferred_class, preferred_index, dead. The gray band runs from the
    median of the units' null means to the median of their null 95th percentiles.
    """
    order = units["layer"].unique().tolist()
    low, high = min(0.0, float(units["si"].min())), max(1.0, float(units["si"].max()))
    hues = colors.classes(len(class_names), dark)
    stacked = _stack(units, low, high)
    parts = dict(iter(stacked.groupby("layer", sort=False)))
    as_dots = bool(stacked["height"].max() <= MOST_DOTS)
    few = len(class_names) <= len(colors.CLASSES[dark])
    looks = {"size": 9, "line": {"width": 1, "color": colors.INK[dark]}}
    traces, shapes, notes, axes = [], [], [], {}
    if as_dots and few:
        for number in sorted(stacked["preferred_index"].unique()):
            traces.append(_key(class_names[number], {**looks, "color": hues[number]}))
    gap = 0.1 / max(len(order), 2)
    share = (1 - gap * (len(order) - 1)) / len(order)
    for row, layer in enumerate(order):
        part = parts[layer]
        axis = "y" if row == 0 else f"y{row + 1}"
        if as_dots:
            color = [hues[number] if few else colors.ALPHA[dark][1] for number in part["preferred_index"]]
            dots: dict[str, Any] = {
                "type": "scatter",
                "x": part["centre"],
                "y": part["height"] - 0.5,
                "mode": "markers",
                "marker": {
                    **looks,
                    "symbol": basics.hollow(part["dead"]),
                    "color": color,
                },
                "customdata": [[layer, int(unit)] for unit in part["unit"]],
                "text": [_unit_text(unit) for unit in part.to_dict("records")],
                "hovertemplate": "%{text}<extra></extra>",
                "unselected": {"marker": {"opacity": 1}},
            }
        else:
            counts = part.groupby("centre").size()
            dots = {
                "type": "bar",
                "x": counts.index,
                "y": counts,
                "width": (high - low) / BINS,
                "marker": {"color": colors.ALPHA[dark][1]},
                "hovertemplate": "SI %{x:.2f}: %{y} units<extra></extra>",
            }
        traces.append({**dots, "xaxis": "x", "yaxis": axis, "showlegend": False})
        live = part[~part["dead"]]
        if live["null_p95"].notna().any():
            shapes.append(_band(live["null_mean"].median(), live["null_p95"].median(), axis, dark))
        name = {"text": safe_text.label(layer), "x": 1, "y": 0.98, "xanchor": "right", "yanchor": "top"}
        notes.append({**name, "xref": "x domain", "yref": f"{axis} domain", "showarrow": False})
        top = 1 - row * (share + gap)
        axes[axis.replace("y", "yaxis")] = {
            "domain": [max(0.0, top - share), top],
            "range": [0, max(6.0, 1.15 * part["height"].max())],
            "nticks": 3,
        }
    legend = {**basics.LEGEND, "title": {"text": "prefers"}, "itemsizing": "constant"}
    return basics.drawn(
        traces,
        height=100 + (130 if len(order) <= 5 else 105) * len(order),
        xaxis={
            "title": {"text": "class selectivity index (SI)"},
            "range": [low - 0.02, high + 0.02],
            "anchor": axis,
        },
        **axes,
        shapes=shapes,
        annotations=notes,
        showlegend=as_dots and few,
        legend=legend,
    )


def unit_scatter(units: pd.DataFrame, class_names: list[str], titles: dict[str, str], dark: bool) -> go.Figure:
    """Return units by two metrics, columns x and y with their `titles`. Further columns layer, unit, preferred_index,
    preferred_class, dead, silent (ringed). customdata is [layer, unit]."""
    few = len(class_names) <= len(colors.CLASSES[dark])
    looks = {"size": 10, "line": {"width": 1, "color": colors.OTHER[dark]}}
    traces = []
    if few:
        hues, there = colors.classes(len(class_names), dark), units.loc[~units["dead"], "preferred_index"].unique()
        traces += [_key(class_names[number], {**looks, "color": hues[number]}) for number in sorted(there)]
    labels = {name: safe_text.label(name) for name in [*units["layer"].unique(), *class_names]}
    for silent in (False, True):
        part = units[units["silent"] == silent]
        if silent and not len(part):
            continue
        ring = {"size": 15, "line": {"width": 3, "color": colors.INK[dark]}} if silent else looks
        rows = list(zip(part["layer"], part["unit"].tolist(), part["preferred_class"], part["dead"]))
        marks: dict[str, Any] = {
            "type": "scattergl",
            "x": part["x"].to_numpy(),
            "y": part["y"].to_numpy(),
            "mode": "markers",
            "showlegend": False,
            "marker": {**ring, **basics.colored(part["preferred_index"], len(class_names), dark)},
            "customdata": [[layer, unit] for layer, unit, _, _ in rows],
            "text": [
                f"{labels[layer]} unit {unit}" + ("" if dead else f", {labels[preferred]}")
                for layer, unit, preferred, dead in rows
            ],
            "hovertemplate": "%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
            "unselected": {"marker": {"opacity": 0.35}},
        }
        if part["dead"].any():
            marks["marker"]["symbol"] = basics.hollow(part["dead"])
        traces.append(marks)
    return basics.drawn(
        traces,
        height=420,
        xaxis={"title": {"text": titles["x"]}},
        yaxis={"title": {"text": titles["y"]}},
        dragmode="lasso",
        showlegend=few,
        legend={**basics.LEGEND, "title": {"text": "prefers"}, "itemsizing": "constant"},
    )


def tuning_map(means: pd.DataFrame, dark: bool) -> go.Figure:
    """Return units by classes, a square mark each. Columns layer, unit, name (of the unit on the axis), class,
    class_index,
    mean, and share, the class mean over the unit's largest, which gives the color. Units run in the table's order.
    customdata is [layer, unit]."""
    units = means["name"].unique().tolist()
    labels = {name: safe_text.label(name) for kind in ("layer", "class") for name in means[kind].unique()}
    names = [labels[name] for name in means.sort_values("class_index")["class"].unique()]
    height = max(260, min(1400, 110 + len(names) * (22 if len(names) <= 24 else 9)))
    size = max(4, min(18, int(820 / max(len(units), 1)), int((height - 100) / max(len(names), 1))))
    rows = list(zip(means["layer"], means["unit"].tolist(), means["class"], means["mean"].tolist()))
    marks = {
        "type": "scattergl",
        "x": means["name"].tolist(),
        "y": [labels[of_class] for _, _, of_class, _ in rows],
        "mode": "markers",
        "marker": {
            "symbol": "square",
            "size": size,
            "color": means["share"].to_numpy(),
            "colorscale": colors.HEAT,
            "cmin": min(0.0, float(means["share"].min())),
            "cmax": 1.0,
            "colorbar": {"title": {"text": "of its largest"}, "thickness": 12},
        },
        "customdata": [[layer, unit] for layer, unit, _, _ in rows],
        "text": [
            f"{labels[layer]} unit {unit}<br>class {labels[of_class]}: {mean:.3g}"
            for layer, unit, of_class, mean in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "unselected": {"marker": {"opacity": 1}},
    }
    return basics.drawn(
        [marks],
        height=height,
        xaxis={"title": {"text": "unit"}, "type": "category", "categoryarray": units, "showgrid": False},
        yaxis={"title": {"text": "class"}, "type": "category", "categoryarray": names[::-1], "showgrid": False},
    )


def unit_map(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """Return units by their place on a map, columns x and y; others as in `unit_scatter`."""
    figure = unit_scatter(units, class_names, {"x": "", "y": ""}, dark)
    figure.update_xaxes(showticklabels=False, showgrid=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, scaleanchor="x", scaleratio=1)
    figure.update_layout(height=560)
    return figure


def agreement(correlations: pd.DataFrame, dark: bool) -> go.Figure:
    """Rank correlations [M, M] of measures, -1..1, index and columns the measures' titles; NaN stays empty."""
    figure = basics.empty(height=140 + 34 * len(correlations))
    lost, none, gained = colors.CHANGE[dark]
    cell_texts = [
        ["" if pd.isna(value) else numbers.signed(value, 2) for value in row] for row in correlations.to_numpy()
    ]
    figure.add_heatmap(
        z=correlations,
        x=list(correlations.columns),
        y=list(correlations.index),
        text=cell_texts,
        texttemplate="%{text}",
        textfont={"size": basics.FONT - 1},
        colorscale=[[0, lost], [0.5, none], [1, gained]],
        zmin=-1,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
    )
    figure.update_xaxes(side="top", tickangle=-30, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _band(low: float, high: float, axis: str, dark: bool) -> dict[str, Any]:
    ends = {"type": "rect", "x0": low, "x1": max(high, low + 0.004), "y0": 0, "y1": 1, "yref": f"{axis} domain"}
    return {**ends, "fillcolor": colors.BAND[dark], "line": {"width": 0}, "layer": "below"}


def _key(name: str, marker: dict[str, Any]) -> dict[str, Any]:
    """Return a trace without points, for the legend."""
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "showlegend": True,
        "name": safe_text.label(name),
        "marker": marker,
    }


def _stack(units: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """Return the units with the centre of their SI bin and their height, 1.., in its column; equal classes lie
    together.
    """
    units = units.sort_values("preferred_index", kind="stable").copy()
    bins = np.clip(((units["si"] - low) / (high - low) * BINS).astype(int), 0, BINS - 1)
    units["centre"] = low + (bins + 0.5) * (high - low) / BINS
    units["height"] = units.groupby(["layer", "centre"]).cumcount() + 1
    return units


def _unit_text(unit: dict[Hashable, Any]) -> str:
    text = f"{safe_text.label(unit['layer'])} unit {unit['unit']}<br>"
    if unit["dead"]:
        return text + "dead: never active on these images"
    return (
        f"{text}SI {numbers.si(unit['si'])}, null {numbers.si(unit['null_mean'])}"
        f"<br>prefers {safe_text.label(unit['preferred_class'])}"
    )
