"""Charts of many units at once: tables in, Plotly figures out, as in `basics`."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app import colours, wording
from app.charts import basics

BINS = 40
MOST_DOTS = 28  # dots in a histogram's column; more become a bar


def si_histograms(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """One SI histogram per layer, a dot a unit where they fit, coloured by preferred class, customdata [layer, unit].

    Columns layer, unit, si, null_mean, null_p95, preferred_class, preferred_index, dead. The grey band runs from the
    median of the units' null means to the median of their null 95th percentiles.
    """
    order = list(dict.fromkeys(units["layer"]))
    low, high = min(0.0, float(units["si"].min())), max(1.0, float(units["si"].max()))
    hues = colours.classes(len(class_names), dark)
    stacked = _stack(units, low, high)
    as_dots = bool(stacked["height"].max() <= MOST_DOTS)
    few = len(class_names) <= len(colours.CLASSES[dark])
    looks = {"size": 9, "line": {"width": 1, "color": colours.INK[dark]}}
    traces, shapes, notes, axes = [], [], [], {}
    if as_dots and few:
        for number in sorted(stacked["preferred_index"].unique()):
            key = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": True}
            key |= {"name": wording.label(class_names[number]), "marker": {**looks, "color": hues[number]}}
            traces.append(key)
    gap = 0.1 / max(len(order), 2)
    share = (1 - gap * (len(order) - 1)) / len(order)
    for row, layer in enumerate(order):
        part = stacked[stacked["layer"] == layer]
        axis = "y" if row == 0 else f"y{row + 1}"
        if as_dots:
            colour = [hues[number] if few else colours.ALPHA[dark][1] for number in part["preferred_index"]]
            dots = {
                "type": "scatter",
                "x": part["centre"],
                "y": part["height"] - 0.5,
                "mode": "markers",
                "marker": {
                    **looks,
                    "symbol": ["circle-open" if dead else "circle" for dead in part["dead"]],
                    "color": colour,
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
                "marker": {"color": colours.ALPHA[dark][1]},
                "hovertemplate": "SI %{x:.2f}: %{y} units<extra></extra>",
            }
        traces.append({**dots, "xaxis": "x", "yaxis": axis, "showlegend": False})
        live = part[~part["dead"]]
        if live["null_p95"].notna().any():
            shapes.append(_band(live["null_mean"].median(), live["null_p95"].median(), axis, dark))
        name = {"text": wording.label(layer), "x": 1, "y": 0.98, "xanchor": "right", "yanchor": "top"}
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
    """Units by two metrics, columns x and y with their `titles`. Further columns layer, unit, preferred_index,
    preferred_class, dead, silent (ringed). customdata is [layer, unit]."""
    figure = basics.empty(height=420)
    hues = colours.classes(len(class_names), dark)
    figure.add_scattergl(
        x=units["x"],
        y=units["y"],
        mode="markers",
        marker={
            "size": [15 if silent else 10 for silent in units["silent"]],
            "symbol": ["circle-open" if dead else "circle" for dead in units["dead"]],
            "color": [hues[index] for index in units["preferred_index"]],
            "line": {
                "width": [3 if silent else 1 for silent in units["silent"]],
                "color": [colours.INK[dark] if silent else colours.OTHER[dark] for silent in units["silent"]],
            },
        },
        customdata=[[layer, int(unit)] for layer, unit in zip(units["layer"], units["unit"])],
        text=[
            f"{wording.label(row.layer)} unit {row.unit}"
            + ("" if row.dead else f", {wording.label(row.preferred_class)}")
            for row in units.itertuples()
        ],
        hovertemplate="%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
        unselected={"marker": {"opacity": 0.35}},
    )
    figure.update_layout(dragmode="lasso")
    figure.update_xaxes(title=titles["x"])
    figure.update_yaxes(title=titles["y"])
    return figure


def tuning_map(means: pd.DataFrame, dark: bool) -> go.Figure:
    """Units by classes, a square mark each. Columns layer, unit, name (of the unit on the axis), class, class_index,
    mean, and share, the class mean over the unit's largest, which gives the colour. Units run in the table's order.
    customdata is [layer, unit]."""
    units = list(dict.fromkeys(means["name"]))
    names = [wording.label(name) for name in means.sort_values("class_index")["class"].drop_duplicates()]
    height = max(260, min(1400, 110 + len(names) * (22 if len(names) <= 24 else 9)))
    figure = basics.empty(height=height)
    size = max(4, min(18, int(820 / max(len(units), 1)), int((height - 100) / max(len(names), 1))))
    figure.add_scattergl(
        x=means["name"],
        y=[wording.label(name) for name in means["class"]],
        mode="markers",
        marker={
            "symbol": "square",
            "size": size,
            "color": means["share"],
            "colorscale": colours.HEAT,
            "cmin": min(0.0, float(means["share"].min())),
            "cmax": 1.0,
            "colorbar": {"title": {"text": "of its largest"}, "thickness": 12},
        },
        customdata=[[layer, int(unit)] for layer, unit in zip(means["layer"], means["unit"])],
        text=[
            f"{wording.label(row.layer)} unit {row.unit}<br>class {wording.label(row.class_)}: {row.mean:.3g}"
            for row in means.rename(columns={"class": "class_"}).itertuples()
        ],
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
    )
    figure.update_xaxes(title="unit", type="category", categoryarray=units, showgrid=False)
    figure.update_yaxes(title="class", type="category", categoryarray=names[::-1], showgrid=False)
    return figure


def unit_map(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """Units by their place on a map, columns x and y; others as in `unit_scatter`."""
    figure = unit_scatter(units, class_names, {"x": "", "y": ""}, dark)
    figure.update_xaxes(showticklabels=False, showgrid=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, scaleanchor="x", scaleratio=1)
    figure.update_layout(height=560)
    return figure


def agreement(correlations: pd.DataFrame, dark: bool) -> go.Figure:
    """Rank correlations [M, M] of measures, -1..1, index and columns the measures' titles; NaN stays empty."""
    figure = basics.empty(height=140 + 34 * len(correlations))
    lost, none, gained = colours.CHANGE[dark]
    told = [["" if pd.isna(value) else wording.signed(value, 2) for value in row] for row in correlations.to_numpy()]
    figure.add_heatmap(
        z=correlations,
        x=list(correlations.columns),
        y=list(correlations.index),
        text=told,
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


def _band(low: float, high: float, axis: str, dark: bool) -> dict:
    ends = {"type": "rect", "x0": low, "x1": max(high, low + 0.004), "y0": 0, "y1": 1, "yref": f"{axis} domain"}
    return {**ends, "fillcolor": colours.BAND[dark], "line": {"width": 0}, "layer": "below"}


def _stack(units: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """The units with the centre of their SI bin and their height, 1.., in its column; equal classes lie together."""
    units = units.sort_values("preferred_index", kind="stable").copy()
    bins = np.clip(((units["si"] - low) / (high - low) * BINS).astype(int), 0, BINS - 1)
    units["centre"] = low + (bins + 0.5) * (high - low) / BINS
    units["height"] = units.groupby(["layer", "centre"]).cumcount() + 1
    return units


def _unit_text(unit: dict) -> str:
    told = f"{wording.label(unit['layer'])} unit {unit['unit']}<br>"
    if unit["dead"]:
        return told + "dead: never active on these images"
    return (
        f"{told}SI {wording.si(unit['si'])}, null {wording.si(unit['null_mean'])}"
        f"<br>prefers {wording.label(unit['preferred_class'])}"
    )
