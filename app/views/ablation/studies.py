"""The stored studies of a run's units: `curves(run, layer)`, `atlas(run, layer)`, each with the way to fill it."""

import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.statistics import correlation_interval, rank_among, rank_correlation
from selviz.text import numbers, safe_text, unit_lists

from ...compute import ablation, scheduler
from ...look import theme
from ...page import job_panels, tables
from ...state import address, reads
from . import playing

MOST_MARKS = 3000
ORDERS = {"descending": "largest first", "ascending": "smallest first"}


def curves(run: str, layer: str) -> None:
    """Show accuracy while more and more units are removed, in order of a metric and at random."""
    layers = list(reads.store().layers(run)["layer"])
    if not stored(run, "ablation"):
        playing.play(run, layers, layer, "si")
        job_panels.study(
            run,
            "curves",
            "Removes units in order of SI, largest first, smallest first and in ten random orders, layer by layer and "
            "over the whole network, and measures the accuracy after each step.",
            stage="ablation",
        )
        return
    table, areas = reads.store().curves(run), reads.store().areas(run)
    names = list(dict.fromkeys(table["layer"]))
    metrics = list(dict.fromkeys(table["metric"]))
    with st.container(horizontal=True):
        curve_layer = address.choose("curve", names, layer if layer in names else names[0], "layer of the curves")
        address.widget(st.selectbox, "Layer", names, name="curve", value=curve_layer, width=220)
        metric = address.choose("order", metrics, metrics[0], "metric of the curves")
        if len(metrics) > 1:
            address.widget(st.selectbox, "Ordered by", metrics, name="order", value=metric, width=220)
    playing.play(run, layers, curve_layer, metric)
    shown = table[(table["layer"] == curve_layer) & (table["metric"] == metric)]
    by_direction = areas[(areas["layer"] == curve_layer) & (areas["metric"] == metric)].set_index("direction")["area"]
    random = by_direction[["random"]].to_numpy()
    images = int(shown["images"].iloc[0])
    tables.chart(
        f"Removing units in order of {metric}",
        partial(figures.ablation.removal_curves, shown, theme.dark()),
        f"Accuracy on fold 1 ({numbers.counted(images, 'image')}) while units of {curve_layer} are "
        "silenced, in an order taken "
        f"on fold 0. Gray: the mean of {len(random)} random orders, and the band from their lowest to their highest.",
        shown[["direction", "draw", "removed", "images", "accuracy"]],
        "curves",
    )
    lines = []
    for direction, name in ORDERS.items():
        rank = rank_among(float(by_direction[direction]), random)
        lines.append(
            f"- {name}: area under the curve {by_direction[direction]:.3f}, random orders {random.min():.3f} to "
            f"{random.max():.3f} (n = {rank.draws}); rank test, two-sided: {numbers.p_value(rank.p)}, at least "
            f"{rank.smallest:.3f} with so few orders."
        )
    st.markdown("\n".join(lines))


def atlas(run: str, layer: str) -> None:
    """Show what each single unit's silence does, class by class: exact where the run has an atlas, else an estimate."""
    whole = stored(run, "atlas")
    names = list(reads.store().layers(run)["layer"])
    chosen = address.choose("atlas", names, layer if layer in names else names[-1], "layer of the atlas")
    address.widget(st.selectbox, "Layer of the atlas", names, name="atlas", value=chosen, width=220)
    units = reads.store().units(run)
    units = units[units["layer"] == chosen]
    if whole:
        effects = reads.store().atlas_classes(run, chosen).assign(value=lambda table: 100 * table["change"])
        title, hover = "change, points", "accuracy {:+.1f} points"
    else:
        st.markdown("**Estimate.** A first-order guess from one backward pass, until the exact effects are computed:")
        job_panels.study(run, "atlas", "Silences every single unit, exactly, and measures every class.", stage="atlas")
        effects = _estimates(run, chosen)
        title, hover = "−loss, nats", "estimated change of the loss {:+.3g}, here with its sign turned"
    effects = effects.assign(
        told=[
            f"unit {row.unit}, class {safe_text.label(row.class_)}: "
            + hover.format(row.value).replace("-", numbers.MINUS)
            for row in effects.rename(columns={"class": "class_"}).itertuples()
        ]
    )
    _map(run, chosen, effects, title, whole)
    chart, words = st.columns([3, 2], gap="large", vertical_alignment="center")
    with chart:
        live = _against_si(run, chosen, units, effects, title)
    with words:
        _correlations(run, chosen, live, whole)


def _estimates(run: str, layer: str) -> pd.DataFrame:
    """Return unit, class, class_index and value: minus the estimated change of the class's loss when the unit is
    silent.
    """
    table = _all_estimates(run)[layer]
    names = reads.class_names(run)
    rows = [
        (unit, names[index], index, -float(table[index, unit]))
        for unit in range(table.shape[1])
        for index in range(table.shape[0])
    ]
    return pd.DataFrame(rows, columns=["unit", "class", "class_index", "value"])


def _all_estimates(run: str) -> dict[str, np.ndarray]:
    def make() -> dict[str, np.ndarray]:
        from selviz.ablation import gradient_estimates

        estimates = gradient_estimates(ablation.engine(run, None), len(reads.class_names(run)))
        return {name: part.numpy() for name, part in estimates.items()}

    key = ("estimates", reads.data(), reads.run_version(run), run)
    return scheduler.cached(key, make, "Estimating every unit's effect in one backward pass ...", long=True)


def _map(run: str, layer: str, effects: pd.DataFrame, title: str, exact: bool) -> None:
    worst = effects.groupby("unit")["value"].min().sort_values(kind="stable")
    classes = effects["class_index"].nunique()
    fit = max(1, MOST_MARKS // classes)
    order = worst.index[:fit]
    rank = {unit: number for number, unit in enumerate(order)}
    shown = effects[effects["unit"].isin(order)]
    shown = shown.assign(rank=shown["unit"].map(rank)).sort_values(["rank", "class_index"])
    cut = f" The {fit} units with the largest losses of {len(worst)} are shown." if len(worst) > fit else ""
    images = reads.store().run(run)["images"]
    how = (
        f"A mark is a unit and a class: what silencing that unit alone does to the class's accuracy, exactly, on all "
        f"{numbers.counted(images, 'image')}."
        if exact
        else "A mark is a unit and a class: minus the estimated change of the class's loss."
    )
    clicked = tables.chart(
        "Every unit, every class",
        partial(figures.ablation.atlas_map, shown, title, theme.dark()),
        f"{how} Purple is loss. Units with the largest loss in any class come first.{cut} Click a mark to silence it.",
        effects.drop(columns="told"),
        "atlas-map",
        on_select="rerun",
    )
    _silence_on_click(run, [{"customdata": [layer, *point["customdata"]]} for point in _points(clicked)])


def _against_si(run: str, layer: str, units: pd.DataFrame, effects: pd.DataFrame, title: str) -> pd.DataFrame:
    """Return the chart of SI against the effect on the preferred class; gives its live units, columns si and value."""
    own = effects.rename(columns={"class_index": "preferred_index"})[["unit", "preferred_index", "value", "told"]]
    table = units.merge(own, on=["unit", "preferred_index"])
    clicked = tables.chart(
        "Do selective units matter more to their class?",
        partial(figures.ablation.si_against_effect, table, reads.class_names(run), title, theme.dark()),
        "A mark is a unit: its SI against what its silence does to the class that it prefers. Below the line is loss; "
        "if selective units mattered more, the marks would fall as SI grows.",
        table[["layer", "unit", "si", "preferred_class", "value", "dead"]],
        "atlas-si",
        on_select="rerun",
    )
    _silence_on_click(run, _points(clicked))
    return table[~table["dead"]]


def _correlations(run: str, layer: str, live: pd.DataFrame, exact: bool) -> None:
    rho = rank_correlation(live["si"], -live["value"])
    if math.isnan(rho):
        sentence = f"no rank correlation, as one of the two does not vary (n = {len(live)} live units)"
    else:
        low, high = correlation_interval(rho, len(live))
        sentence = (
            f"Spearman's ρ = {numbers.signed(rho, 2)} between SI and that loss (95 % interval "
            f"{numbers.signed(low, 2)} to {numbers.signed(high, 2)} for other units of the kind, n = {len(live)} live "
            "units)"
        )
    st.markdown(f"Within layer {safe_text.code(layer)}: {sentence}.")
    if exact:
        st.markdown("The same within each layer, and how well the one-pass gradient estimate orders the exact effects:")
        heads = {
            "si_to_drop": "SI to drop",
            "estimate_to_drop": "estimate to drop",
            "estimate_to_loss": "estimate to loss",
        }
        rounded = {name: st.column_config.NumberColumn(head, format="%+.2f") for name, head in heads.items()}
        by_layer = reads.store().atlas_layers(run)[["layer", "units", *heads]]
        tables.table(by_layer, column_config=rounded)
        tables.downloads("atlas-layers", by_layer)
        st.caption("Spearman's ρ over the units of a layer; drop: of the accuracy over all classes.")


def _points(clicked: Any) -> list[dict[str, Any]]:
    return [point for point in clicked["selection"]["points"] if point.get("customdata")]


def _silence_on_click(run: str, points: list[dict]) -> None:
    if not points:
        return
    layer, unit = points[0]["customdata"]
    text = unit_lists.format_units({layer: [unit]})
    st.button(
        f"Silence {text} alone",
        icon=":material/content_cut:",
        key=f"silence-{text}",
        on_click=address.update,
        kwargs={"rule": None, "group": None, "silence": text},
    )


def stored(run: str, stage: str) -> bool:
    """Return whether the run has this stage."""
    return (reads.store().run_path(run) / f"{stage}.duckdb").exists()
