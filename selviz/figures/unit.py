"""Charts of one unit: its tuning, its activations, what it pushes. Tables in, Plotly figures out."""

from typing import cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import safe_text


def tuning(means: pd.DataFrame, preferred: int, dark: bool) -> go.Figure:
    """Draw the mean activation for each class with its 95 % interval (t, for new images).

    Columns class, class_index, mean, std and images, as `store.class_means` has them; low and high where they are
    known.
    """
    means = basics.with_mean_interval(means)
    figure = basics.empty(height=260)
    hues = colors.classes(len(means), dark, single_out=(preferred,))
    names = [safe_text.label(name) for name in means["class"]]
    figure.add_bar(
        x=names,
        y=means["mean"],
        marker={
            "color": [colors.fill(hues[c]) for c in means["class_index"]],
            "line": {
                "color": [colors.INK[dark] if c == preferred else hues[c] for c in means["class_index"]],
                "width": [2.5 if c == preferred else 1.5 for c in means["class_index"]],
            },
        },
        error_y=basics.whiskers(means["mean"], means["low"], means["high"], dark),
        customdata=means[["low", "high", "images"]],
        hovertemplate="%{x}: %{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<extra>n %{customdata[2]}</extra>",
    )
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="mean activation", rangemode="tozero")
    return figure


def with_push_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much a unit raises each logit with its intervals. Columns removed, slope, each with _std; images."""
    for name in ("removed", "slope"):
        table = basics.with_mean_interval(table, name, f"{name}_std", f"{name}_")
    return table


def push(table: pd.DataFrame, dark: bool) -> go.Figure:
    """Return how much a unit raises each class's logit, with 95 % intervals (t, for new images).

    Columns class, class_index, removed and slope, each with _std or its _low and _high; images.
    """
    table = with_push_intervals(table)
    figure = basics.empty(height=260)
    strongest = cast(int, table["removed"].abs().idxmax())
    hues = colors.classes(len(table), dark, single_out=(int(table["class_index"][strongest]),))
    names = [safe_text.label(name) for name in table["class"]]
    figure.add_bar(
        x=names,
        y=table["removed"],
        marker={
            "color": [colors.fill(hues[c]) for c in table["class_index"]],
            "line": {"color": [hues[c] for c in table["class_index"]], "width": 1.5},
        },
        error_y=basics.whiskers(table["removed"], table["removed_low"], table["removed_high"], dark),
        hovertemplate="class %{x}: %{y:+.3f} lost when silent<extra></extra>",
    )
    figure.add_scatter(
        x=names,
        y=table["slope"],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 10, "color": colors.INK[dark], "line": {"width": 2}},
        hovertemplate="class %{x}: %{y:+.3f} by gradient times activation<extra></extra>",
    )
    figure.add_hline(0, line={"color": colors.OTHER[dark], "width": 1})
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="logit")
    return figure


def activations_by_class(activations: pd.DataFrame, class_names: list[str], preferred: int, dark: bool) -> go.Figure:
    """Return histogram of a unit's activations, stacked by class, preferred one at the bottom. Columns
    label_index, value.
    """
    figure = basics.empty(height=260)
    values = activations["value"].to_numpy()
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), 31)
    centres, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    hues = colors.classes(len(class_names), dark, single_out=(preferred,))
    groups: list[int | None] = [preferred, *(c for c in range(len(class_names)) if c != preferred)]
    if len(class_names) > len(colors.CLASSES[dark]):
        groups = [preferred, None]
    for number in groups:
        inside = activations["label_index"] == number if number is not None else activations["label_index"] != preferred
        counts, _ = np.histogram(values[inside.to_numpy()], edges)
        name = "other classes" if number is None else safe_text.label(class_names[number])
        figure.add_bar(
            x=centres,
            y=counts,
            width=width,
            name=name,
            marker={"color": colors.OTHER[dark] if number is None else hues[number], "line": {"width": 0}},
            hovertemplate="%{y} images near %{x:.3g}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(title="activation (mean over positions)")
    figure.update_yaxes(title="images")
    return figure
