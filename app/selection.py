"""Choosing units to silence: `units(run, table, rule)` draws the widgets of a rule and gives {layer: [numbers]}."""

import random

import pandas as pd
import streamlit as st

from app import common, links, wording

RULES = {"hand": "By hand", "top": "Top k by SI", "random": "At random"}


def units(run: str, table: pd.DataFrame, rule: str) -> dict[str, list[int]]:
    """The units that a rule of RULES chooses from `table`, the run's units."""
    sizes = {layer: int(count) for layer, count in table.groupby("layer", sort=False).size().items()}
    if rule == "hand":
        return _by_hand(table, sizes)
    layers, count = _layers_and_count(sizes)
    if rule == "top":
        return most_selective(run, layers, count)
    seed = links.integer("seed", 0, 10**6, 0)
    st.button("Draw again", icon=":material/casino:", shortcut="X", on_click=links.put, kwargs={"seed": seed + 1})
    generator = random.Random(seed)
    return {layer: sorted(generator.sample(range(sizes[layer]), count)) for layer in layers}


def _by_hand(table: pd.DataFrame, sizes: dict[str, int]) -> dict[str, list[int]]:
    chosen, wrong = links.text_to_units(links.get("silence", ""), sizes)
    for part in wrong[:3]:
        links.not_found("unit", part, links.units_to_text(chosen) or "no unit")
    layer = links.choose("layer", list(sizes), next(iter(chosen), list(sizes)[-1]))
    links.widget(st.selectbox, "Layer to choose from", list(sizes), name="layer", value=layer)
    known = table[table["layer"] == layer].sort_values("si", ascending=False).set_index("unit").to_dict("index")

    def told(unit: int) -> str:
        row = known[unit]
        return f"{unit} · " + ("dead" if row["dead"] else f"{row['preferred_class']} · SI {wording.si(row['si'])}")

    others = {other: numbers for other, numbers in chosen.items() if other != layer}
    links.widget(
        st.multiselect,
        "Units: number, preferred class, SI",
        list(known),
        name="silence",
        value=chosen.get(layer, []),
        text=lambda picked: links.units_to_text({**others, layer: picked}),
        format_func=told,
        placeholder="Type a class or a number",
        help="The most selective units come first. Units of other layers stay silent when you change the layer.",
    )
    return chosen


def _layers_and_count(sizes: dict[str, int]) -> tuple[list[str], int]:
    asked = [part for part in links.get("layers", "").split(",") if part]
    for part in asked:
        if part not in sizes:
            links.not_found("layer", part, "the others" if set(asked) & set(sizes) else list(sizes)[-1])
    layers = [layer for layer in sizes if layer in asked] or [list(sizes)[-1]]
    links.widget(
        st.multiselect, "Layers", list(sizes), name="layers", value=layers, text=lambda picked: ",".join(picked)
    )
    most = min(sizes[layer] for layer in layers)
    count = links.integer("k", 1, most, min(5, most))
    links.widget(st.slider, "Units from each layer (k)", 1, most, name="k", value=count)
    return layers, count


@st.cache_data(max_entries=32, show_spinner=False)
def _si(folder: str, files: tuple, run: str, fold: int) -> pd.DataFrame:
    import torch

    from selviz import selectivity

    images, classes = common.read("images", run), len(common.class_names(run))
    inside = (images["fold"] == fold).to_numpy()
    labels = torch.from_numpy(images["label_index"].to_numpy()[inside].astype("int64"))
    parts = []
    for layer in common.read("layers", run)["layer"]:
        activations = torch.from_numpy(common.read("matrix", run, layer)[inside])
        si = selectivity.index(*selectivity.class_means(activations, labels, classes)).tolist()
        parts.append(pd.DataFrame({"layer": layer, "unit": range(len(si)), "si": si}))
    return pd.concat(parts, ignore_index=True)


def most_selective(run: str, layers: list[str], count: int) -> dict[str, list[int]]:
    """The `count` units with the highest SI on fold 0 in each of the layers, so that fold 1 can judge the choice.

    Ranks are taken within a layer: comparing SI across layers is ill-advised (Amjad et al. 2022, arXiv 1804.06679).
    """
    table = _si(common.data(), common.stamp(run), run, 0)
    ranked = table.sort_values(["si", "unit"], ascending=[False, True])
    return {layer: sorted(ranked[ranked["layer"] == layer]["unit"].head(count).tolist()) for layer in layers}
