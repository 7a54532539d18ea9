"""A picture of the visitor's own: `show(run, layer, unit)` says what the network and its units make of it.

The picture is decoded in memory, under limits, and belongs to the visitor's session: nothing is written or cached.
"""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from selviz.errors import SelvizError
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text

from ...compute import own_input
from ...compute.own_input import decode
from ...look import thumbnails
from ...page import job_panels
from ...state import reads

SHOWN = 12  # units


def response(run: str, layer: str, picture: Image.Image, mend: bool = False) -> dict[str, Any]:
    """Return "faults" of FAULTS, "pixels" [C, H, W] as the network sees it, "probabilities" [C], and "units".

    Of each unit: activation and percentile, the share of evaluation images on which it was less active, 0..100.
    """
    import torch

    network, dataset = reads.network(run)
    try:
        pixels = dataset.prepare(picture)
    except ValueError as error:
        raise SelvizError(f"This picture cannot be used: {error}.") from error
    usual = own_input.usual(run)
    faults = own_input.faults(pixels.numpy(), usual)
    if mend and usual is not None:
        pixels = torch.from_numpy(own_input.mended(pixels.numpy(), faults, usual).copy())
    with torch.no_grad():
        logits, activations = network.observe(dataset.normalise(pixels[None]))
    position = [entry.name for entry in network.layers].index(layer)
    values = activations[position][0].float().numpy()
    units = pd.DataFrame({"unit": np.arange(len(values)), "activation": values})
    units["percentile"] = 100 * reads.store().ranks(run, layer, values)
    return {
        "faults": faults,
        "pixels": pixels.numpy(),
        "probabilities": logits[0].softmax(dim=0).numpy(),
        "units": units,
    }


def show(run: str, layer: str, unit: int) -> None:
    """Show the uploader, and what the network does with the picture."""
    st.subheader("Try an image of your own", anchor=False)
    st.caption(
        "PNG, JPEG or WebP, at most 10 MB and 25 megapixels. The picture stays in the memory of this visit and is "
        "never stored."
    )
    kinds = ["png", "jpg", "jpeg", "webp"]
    given = st.file_uploader("A picture", kinds, key="own-image", max_upload_size=10, **job_panels.writing_control())
    if given is None or read_only():
        return
    answer = response(run, layer, decode(given.getvalue()), mend=st.session_state.get("mend-own", False))
    if answer["faults"]:
        words = "; ".join(own_input.FAULTS[fault] for fault in answer["faults"])
        st.warning(f"The network knows no image like this one: it is {words}.", icon=":material/healing:")
        st.toggle("Mend it", key="mend-own")
    names, about = reads.class_names(run), reads.store().units(run, layer)
    seen, text_column = st.columns([1, 3], gap="medium")
    with seen:
        st.html(thumbnails.tag(thumbnails.plain(answer["pixels"]), "the picture as the network sees it"))
        st.caption("as the network sees it")
    with text_column:
        best = np.argsort(-answer["probabilities"], kind="stable")[:3]
        st.markdown(f"The network says **{safe_text.plain(names[best[0]])}**.")
        shares = [
            f"{safe_text.plain(names[label])}: {numbers.percent(answer['probabilities'][label])}" for label in best
        ]
        st.caption("Softmax, not a calibrated probability: " + ", ".join(shares))
        own = answer["units"].iloc[unit]
        st.metric(
            f"Unit {unit}: activation",
            numbers.number(float(own["activation"])),
            delta=f"percentile {own['percentile']:.0f}",
            delta_color="off",
            delta_arrow="off",
            help="Share of the evaluation images on which this unit was less active; equal ones count half.",
        )
    table = answer["units"].merge(about[["unit", "preferred_class", "si", "dead"]], on="unit")
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
