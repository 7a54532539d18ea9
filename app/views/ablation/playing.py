"""A removal curve played on two boards, the chosen order next to a random one: `play(run, layer, metric)`."""

from typing import NamedTuple

import numpy as np
import streamlit as st

from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...compute import ablation
from ...compute.ablation import AblationRequest
from ...page import silencing, unit_selection
from ...state import address
from .by_hand import METRICS

FOLD = 1  # which reports; the order is taken on fold 0
HEIGHT = 230  # pixels of a board
NAMES = {"descending": "largest first", "ascending": "smallest first", "random": "at random"}


class Played(NamedTuple):
    """A curve as a board plays it, its first step with all units."""

    direction: str
    frames: list[board.Frame]


def play(run: str, layers: list[str], layer: str, metric: str) -> None:
    """Draw two boards on which the units of a layer, or of all, go dark one step after the other."""
    if not silencing.can_silence(run) or metric not in unit_selection.metrics(run):
        return
    if not address.switch("Play it on the board", "play"):
        return
    direction = address.segmented("First to go", {name: NAMES[name] for name in ("descending", "ascending")}, "first")
    chosen, control = played(run, layers if layer not in layers else [layer], metric, (direction, "random"))
    for column, curve, key, peer in zip(
        st.columns(2, gap="medium"), (chosen, control), ("play-order", "play-random"), ("play-random", "play-order")
    ):
        with column:
            first = curve.frames[0]
            st.markdown(f"**{_title(curve.direction, metric)}**")
            view = board.View(
                {},
                first["classes"],
                first["accuracy"],
                first["classes"],
                first["accuracy"],
                mode="look",
                silencing=False,
                opening=False,
                peer=peer,
                frames=curve.frames,
            )
            board.show(run, view, key=key, height=HEIGHT)
    st.caption(
        f"Both play together, and each step is measured: accuracy on fold {FOLD} without the units that are dark; the "
        "order is taken on fold 0. One random order is shown; the band of ten is in the figure below. Outlined: with "
        "all units."
    )


def _title(direction: str, metric: str) -> str:
    if direction == "random":
        return "In a random order"
    return f"By {safe_text.plain(METRICS.get(metric, metric))}, {NAMES[direction]}"


def played(run: str, layers: list[str], metric: str, directions: tuple[str, ...]) -> list[Played]:
    """Return these curves of the units of some layers, the first random order for "random"; all accuracies exact."""
    import torch

    from selviz.ablation.curves import STEPS, orders, silent_at

    table = unit_selection.metrics(run)
    ranking = {
        name: torch.tensor(table.loc[table["layer"] == name, metric].to_numpy(), dtype=torch.float64) for name in layers
    }
    steps = min(STEPS, max(len(values) for values in ranking.values()))
    by_direction = {direction: order for direction, draw, order in orders(ranking) if draw == 0}
    bar, done, every = st.empty(), 0, steps * len(directions)
    found = []
    for direction in directions:
        frames = [_frame(run, {})]
        for step in range(1, steps + 1):
            frames.append(_frame(run, silent_at(by_direction[direction], step, steps)))
            done += 1
            bar.progress(done / every, text=f"{done} of {numbers.counted(every, 'step')} measured")
        found.append(Played(direction, frames))
    bar.empty()
    return found


def _frame(run: str, silent: dict[str, np.ndarray]) -> board.Frame:
    units = unit_lists.format_units({name: sorted(map(int, numbers)) for name, numbers in silent.items()})
    if not units:
        whole = silencing.untouched(run, FOLD)
        return {"silent": "", "accuracy": whole.accuracy_before, "classes": whole.before}
    result = ablation.ablate(AblationRequest(run, units, fold=FOLD))
    classes = [row["after"] for row in result["per_class"]]
    return {"silent": units, "accuracy": result["accuracy_after"], "classes": classes}
