"""Charts of what silencing does: tables in, Plotly figures out, as in `basics`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

CONTROLS = {"control": "random sets", "matched": "matched sets"}
MOST_WRITTEN = 12  # classes up to which a confusion matrix has its numbers written in


def against_controls(
    result: Mapping[str, Sequence[float]], draws: Mapping[str, Sequence[float]], dark: bool
) -> go.Figure:
    """Return where the chosen units rank: `result` has before and after, each (value, low, high) 0..1; `draws` the
    accuracies of each kind of CONTROLS, a row of dots each."""
    shown = {kind: 100 * np.asarray(values, dtype=float) for kind, values in draws.items() if len(values)}
    figure = basics.empty(height=190 + 70 * len(shown))
    ink = colors.INK[dark]
    for row, (kind, values) in enumerate(shown.items()):
        # Equal accuracies would hide one another, so they are piled up.
        piles = pd.Series(np.round(values, 3)).groupby(np.round(values, 3)).cumcount()
        step = min(0.11, 0.62 / max(1, int(piles.max())))
        figure.add_scatter(
            x=values,
            y=0.45 + row + step * piles,
            mode="markers",
            name=CONTROLS[kind],
            marker={
                "size": 10 if len(values) <= 40 else 6,
                "symbol": "circle" if kind == "control" else "square",
                "color": colors.ALPHA[dark][1],
            },
            hovertemplate=f"one of the {CONTROLS[kind]}: %{{x:.1f}} %<extra></extra>",
        )
        figure.add_annotation(
            text=CONTROLS[kind], x=0, xref="paper", xanchor="left", y=0.45 + row, yshift=16, showarrow=False
        )
    top = len(shown) + 0.3
    for when, height, fill in (("before", top, "rgba(0,0,0,0)"), ("after", 0.0, ink)):
        value, low, high = (100 * part for part in result[when])
        figure.add_scatter(
            x=[value],
            y=[height],
            mode="markers+text",
            text=[f"{when} {value:.1f} %"],
            textposition="top center" if when == "before" else "bottom center",
            textfont={"size": basics.FONT},
            marker={"size": 15, "symbol": "diamond", "color": fill, "line": {"width": 2.5, "color": ink}},
            error_x=basics.whiskers(
                *(np.array([end]) for end in (value, low, high)),  # type: ignore[call-arg, arg-type]  # three ends
                dark,
            ),
            hovertemplate=f"{when}: %{{x:.1f}} % ({low:.1f} to {high:.1f})<extra></extra>",
        )
    ends = [100 * np.asarray(result[when]) for when in ("before", "after")]
    everything = np.concatenate([*shown.values(), *ends])
    room = max(1.0, 0.08 * (everything.max() - everything.min()))
    figure.update_xaxes(title="accuracy, %", range=[everything.min() - room, everything.max() + room])
    figure.update_yaxes(visible=False, range=[-0.8, top + 0.6])
    return figure


def before_and_after(per_class: pd.DataFrame, dark: bool) -> go.Figure:
    """Return accuracy by class, before (outlined) and after (filled), with intervals. Columns class, class_index,
    before,
    after, images (accuracies 0..1), and before_low, ..., after_high, which are Wilson's where they are not there."""
    for when in ("before", "after"):
        per_class = basics.with_accuracy_interval(per_class, when, "images", f"{when}_low", f"{when}_high")
    figure = basics.empty(height=330)
    hues = colors.classes(len(per_class), dark)
    color = [hues[c] for c in per_class["class_index"]]
    names = [safe_text.label(name) for name in per_class["class"]]
    for when, marker in (
        ("before", {"color": "rgba(0,0,0,0)", "line": {"color": color, "width": 2.5}}),
        ("after", {"color": [colors.fill(hue) for hue in color], "line": {"color": color, "width": 2.5}}),
    ):
        y = 100 * per_class[when]
        figure.add_bar(
            x=names,
            y=y,
            name=when,
            marker=marker,
            error_y=basics.whiskers(y, 100 * per_class[f"{when}_low"], 100 * per_class[f"{when}_high"], dark),
            customdata=per_class[["images"]],
            hovertemplate=f"class %{{x}} {when}: %{{y:.1f}} %, %{{customdata[0]}} images<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.22, bargroupgap=0.08)
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="accuracy, %", range=[0, 104])
    return figure


def confusion(counts: np.ndarray, class_names: list[str], difference: bool, dark: bool) -> go.Figure:
    """Return numbers of images [C, C], true class (down) by predicted class (across), or their difference after -
    before.

    A mistake that became more frequent and a right answer that was lost have the same color, that of a loss. The
    diagonal of plain counts is written but not colored, as it would outshine the mistakes.
    """
    counts = np.asarray(counts)
    classes = len(counts)
    figure = basics.empty(height=440)
    names = [safe_text.label(name) for name in class_names]
    diagonal = np.eye(classes, dtype=bool)
    if difference:
        good = np.where(diagonal, counts, -counts)
        largest = max(1, int(np.abs(counts).max()))
        lost, none, gained = colors.CHANGE[dark]
        scale, shade, ends = [[0, lost], [0.5, none], [1, gained]], good, (-largest, largest)
        cell_texts = [[numbers.signed(int(value), 0) if value else "" for value in row] for row in counts]
    else:
        none, many = colors.COUNTS[dark]
        shade, ends = np.where(diagonal, 0, counts), (0, max(1, int(counts[~diagonal].max(initial=0))))
        scale = [[0, none], [1, many]]
        cell_texts = [[str(value) if value else "" for value in row] for row in counts]
    written = {"text": cell_texts, "texttemplate": "%{text}"} if classes <= MOST_WRITTEN else {}
    figure.add_heatmap(
        z=shade,
        x=names,
        y=names,
        customdata=counts,
        colorscale=scale,
        zmin=ends[0],
        zmax=ends[1],
        showscale=False,
        xgap=2,
        ygap=2,
        textfont={"size": basics.FONT},
        hovertemplate="class %{y} taken for %{x}: %{customdata} images<extra></extra>",
        **written,
    )
    figure.update_xaxes(title="predicted class", type="category", showgrid=False)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    return figure


def removal_curves(curves: pd.DataFrame, dark: bool) -> go.Figure:
    """Return accuracy while units are removed: largest values first (filled), smallest first (hollow), random
    orders (mean
    and band from lowest to highest). Columns direction, draw, removed, accuracy 0..1."""
    figure = basics.empty(height=380)
    ink, gray = colors.INK[dark], colors.ALPHA[dark][1]
    random = 100 * curves[curves["direction"] == "random"].pivot_table(
        index="removed", columns="draw", values="accuracy"
    )
    figure.add_scatter(x=random.index, y=random.max(axis=1), mode="lines", line={"width": 0}, hoverinfo="skip")
    figure.add_scatter(
        x=random.index,
        y=random.min(axis=1),
        mode="lines",
        line={"width": 0},
        fill="tonexty",
        fillcolor=colors.BAND[dark],
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=random.index,
        y=random.mean(axis=1),
        mode="lines",
        name=f"{random.shape[1]} random orders",
        line={"color": gray, "width": 3, "dash": "dot"},
        hovertemplate="random orders, mean: %{y:.1f} %<extra></extra>",
    )
    for direction, name, symbol, dash in (
        ("descending", "largest first", "circle", "solid"),
        ("ascending", "smallest first", "circle-open", "dash"),
    ):
        part = curves[curves["direction"] == direction].sort_values("removed")
        figure.add_scatter(
            x=part["removed"],
            y=100 * part["accuracy"],
            mode="lines+markers",
            name=name,
            line={"color": ink, "width": 2.5, "dash": dash},
            marker={"size": 9, "symbol": symbol, "color": ink},
            hovertemplate=f"{name}, %{{x}} units removed: %{{y:.1f}} %<extra></extra>",
        )
    figure.update_layout(showlegend=True, legend=basics.LEGEND)
    for trace in figure.data[:2]:
        trace.showlegend = False
    figure.update_xaxes(title="units removed")
    figure.update_yaxes(title="accuracy, %", rangemode="tozero")
    return figure


def atlas_map(effects: pd.DataFrame, title: str, dark: bool) -> go.Figure:
    """Return what each unit's silence does to each class, a square mark each. Columns unit, class, class_index,
    value (a
    change: below 0 is a loss) and told (what the hover box says). Units run across in the order of the table."""
    order = [str(unit) for unit in dict.fromkeys(effects["unit"])]
    names = [safe_text.label(name) for name in effects.sort_values("class_index")["class"].drop_duplicates()]
    figure = basics.empty(height=150 + 26 * min(len(names), 24))
    lost, none, gained = colors.CHANGE[dark]
    largest = max(1e-9, float(effects["value"].abs().max()))
    size = max(5, min(20, int(860 / max(len(order), 1)), int(560 / max(len(names), 1))))
    figure.add_scattergl(
        x=effects["unit"].astype(str),
        y=[safe_text.label(name) for name in effects["class"]],
        mode="markers",
        marker={
            "symbol": "square",
            "size": size,
            "color": effects["value"],
            "colorscale": [[0, lost], [0.5, none], [1, gained]],
            "cmin": -largest,
            "cmax": largest,
            "colorbar": {"title": {"text": title}, "thickness": 12},
        },
        customdata=[[int(unit)] for unit in effects["unit"]],
        text=effects["told"],
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
    )
    figure.update_xaxes(title="unit", type="category", categoryarray=order, showgrid=False, tickangle=0)
    figure.update_yaxes(title="class", type="category", categoryarray=names[::-1], showgrid=False)
    return figure


def si_against_effect(units: pd.DataFrame, class_names: list[str], title: str, dark: bool) -> go.Figure:
    """Return each unit's SI against what its silence does to the class that it prefers. Columns si, value, told,
    layer, unit,
    preferred_index, dead. customdata is [layer, unit]."""
    figure = basics.empty(height=360)
    figure.add_hline(0, line={"color": colors.OTHER[dark], "width": 1})
    figure.add_scattergl(
        x=units["si"],
        y=units["value"],
        mode="markers",
        marker={
            "size": 11,
            "symbol": basics.hollow(units["dead"]),
            **basics.colored(units["preferred_index"], len(class_names), dark),
            "line": {"width": 1, "color": colors.INK[dark]},
        },
        customdata=[[layer, int(unit)] for layer, unit in zip(units["layer"], units["unit"])],
        text=units["told"],
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
    )
    figure.update_xaxes(title="SI")
    figure.update_yaxes(title=title)
    return figure
