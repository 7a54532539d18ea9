"""What is silent on the start page: `choice(run)`; it is a rule, so that it can be asked of another network too."""

import random
from typing import NamedTuple

import pandas as pd

from selviz.text import unit_lists

from ...state import address, reads

ACTIONS = ("class", "random", "hand")
Units = dict[str, list[int]]


class Choice(NamedTuple):
    """The class that is spoken of, its units in the last layer, and the units that are silent now."""

    action: str  # one of ACTIONS, "" where nothing is silent
    class_name: str
    layer: str
    lovers: list[int]
    silent: Units


def choice(run: str) -> Choice:
    """Return what the address says of this run."""
    units = reads.store().units(run)
    layer = str(units["layer"].iloc[-1])
    inside = units[(units["layer"] == layer) & ~units["dead"]]
    names = reads.class_names(run)
    class_name = address.choose("class", names, most_loved(inside, names), "class")
    lovers = sorted(inside.loc[inside["preferred_class"] == class_name, "unit"].astype(int))
    action = address.get("do")
    action = action if action in ACTIONS else ""
    silent: Units = {}
    if action == "class":
        silent = {layer: lovers} if lovers else {}
    elif action == "random":
        silent = {layer: at_random(units[units["layer"] == layer], len(lovers), address.integer("seed", 0, 10**6, 0))}
    elif action == "hand":
        sizes = units.groupby("layer", sort=False).size().to_dict()
        silent, wrong = unit_lists.parse_existing_units(address.get("silence"), sizes)
        for part in wrong[:3]:
            address.not_found("unit", part, unit_lists.format_units(silent) or "no unit")
    return Choice(action, class_name, layer, lovers, {name: chosen for name, chosen in silent.items() if chosen})


def most_loved(live: pd.DataFrame, names: list[str]) -> str:
    """Return the class that most live units prefer; of equals, the first."""
    counts = live["preferred_class"].value_counts()
    return max(names, key=lambda name: int(counts.get(name, 0)))


def at_random(units: pd.DataFrame, count: int, seed: int) -> list[int]:
    """Return so many units of a layer, drawn at random."""
    every = sorted(units["unit"].astype(int))
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


def by_hand(units: Units) -> None:
    """Write units that were touched on the board to the address."""
    text = unit_lists.format_units(units)
    address.update(do="hand" if text else None, silence=text or None)


def put_back() -> None:
    """Write to the address that nothing is silent."""
    address.update(do=None, silence=None)
