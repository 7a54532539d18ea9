"""Reruns of a page that its visitor no longer waits for: `stop_if_superseded()`, `run_interruptibly(call)`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import streamlit as st

Value = TypeVar("Value")


def stop_if_superseded() -> None:
    """End this run of the page if its visitor has asked for something newer: Streamlit looks at each such read."""
    st.session_state.get("run")


def run_interruptibly(call: Callable[[], Value]) -> Value:
    """Return `call()` where it takes long: in a thread, so that a newer request of the visitor need not wait for
    its end.
    """
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    while not future.done():
        stop_if_superseded()
        wait([future], 0.05)
    return future.result()
