"""Charts of networks while they train: loss and accuracy, the histogram of SI, SI by layer and unit over epochs."""

from typing import cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from selviz.figures import basics, colors
from selviz.text import safe_text

BINS = 30
MOST_LINES = 128


def progress(epochs: pd.DataFrame, dark: bool) -> go.Figure:
    """Return loss and accuracies by epoch. Columns epoch, loss, train_accuracy and test_accuracy 0..1."""
    figure = make_subplots(1, 2, horizontal_spacing=0.24)
    ink, gray = colors.INK[dark], colors.ALPHA[dark][1]
    parts = (
        ("loss", "training loss", 1, 1, ink, "solid"),
        ("train_accuracy", "training images", 100, 2, gray, "dot"),
        ("test_accuracy", "evaluation images", 100, 2, ink, "solid"),
    )
    for column, name, scale, place, color, dash in parts:
        figure.add_scatter(
            x=epochs["epoch"],
            y=scale * epochs[column],
            mode="lines+markers",
            name=name,
            showlegend=place == 2,
            line={"color": color, "width": 2.5, "dash": dash},
            marker={"size": 7, "color": color},
            hovertemplate=f"{name}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
            row=1,
            col=place,
        )
    basics.finish(figure, height=320)
    legend = {"orientation": "h", "y": 1.06, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    figure.update_layout(showlegend=True, legend={**legend, "itemclick": False, "itemdoubleclick": False})
    figure.update_xaxes(title="epoch", dtick=_whole_steps(epochs["epoch"], 4))  # two narrow panels
    figure.update_yaxes(title="loss", col=1)
    figure.update_yaxes(title="accuracy, %", title_standoff=6, col=2)
    return figure


def si_histogram(units: pd.DataFrame, alpha: float | None, dark: bool) -> go.Figure:
    """Return how many units have which SI, over all layers; a line at the mean. Columns layer, unit, si."""
    figure = basics.empty(height=290)
    values = units["si"].to_numpy()
    edges = np.linspace(min(0.0, float(values.min())), max(1.0, float(values.max())), BINS + 1)
    counts, _ = np.histogram(values, edges)
    color = colors.alpha(alpha, dark)
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        marker={"color": color, "line": {"color": colors.INK[dark], "width": 0.5}},
        hovertemplate="SI %{x:.2f}: %{y} units<extra></extra>",
    )
    figure.add_vline(float(values.mean()), line={"color": colors.INK[dark], "width": 2, "dash": "dash"})
    figure.update_xaxes(title="class selectivity index (SI)")
    figure.update_yaxes(title="units")
    return figure


def layers_over_time(table: pd.DataFrame, dark: bool) -> go.Figure:
    """Return mean SI of each layer against epochs trained, early layers light and late ones dark; dotted: its null.

    Columns done, layer, mean_si_live, null_p95, layers in forward order.
    """
    figure = basics.empty(height=400)
    order = list(dict.fromkeys(table["layer"]))
    for number, layer in enumerate(order):
        part = table[table["layer"] == layer].sort_values("done")
        color, label = _depth(number, len(order), dark), safe_text.label(layer)
        for column, name, width, dash in (
            ("null_p95", f"{label}, shuffled labels", 1.2, "dot"),
            ("mean_si_live", label, 2.5, "solid"),
        ):
            figure.add_scatter(
                x=part["done"],
                y=part[column],
                mode="lines+markers" if dash == "solid" else "lines",
                name=label,
                showlegend=dash == "solid" and len(order) <= 12,
                line={"color": color, "width": width, "dash": dash},
                marker={"size": 6, "color": color},
                hovertemplate=f"{name}, after %{{x:.2f}} epochs: %{{y:.3f}}<extra></extra>",
            )
    figure.update_layout(showlegend=True, legend={"itemclick": False, "itemdoubleclick": False})
    figure.update_xaxes(title="epochs trained")
    figure.update_yaxes(title="mean SI of live units", rangemode="tozero")
    return figure


def unit_trajectories(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """Return a line a unit of one layer: its SI against epochs trained, in the color of the class it prefers at
    the end.

    Columns done, unit, si, preferred_class. Of more than 128 units, those with the largest SI at any moment.
    """
    figure = basics.empty(height=400)
    peak = units.groupby("unit")["si"].max().sort_values(ascending=False, kind="stable")
    last = units[units["done"] == units["done"].max()].set_index("unit")["preferred_class"]
    hues = dict(zip(class_names, colors.classes(len(class_names), dark)))
    for unit in peak.index[:MOST_LINES]:
        part = units[units["unit"] == unit].sort_values("done")
        name = last.get(unit)
        figure.add_scatter(
            x=part["done"],
            y=part["si"],
            mode="lines",
            line={"color": hues.get(name, colors.OTHER[dark]), "width": 1.4},
            opacity=0.75,
            hovertemplate=f"unit {unit}, prefers {safe_text.label(name)}: SI %{{y:.2f}}<extra></extra>",
        )
    figure.update_xaxes(title="epochs trained")
    figure.update_yaxes(title="SI", range=[min(0.0, float(units["si"].min())), 1.02])
    return figure


def rising_and_falling(shares: pd.DataFrame, dark: bool) -> go.Figure:
    """Share of live units whose SI rose, and fell, since the moment before. Columns done, rising, falling 0..1."""
    figure = basics.empty(height=400)
    lost, _, gained = colors.CHANGE[dark]
    for column, sign, color in (("rising", 1, gained), ("falling", -1, lost)):
        figure.add_bar(
            x=shares["done"],
            y=100 * sign * shares[column],
            name=column,
            marker={"color": color},
            customdata=100 * shares[column],
            hovertemplate=f"{column} until epoch %{{x:.2f}}: %{{customdata:.0f}} %<extra></extra>",
        )
    figure.add_hline(0, line={"color": colors.INK[dark], "width": 1})
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False}
    figure.update_layout(barmode="relative", showlegend=True, legend=legend)
    figure.update_xaxes(title="epochs trained")
    figure.update_yaxes(title="units, %")
    return figure


def networks_over_time(epochs: pd.DataFrame, column: str, dark: bool) -> go.Figure:
    """Return one number of several networks by epoch, a line a run. Columns run, told, alpha, epoch and `column`."""
    figure = basics.empty(height=340)
    names = {"test_accuracy": "test accuracy, %", "mean_si_live": "mean SI of live units"}
    scale = 100 if column == "test_accuracy" else 1
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
    for number, (run, part) in enumerate(epochs.groupby("run", sort=False)):
        color, label = colors.alpha(part["alpha"].iloc[0], dark), safe_text.label(part["told"].iloc[0])
        figure.add_scatter(
            x=part["epoch"],
            y=scale * part[column],
            mode="lines+markers",
            name=label,
            line={"color": color, "width": 2.5, "dash": dashes[number % len(dashes)]},
            marker={"size": 7, "color": color},
            hovertemplate=f"{safe_text.label(run)}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False}
    figure.update_layout(showlegend=True, legend=legend)
    figure.update_xaxes(title="epoch", dtick=_whole_steps(epochs["epoch"]))
    figure.update_yaxes(title=names[column], rangemode="tozero" if scale == 1 else "normal")
    return figure


def _whole_steps(epochs: pd.Series, most: int = 10) -> int:
    """Return the distance of ticks at whole epochs, at most about so many of them."""
    return max(1, -(-int(epochs.max()) // most))


def _depth(number: int, layers: int, dark: bool) -> str:
    """Return a color for a layer by its depth, neither alpha's nor a class's."""
    from plotly.colors import sample_colorscale

    share = number / max(layers - 1, 1)
    return cast(str, sample_colorscale("Viridis", [0.9 - 0.85 * share if not dark else 0.25 + 0.75 * share])[0])
