"""One JSON line on stderr for each page that is drawn: `with request("units"): ...`, where SELVIZ_LOG is 1.

Nothing personal is in it: of a session a short hash, of the address what is on the page; nothing that somebody typed,
such as SQL or a claim, no network address, no name. Fragments that draw themselves again are no requests and leave no
line.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException, get_script_run_ctx

from ..state import address, streamlit_internals

TYPED = ("query", "find")  # what an address may hold that a person wrote freely
CHOSEN = re.compile(r"[A-Za-z0-9._+=:;,@~-]{0,200}")  # names, numbers and lists of them: what a page itself writes
SHORTEST = 6  # characters of a line that counts as typed text
HIDDEN = "(typed text)"


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
        end, error = "failed", type(problem).__name__  # its message may quote what somebody typed
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
    tell(json.dumps(line, ensure_ascii=True, default=str))


def tell(text: str) -> None:
    """Write to stderr; where that cannot be, as on a full disk, nothing is written and the page goes on."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _session() -> str | None:
    context = get_script_run_ctx()
    return hashlib.sha256(context.session_id.encode()).hexdigest()[:8] if context is not None else None


def _view() -> dict[str, str]:
    view = st.session_state.get("view")
    told = view.now if isinstance(view, address.View) else {}
    named = {name: value for name, value in list(told.items())[:30] if CHOSEN.fullmatch(name[:40])}
    return {
        name[:40]: value if name not in TYPED and CHOSEN.fullmatch(value) else HIDDEN for name, value in named.items()
    }


def without_typed_text(text: str) -> str:
    """Return a text without what the visitor of this session has typed on the page, or has in the address."""
    view = st.session_state.get("view")
    typed = [*streamlit_internals.widget_texts(), *(view.now.values() if isinstance(view, address.View) else ())]
    lines = {line.strip() for value in typed for line in [value, *value.splitlines()]}
    for line in sorted(lines, key=len, reverse=True):
        if len(line) >= SHORTEST and not CHOSEN.fullmatch(line):
            text = text.replace(line, HIDDEN).replace(repr(line)[1:-1], HIDDEN)
    return text
