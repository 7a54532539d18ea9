"""Charts about attributions: tables in, Plotly figures out, as in `basics`."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz import palette
from selviz.figures import basics, colors

WAYS = {"deletion": "circle", "insertion": "circle-open"}


def pixel_curves(table: pd.DataFrame, dark: bool) -> go.Figure:
    """Return the target while pixels leave (deletion) or enter (insertion). Columns share 0..1 of pixels, and one
    for each.
    """
    figure = basics.empty(height=260)
    for way, symbol in WAYS.items():
        figure.add_scatter(
            x=100 * table["share"],
            y=table[way],
            mode="lines+markers",
            name=way,
            line={"color": colors.INK[dark], "width": 2, "dash": "solid" if way == "deletion" else "dash"},
            marker={"symbol": symbol, "size": 7, "color": colors.INK[dark]},
            hovertemplate=f"{way}, %{{x:.0f}} % of pixels: %{{y:.3g}}<extra></extra>",
        )
    figure.update_layout(showlegend=True, legend=basics.LEGEND)
    figure.update_xaxes(title="pixels changed, %")
    figure.update_yaxes(title="what is explained")
    return figure


def pixel_map(values: np.ndarray, dark: bool) -> go.Figure:
    """Draw an attribution map [H, W]: what speaks for what is explained above 0, what against it below."""
    largest = float(np.abs(values).max()) or 1.0
    height, width = values.shape
    lost, none, gained = palette.CHANGE[dark]
    figure = basics.empty(height=min(420, 80 + 16 * height))
    figure.add_heatmap(
        z=values,
        zmin=-largest,
        zmax=largest,
        colorscale=[[0, lost], [0.5, none], [1, gained]],
        hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
    )
    figure.update_xaxes(range=[-0.5, width - 0.5], constrain="domain", visible=False)
    figure.update_yaxes(range=[height - 0.5, -0.5], scaleanchor="x", visible=False)
    return figure
