"""The images of a unit: `image = images(run, layer, unit, activations)` draws two grids and gives the chosen image."""

import base64
import html

import numpy as np
import pandas as pd
import streamlit as st

from app import colours, common, links, pictures, wording

SHOWN = 9
BRIGHT = 0.995  # the quantile of a map that gets the brightest colour; single larger values stay at it


@st.cache_data(max_entries=128, show_spinner=False)
def _maps(folder: str, files: tuple, run: str, layer: str, unit: int, images: tuple[int, ...]) -> np.ndarray:
    """The unit's maps [n, *positions] on these images; [n] for a dense layer."""
    import torch

    network, dataset = common.network(run)
    with torch.no_grad():
        inputs = dataset.normalise(dataset.eval_pixels[list(images)])
        return network.maps(inputs, layer)[:, unit].numpy()


@st.cache_data(max_entries=256, show_spinner="Integrating gradients ...")
def _gradients(folder: str, files: tuple, run: str, layer: str, unit: int, image: int) -> tuple[np.ndarray, float]:
    """Integrated gradients [C, H, W] of the unit on one image, and their completeness delta."""
    import torch

    from selviz.attribution import Target, attribute

    network, dataset = common.network(run)
    inputs = dataset.normalise(dataset.eval_pixels[image : image + 1])
    black = dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))
    found = attribute(network, Target(layer, unit), inputs, baseline=black)
    return found.values[0].numpy(), float(found.delta[0])


def bands(activations: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The most and the least activating images; of equals, those that come first in the evaluation order."""
    ranked = activations.sort_values(["value", "image"], ascending=[False, True])
    least = activations.sort_values(["value", "image"], ascending=[True, True])
    return ranked.head(SHOWN), least.head(SHOWN)


def strip(run: str, images: list[int]) -> str:
    """These images in a row, as HTML."""
    thumbnails = common.store().thumbnails(run, images)
    labels = common.read("images", run)["label"]
    tiles = []
    for image in images:
        told = html.escape(f"image {image}: {labels[image]}")
        source = f"data:image/png;base64,{base64.b64encode(thumbnails[image]).decode()}"
        tiles.append(f'<figure title="{told}"><img class="selviz-picture" alt="{told}" src="{source}"></figure>')
    return f'<div class="selviz-tiles">{"".join(tiles)}</div>'


def images(run: str, layer: str, unit: int, activations: pd.DataFrame) -> int:
    """Draws the most and the least activating images; a click chooses one. Gives the chosen image's number."""
    most, least = bands(activations)
    chosen = links.integer("image", 0, int(activations["image"].max()), int(most["image"].iloc[0]))
    mapped = links.choose("map", ["on", "off"], "on") == "on"
    together = tuple(int(i) for i in pd.concat([most, least])["image"])
    maps = _maps(common.data(), common.stamp(run), run, layer, unit, together)
    spatial = maps.ndim == 3
    top = float(np.quantile(maps, BRIGHT)) if spatial else 0.0
    pixels = common.network(run)[1].eval_pixels.numpy()
    style = []
    sides = st.columns(2)
    for side, band, title, table, first in (
        (sides[0], "most", "Most activating", most, 0),
        (sides[1], "least", "Least activating", least, len(most)),
    ):
        side.subheader(title, anchor=False)
        columns = side.columns(3, gap="xsmall")
        for rank, row in enumerate(table.to_dict("records")):
            image = int(row["image"])
            if spatial and mapped:
                picture = pictures.overlay(pixels[image], maps[first + rank], top)
            else:
                picture = pictures.plain(pixels[image])
            style.append(_tile_style(f"{band}-{rank}", picture, row, image == chosen))
            columns[rank % 3].button(
                f"{wording.plain(row['label'])} · {wording.number(row['value'])}",
                key=f"tile-{band}-{rank}",
                width="stretch",
                help=f"Image {image}: {wording.plain(row['label'])}, taken for {wording.plain(row['prediction'])}",
                on_click=links.put,
                kwargs={"image": image},
            )
    st.html(f"<style>{''.join(style)}</style>")
    zeros = int((activations["value"] == activations["value"].min()).sum())
    how = "Under each image: its class and the activation. The frame has the colour of the class. "
    if spatial:
        how += "Colour shows where the unit responds, dark to bright on one scale for all eighteen images. "
    else:
        how += "A unit of a dense layer has no map. "
    if zeros > SHOWN:
        how += f"{wording.counted(zeros, 'image')} share the lowest activation; the first nine of them are shown. "
    st.caption(how + "Click an image for its attribution.")
    if spatial:
        links.widget(
            st.toggle,
            "Map over the images",
            name="map",
            value=mapped,
            default=True,
            text=lambda on: "on" if on else "off",
        )
    return chosen


def _tile_style(key: str, picture: np.ndarray, row: dict, chosen: bool) -> str:
    hue = colours.classes(10, common.dark())[int(row["label_index"]) % 10]
    ring = f"box-shadow: 0 0 0 3px {colours.INK[common.dark()]};" if chosen else ""
    return f".st-key-tile-{key} button {{background-image: url({pictures.uri(picture)}); border-color: {hue}; {ring}}}"


def attribution(run: str, layer: str, unit: int, image: int, activations: pd.DataFrame) -> None:
    """Integrated gradients of the unit on one image: what raises it, what lowers it, and how exact the sum is."""
    st.subheader("Which pixels it responds to", anchor=False)
    row = activations[activations["image"] == image].iloc[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        links.widget(
            st.number_input,
            "Image",
            min_value=0,
            max_value=int(activations["image"].max()),
            step=1,
            name="image",
            value=image,
            width=150,
        )
        st.markdown(
            f"class {wording.plain(row['label'])}, taken for {wording.plain(row['prediction'])}, "
            f"activation {wording.number(float(row['value']))}"
        )
    values, delta = _gradients(common.data(), common.stamp(run), run, layer, unit, image)
    pixels = common.network(run)[1].eval_pixels[image].numpy()
    flat = values.sum(axis=0)
    top = float(np.quantile(np.abs(flat), BRIGHT))
    shown = (
        ("the image", pictures.plain(pixels)),
        ("raises the unit", pictures.overlay(pixels, np.maximum(flat, 0), top)),
        ("lowers the unit", pictures.overlay(pixels, np.maximum(-flat, 0), top)),
    )
    for column, (title, picture) in zip(st.columns(3), shown):
        with column:
            st.html(f'<img class="selviz-picture" alt="{html.escape(title)}" src="{pictures.uri(picture)}">')
            st.caption(title)
    total = float(flat.sum())
    st.caption(
        f"Captum's integrated gradients of this unit's activation, from a black image to this one, "
        "summed over colour channels; both maps share one scale. Together the pixels account for a change of "
        f"{wording.number(total)}; the unit's true change differs by {wording.number(delta)} (completeness delta)."
    )
