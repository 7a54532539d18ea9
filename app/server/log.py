"""One JSON line on stderr for each page that is drawn: `with request("units"): ...`, where SELVIZ_LOG is 1.

Nothing personal is in it: of a session a short hash, of the address what is on the page; no SQL that somebody typed, no
network address, no name. Fragments that draw themselves again are no requests and leave no line.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException, get_script_run_ctx

from ..state import address

TYPED = ("query",)  # what an address may hold that a person wrote freely
LONGEST = 200


@contextmanager
def request(page: str) -> Iterator[None]:
    """Log what happens inside as a request for that page, whatever ends it."""
    if not is_on():
        yield
        return
    started, end, error = time.perf_counter(), "drawn", None
    try:
        yield
    except StopException:
        end = "stopped"  # the page had no more to show, or its visitor asked for something newer
        raise
    except RerunException:
        end = "drawn again"
        raise
    except Exception as problem:
        end, error = "failed", f"{type(problem).__name__}: {problem}"[:LONGEST]
        raise
    finally:
        milliseconds = round(1000 * (time.perf_counter() - started), 1)
        write("page", session=_session(), page=page, view=_view(), ms=milliseconds, end=end, error=error)


def is_on() -> bool:
    """Return whether this server writes a log."""
    return os.environ.get("SELVIZ_LOG") == "1"


def write(event: str, **facts: object) -> None:
    """Write one line: the time (UTC), what happened and its facts."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
    print(json.dumps(line, ensure_ascii=True, default=str), file=sys.stderr, flush=True)


def _session() -> str | None:
    context = get_script_run_ctx()
    return hashlib.sha256(context.session_id.encode()).hexdigest()[:8] if context is not None else None


def _view() -> dict[str, str]:
    view = st.session_state.get("view")
    parameters = view.now if isinstance(view, address.View) else {}
    return {name[:40]: value[:LONGEST] for name, value in list(parameters.items())[:30] if name not in TYPED}
