"""What is done to the chosen units, and on which images it is judged: `options = choose(choice, more)`."""

from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...state import address
from .choice import Choice

MODES = {"zero": "zero", "mean": "mean", "shuffle": "another image", "noise": "noise", "scale": "scale"}
EXPLAINED = {
    "zero": "The unit's whole map is 0.",
    "mean": "Every position is the unit's mean over the evaluation images.",
    "shuffle": "The map that the unit has on another, random image.",
    "noise": "The map is shifted by Gaussian noise, one draw an image, in standard deviations of the unit.",
    "scale": "The map is multiplied by a factor: below 1 turns the unit down, above 1 up.",
}
FOLDS = {"all": "folds 0 and 1", "0": "fold 0", "1": "fold 1"}
DRAWS = {"100": "100", "20": "20", "1000": "1,000"}


class Options(NamedTuple):
    """How units are silenced: the settings of an AblationRequest, and the number of control sets of each kind."""

    mode: str
    factor: float | None
    keep: bool
    fold: int | None
    draws: int


def choose(choice: Choice, more: DeltaGenerator) -> Options:
    """Draw the widgets into `more`, and return what they say."""
    with more:
        mode = address.segmented(
            "Set them to", MODES, "mode", help="\n\n".join(f"{MODES[m]}: {EXPLAINED[m]}" for m in MODES)
        )
        factor = None
        if mode in ("scale", "noise"):
            factor = address.number("factor", 0.0, 3.0, 0.5 if mode == "scale" else 1.0)
            title = "Times" if mode == "scale" else "Standard deviations"
            address.widget(st.slider, title, 0.0, 3.0, step=0.05, name="factor", value=factor, text="{:g}".format)
        keep = address.switch(
            "Keep only these",
            "keep",
            help="Silences all other units of the same layers: do the chosen ones suffice?",
        )
        fold: int | None = 1
        if not choice.on_fold_0:
            address.segmented("Report on", FOLDS, "fold")
            fold = by_hand_fold()
        draws = int(address.segmented("Random and matched sets, of each", DRAWS, "draws"))
    return Options(mode, factor, keep, fold, draws)


def by_hand_fold() -> int | None:
    """Return the fold that the address says to report a choice by hand on; None for folds 0 and 1."""
    at = address.get("fold")
    return int(at) if at in FOLDS and at != "all" else None
