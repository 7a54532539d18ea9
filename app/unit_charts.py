"""Charts of many units at once: tables in, Plotly figures out, as in `charts`."""

import pandas as pd
import plotly.graph_objects as go

from app import charts, colours, wording


def unit_scatter(units: pd.DataFrame, class_names: list[str], titles: dict[str, str], dark: bool) -> go.Figure:
    """Units by two metrics, columns x and y with their `titles`. Further columns layer, unit, preferred_index,
    preferred_class, dead, silent (ringed). customdata is [layer, unit]."""
    figure = charts.empty(height=420)
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
    figure = charts.empty(height=height)
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
    figure = charts.empty(height=140 + 34 * len(correlations))
    lost, none, gained = colours.CHANGE[dark]
    told = [["" if pd.isna(value) else wording.signed(value, 2) for value in row] for row in correlations.to_numpy()]
    figure.add_heatmap(
        z=correlations,
        x=list(correlations.columns),
        y=list(correlations.index),
        text=told,
        texttemplate="%{text}",
        textfont={"size": charts.FONT - 1},
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
