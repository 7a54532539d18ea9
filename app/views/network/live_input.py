"""The board lit by an input: an image of the set, a drawing, a visitor's own picture: `choose(run)`, `lit(run,
kind)`.
"""

from typing import Any

import numpy as np
import streamlit as st

from selviz.errors import SelvizError
from selviz.system.image_pixels import as_bytes
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...board import pad
from ...compute import own_input
from ...compute.own_input import FAULTS
from ...look import thumbnails
from ...page import frame, job_panels, silencing, unit_selection
from ...state import address, reads
from . import gallery

INPUTS = {
    "none": "nothing",
    "image": "an image of the set",
    "draw": "a drawing",
    "own": "a picture of yours",
    "camera": "the camera",
}
KINDS = ["png", "jpg", "jpeg", "webp"]
HEIGHT = 300


def choose(run: str) -> str:
    """Draw what lights the board, and return it: one of INPUTS."""
    known = dict(INPUTS)
    if not silencing.can_silence(run):
        return "none"
    if len(reads.store().run(run)["mean"]) != 1:  # a pad has no colors
        known.pop("draw")
    return address.segmented("Light it with", known, "input")


def lit(run: str, kind: str) -> None:
    """Draw the input's controls and the board that it lights; it redraws itself, and not the page, as one draws."""
    wrong = unit_lists.parse_existing_units(address.get("silence"), _sizes(run))[1]
    for part in wrong[:3]:
        address.not_found("unit", part, "the others")
    gallery.leave()  # where a click on the board led
    st.fragment(_lit)(run, kind)


def _lit(run: str, kind: str) -> None:
    controls, network = st.columns([1, 4], gap="medium")
    pixels = None
    with controls, frame.show_errors():
        pixels = _pixels(run, kind)
        pixels = _mended(run, pixels) if pixels is not None else None
    with network, frame.show_errors():
        _board(run, pixels)
    if "units-open" in st.session_state:
        address.rerun()  # a click draws this part alone, and a page is left where it is drawn as a whole: in `lit`


def _sizes(run: str) -> dict[str, int]:
    """Return the number of units of each layer."""
    sizes = reads.store().units(run).groupby("layer", sort=False).size()
    return {str(layer): int(units) for layer, units in sizes.items()}


def _pixels(run: str, kind: str) -> np.ndarray | None:
    """Draw the controls of an input and return it as the network sees it, pixels [C, H, W]; None for none yet."""
    _, dataset = reads.network(run)
    if kind == "image":
        last = len(dataset.eval_pixels) - 1
        image = address.integer("image", 0, last, 0)
        address.widget(st.number_input, f"Image, 0 to {last}", 0, last, step=1, name="image", value=image, default=0)
        row = reads.store().images(run).iloc[image]
        st.caption(f"Its class: {safe_text.plain(str(row['label']))}")
        return dataset.eval_pixels[image].numpy()
    if kind == "draw":
        usual = own_input.usual(run)
        light = isinstance(usual, own_input.Habits) and usual.background >= 128
        data = pad.draw(255 if light else 0)
    else:
        if kind == "camera":
            given = st.camera_input("Take a picture", key="live-camera", **job_panels.writing_control())
        else:
            given = st.file_uploader(
                "PNG, JPEG or WebP", KINDS, key="live-image", max_upload_size=10, **job_panels.writing_control()
            )
        st.caption("It stays in the memory of this visit and is never stored.")
        data = None if given is None or read_only() else given.getvalue()
    if data is None:
        return None
    try:
        pixels = dataset.prepare(own_input.decode(data)).numpy()
    except ValueError as error:
        raise SelvizError(f"This picture cannot be used: {error}.") from error
    empty = kind == "draw" and int(pixels.max()) - int(pixels.min()) < 16
    return None if empty else pixels


def _mended(run: str, pixels: np.ndarray) -> np.ndarray:
    """Say in what the input differs from the images that the network knows, and offer to put it right."""
    usual, picture = own_input.usual(run), as_bytes(pixels)
    faults = own_input.faults(picture, usual)
    if usual is None or not faults:
        return pixels
    st.markdown(
        f":material/healing: Unlike the images that it knows: **{', '.join(faults)}**.",
        help="It is " + "; ".join(FAULTS[fault] for fault in faults) + ".",
    )
    return own_input.mended(picture, faults, usual) if st.toggle("Mend it", key="mend-input") else pixels


def _board(run: str, pixels: np.ndarray | None) -> None:
    """Draw the board with the activations of an input, and the network's answer at its outputs."""
    units, names = reads.store().units(run), reads.class_names(run)
    silent, _ = unit_lists.parse_existing_units(address.get("silence"), _sizes(run))
    options: dict[str, Any] = {}
    before = after = None
    if pixels is not None:
        response = own_input.respond(run, pixels, silent)
        largest = np.maximum(units["max_activation"].to_numpy(dtype=float), 1e-12)
        shown = response.silenced if response.silenced is not None else response.probabilities
        best = int(np.argmax(shown))
        before, after = response.probabilities.tolist(), shown.tolist()
        options = {
            "lit": np.clip(response.activations / largest, 0, 1).astype(np.float32),
            "input": thumbnails.uri(thumbnails.plain(as_bytes(pixels))),
            "input_label": "as it sees it",
            "headline": safe_text.short(names[best], 18),
            "headline_note": f"{numbers.percent(shown[best])} (softmax)"
            + (f", was {safe_text.short(names[int(np.argmax(before))], 12)}" if silent else ""),
        }
    view = board.View(silent, before, None, after, compared=bool(silent), **options)
    board.show(
        run,
        view,
        key="lit",
        height=HEIGHT,
        on_silent=lambda chosen: unit_selection.put(run, chosen),
        on_open=lambda layer, unit: gallery.open_unit(run, layer, unit),
    )
    st.caption(
        "Brightness: how active each unit is on this input, of its largest activation on the evaluation images, in the "
        "whole network. Bars: the answer's softmax, outlined with all units, filled without the silent ones. Click a "
        "unit to silence it."
        if pixels is not None
        else "Nothing lights the board yet."
    )
