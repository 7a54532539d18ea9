"""The images of a unit: `images(run, layer, unit, activations)` draws them in bands; `chosen(activations)` is one."""

import html
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from selviz.figures import colors
from selviz.store.files import WEIGHTS
from selviz.text import numbers, safe_text

from ..compute import ablation, scheduler
from ..look import theme, thumbnails
from ..state import address, reads

SHOWN = {"most": 12, "middle": 6, "random": 6, "least": 6}  # images in each band
BANDS = {"most": "Highest", "middle": "In the middle", "random": "At random", "least": "Lowest"}
RANKS = {"activation": "activation", "relevance": "relevance to the answer"}
COLUMNS = 6
BRIGHT = 0.995  # the quantile of a map that gets the brightest color; single larger values stay at it


@st.cache_data(max_entries=128, show_spinner=False)
def _maps(folder: str, files: tuple, run: str, layer: str, unit: int, images: tuple[int, ...]) -> np.ndarray:
    """Return the unit's maps [n, *positions] on these images; [n] for a dense layer."""
    import torch

    network, dataset = reads.network(run)
    with torch.no_grad():
        inputs = dataset.normalise(dataset.eval_pixels[list(images)])
        return network.maps(inputs, layer)[:, unit].numpy()


def bands(activations: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the images of each band, by column `rank_by`; of equals, those that come first in the evaluation order.

    middle: around the median of the images that lie above the lowest value; random: drawn once, with a fixed seed.
    """
    ordered = activations.sort_values(["rank_by", "image"], ascending=[False, True])
    least = activations.sort_values(["rank_by", "image"], ascending=[True, True])
    above = ordered[ordered["rank_by"] > ordered["rank_by"].min()]
    middle = max(0, len(above) // 2 - SHOWN["middle"] // 2)
    return {
        "most": ordered.head(SHOWN["most"]),
        "middle": above.iloc[middle : middle + SHOWN["middle"]],
        "random": activations.sample(min(SHOWN["random"], len(activations)), random_state=0),
        "least": least.head(SHOWN["least"]),
    }


def strip(run: str, images: list[int]) -> str:
    """Return these images in a row, as HTML."""
    pictures = reads.store().thumbnails(run, images)
    labels = reads.store().images(run)["label"]
    tiles = []
    for image in images:
        caption = f"image {image}: {labels[image]}"
        tiles.append(f'<figure title="{html.escape(caption)}">{thumbnails.tag(pictures[image], caption)}</figure>')
    return f'<div class="selviz-tiles selviz-row" style="--n: {len(tiles)}">{"".join(tiles)}</div>'


def _relevance(run: str, layer: str) -> np.ndarray:
    def make() -> np.ndarray:
        from selviz.ablation import relevance

        return relevance(ablation.engine(run, None), layer).numpy()

    key = ("relevance", reads.data(), reads.run_version(run), run, layer)
    return scheduler.cached(key, make, "Finding the images to which this unit matters most ...", long=True)


def chosen(activations: pd.DataFrame) -> int:
    """Return the image that the address names; else the one that drives the unit most."""
    first = activations.sort_values(["value", "image"], ascending=[False, True])["image"].iloc[0]
    return address.integer("image", 0, int(activations["image"].max()), int(first))


def images(run: str, layer: str, unit: int, activations: pd.DataFrame) -> None:
    """Draw images in bands from most to least; a click shows the pixels of one."""
    picked = chosen(activations)
    has_network = (reads.store().run_path(run) / WEIGHTS).exists() and not reads.watched(run)
    controls = st.container(horizontal=True, vertical_alignment="bottom")
    with controls:
        by = address.segmented("Images ranked by", RANKS, "by") if has_network else "activation"
    if by == "relevance":
        ranked = _relevance(run, layer)[:, unit]
    else:
        ranked = activations["value"]
    chosen_images = bands(activations.assign(rank_by=ranked))
    together = pd.concat(chosen_images.values())["image"].astype(int).tolist()
    mapped = has_network and address.choose("map", ["on", "off"], "on") == "on"
    maps = _maps(reads.data(), reads.run_version(run), run, layer, unit, tuple(together)) if has_network else None
    spatial = maps is not None and maps.ndim == 3
    top = float(np.quantile(maps, BRIGHT)) if spatial else 0.0
    pixels = thumbnails.decoded(reads.store().thumbnails(run, together))
    style, number = [], 0
    for band, table in chosen_images.items():
        st.markdown(f"**{BANDS[band]}**")
        columns = []
        for rank, row in enumerate(table.to_dict("records")):
            if rank % COLUMNS == 0:  # a row of its own, so that a phone, which breaks it in two, keeps the order
                columns = st.container(key=f"row-of-images-{band}-{rank}").columns(COLUMNS, gap="xsmall")
            image, wrong = int(row["image"]), row["label_index"] != row["prediction_index"]
            picture = thumbnails.plain(pixels[image])
            if spatial and mapped:
                picture = thumbnails.overlay(pixels[image], maps[number], top)
            number += 1
            style.append(_tile_style(f"{band}-{rank}", picture, row, image == picked, wrong))
            caption = f"Image {image}: {safe_text.plain(row['label'])}, taken for {safe_text.plain(row['prediction'])}"
            columns[rank % COLUMNS].button(
                f"{'✗ ' if wrong else ''}{safe_text.plain(row['label'])}\n{numbers.number(row['rank_by'])}",
                key=f"tile-{band}-{rank}",
                width="stretch",
                help=caption + f"; activation {numbers.number(row['value'])}",
                on_click=address.update,
                kwargs={"image": image, "evidence": "pixels"},
            )
    st.html(f"<style>{''.join(style)}</style>")
    st.caption(_how(by, spatial, has_network, activations) + " Click an image to see which of its pixels count.")
    if spatial:
        with controls:
            address.widget(
                st.toggle, "Map over them", name="map", value=mapped, default=True,
                text=lambda on: "on" if on else "off",
            )  # fmt: skip


def _how(by: str, spatial: bool, has_network: bool, activations: pd.DataFrame) -> str:
    how = "Under each image: its class and "
    how += "the activation. " if by == "activation" else "how much the unit speaks for the predicted class (logits). "
    how += "The frame has the color of the class; ✗ and a broken frame mark an image that the network takes wrongly. "
    if spatial:
        how += "Color shows where the unit responds, dark to bright on one scale for all these images. "
    else:
        how += "A unit of a dense layer has no map. " if has_network else "Without its network there are no maps. "
    lowest = int((activations["value"] == activations["value"].min()).sum())
    if by == "activation" and lowest > SHOWN["least"]:
        how += f"{numbers.counted(lowest, 'image')} share the lowest activation; the first of them are shown."
    return how


def _tile_style(key: str, picture: np.ndarray, row: dict, chosen: bool, wrong: bool) -> str:
    hue = colors.classes(10, theme.dark())[int(row["label_index"]) % 10]
    ring = f"box-shadow: 0 0 0 3px {colors.INK[theme.dark()]};" if chosen else ""
    broken = "border-style: dashed;" if wrong else ""
    look = f"background-image: url({thumbnails.uri(picture)}); border-color: {hue}; {broken} {ring}"
    return f".st-key-tile-{key} button {{{look}}}"


def synthesised(run: str, layer: str, unit: int, activations: pd.DataFrame) -> None:
    """Show the picture made to drive the unit, with its caveat: it misleads more easily than natural images."""
    st.subheader("An image made for it", anchor=False)
    seed = address.integer("drawn", 0, 10**6, 0, "seed")
    made = _synthesised(run, layer, unit, seed)
    picture, words = st.columns([3, 4], vertical_alignment="center", gap="medium")
    caption = f"an image made to drive unit {unit} of {layer}"
    picture.html(thumbnails.tag(thumbnails.plain(made["pixels"]), caption))
    largest = float(activations["value"].max())
    with words:
        st.markdown(
            f"It reaches an activation of {numbers.number(made['activation'])}, from "
            f"{numbers.number(made['at_start'])} for the noise it began with; the largest on "
            f"{numbers.counted(len(activations), 'image')} of the data set is {numbers.number(largest)}."
        )
        st.button("Another one", icon=":material/casino:", on_click=address.update, kwargs={"drawn": seed + 1})
    st.caption(
        f"Gradient ascent on the unit's mean activation over a Fourier series, seed {seed}. Such pictures need not lie "
        "where natural images lie; in a controlled study people understood units better from natural images (92 % "
        "against 82 % right, Borowski et al. 2021)."
    )


def _synthesised(run: str, layer: str, unit: int, seed: int) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        from selviz.studies.feature_visualization import run_visualisation

        return run_visualisation(reads.store(), run, layer, unit, seed, reads.network(run))

    key = ("synthesised", reads.data(), reads.run_version(run), run, layer, unit, seed)
    return scheduler.cached(key, make, "Making an image that drives this unit ...", long=True)
