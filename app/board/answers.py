"""The answer to a click on a board, which reaches the browser before the page is drawn again.

    expect("silence", AblationRequest(run, "relu3:4"), clicks=3)  # in a callback
    show()                                                       # first of all that the page then draws

A page redraws dozens of elements, and the browser puts all of them in before it hands the board its part. So accuracies
go ahead in an element of their own (`answers.js`): estimates while they are computed, then the exact numbers, which the
page finds in the cache. It draws them again with the rest.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.components import v2 as components

from selviz.errors import SelvizError
from selviz.text import numbers

from ..compute import ablation
from ..compute.ablation import AblationRequest
from ..state import reads

if TYPE_CHECKING:
    from selviz.ablation import Estimate

SCRIPT = Path(__file__).parent / "answers.js"
ESTIMATE_S = 0.1  # after which what is not exact yet is shown as an estimate, and again


@dataclass(frozen=True)
class Expected:
    """What a board is to show next: `clicks` is the number of its own click that asked for it, None for a button."""

    board: str
    clicks: int | None
    request: AblationRequest


@st.cache_resource
def _component() -> Callable[..., Any]:
    script = SCRIPT.read_text(encoding="utf-8")
    return components.component("selviz.board_answer", html="<span></span>", js=script)


def expect(board: str, request: AblationRequest | None, clicks: int | None = None) -> None:
    """Note what the board of this name is to show; for callbacks, which come before the page is drawn."""
    if request is not None and request.units:
        st.session_state["board-expected"] = Expected(board, clicks, request)


def show() -> None:
    """Send the browser the answer to what was expected, if anything was; what fails is for the page to say."""
    slot = st.container(key="board-answers").empty()
    expected = st.session_state.pop("board-expected", None)
    if expected is None:
        return
    sent, last = 0, time.monotonic()

    def send(**accuracies: Any) -> None:
        nonlocal sent, last
        data = {"name": expected.board, "clicks": expected.clicks, "silent": None, **accuracies}
        if expected.clicks is None and not expected.request.keep:
            data["silent"] = expected.request.units
        with slot.container():
            _component()(key=f"board-answer-{sent}", data=data)
        sent, last = sent + 1, time.monotonic()

    def on_estimate(estimate: "Estimate") -> None:
        if not estimate.exact and time.monotonic() - last > ESTIMATE_S:
            send(**estimated(expected.request, estimate))

    with suppress(SelvizError, OSError, MemoryError):
        result = ablation.ablate(expected.request, on_estimate)
        rows = result["per_class"]
        send(
            accuracy_before=result["accuracy_before"],
            accuracy_after=result["accuracy_after"],
            before=[row["before"] for row in rows],
            after=[row["after"] for row in rows],
            estimate="",
        )


def estimated(request: AblationRequest, estimate: "Estimate") -> dict[str, Any]:
    """Return an estimate as a board takes it: by class, the accuracy before and the change on the images so far."""
    images = reads.store().images(request.run)
    images = images if request.fold is None else images[images["fold"] == request.fold]
    labels, predicted = (images[name].to_numpy()[: estimate.of] for name in ("label_index", "prediction_index"))
    seen, classes = estimate.images, len(reads.class_names(request.run))
    was = predicted == labels
    now = estimate.after.argmax(dim=1).numpy() == labels[:seen]
    with np.errstate(invalid="ignore", divide="ignore"):
        before = np.bincount(labels, was, classes) / np.bincount(labels, minlength=classes)
        changed = now.astype(float) - was[:seen]
        change = np.bincount(labels[:seen], changed, classes) / np.bincount(labels[:seen], minlength=classes)
    after = np.clip(before + np.nan_to_num(change), 0, 1)
    return {
        "accuracy_before": estimate.accuracy_before,
        "accuracy_after": estimate.accuracy_after,
        "before": [None if np.isnan(value) else float(value) for value in before],
        "after": [None if np.isnan(value) else float(value) for value in after],
        "estimate": f"estimate from {numbers.whole(seen)} of {numbers.counted(estimate.of, 'image')}",
    }
