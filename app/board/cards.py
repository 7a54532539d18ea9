"""Units as cards, each a link to its page: `show(run, groups, on_open)`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import streamlit as st
from streamlit.components import v2 as components

from selviz.publishing import board
from selviz.store import Store
from selviz.text import unit_lists

from ..look import theme
from ..state import reads
from . import component

FOLDER = Path(__file__).parent


class Card(NamedTuple):
    """What a card says of a unit; `bars` are (height 0..1, color), one per class."""

    layer: str
    unit: int
    prefers: str
    hue: str
    measure: str
    tuning: str
    bars: Sequence[tuple[float, str]]


@st.cache_resource
def _component() -> Callable[..., Any]:
    script, style = ((FOLDER / f"cards.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    return components.component("selviz.cards", html='<div class="cards-host"></div>', css=style, js=script)


@st.cache_resource(max_entries=32, show_spinner="Looking at the images of these units ...")
def _pictures(folder: str, version: tuple, run: str, units: tuple[tuple[str, int], ...]) -> board.Sheet | None:
    return board.unit_pictures(Store(folder), run, units)


def show(run: str, groups: dict[str, list[Card]], on_open: Callable[[str, int], object], key: str = "cards") -> None:
    """Draw cards under the titles of their groups; `on_open` gets the unit whose card was clicked.

    Where the board of the run has a picture of each unit, these are shown; else they are made for these units alone.
    """
    content, every = component.read(run), [card for cards in groups.values() for card in cards]
    sheet = None
    if content.pictures is None:
        units = tuple((card.layer, card.unit) for card in every)
        sheet = _pictures(reads.data(), reads.run_version(run), run, units)
    order = {id(card): number for number, card in enumerate(every)}

    def described(card: Card) -> dict[str, Any]:
        own = content.position(card.layer, card.unit) if content.pictures is not None else order[id(card)]
        return {
            "unit": f"{card.layer}:{card.unit}",
            "href": "unit?" + urlencode({"run": run, "layer": card.layer, "unit": card.unit}),
            "prefers": card.prefers,
            "hue": card.hue,
            "measure": card.measure,
            "tuning": card.tuning,
            "bars": list(card.bars),
            "picture": own,
        }

    def opened() -> None:
        sizes = dict(zip(content.layers["layer"], content.layers["units"]))
        named, _ = unit_lists.parse_existing_units(str(st.session_state[key].get("open") or ""), sizes)
        for layer, numbers in named.items():
            on_open(layer, numbers[0])

    _component()(
        key=key,
        data={
            "model": component.version(run) if content.pictures is not None else "",
            "pictures": vars(sheet) if sheet else None,
            "dark": theme.dark(),
            "groups": [{"title": title, "cards": list(map(described, cards))} for title, cards in groups.items()],
        },
        on_open_change=opened,
    )
