"""The network on the page, to look at and to touch: `show(run, View(silent, before, after), on_silent=...)`.

The JavaScript is `selviz/publishing/board.js`, which knows nothing of Streamlit. What never changes of a network goes
to the browser once (`model.js`); a click sends the silent units, and comes back with accuracies alone (`component.js`).
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.components import v2 as components

from selviz.publishing import board
from selviz.store import Store
from selviz.text import unit_lists

from ..compute.ablation import AblationRequest
from ..look import theme
from ..state import reads
from . import answers

FOLDER = Path(__file__).parent
HEIGHT = 400  # pixels
NARROW = 640  # pixels of width under which the outputs stand below the units
OUTPUTS, PLAYER = 54, 42  # pixels of the accuracy, of what plays

Units = dict[str, list[int]]


class Frame(TypedDict):
    """A step of what a board plays: the units that are silent, and the accuracy then, of all images and by class."""

    silent: str
    accuracy: float
    classes: list[float | None]


@dataclass(frozen=True)
class View:
    """What is seen of a network now. Accuracies are 0..1, per class [C] or of all images.

    `mode` says what a click does: "silence" the unit, "select" it, or nothing ("look"). `lit` is how active each unit
    is on an input, 0..1 of its largest activation; `values` a measure that colors the tiles, -1..1 times `value_scale`.

    `peer` is the key of another board of the page. `links` [U] are the positions of each unit's match on it, -1 for
    none, `likeness` [U] how well they match; `frames` are played on both.
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
    peer: str = ""
    peer_label: str = ""
    links: np.ndarray | None = None
    likeness: np.ndarray | None = None
    frames: list[Frame] | None = None


@st.cache_resource
def _model_component() -> Callable[..., Any]:
    script = board.script() + (FOLDER / "model.js").read_text(encoding="utf-8")
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


def _data(view: View, name: str, model: str, height: int, clicks: int = 0) -> dict[str, Any]:
    """Return a view as component.js takes it."""
    data = {
        **{field: value for field, value in vars(view).items() if value is not None},
        "name": name,
        "peer": name_of(view.peer) if view.peer else "",
        "model": model,
        "clicks": clicks,
        "silent": unit_lists.format_units(view.silent),
        "dark": theme.dark(),
        "height": height,
    }
    for field in ("lit", "values", "strength", "shown", "likeness"):
        if field in data:
            data[field] = board.encoded(data[field], np.float32)
    if view.links is not None:
        data["links"] = board.encoded(view.links, np.int32)
    return data


def show_training(run: str, label: str, epoch: int, unit_si: Sequence[Sequence[float]], height: int = 230) -> None:
    """Draw the board of a network that is being trained, from the SI of its units after an epoch, layer by layer."""
    sizes = [len(values) for values in unit_si]
    layers = pd.DataFrame({"layer": [f"layer {number}" for number in range(1, len(sizes) + 1)], "units": sizes})
    layers["start"] = layers["units"].cumsum() - layers["units"]
    layers["stage"] = layers["layer"]
    si = np.array([value for values in unit_si for value in values], dtype=np.float32)
    classes = [""] * 11  # which class a unit prefers is not known yet: one hue for all
    nothing = np.zeros(len(si), dtype=np.float32)
    content = board.Board(run, label, classes, layers, si, nothing, nothing.astype(int), None, None, None)
    key, model = f"board-of-training-{run}", f"{run} epoch {epoch}"
    with st.container(key=f"board-model-of-training-{run}"):
        _model_component()(key=f"{key}-model", data={**content.model(), "id": model})
    view = View({}, None, None, mode="look", silencing=False, opening=False)
    _board_component()(key=key, data=_data(view, key, model, height) | {"narrow_height": height})


def room_key(page: str, run: str) -> str:
    """Return the key of a page's container for a board: it keeps the place of the bars of the run's classes."""
    return f"{page}-board-of-{min(theme.MAX_BARS, len(reads.class_names(run)))}-classes"


def name_of(key: str) -> str:
    """Return the name under which the boards of a page find each other."""
    return f"board-of-{key}"


def show(
    run: str,
    view: View,
    key: str = "board",
    height: int = HEIGHT,
    on_silent: Callable[[Units], object] | None = None,
    on_open: Callable[[str, int], object] | None = None,
    on_select: Callable[[str, int], object] | None = None,
    on_class: Callable[[str], object] | None = None,
    request: Callable[[Units], AblationRequest] | None = None,
) -> None:
    """Draw the board of a run; each `on_...` is called with what its visitor did, before the page is drawn again.

    `request` says what is to be answered at once where units are silenced on the board, ahead of the page.
    """
    key = name_of(key)
    content, model = _read(reads.data(), reads.run_version(run), run)
    sizes = dict(zip(content.layers["layer"], content.layers["units"]))
    with st.container(key=f"board-model-of-{key}"):
        _model_component()(key=f"{key}-model", data={**model, "id": version(run)})
    rows = 0 if view.before is None else min(theme.MAX_BARS, len(view.before))
    below = (OUTPUTS + (PLAYER if view.frames else 0) + theme.BAR * rows) if rows else 0
    frame = f"board-frame-{key}"
    st.html(_reserved(frame, height, height + below))
    state = st.session_state.get(key) or {}

    def silent() -> None:
        if on_silent and (reported := st.session_state[key].get("silent")):
            units, _ = unit_lists.parse_existing_units(str(reported.get("units", "")), sizes)
            on_silent(units)
            if request and units:
                answers.expect(key, request(units), int(reported.get("clicks", 0)))

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
    room = f"room-{_tens(height)}-narrow-{_tens(height + below)}-{key}"  # the style that comes with the page knows it
    with st.container(key=room), st.container(key=frame):
        _board_component()(
            key=key,
            data=_data(view, key, version(run), height, clicks) | {"narrow_height": height + below},
            on_silent_change=silent,
            on_open_change=unit_event("open", on_open),
            on_select_change=unit_event("select", on_select),
            on_class_change=class_event,
        )


def _tens(height: int) -> int:
    return height // 10 * 10


def _reserved(frame: str, height: int, narrow_height: int) -> str:
    """Return the style that keeps a board's place free before its script is there, so that nothing moves then."""
    return (
        f"<style>.st-key-{frame} {{container-type: inline-size; width: 100%}} "
        f".st-key-{frame} > * {{min-height: {height}px}} "
        f"@container (max-width: {NARROW - 1}px) {{.st-key-{frame} > * {{min-height: {narrow_height}px}}}}</style>"
    )
