"""Tables in, Plotly figures out: every chart of the pages is one function here, given its data frame and `dark`.

Text in the tables is shown as text: names pass through `wording.label`, since Plotly reads a little HTML.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app import colours, wording

FONT = 14
BINS = 40
MOST_DOTS = 28  # dots in a histogram's column; more become a bar
ALL_UNITS, LIVE_UNITS = "mean_si", "mean_si_live"


def accuracy_against_si(runs: pd.DataFrame, column: str, dark: bool) -> go.Figure:
    """Test accuracy against mean SI, a point a run. Columns run, alpha, told (the point's label), test_accuracy,
    low_share, high_share, null_mean, null_p95 and `column`, shares and SI 0..1. Bars at the foot are the nulls, one
    for each alpha."""
    figure = empty(height=430)
    x, y = runs[column], 100 * runs["test_accuracy"]
    low, high = 100 * float(runs["low_share"].min()), 100 * float(runs["high_share"].max())
    widest = max(float(x.max()), float(runs["null_p95"].fillna(0).max()), 0.05)
    nulls = runs.dropna(subset="null_p95").groupby("alpha", dropna=False)
    step = 0.03 * (high - low)
    foot = low - step * (len(nulls) + 1)
    for row, (alpha, part) in enumerate(nulls):
        figure.add_scatter(
            x=[part["null_mean"].min(), max(part["null_p95"].max(), part["null_mean"].min() + 0.004 * widest)],
            y=[foot + step * (row + 0.5)] * 2,
            mode="lines",
            line={"color": colours.alpha(alpha, dark), "width": 6},
            hovertemplate=f"shuffled labels, α {wording.alpha(alpha)}: %{{x:.3f}}<extra></extra>",
        )
    figure.add_annotation(
        text="shuffled labels",
        x=runs["null_p95"].max(),
        y=foot + step * len(nulls) / 2,
        xanchor="left",
        showarrow=False,
    )
    figure.add_hline(foot + step * len(nulls) + step / 2, line={"color": colours.OTHER[dark], "width": 1})
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers+text",
        name="runs",
        error_y=whiskers(y, 100 * runs["low_share"], 100 * runs["high_share"], dark),
        marker={
            "size": 17,
            "color": [colours.alpha(a, dark) for a in runs["alpha"]],
            "line": {"color": colours.INK[dark], "width": 1.5},
        },
        text=[wording.label(told) for told in runs["told"]],
        textposition=_beside(x.to_numpy(), 0.13 * widest),
        textfont={"size": FONT + 1},
        customdata=[[wording.label(run), wording.alpha(a)] for run, a in zip(runs["run"], runs["alpha"])],
        hovertemplate="%{customdata[0]}<br>alpha %{customdata[1]}<br>mean SI %{x:.3f}<br>%{y:.1f} %<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    figure.update_xaxes(title="mean class selectivity index (SI)", range=[-0.02 * widest, 1.14 * widest])
    figure.update_yaxes(title="test accuracy, %", range=[foot, high + 0.06 * (high - low)])
    return figure


def depth_profile(layers: pd.DataFrame, column: str, dark: bool) -> go.Figure:
    """Mean SI by layer, a line a run, its null dotted. Columns run, alpha, told (the line's label), layer, null_p95
    and `column`, layers in forward order."""
    figure = empty(height=430)
    order = list(dict.fromkeys(layers["layer"]))
    names = [wording.label(name) for name in order]
    for (alpha, run), part in layers.groupby(["alpha", "run"], sort=True, dropna=False):
        colour, told = colours.alpha(alpha, dark), wording.label(part["told"].iloc[0])
        part = part.set_index("layer").reindex(order)
        figure.add_scatter(
            x=names,
            y=part["null_p95"],
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            hovertemplate=f"{told}, shuffled labels, %{{x}}: %{{y:.3f}}<extra></extra>",
        )
        figure.add_scatter(
            x=names,
            y=part[column],
            mode="lines+markers+text",
            text=[None] * (len(order) - 1) + [told],
            textposition="middle right",
            textfont={"size": FONT + 1},
            line={"color": colour, "width": 3},
            marker={"size": 10, "color": colour},
            hovertemplate=f"{wording.label(run)}<br>%{{x}}: mean SI %{{y:.3f}}<extra></extra>",
        )
    room = 0.2 + 0.03 * (len(order) - 1) * layers["told"].str.len().max()
    figure.update_xaxes(title="layer, first to last", type="category", range=[-0.15, len(order) - 1 + room])
    figure.update_yaxes(title="mean SI", rangemode="tozero")
    return figure


def si_histograms(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """One SI histogram per layer, a dot a unit where they fit, coloured by preferred class, customdata [layer, unit].

    Columns layer, unit, si, null_mean, null_p95, preferred_class, preferred_index, dead. The grey band runs from the
    median of the units' null means to the median of their null 95th percentiles.
    """
    order = list(dict.fromkeys(units["layer"]))
    figure = make_subplots(len(order), 1, shared_xaxes=True, vertical_spacing=0.1 / max(len(order), 2))
    low, high = min(0.0, float(units["si"].min())), max(1.0, float(units["si"].max()))
    hues = colours.classes(len(class_names), dark)
    stacked = _stack(units, low, high)
    as_dots = bool(stacked["height"].max() <= MOST_DOTS)
    few = len(class_names) <= len(colours.CLASSES[dark])
    named = set()
    for row, layer in enumerate(order, 1):
        part = stacked[stacked["layer"] == layer]
        if as_dots:
            for number in sorted(part["preferred_index"].unique()) if few else [None]:
                of_class = part if number is None else part[part["preferred_index"] == number]
                colour = colours.ALPHA[dark][1] if number is None else hues[number]
                figure.add_scatter(
                    x=of_class["centre"],
                    y=of_class["height"] - 0.5,
                    mode="markers",
                    name="" if number is None else wording.label(class_names[number]),
                    legendgroup=str(number),
                    showlegend=few and number not in named,
                    legendrank=int(number or 0),
                    marker={
                        "size": 9,
                        "symbol": ["circle-open" if dead else "circle" for dead in of_class["dead"]],
                        "color": colour,
                        "line": {"width": 1, "color": colours.INK[dark]},
                    },
                    customdata=[[layer, int(unit)] for unit in of_class["unit"]],
                    text=[_unit_text(unit) for unit in of_class.to_dict("records")],
                    hovertemplate="%{text}<extra></extra>",
                    unselected={"marker": {"opacity": 1}},
                    row=row,
                    col=1,
                )
                named.add(number)
        else:
            counts = part.groupby("centre").size()
            figure.add_bar(
                x=counts.index,
                y=counts,
                width=(high - low) / BINS,
                marker_color=colours.ALPHA[dark][1],
                showlegend=False,
                hovertemplate="SI %{x:.2f}: %{y} units<extra></extra>",
                row=row,
                col=1,
            )
        live = part[~part["dead"]]
        if live["null_p95"].notna().any():
            _band(figure, live["null_mean"].median(), live["null_p95"].median(), dark, row)
        figure.update_yaxes(range=[0, max(6.0, 1.15 * part["height"].max())], row=row, col=1)
        figure.add_annotation(
            text=wording.label(layer),
            x=1,
            y=0.98,
            xref="x domain",
            yref="y domain",
            xanchor="right",
            yanchor="top",
            showarrow=False,
            font={"size": FONT},
            row=row,
            col=1,
        )
    figure.update_xaxes(range=[low - 0.02, high + 0.02])
    figure.update_xaxes(title="class selectivity index (SI)", row=len(order), col=1)
    figure.update_yaxes(nticks=3)
    finish(figure, height=100 + (130 if len(order) <= 5 else 105) * len(order))
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "title": "prefers", "itemsizing": "constant"}
    figure.update_layout(showlegend=as_dots and few, legend={**legend, "itemclick": False, "itemdoubleclick": False})
    return figure


def tuning(means: pd.DataFrame, preferred: int, dark: bool) -> go.Figure:
    """Mean activation for each class with its 95 % interval. Columns class, class_index, mean, low, high, images."""
    figure = empty(height=300)
    hues = colours.classes(len(means), dark, single_out=(preferred,))
    names = [wording.label(name) for name in means["class"]]
    figure.add_bar(
        x=names,
        y=means["mean"],
        marker={
            "color": [hues[c] for c in means["class_index"]],
            "line": {"color": colours.INK[dark], "width": [2.5 if c == preferred else 0 for c in means["class_index"]]},
        },
        error_y=whiskers(means["mean"], means["low"], means["high"], dark),
        customdata=means[["low", "high", "images"]],
        hovertemplate="%{x}: %{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<extra>n %{customdata[2]}</extra>",
    )
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="mean activation", rangemode="tozero")
    return figure


def push(table: pd.DataFrame, dark: bool) -> go.Figure:
    """How much a unit raises each class's logit. Columns class, class_index, removed and slope, each with _low and
    _high."""
    figure = empty(height=300)
    most = table["removed"].abs().idxmax()
    hues = colours.classes(len(table), dark, single_out=(int(table["class_index"][most]),))
    names = [wording.label(name) for name in table["class"]]
    figure.add_bar(
        x=names,
        y=table["removed"],
        marker={"color": [hues[c] for c in table["class_index"]]},
        error_y=whiskers(table["removed"], table["removed_low"], table["removed_high"], dark),
        hovertemplate="class %{x}: %{y:+.3f} lost when silent<extra></extra>",
    )
    figure.add_scatter(
        x=names,
        y=table["slope"],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 10, "color": colours.INK[dark], "line": {"width": 2}},
        hovertemplate="class %{x}: %{y:+.3f} by gradient times activation<extra></extra>",
    )
    figure.add_hline(0, line={"color": colours.OTHER[dark], "width": 1})
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="logit")
    return figure


def activations_by_class(activations: pd.DataFrame, class_names: list[str], preferred: int, dark: bool) -> go.Figure:
    """Histogram of a unit's activations, stacked by class, preferred one at the bottom. Columns label_index, value."""
    figure = empty(height=300)
    values = activations["value"].to_numpy()
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), 31)
    centres, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    hues = colours.classes(len(class_names), dark, single_out=(preferred,))
    groups = [preferred, *(c for c in range(len(class_names)) if c != preferred)]
    if len(class_names) > len(colours.CLASSES[dark]):
        groups = [preferred, None]
    for number in groups:
        inside = activations["label_index"] == number if number is not None else activations["label_index"] != preferred
        counts, _ = np.histogram(values[inside.to_numpy()], edges)
        name = "other classes" if number is None else wording.label(class_names[number])
        figure.add_bar(
            x=centres,
            y=counts,
            width=width,
            name=name,
            marker={"color": colours.OTHER[dark] if number is None else hues[number], "line": {"width": 0}},
            hovertemplate="%{y} images near %{x:.3g}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(title="activation (mean over positions)")
    figure.update_yaxes(title="images")
    return figure


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


def _beside(x: np.ndarray, room: float) -> list[str]:
    """Where each point's label goes: right of it, or left where only there is room."""
    sides = []
    for value in x:
        right = ((x > value) & (x < value + room)).any()
        left = ((x < value) & (x > value - room)).any()
        sides.append("middle left" if right and not left and value > room else "middle right")
    return sides


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


def _band(figure: go.Figure, low: float, high: float, dark: bool, row: int) -> None:
    end = max(high, low + 0.004)
    figure.add_vrect(x0=low, x1=end, fillcolor=colours.BAND[dark], line_width=0, layer="below", row=row, col=1)


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
