"""Charts about attributions: tables in, Plotly figures out, as in `basics`."""

import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors

WAYS = {"deletion": "circle", "insertion": "circle-open"}


def pixel_curves(table: pd.DataFrame, dark: bool) -> go.Figure:
    """The target while pixels leave (deletion) or enter (insertion). Columns share 0..1 of pixels, and one for each."""
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
