"""A pad to draw on: `data = draw(background=0)` is a PNG of what its visitor has drawn by now, None for nothing."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components import v2 as components

FOLDER = Path(__file__).parent
PREFIX = "data:image/png;base64,"
MAX_LETTERS = 400_000
BRUSH = 17  # of the pad's 224 pixels


@st.cache_resource
def _component() -> Callable[..., Any]:
    script, style = ((FOLDER / f"pad.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    pad = '<div class="pad-host"><canvas aria-label="draw here"></canvas><button type="button">Clear</button></div>'
    return components.component("selviz.pad", html=pad, css=style, js=script)


def draw(background: int, key: str = "pad") -> bytes | None:
    """Draw the pad with a background of 0 (black) to 255, and ink of the opposite; return its picture."""
    ink = 255 - background
    data = {"background": f"rgb({background},{background},{background})", "ink": f"rgb({ink},{ink},{ink})"}
    _component()(key=key, data={**data, "brush": BRUSH}, on_picture_change=lambda: None)
    sent = (st.session_state.get(key) or {}).get("picture") or {}
    return _decoded(str(sent.get("uri") or ""))


def _decoded(uri: str) -> bytes | None:
    """Return the bytes of a picture that a browser sent; None for anything else."""
    if not uri.startswith(PREFIX) or len(uri) > MAX_LETTERS:
        return None
    try:
        return base64.b64decode(uri[len(PREFIX) :], validate=True)
    except binascii.Error:
        return None
