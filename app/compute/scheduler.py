"""What pages compute, in turns: `with turn(FIRST): ...` for a batch, `kept(key, make, told)` for a whole answer.

All that is heavy goes through here, so that no visitor starves another: batches and single maps take turns; what takes
seconds (LONG) has a queue of its own, so that one of them at most runs beside the rest; what takes minutes is a process
in a line (`work.study`). A visitor has one of each at a time, and a page that has waited for a while says for how many.
"""

import time
from collections.abc import Callable, Hashable
from contextlib import contextmanager

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.compute import turns
from app.state import caches, reruns
from selviz.text import numbers

KEPT_MB = 100
PATIENCE = 0.5  # seconds of waiting, after which a page says so


@st.cache_resource
def _turns(long: bool) -> turns.Turns:
    import torch

    return turns.Turns(1 if long else turns.at_once(torch.get_num_threads()))


@st.cache_resource
def _kept() -> caches.Recent:
    return caches.Recent(KEPT_MB)


@st.cache_resource
def line() -> turns.Line:
    """The line of what takes minutes, for all visitors."""
    return turns.Line()


def visitor() -> str:
    """Who asks: a session, which is one tab of a browser."""
    return get_script_run_ctx().session_id


@contextmanager
def turn(urgency: int, long: bool = False):
    """A turn of this visitor to compute a piece; a newer request of theirs ends the wait for it, and the run."""
    began, place = time.monotonic(), None

    def wait(before: int) -> None:
        nonlocal place
        reruns.stop_if_superseded()
        if before and time.monotonic() - began > PATIENCE:
            place = place or _place()
            place.caption(f":material/hourglass_top: {waiting(before)}")

    with _turns(long).turn(visitor(), urgency, wait):
        if place:
            place.empty()
        yield


def waiting(before: int) -> str:
    """How long the queue is, in words."""
    return f"Waiting for a free processor: {numbers.counted(before, 'visitor')} before you."


def kept(key: tuple[Hashable, ...], make: Callable[[], object], told: str, long: bool = False):
    """What `make()` gives, computed in this visitor's turn and kept for all under `key`; `told` stands there meanwhile.

    The value must be one that can be pickled. `long` is for what takes seconds.
    """
    found = _kept().get(key)
    if found is None:
        with turn(turns.SETTLING, long):
            found = _kept().get(key)  # another visitor may have wanted the same
            if found is None:
                with st.spinner(told):
                    found = make()
                _kept().put(key, found)
    return found


def _place():
    """Where this run of the page says that it waits: where it first had to."""
    drawing = get_script_run_ctx().cursors  # Streamlit makes new ones for each run
    of, place = st.session_state.get("waiting", (None, None))
    if of is not drawing:
        place = st.empty()
        st.session_state["waiting"] = drawing, place
    return place
