"""A picture of the visitor's own: `show(run, layer, unit)` says what the network and its units make of it.

The picture is decoded in memory, under limits, and belongs to the visitor's session: nothing is written or cached.
"""

import io
import warnings

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image, ImageOps

from app.look import thumbnails
from app.page import job_panels
from app.state import reads
from selviz.errors import SelvizError
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 10 * 10**6
MOST_PIXELS = 25 * 10**6
SHOWN = 12  # units


def decode(data: bytes) -> Image.Image:
    """The picture in these bytes, upright; SelvizError for one that is too large, damaged, or of another format."""
    if len(data) > MOST_BYTES:
        raise SelvizError(f"This file has {len(data) / 1e6:.1f} MB; choose a picture of at most 10 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MOST_PIXELS:
                millions = picture.width * picture.height / 1e6
                raise SelvizError(f"This picture has {millions:.0f} megapixels; choose one of at most 25.")
            picture.load()
            return ImageOps.exif_transpose(picture)
    except SelvizError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise SelvizError("This file is no PNG, JPEG or WebP picture, or it is damaged; choose another one.") from error


def response(run: str, layer: str, picture: Image.Image) -> dict:
    """ "pixels" [C, H, W] as the network sees the picture, "probabilities" [C], and "units": activation and percentile.

    A unit's percentile is the share of evaluation images on which it was less active, equal ones counted half, 0..100.
    """
    import torch

    network, dataset = reads.network(run)
    try:
        pixels = dataset.prepare(picture)
    except ValueError as error:
        raise SelvizError(f"This picture cannot be used: {error}.") from error
    with torch.no_grad():
        logits, activations = network.observe(dataset.normalise(pixels[None]))
    position = [entry.name for entry in network.layers].index(layer)
    values = activations[position][0].float().numpy()
    units = pd.DataFrame({"unit": np.arange(len(values)), "activation": values})
    units["percentile"] = 100 * reads.store().ranks(run, layer, values)
    return {"pixels": pixels.numpy(), "probabilities": logits[0].softmax(dim=0).numpy(), "units": units}


def show(run: str, layer: str, unit: int) -> None:
    """The uploader, and what the network does with the picture."""
    st.subheader("Try an image of your own", anchor=False)
    st.caption(
        "PNG, JPEG or WebP, at most 10 MB and 25 megapixels. The picture stays in the memory of this visit and is "
        "never stored."
    )
    kinds = ["png", "jpg", "jpeg", "webp"]
    given = st.file_uploader("A picture", kinds, key="own-image", max_upload_size=10, **job_panels.writing_control())
    if given is None or read_only():
        return
    found = response(run, layer, decode(given.getvalue()))
    names, about = reads.class_names(run), reads.store().units(run, layer)
    seen, told = st.columns([1, 3], gap="medium")
    with seen:
        picture = thumbnails.uri(thumbnails.plain(found["pixels"]))
        st.html(f'<img class="selviz-picture" alt="the picture as the network sees it" src="{picture}">')
        st.caption("as the network sees it")
    with told:
        best = np.argsort(-found["probabilities"], kind="stable")[:3]
        st.markdown(f"The network says **{safe_text.plain(names[best[0]])}**.")
        shares = [
            f"{safe_text.plain(names[label])}: {numbers.percent(found['probabilities'][label])}" for label in best
        ]
        st.caption("Softmax, not a calibrated probability: " + ", ".join(shares))
        own = found["units"].iloc[unit]
        st.metric(
            f"Unit {unit}: activation",
            numbers.number(float(own["activation"])),
            delta=f"percentile {own['percentile']:.0f}",
            delta_color="off",
            delta_arrow="off",
            help="Share of the evaluation images on which this unit was less active; equal ones count half.",
        )
    table = found["units"].merge(about[["unit", "preferred_class", "si", "dead"]], on="unit")
    table = table[~table["dead"]].sort_values(["percentile", "activation"], ascending=False).head(SHOWN)
    st.markdown(f"Units of {safe_text.code(layer)} that respond most, by percentile")
    st.dataframe(
        table[["unit", "activation", "percentile", "preferred_class", "si"]],
        hide_index=True,
        height="content",
        column_config={
            "unit": st.column_config.NumberColumn("unit", width="small"),
            "activation": st.column_config.NumberColumn("activation", format="%.3g", width="small"),
            "percentile": st.column_config.ProgressColumn(
                "percentile", format="%.1f", min_value=0, max_value=100, width="small"
            ),
            "preferred_class": st.column_config.TextColumn("prefers", width="small"),
            "si": st.column_config.NumberColumn("SI", format="%.2f", width="small"),
        },
    )
    images = len(reads.store().images(run))
    st.caption(
        f"How to read this: a percentile of 99 means that the unit was less active on 99 % of the {images:,} "
        "evaluation images. A picture unlike these can still drive it higher than any of them."
    )
