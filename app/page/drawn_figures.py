"""Remember figures in the form that is sent: `spec(partial(figures.compare.profile, layers, column, dark), dark)`.

Plotly checks a figure's every part when it is made, when its words are colored, and when it is handed to Streamlit: 20
to 40 ms a figure, a hundred times what sending it takes. A figure follows from its function and arguments alone, so
what was made once is kept under their content: the key is their pickled form, and a table in which any value differs
has another one.
"""

import hashlib
import json
import pickle
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from plotly.io import to_json

from selviz.figures import colors

from ..state import caches

CACHE_MB = 60  # a spec has 10 to 300 KB

Spec = dict[str, Any]  # {"data": [...], "layout": {...}} as in Plotly's JSON


@st.cache_resource
def _specs() -> caches.PickledLRU:
    return caches.PickledLRU(CACHE_MB)


def spec(make: "partial[go.Figure]", dark: bool) -> Spec:
    """Return the spec of the figure that `make` returns, its words in the color of the page's text."""
    key = hashlib.blake2b(pickle.dumps((make, dark), protocol=pickle.HIGHEST_PROTOCOL)).digest()
    specs = _specs()
    known: Spec | None = specs.get(key)
    if known is None:
        known = legible(json.loads(to_json(make(), validate=False)), dark)
        specs.put(key, known)
    return known


def legible(content: Spec, dark: bool) -> Spec:
    """Return a spec whose words have the color of the page's text: Streamlit's own gray has too little contrast."""
    ink = colors.INK[dark]
    layout = content["layout"]
    for words in (layout, layout.setdefault("legend", {})):
        words.setdefault("font", {})["color"] = ink
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")):
            axis.setdefault("tickfont", {})["color"] = ink
            axis.setdefault("title", {}).setdefault("font", {})["color"] = ink
    return content


class CheckedFigure(go.Figure):
    """A figure made of a spec that Plotly has checked before: `st.plotly_chart(CheckedFigure(spec))`.

    Streamlit asks a figure for `to_dict()` alone, and has a plain dict checked again.
    """

    def __init__(self, content: Spec) -> None:
        self._content = content

    def to_dict(self) -> Spec:
        """Return the spec."""
        return self._content
