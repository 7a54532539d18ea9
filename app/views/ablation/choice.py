"""Which units are silent: `choice = choose(run, more)` draws three big choices, and the rest of them into `more`."""

import random
from typing import NamedTuple

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from selviz.text import safe_text

from ...page.unit_selection import Units, metrics
from ...state import address, reads
from .by_hand import METRICS, by_hand, by_layer

RULES = {"top": "Most selective", "class": "All units of a class", "hand": "Pick on the board"}
MORE_RULES = {"bottom": "Least selective", "random": "At random", "dead": "Dead"}
ON_FOLD_0 = "Chosen on fold 0 and reported on fold 1, so that no image judges a choice that it made."
ON_ALL = "A choice that was made looking at folds 0 and 1 is judged on images that it has seen."


class Choice(NamedTuple):
    """The chosen units by layer; whether they were chosen on fold 0 alone; and what the page says about it."""

    units: Units
    on_fold_0: bool
    said: str


def choose(run: str, more: DeltaGenerator) -> Choice:
    """Draw the widgets of a choice, those that are seldom wanted into `more`; return what is chosen."""
    rule = address.choose("rule", [*RULES, *MORE_RULES], "hand")
    table = metrics(run)
    sizes = {str(layer): int(count) for layer, count in table.groupby("layer", sort=False).size().items()}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="silence-rules"):
        _rules(rule, more)
        with more:
            layers = [] if rule == "hand" else _layers(sizes, list(sizes) if rule == "dead" else list(sizes)[-1:])
        inside = table[table["layer"].isin(layers)]
        if rule == "class":
            names = reads.class_names(run)
            prefers = address.choose("prefers", names, _most_preferred(inside, names), "class")
            address.widget(
                st.selectbox,
                "All live units that prefer",
                names,
                name="prefers",
                value=prefers,
                width=170,
                format_func=safe_text.plain,
            )
            return Choice(by_layer(inside[~inside["dead"] & (inside["preferred_class"] == prefers)]), True, ON_FOLD_0)
        if rule in ("top", "bottom", "random"):
            count = _count(sizes, layers)
        if rule == "hand":
            st.markdown("Click units on the board; drag to mark several.", width="content")
    if rule == "hand":
        with more:
            return Choice(by_hand(run, sizes), False, ON_ALL)
    if rule == "random":
        with more:
            return Choice(_at_random(sizes, layers, count), False, "")
    if rule == "dead":
        return Choice(by_layer(inside[inside["dead"]]), True, ON_FOLD_0)
    metric = address.choose("metric", list(METRICS), "si")
    with more:
        options = {"name": "metric", "value": metric, "default": "si", "format_func": METRICS.get}
        address.widget(st.selectbox, "Ranked by", list(METRICS), **options)
    return Choice(_extreme(inside, metric, count, rule == "top"), True, ON_FOLD_0)


def _rules(rule: str, more: DeltaGenerator) -> None:
    """Draw the three big choices, and the others in `more`."""

    def choose_rule(chosen: str | None) -> None:
        if chosen:
            address.update(rule=chosen)

    shown = RULES if rule in RULES else {**RULES, rule: MORE_RULES[rule]}
    options = {"format_func": shown.get, "required": True, "label_visibility": "collapsed", "wrap": True}
    address.bound_widget(
        st.segmented_control, "Silence", list(shown), key="link-rule", value=rule, on_change=choose_rule, **options
    )
    with more:
        others = {**MORE_RULES, "": "none of these"}
        address.bound_widget(
            st.segmented_control,
            "Other choices",
            list(others),
            key="more-rules",
            value=rule if rule in MORE_RULES else "",
            on_change=lambda chosen: address.update(rule=chosen or "hand"),
            format_func=others.get,
            required=True,
        )


def _most_preferred(units: pd.DataFrame, names: list[str]) -> str:
    """Return the class that most live units prefer; of equals, the first."""
    counts = units.loc[~units["dead"], "preferred_class"].value_counts()
    return max(names, key=lambda name: int(counts.get(name, 0)))


def _layers(sizes: dict[str, int], default: list[str]) -> list[str]:
    requested = [part for part in address.get("layers").split(",") if part]
    for part in requested:
        if part not in sizes:
            address.not_found("layer", part, "the others" if set(requested) & set(sizes) else default[-1])
    layers = [layer for layer in sizes if layer in requested] or default
    address.widget(
        st.multiselect, "Layers", list(sizes), name="layers", value=layers, text=lambda picked: ",".join(picked)
    )
    return layers


def _count(sizes: dict[str, int], layers: list[str]) -> int:
    smallest = min(sizes[layer] for layer in layers)
    count = address.integer("k", 1, smallest, min(5, smallest))
    if smallest > 1:
        address.widget(st.slider, "Units from each layer (k)", 1, smallest, name="k", value=count, width=260)
    return count


def _at_random(sizes: dict[str, int], layers: list[str], count: int) -> Units:
    seed = address.integer("seed", 0, 10**6, 0)
    st.button("Draw again", icon=":material/casino:", shortcut="X", on_click=address.update, kwargs={"seed": seed + 1})
    generator = random.Random(seed)
    return {layer: sorted(generator.sample(range(sizes[layer]), count)) for layer in layers}


def _extreme(table: pd.DataFrame, metric: str, count: int, largest: bool) -> Units:
    """Return the `count` units of each layer with the largest or smallest values; of equals, the lower number.

    Ranks are taken within a layer: comparing selectivity across layers is ill-advised (Amjad et al. 2022, arXiv
    1804.06679).
    """
    ranked = table.sort_values([metric, "unit"], ascending=[not largest, True], kind="stable")
    return by_layer(ranked.groupby("layer", sort=False).head(count))
