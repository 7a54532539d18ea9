"""Buttons that save a figure as SVG or PNG in the visitor's browser: `pictures(figure, facts, key)`.

The browser draws the picture, as the server has nothing to draw with. It fetches Plotly from the server when a button
is first pressed, since Streamlit's own copy is out of reach of a component.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly
import streamlit as st
import streamlit.components.v1 as served
import streamlit.components.v2 as components

from . import export

HTML = """<div><button id="svg">SVG</button><button id="png">PNG</button><span role="status"></span></div>"""
CSS = """
div {display: flex; gap: .6rem; align-items: center; font-family: var(--st-font); font-size: 1rem}
button {font: inherit; padding: .3rem .75rem; min-height: 2.5rem; cursor: pointer; color: var(--st-text-color);
  background: var(--st-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius)}
button:hover, button:focus-visible {border-color: var(--st-primary-color); color: var(--st-primary-color)}
"""
START = """
let plotly;

function fetched(source) {
  plotly ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.onload = () => done(window.Plotly);
    script.onerror = () => { plotly = undefined; failed(new Error("the server did not deliver Plotly")); };
    script.src = source;
    document.head.append(script);
  });
  return plotly;
}

export default function ({data, parentElement}) {
  const status = parentElement.querySelector("span");
  for (const format of ["svg", "png"]) {
    parentElement.querySelector("#" + format).onclick = async () => {
      status.textContent = "...";
      try {
        await save(await fetched(data.source), JSON.parse(data.figure), data.facts, format);
        status.textContent = "";
      } catch (error) {
        status.textContent = "Not saved: " + error.message;
      }
    };
  }
}
"""


@st.cache_resource
def _control() -> Callable[..., Any]:
    return components.component("selviz.pictures", html=HTML, css=CSS, js=export.SCRIPT + START)


def pictures(figure: Any, facts: dict[str, Any], key: str) -> None:
    """Show the two buttons for a Plotly figure; `facts` are `export.save_facts`."""
    folder = served.declare_component("plotly", path=Path(plotly.__file__).parent / "package_data")
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    source = f"{'/' if base else ''}{base}/component/{folder.name}/plotly.min.js"
    data = {"figure": figure.to_json(), "facts": facts, "source": source}
    _control()(data=data, key=key, width="content")
