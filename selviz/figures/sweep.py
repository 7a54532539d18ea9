"""Charts of a family of runs that differ by alpha and seed: a point a seed, the mean and its interval an alpha."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from selviz.figures import basics, colors
from selviz.text import numbers, safe_text

SPREAD = 0.16  # of one alpha's seeds, to either side


def by_alpha(
    points: pd.DataFrame, means: pd.DataFrame, column: str, title: str, scale: float, digits: int, dark: bool
) -> go.Figure:
    """Return a number of each run by alpha, alphas evenly spaced. `points`: run, alpha, seed, `column`; `means`:
    alpha, mean,
    low, high (NaN: no interval), n. Values are shown times `scale`."""
    alphas = sorted(points["alpha"].unique())
    place = {alpha: number for number, alpha in enumerate(alphas)}
    hover = f"%{{customdata[0]}}<br>seed %{{customdata[1]}}: %{{y:.{digits}f}}<extra></extra>"
    traces = [_seeds(points, _spread(points, place), scale * points[column], dark, hover)]
    traces += _means(means, [place[alpha] for alpha in means["alpha"]], scale, digits, dark)
    ticks = {"tickvals": list(place.values()), "ticktext": [numbers.alpha(alpha) for alpha in alphas]}
    x = {"title": {"text": "alpha: suppressed below 0, encouraged above"}, "range": [-0.6, len(alphas) - 0.4], **ticks}
    y = {"title": {"text": title}, **({} if points[column].any() else {"range": [0, 1]})}
    return basics.drawn(traces, 400, xaxis=x, yaxis=y)


def accuracy_against_si(
    points: pd.DataFrame,
    si: pd.DataFrame,
    accuracy: pd.DataFrame,
    column: str,
    ghost: pd.DataFrame | None,
    dark: bool,
) -> go.Figure:
    """Test accuracy against mean SI: a point a seed, a cross an alpha with both intervals (`si`, `accuracy`: alpha,
    mean, low, high, n), joined in order of alpha. `ghost` (alpha, mean_si, accuracy) has an axis of its own."""
    hover = "%{customdata[0]}<br>mean SI %{x:.3f}<br>%{y:.1f} %<extra></extra>"
    traces = [_seeds(points, points[column], 100 * points["test_accuracy"], dark, hover)]
    both = si.merge(accuracy, on="alpha", suffixes=("", "_accuracy"))
    cross = {
        "type": "scatter",
        "x": both["mean"],
        "y": 100 * both["mean_accuracy"],
        "mode": "lines+markers+text",
        "line": {"color": colors.INK[dark], "width": 1},
        "marker": {"size": 12, "color": _hues(both["alpha"], dark), "line": {"color": colors.INK[dark], "width": 1.5}},
        "text": [numbers.alpha(alpha) for alpha in both["alpha"]],
        "textposition": "top center",
        "textfont": {"size": basics.FONT + 1},
        "customdata": [[numbers.alpha(alpha), n] for alpha, n in zip(both["alpha"], both["n"])],
        "hovertemplate": "α %{customdata[0]}, mean of %{customdata[1]} seeds<br>mean SI %{x:.3f}<br>%{y:.2f} %"
        "<extra></extra>",
    }
    if both["low"].notna().any():
        cross["error_x"] = basics.whiskers(both["mean"], both["low"], both["high"], dark)
        ends = (100 * both[f"{name}_accuracy"] for name in ("mean", "low", "high"))
        cross["error_y"] = basics.whiskers(*ends, dark)  # type: ignore[call-arg, arg-type]  # always three ends
    traces.append(cross)
    layout: dict[str, Any] = {"yaxis": {"title": {"text": "test accuracy, %"}}}
    layout["xaxis"] = {"title": {"text": "mean class selectivity index (SI)"}, "rangemode": "tozero"}
    if ghost is not None:
        traces.append(_ghost(ghost, dark))
        right = {"text": "theirs, another data set: test accuracy, %", "font": {"color": colors.ALPHA[dark][1]}}
        layout["yaxis2"] = {"title": right, "overlaying": "y", "side": "right", "showgrid": False}
        layout["yaxis2"] |= {"tickmode": "auto", "nticks": 6, "tickformat": ".0f"}
    return basics.drawn(traces, 400, **layout)


def layers(
    means: pd.DataFrame,
    names: list[str],
    title: str,
    dark: bool,
    null: pd.DataFrame | None = None,
    span: tuple[float, float] | None = None,
    at: float | None = None,
) -> go.Figure:
    """Return a number by layer, a line an alpha with its interval over seeds. `means`: alpha, layer, mean, low,
    high, n;
    `null`: layer, low, high, drawn as a band; `span`: of the axis; `at`: a height to mark."""
    order = {name: number for number, name in enumerate(names)}
    traces, ends = [], []
    if null is not None:
        null = null.set_index("layer").reindex(names)
        band = {"type": "scatter", "x": list(order.values()), "mode": "lines", "hoverinfo": "skip"}
        traces += [
            {**band, "y": null["low"], "line": {"width": 0}},
            {**band, "y": null["high"], "line": {"width": 0}, "fill": "tonexty", "fillcolor": colors.BAND[dark]},
        ]
    alphas = sorted(means["alpha"].unique())
    for number, alpha in enumerate(alphas):
        part = means[means["alpha"] == alpha]
        x = part["layer"].map(order) + 0.3 * (number - (len(alphas) - 1) / 2) / len(alphas)
        color = colors.alpha(alpha, dark)
        line = {
            "type": "scatter",
            "x": x,
            "y": part["mean"],
            "mode": "lines+markers",
            "line": {"color": color, "width": 2},
            "marker": {"size": 8, "color": color},
            "customdata": [[safe_text.label(row.layer), row.n] for row in part.itertuples()],
            "hovertemplate": f"α {numbers.alpha(alpha)}, %{{customdata[0]}}: %{{y:.3f}} (n %{{customdata[1]}})"
            "<extra></extra>",
        }
        if part["low"].notna().any():
            whiskers = basics.whiskers(part["mean"], part["low"], part["high"], dark)
            line["error_y"] = {**whiskers, "color": color}
        traces.append(line)
        ends.append((float(part["mean"].iloc[-1]), numbers.alpha(alpha), color))
    ticks = {"tickvals": list(order.values()), "ticktext": [safe_text.label(name) for name in names]}
    x = {"title": {"text": "layer, first to last"}, "range": [-0.35, len(names) - 0.4], **ticks}
    y = {"title": {"text": title}, **({"range": span} if span else {} if at else {"rangemode": "tozero"})}
    shapes = [] if at is None else [basics.across(at, colors.INK[dark])]
    heights = means[["mean", "low", "high"]].to_numpy(dtype=float)
    low, high = span or (np.nanmin(heights) if at else 0.0, np.nanmax(heights))
    labels = basics.line_labels(ends, len(names) - 0.8, float(low), float(high), 400)
    return basics.drawn(traces, 400, xaxis=x, yaxis=y, shapes=shapes, annotations=labels)


def _seeds(points: pd.DataFrame, x: basics.Values, y: basics.Values, dark: bool, hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "markers",
        "name": "runs",
        "marker": {"size": 8, "opacity": 0.6, "line": {"width": 0}, **_on_a_scale(points["alpha"], dark)},
        "customdata": [[safe_text.label(run), str(seed)] for run, seed in zip(points["run"], points["seed"])],
        "hovertemplate": hover,
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 0.6}},
    }


def _means(means: pd.DataFrame, x: Sequence[float], scale: float, digits: int, dark: bool) -> list[dict[str, Any]]:
    """Return a dash at each alpha's mean, with the interval where there is one."""
    trace = {
        "type": "scatter",
        "x": x,
        "y": scale * means["mean"],
        "mode": "markers",
        "marker": {"symbol": "line-ew", "size": 26, "line": {"color": colors.INK[dark], "width": 2.5}},
        "customdata": [[numbers.alpha(cast(float, row.alpha)), row.n] for row in means.itertuples()],
        "hovertemplate": f"α %{{customdata[0]}}: mean %{{y:.{digits}f}} (n %{{customdata[1]}} seeds)<extra></extra>",
    }
    if means["low"].notna().any():
        ends = (scale * means[name] for name in ("mean", "low", "high"))
        trace["error_y"] = basics.whiskers(*ends, dark)  # type: ignore[call-arg, arg-type]  # always three ends
    return [trace]


def _ghost(curve: pd.DataFrame, dark: bool) -> dict[str, Any]:
    gray = colors.ALPHA[dark][1]
    return {
        "type": "scatter",
        "x": curve["mean_si"],
        "y": 100 * curve["accuracy"],
        "yaxis": "y2",
        "mode": "lines+markers",
        "line": {"color": gray, "width": 2, "dash": "dot"},
        "marker": {"symbol": "circle-open", "size": 8, "color": gray},
        "customdata": [numbers.alpha(alpha) for alpha in curve["alpha"]],
        "hovertemplate": "Leavitt & Morcos 2020, digitized, another data set<br>α %{customdata}: mean SI %{x:.3f}, "
        "%{y:.1f} %<extra></extra>",
    }


def _hues(alphas: Iterable[float], dark: bool) -> list[str]:
    return [colors.alpha(alpha, dark) for alpha in alphas]


def _on_a_scale(alphas: pd.Series, dark: bool) -> dict[str, Any]:
    """Return a marker's colors as numbers on a scale of steps, which Plotly checks fastest."""
    known = sorted(alphas.unique())
    if len(known) == 1:
        return {"color": colors.alpha(known[0], dark)}
    hues = _hues(known, dark)
    steps = [[end / len(known), hue] for number, hue in enumerate(hues) for end in (number, number + 1)]
    numbered = np.searchsorted(known, alphas.to_numpy(dtype=float))
    return {"color": numbered, "colorscale": steps, "cmin": -0.5, "cmax": len(known) - 0.5}


def _spread(points: pd.DataFrame, place: dict[float, int]) -> np.ndarray:
    """Return each point's place on the axis: its alpha's, moved a little aside in order of seed."""
    ranked = points.groupby("alpha")["seed"].rank(method="first") - 1
    count = points.groupby("alpha")["seed"].transform("size")
    share = np.where(count > 1, 2 * ranked.astype(float) / (count - 1).clip(lower=1) - 1, 0.0)
    return points["alpha"].map(place).to_numpy() + SPREAD * share
