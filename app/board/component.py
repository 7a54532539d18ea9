"""The network on the page, to look at and to touch: `show(run, View(silent, before, after), on_silent=...)`.

The JavaScript is `selviz/publishing/board.js`, which knows nothing of Streamlit. What never changes of a network goes
to the browser once (`model.js`); a click sends the silent units, and comes back with accuracies alone (`component.js`).
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.components import v2 as components

from selviz.publishing import board
from selviz.store import Store
from selviz.text import unit_lists

from ..look import theme
from ..state import reads

FOLDER = Path(__file__).parent
HEIGHT = 400  # pixels

Units = dict[str, list[int]]


@dataclass(frozen=True)
class View:
    """What is seen of a network now. Accuracies are 0..1, per class [C] or of all images.

    `mode` says what a click does: "silence" the unit, "select" it, or nothing ("look"). `lit` is how active each unit
    is on an input, 0..1 of its largest activation; `values` a measure that colors the tiles, -1..1 times `value_scale`.
    """

    silent: Units
    before: list[float | None] | None  # None: no classes are drawn
    accuracy_before: float | None
    after: list[float | None] | None = None
    accuracy_after: float | None = None
    mode: str = "silence"
    silencing: bool = True
    opening: bool = True
    selected: str = ""
    compared: bool = False  # before and after are those of something else than the silent units
    focus_class: str = ""
    class_action: str = ""  # what a click on a class does, for its tooltip
    lit: np.ndarray | None = None
    input: str = ""  # the picture that lights the units, as an address
    input_label: str = ""
    headline: str = ""  # in place of the accuracy, with a note to it
    headline_note: str = ""
    values: np.ndarray | None = None
    value_label: str = ""
    value_scale: float = 0.0
    strength: np.ndarray | None = None  # 0..1, in place of SI
    shown: np.ndarray | None = None  # 0 for units that are to recede, else 1


@st.cache_resource
def _model_component() -> Callable[..., Any]:
    script = board.SCRIPT.read_text(encoding="utf-8") + (FOLDER / "model.js").read_text(encoding="utf-8")
    return components.component("selviz.board_model", html="<span></span>", js=script)


@st.cache_resource
def _board_component() -> Callable[..., Any]:
    style = ":host, .board-host {container-type: inline-size}\n" + board.STYLE.read_text(encoding="utf-8")
    script = (FOLDER / "component.js").read_text(encoding="utf-8")
    return components.component("selviz.board", html='<div class="board-host"></div>', css=style, js=script)


@st.cache_resource(max_entries=8, show_spinner="Reading the network ...")
def _read(folder: str, version: tuple, run: str) -> tuple[board.Board, dict[str, Any]]:
    content = board.read_board(Store(folder), run)
    return content, content.model()


def read(run: str) -> board.Board:
    """Return the board of a run, cached as long as the run's files stay the same."""
    return _read(reads.data(), reads.run_version(run), run)[0]


def version(run: str) -> str:
    """Return the key of a run's board in the browser; another one when a file of the run changes."""
    return f"{run} {zlib.crc32(repr(reads.run_version(run)).encode())}"


def _data(view: View, model: str, height: int, clicks: int = 0) -> dict[str, Any]:
    """Return a view as component.js takes it."""
    data = {
        **{name: value for name, value in vars(view).items() if value is not None},
        "model": model,
        "clicks": clicks,
        "silent": unit_lists.format_units(view.silent),
        "dark": theme.dark(),
        "height": height,
    }
    for name in ("lit", "values", "strength", "shown"):
        if name in data:
            data[name] = board.encoded(data[name], np.float32)
    return data


def show_training(run: str, epoch: int, unit_si: Sequence[Sequence[float]], height: int = 230) -> None:
    """Draw the board of a network that is being trained, from the SI of its units after an epoch, layer by layer."""
    sizes = [len(values) for values in unit_si]
    layers = pd.DataFrame({"layer": [f"layer {number}" for number in range(1, len(sizes) + 1)], "units": sizes})
    layers["start"] = layers["units"].cumsum() - layers["units"]
    layers["stage"] = layers["layer"]
    si = np.array([value for values in unit_si for value in values], dtype=np.float32)
    classes = [""] * 11  # which class a unit prefers is not known yet: one hue for all
    nothing = np.zeros(len(si), dtype=np.float32)
    content = board.Board(
        run, f"{run}, in training", classes, layers, si, nothing, nothing.astype(int), None, None, None
    )
    model = f"{run} epoch {epoch}"
    with st.container(key="board-model-of-training"):
        _model_component()(key="board-of-training-model", data={**content.model(), "id": model})
    view = View({}, None, None, mode="look", silencing=False, opening=False)
    _board_component()(key="board-of-training", data=_data(view, model, height))


def show(
    run: str,
    view: View,
    key: str = "board",
    height: int = HEIGHT,
    on_silent: Callable[[Units], object] | None = None,
    on_open: Callable[[str, int], object] | None = None,
    on_select: Callable[[str, int], object] | None = None,
    on_class: Callable[[str], object] | None = None,
) -> None:
    """Draw the board of a run; each `on_...` is called with what its visitor did, before the page is drawn again."""
    key = f"board-of-{key}"
    content, model = _read(reads.data(), reads.run_version(run), run)
    sizes = dict(zip(content.layers["layer"], content.layers["units"]))
    with st.container(key=f"board-model-of-{key}"):
        _model_component()(key=f"{key}-model", data={**model, "id": version(run)})
    state = st.session_state.get(key) or {}

    def silent() -> None:
        if on_silent and (reported := st.session_state[key].get("silent")):
            on_silent(unit_lists.parse_existing_units(str(reported.get("units", "")), sizes)[0])

    def unit_event(event: str, act: Callable[[str, int], object] | None) -> Callable[[], None]:
        def call() -> None:
            named, _ = unit_lists.parse_existing_units(str(st.session_state[key].get(event) or ""), sizes)
            if act and named:
                layer, numbers = next(iter(named.items()))
                act(layer, numbers[0])

        return call

    def class_event() -> None:
        name = st.session_state[key].get("class")
        if on_class and name in content.classes:
            on_class(name)

    clicks = int((state.get("silent") or {}).get("clicks", 0))
    _board_component()(
        key=key,
        data=_data(view, version(run), height, clicks),
        on_silent_change=silent,
        on_open_change=unit_event("open", on_open),
        on_select_change=unit_event("select", on_select),
        on_class_change=class_event,
    )
