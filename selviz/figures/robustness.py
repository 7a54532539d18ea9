"""Charts of perturbed images and of dimensionality: tables in, Plotly figures out, as in `basics`."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

SCALE = {  # poor to good, in gray, so that it is neither alpha's nor a class's
    False: ((0.0, "#45484f"), (1.0, "#f4f4f6")),
    True: ((0.0, "#17191f"), (1.0, "#c9ccd3")),
}


def curves(table: pd.DataFrame, along: str, dark: bool) -> go.Figure:
    """Return accuracy by level, a line an alpha. Columns alpha, told (the line's label), level, accuracy, n, and low,
    high (0..1, NaN without an interval), Wilson's where they are not there; `along` is what a level is. Level 0 is
    clean; levels stand at even distances."""
    table = basics.with_accuracy_interval(table, images="n")
    levels = sorted(table["level"].unique())
    names = ["clean" if level == 0 else f"{level:g}" for level in levels]
    traces, ends = [], []
    for alpha, part in table.groupby("alpha", dropna=False, sort=True):
        part = part.set_index("level").reindex(levels)
        label, color = safe_text.label(part["told"].dropna().iloc[0]), colors.alpha(alpha, dark)
        y = 100 * part["accuracy"]
        ends.append((float(y.iloc[-1]), label, color))
        line = {
            "type": "scatter",
            "x": list(range(len(levels))),
            "y": y,
            "mode": "lines+markers",
            "name": label,
            "connectgaps": True,
            "line": {"color": color, "width": 3},
            "marker": {"size": 9, "color": color},
            "error_y": {**basics.whiskers(y, 100 * part["low"], 100 * part["high"], dark), "color": color},
            "customdata": np.stack([100 * part["low"], 100 * part["high"], part["n"]], axis=1),
            "hovertemplate": f"{label}, {along} %{{text}}: %{{y:.1f}} % (%{{customdata[0]:.1f}} to "
            "%{customdata[1]:.1f}, n = %{customdata[2]})<extra></extra>",
            "text": names,
        }
        traces.append(line)
    bottom = 100 * float(np.nanmin(table[["accuracy", "low"]].to_numpy()))
    lowest = max(0.0, bottom - 5)
    return basics.drawn(
        traces,
        height=400,
        xaxis={
            "title": {"text": along},
            "tickvals": list(range(len(levels))),
            "ticktext": names,
            "range": [-0.2, len(levels) - 1 + 0.2 + 0.12 * len(levels)],
        },
        yaxis={"title": {"text": "accuracy, %"}, "range": [lowest, 101]},
        annotations=basics.line_labels(ends, len(levels) - 1, lowest, 101, 400),
    )


def grid(table: pd.DataFrame, dark: bool) -> go.Figure:
    """Return accuracy of each network, across, under each corruption, the hardest on top. Columns name, told,
    alpha, accuracy
    (0..1)."""
    columns = table[["alpha", "told"]].drop_duplicates().sort_values("alpha")["told"].tolist()
    cells = 100 * table.pivot(index="name", columns="told", values="accuracy")[columns]
    cells = cells.loc[cells.mean(axis=1).sort_values(ascending=False).index]  # Plotly's first row is the lowest
    trace = {
        "type": "heatmap",
        "z": cells.to_numpy(),
        "x": [safe_text.label(name) for name in columns],
        "y": [safe_text.label(str(name).replace("_", " ")) for name in cells.index],
        "colorscale": SCALE[dark],
        "zmin": 0,
        "zmax": 100,
        "texttemplate": "%{z:.0f}" if len(columns) <= 12 else None,
        "hovertemplate": "%{y}, %{x}: %{z:.1f} %<extra></extra>",
        "colorbar": {"title": {"text": "accuracy, %"}, "thickness": 14, "tickfont": {"size": basics.FONT}},
        "xgap": 2,
        "ygap": 2,
    }
    return basics.drawn(
        [trace], height=90 + 27 * len(cells), xaxis={"side": "top", "type": "category"}, margin={"t": 44}
    )


def against_si(runs: pd.DataFrame, what: str, dark: bool) -> go.Figure:
    """Return a measure of each network against its mean SI, a point a run. Columns run, alpha, told, mean_si,
    value, low,
    high (per cent)."""
    points = {
        "type": "scatter",
        "x": runs["mean_si"],
        "y": runs["value"],
        "mode": "markers+text" if len(runs) <= 12 else "markers",
        "text": [safe_text.label(label) for label in runs["told"]],
        "textposition": "top center",
        "textfont": {"size": basics.FONT},
        "error_y": {**basics.whiskers(runs["value"], runs["low"], runs["high"], dark), "thickness": 1},
        "marker": {
            "size": 14,
            "color": [colors.alpha(alpha, dark) for alpha in runs["alpha"]],
            "line": {"color": colors.INK[dark], "width": 1.2},
        },
        "customdata": [safe_text.label(run) for run in runs["run"]],
        "hovertemplate": f"%{{customdata}}<br>mean SI %{{x:.3f}}<br>{what} %{{y:.1f}} %<extra></extra>",
    }
    widest = max(float(runs["mean_si"].max()), 0.05)
    return basics.drawn(
        [points],
        height=380,
        xaxis={"title": {"text": "mean class selectivity index (SI)"}, "range": [-0.06 * widest, 1.12 * widest]},
        yaxis={"title": {"text": f"{what}, %"}},
    )


def by_alpha(table: pd.DataFrame, what: str, dark: bool) -> go.Figure:
    """Return mean over seeds at each alpha, at even distances. Columns alpha, mean, low, high (per cent), n."""
    table = table.sort_values("alpha")
    places = list(range(len(table)))
    points = {
        "type": "scatter",
        "x": places,
        "y": table["mean"],
        "mode": "lines+markers",
        "line": {"color": colors.OTHER[dark], "width": 2},
        "marker": {"size": 14, "color": [colors.alpha(alpha, dark) for alpha in table["alpha"]]},
        "error_y": basics.whiskers(table["mean"], table["low"], table["high"], dark),
        "customdata": np.stack([table["low"], table["high"], table["n"]], axis=1),
        "text": [numbers.alpha(alpha) for alpha in table["alpha"]],
        "hovertemplate": f"α %{{text}}: {what} %{{y:.1f}} % (%{{customdata[0]:.1f}} to %{{customdata[1]:.1f}}), "
        "%{customdata[2]} seeds<extra></extra>",
    }
    ticks = {"tickvals": places, "ticktext": [numbers.alpha(alpha) for alpha in table["alpha"]]}
    return basics.drawn(
        [points],
        height=380,
        xaxis={"title": {"text": "alpha"}, **ticks, "range": [-0.4, len(places) - 0.6]},
        yaxis={"title": {"text": f"{what}, %"}},
    )


def shifts(units: pd.DataFrame, class_names: list[str], dark: bool) -> go.Figure:
    """Return how far each unit moves against its SI on clean images, in the color of its preferred class there;
    hollow where
    it prefers another class on the perturbed images. Columns unit, si, shift, preferred_index, moved_class, told."""
    dots = {
        "type": "scatter",
        "x": units["si"],
        "y": units["shift"],
        "mode": "markers",
        "marker": {
            "size": 11,
            "symbol": basics.hollow(units["moved_class"]),
            **basics.colored(units["preferred_index"], len(class_names), dark),
            "line": {"width": np.where(units["moved_class"], 2.5, 1)},
        },
        "text": units["told"],
        "hovertemplate": "%{text}<extra></extra>",
    }
    return basics.drawn(
        [dots],
        height=380,
        xaxis={"title": {"text": "SI on clean images"}},
        yaxis={"title": {"text": "shift, standard deviations"}, "rangemode": "tozero"},
    )


def profile(table: pd.DataFrame, title: str, dark: bool) -> go.Figure:
    """Return a count by layer, a line an alpha, shuffled activations dotted. Columns alpha, told, layer, value,
    low, high (or
    NaN), shuffled (or NaN), layers in forward order."""
    order = list(dict.fromkeys(table["layer"]))
    names = [safe_text.label(name) for name in order]
    traces, ends = [], []
    for alpha, part in table.groupby("alpha", dropna=False, sort=True):
        part = part.set_index("layer").reindex(order)
        label, color = safe_text.label(part["told"].dropna().iloc[0]), colors.alpha(alpha, dark)
        ends.append((float(part["value"].iloc[-1]), label, color))
        if part["shuffled"].notna().any():
            null = {
                "type": "scatter",
                "x": list(range(len(order))),
                "y": part["shuffled"],
                "mode": "lines",
                "line": {"color": color, "width": 1.5, "dash": "dot"},
                "text": names,
                "hovertemplate": f"{label}, each feature shuffled, %{{text}}: %{{y:.1f}}<extra></extra>",
            }
            traces.append(null)
        line = {
            "type": "scatter",
            "x": list(range(len(order))),
            "y": part["value"],
            "mode": "lines+markers",
            "line": {"color": color, "width": 3},
            "marker": {"size": 9, "color": color},
            "error_y": {**basics.whiskers(part["value"], part["low"], part["high"], dark), "color": color},
            "text": names,
            "customdata": np.stack([part["low"], part["high"]], axis=1),
            "hovertemplate": f"{label}, %{{text}}: %{{y:.2f}} (%{{customdata[0]:.2f}} to %{{customdata[1]:.2f}})"
            "<extra></extra>",
        }
        traces.append(line)
    top = 1.06 * float(np.nanmax(table[["value", "high", "shuffled"]].to_numpy()))
    return basics.drawn(
        traces,
        height=400,
        xaxis={
            "title": {"text": "layer, first to last"},
            "tickvals": list(range(len(order))),
            "ticktext": names,
            "range": [-0.2, len(order) - 1 + 0.2 + 0.12 * max(len(order), 2)],
        },
        yaxis={"title": {"text": title}, "range": [0, top]},
        annotations=basics.line_labels(ends, len(order) - 1, 0, top, 400),
    )
