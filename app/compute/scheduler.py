"""Schedule and cache what pages compute: `with turn(FIRST): ...` for a batch, `cached(key, compute, message)`.

All that is heavy goes through here, so that no visitor starves another: batches and single maps take turns; what takes
seconds (`long=True`) has a scheduler of its own, so that one of them at most runs next to the rest; what takes minutes
is a process in the job queue (`compute/jobs.py`). A visitor has one of each at a time, and a page that has waited for a
while says how many visitors are ahead.
"""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from selviz.text import numbers

from ..state import caches, reruns, streamlit_internals
from . import queues

CACHE_MB = 100
PATIENCE_S = 0.5  # of waiting, after which a page says so

Value = TypeVar("Value")


@st.cache_resource
def _scheduler(long: bool) -> queues.FairScheduler:
    import torch

    return queues.FairScheduler(1 if long else queues.pieces_at_once(torch.get_num_threads()))


@st.cache_resource
def _cache() -> caches.PickledLRU:
    return caches.PickledLRU(CACHE_MB)


@st.cache_resource
def job_queue() -> queues.JobQueue:
    """Return the queue of what takes minutes, shared by all visitors."""
    return queues.JobQueue()


def visitor() -> str:
    """Return the key of the visitor: a session, which is one tab of a browser."""
    return streamlit_internals.session_id()


@contextmanager
def turn(urgency: int, long: bool = False) -> Iterator[None]:
    """Hold a turn of this visitor to compute a piece; a newer request of theirs ends the wait, and the run."""
    began, slot = time.monotonic(), None

    def on_wait(ahead: int) -> None:
        nonlocal slot
        reruns.stop_if_superseded()
        if ahead and time.monotonic() - began > PATIENCE_S:
            slot = slot or _message_slot()
            slot.caption(f":material/hourglass_top: {waiting_message(ahead)}")

    with _scheduler(long).turn(visitor(), urgency, on_wait):
        if slot:
            slot.empty()
        yield


def waiting_message(ahead: int) -> str:
    """Return how long the queue is, in words."""
    return f"Waiting for a free processor: {numbers.counted(ahead, 'visitor')} before you."


def cached(key: tuple[Hashable, ...], compute: Callable[[], Value], message: str, long: bool = False) -> Value:
    """Return `compute()`, computed in this visitor's turn and cached for all under `key`; `message` shows meanwhile.

    The value must be one that can be pickled. `long` is for what takes seconds.
    """
    value = _cache().get(key)
    if value is None:
        with turn(queues.SETTLING, long):
            value = _cache().get(key)  # another visitor may have wanted the same
            if value is None:
                with st.spinner(message):
                    value = compute()
                _cache().put(key, value)
    return value


def _message_slot() -> DeltaGenerator:
    """Return where this run of the page says that it waits: where it first had to."""
    current_run = streamlit_internals.page_run()
    owner, slot = st.session_state.get("waiting", (None, None))
    if owner is not current_run or slot is None:
        slot = st.empty()
        st.session_state["waiting"] = current_run, slot
    return slot
