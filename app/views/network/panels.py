"""Many units seen together: `VIEWS["scatter"]` draws those that are wanted, each a function of four things.

run; wanted, a `selviz.store.Wanted`; count, what `Store.count_units` says of them; and whether those with the largest
value come first. Each asks the store for the rows that it draws, and no more. What a visitor marks or clicks comes
back as `Picked`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.store import Wanted
from selviz.text import numbers, safe_text

from ...look import theme
from ...page import job_panels, measures, tables
from ...state import address, reads

PAGE = 500  # rows of the table on one page
MOST_MARKS = 4000
MOST_UNITS = 72  # columns of the tuning map, so that a mark can be hit
MOST_LAYERS = 24  # histograms below one another
WIDE = ("tuning", "agreement")  # views that need the whole width
SORTS = {"class": "preferred class, then SI", "si": "SI", "unit": "layer and number"}


class Picked(TypedDict, total=False):
    """What a visitor clicks or marks in a view."""

    open: tuple[str, int]
    marked: pd.DataFrame


View = Callable[[str, Wanted, dict[str, Any], bool], Picked]


def histograms(run: str, wanted: Wanted, count: dict[str, Any], largest: bool) -> Picked:
    """Return SI, layer by layer."""
    layers = _layers(run, count)
    shown = reads.store().find_units(run, wanted, order="unit")
    if len(layers) > MOST_LAYERS:
        shown = shown[shown["layer"].isin(layers[:MOST_LAYERS])]
    cut = f" The first {MOST_LAYERS} of {len(layers)} layers are shown." if len(layers) > MOST_LAYERS else ""
    clicked = tables.chart(
        "SI, layer by layer",
        partial(figures.units.si_histograms, shown, reads.class_names(run), theme.dark()),
        "A dot is a unit at its SI, colored by the class it prefers, hollow if dead (bars where there are too "
        "many units). Gray band: where units of this layer lie with shuffled labels, median null mean to median "
        f"null 95 %.{cut}",
        shown,
        "histograms",
        on_select="rerun",
    )
    return _opened(clicked)


def scatter(run: str, wanted: Wanted, count: dict[str, Any], largest: bool) -> Picked:
    """Show any two measures against each other."""
    known = measures.known(run)
    axes = {}
    for column, name, label, default in zip(
        st.columns(2), ("x", "y"), ("Across", "Upwards"), ("si", "mean_activation"), strict=True
    ):
        axes[name] = address.choose(name, list(known), default, f"{name} axis")
        with column:
            address.widget(st.selectbox, label, list(known), name=name, value=axes[name], format_func=known.get)
    units = reads.store().find_units(run, wanted, descending=largest, limit=MOST_MARKS)
    shown = units.assign(x=units[axes["x"]], y=units[axes["y"]], silent=False)
    names = reads.class_names(run)
    figure = partial(
        figures.units.unit_scatter, shown, names, {name: known[axis] for name, axis in axes.items()}, theme.dark()
    )
    return _marked(
        units,
        "Two measures",
        figure,
        "A mark is a unit in the color of the class that it prefers, hollow if dead. Draw around units to use them."
        + _cut(count["units"], "the table's order"),
        "scatter",
    )


def tuning(run: str, wanted: Wanted, count: dict[str, Any], largest: bool) -> Picked:
    """Return units by classes."""
    names = reads.class_names(run)
    order = address.choose("order", list(SORTS), "class", "order of the map")
    fit = max(1, min(MOST_UNITS, MOST_MARKS // len(names)))
    pages = -(-count["units"] // fit)
    at = address.integer("at", 1, pages, 1, "page of the map")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        address.widget(
            st.selectbox, "Order of the units", list(SORTS), name="order", value=order, default="class",
            format_func=SORTS.get, width=240, clears=("at",),
        )  # fmt: skip
        if pages > 1:
            address.widget(
                st.number_input, f"Page, 1 to {pages}", 1, pages, step=1, name="at", value=at, default=1, width=150
            )
    page = reads.store().find_units(run, wanted, order=order, limit=fit, offset=(at - 1) * fit)
    several = page["layer"].nunique() > 1
    parts = []
    for layer, part in page.groupby("layer", sort=False):
        parts.append(reads.store().class_means(run, str(layer), part["unit"].tolist()))
    means = pd.concat(parts).merge(page[["layer", "unit"]].assign(rank=range(len(page))), on=["layer", "unit"])
    largest = means.groupby("rank")["mean"].transform(lambda values: values.abs().max())
    means = means.assign(
        share=(means["mean"] / largest.where(largest > 0, 1)).fillna(0.0),
        name=[
            f"{safe_text.label(layer)}:{unit}" if several else str(unit)
            for layer, unit in zip(means["layer"], means["unit"])
        ],
    ).sort_values(["rank", "class_index"])
    clicked = tables.chart(
        "What each unit responds to",
        partial(figures.units.tuning_map, means, theme.dark()),
        "A mark is a unit and a class: the unit's mean activation on that class, as a share of its largest. A "
        "selective unit has one bright mark, an indifferent one a bright column. Click a mark to open the unit.",
        means[["layer", "unit", "class", "mean", "share", "images"]],
        "tuning-map",
        on_select="rerun",
    )
    return _opened(clicked)


def plane(run: str, wanted: Wanted, count: dict[str, Any], largest: bool) -> Picked:
    """Return units on a map by their tuning."""
    layers = _layers(run, count)
    layer = address.choose("plane", layers, layers[-1], "layer of the map")
    stored = measures.stored(run, "unit_map")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(layers) > 1:
            address.widget(st.selectbox, "Layer of the map", layers, name="plane", value=layer, width=220)
        method = address.segmented("Map by", {"pca": "PCA", "tsne": "t-SNE"}, "method")
    if method == "tsne" and not stored:
        job_panels.study(
            run, "map", "Lays out the units of each layer by their tuning, with PCA and t-SNE, once.", stage="unit_map"
        )
        return {}
    places = reads.store().unit_map(run, layer) if stored else _pca(reads.data(), reads.run_version(run), run, layer)
    places = places.rename(columns={f"{method}_x": "x", f"{method}_y": "y"})[["layer", "unit", "x", "y"]]
    units = reads.store().find_units(run, wanted._replace(layer=layer), descending=largest, limit=MOST_MARKS)
    shown = units.merge(places, on=["layer", "unit"]).assign(silent=False)
    if shown["x"].isna().all():
        st.info(f"t-SNE lays out 5 to 2,000 units, and this layer has {numbers.whole(len(places))}. Use PCA.")
        return {}
    in_layer = reads.store().count_units(run, wanted._replace(layer=layer))["units"]
    sentence = (
        "the first two principal components of the units' tuning"
        if method == "pca"
        else "t-SNE of the units' tuning, seed 0; distances between far groups mean little"
    )
    figure = partial(figures.units.unit_map, shown, reads.class_names(run), theme.dark())
    return _marked(
        units,
        "Units that respond alike",
        figure,
        f"A mark is a unit of {safe_text.plain(layer)}, near those with a like tuning over classes: {sentence}. Draw "
        f"around units to use them.{_cut(in_layer, 'the order of the table')}",
        "plane",
        shown[["layer", "unit", "preferred_class", "si", "x", "y"]],
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _pca(folder: str, files: tuple, run: str, layer: str) -> pd.DataFrame:
    from selviz.selectivity.embedding import layout

    places = layout(reads.store().tuning(run, layer))
    return pd.DataFrame({"layer": layer, "unit": range(len(places)), "pca_x": places[:, 0], "pca_y": places[:, 1]})


def agreement(run: str, wanted: Wanted, count: dict[str, Any], largest: bool) -> Picked:
    """Return whether the measures of selectivity agree, layer by layer."""
    if not measures.stored(run, "unit_metrics"):
        job_panels.study(
            run,
            "metrics",
            "Computes every measure of class selectivity beside SI for every unit.",
            stage="unit_metrics",
        )
        return {}
    layers = _layers(run, count)
    layer = address.choose("plane", layers, layers[-1], "layer")
    if len(layers) > 1:
        address.widget(st.selectbox, "Layer", layers, name="plane", value=layer, width=220)
    table, live = _agreement(reads.data(), reads.run_version(run), run, layer)
    titles = [measures.MEASURES[name].title if name in measures.MEASURES else name for name in table.columns]
    named = table.set_axis(titles, axis=0).set_axis(titles, axis=1)
    tables.chart(
        "Do the measures agree?",
        partial(figures.units.agreement, named, theme.dark()),
        f"Spearman's rank correlation over the {numbers.counted(live, 'live unit')} of the layer. +1: the two measures "
        "put the units in the same order. SI and CCMAS of the preferred class are one number up to notation: "
        "where classes "
        "have equally many images they differ only in how the other classes are averaged, so their agreement is no "
        "evidence for either. Precision and CCMAS, and so SI, give misleadingly high estimates of selectivity (Gale et "
        "al. 2020); AUC and d' do not. With few units single correlations are uncertain.",
        named.reset_index(names="measure"),
        "agreement",
    )
    return {}


@st.cache_data(max_entries=64, show_spinner=False)
def _agreement(folder: str, files: tuple, run: str, layer: str) -> tuple[pd.DataFrame, int]:
    from selviz.selectivity.other_measures import agreement as correlations

    table = reads.store().unit_metrics(run, layer)
    return correlations(table)[layer], int((~table["dead"]).sum())


VIEWS: dict[str, tuple[str, View]] = {
    "histogram": ("SI by layer", histograms),
    "scatter": ("Two measures", scatter),
    "tuning": ("Classes", tuning),
    "plane": ("Map", plane),
    "agreement": ("Agreement", agreement),
}


def _layers(run: str, count: dict[str, Any]) -> list[str]:
    """Return the layers of these units in forward order."""
    there = set(count["layers"])
    return [layer for layer in reads.store().layers(run)["layer"] if layer in there]


def _cut(count: int, order: str) -> str:
    if count <= MOST_MARKS:
        return ""
    return f" The first {numbers.whole(MOST_MARKS)} of {numbers.counted(count, 'unit')} in {order} are shown."


def _opened(clicked: Any) -> dict[str, Any]:
    points = [point["customdata"] for point in clicked["selection"]["points"] if point.get("customdata")]
    return {"open": tuple(points[0])} if points else {}


def _marked(
    units: pd.DataFrame, title: str, figure: Any, how: str, key: str, behind: pd.DataFrame | None = None
) -> Picked:
    event = tables.chart(
        title,
        figure,
        how,
        units if behind is None else behind,
        key,
        on_select="rerun",
        selection_mode=("lasso", "box", "points"),
    )
    marked = {tuple(point["customdata"]) for point in event["selection"]["points"] if point.get("customdata")}
    rows = units[[place in marked for place in zip(units["layer"], units["unit"])]] if marked else units.head(0)
    return {"marked": rows}
