"""SQL in the address and its answer: `query = asked(default)`, `result = answer(query, runs, limit)`.

A query that is too long for a link stays with its writer, and the address holds a mark of it, so that back and forward
work with it too.
"""

import hashlib
import shlex
import threading
import time
from functools import partial
from urllib.parse import quote

import pandas as pd
import streamlit as st

from app.page import export
from app.state import address, reads, reruns
from selviz.errors import SelvizError
from selviz.store import Store, sql_process

SECONDS = 10.0
MOST_BYTES = 20_000_000  # that a browser is sent at once
AT_ONCE = 2  # queries of all visitors together
MARK = "too-long-"


def asked(default: str) -> str:
    """The query that the address names; else the one last asked; else the default, which is put into the address."""
    token = address.get("query")
    kept = st.session_state.setdefault("queries", {})
    if not address.has("query"):
        token = st.session_state.get("query") or query_token(default)
        address.update(query=token)
    if token.startswith(MARK) and token not in kept:
        st.warning(
            f"The query of this link was too long for a link ({address.MAX_LINK_LENGTH:,} characters), so only its "
            "writer has it. Shown instead: the first example.",
            icon=":material/link_off:",
        )
        return default
    st.session_state["query"] = token
    return kept.get(token, token)


def query_token(query: str) -> str:
    """What stands for the query in the address: itself, or a mark of it if it is too long for a link."""
    if len(quote(query)) <= address.MAX_LINK_LENGTH:
        return query
    mark = MARK + hashlib.sha256(query.encode()).hexdigest()[:12]
    st.session_state.setdefault("queries", {})[mark] = query
    return mark


@st.cache_resource
def _gate() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(AT_ONCE)


def _ask(folder: str, query: str, runs: tuple | None, limit: int) -> pd.DataFrame:
    with _gate():
        return sql_process.ask(folder, query, runs, limit, SECONDS)


@st.cache_data(max_entries=16, show_spinner="Asking the store ...")
def _answer(folder: str, stamps: tuple, query: str, runs: tuple | None, limit: int, again: int) -> dict:
    started = time.perf_counter()
    try:
        table = reruns.run_interruptibly(partial(_ask, folder, query, runs, limit))
    except SelvizError as error:
        return {"error": str(error)}
    seconds = time.perf_counter() - started
    cut, left_out = table.attrs["truncated"], table.attrs["left_out"]
    size = export.arrow(table).nbytes
    if size > MOST_BYTES:
        rows = int(len(table) * MOST_BYTES / size)
        if not rows:
            megabytes = MOST_BYTES // 1_000_000
            return {"error": f"A row of the result is larger than {megabytes} MB; name fewer or shorter columns."}
        table, cut = table.head(rows), True
    return {"table": table, "cut": cut, "left_out": left_out, "seconds": seconds}


def answer(query: str, runs: list[str], limit: int) -> dict:
    """{"table", "cut", "left_out", "seconds"}, or {"error": one sentence}; no runs means all that are finished."""
    names = runs or reads.store().names()
    stamps = tuple(reads.run_version(name) for name in names)
    again = st.session_state.get("asked again", 0)
    return _answer(reads.data(), stamps, query, tuple(runs) or None, limit, again)


def ask_again() -> None:
    """Forgets a failure, such as a query that took too long while the machine was busy."""
    st.session_state["asked again"] = st.session_state.get("asked again", 0) + 1


@st.cache_data(max_entries=64, show_spinner=False)
def _columns(folder: str, stamps: tuple, table: str, runs: tuple | None) -> pd.DataFrame:
    return Store(folder).sql(f"describe {table}", runs)[["column_name", "column_type"]]


def columns(table: str) -> pd.DataFrame:
    """The columns of a table of the store and their types, over the finished runs that have it."""
    names = reads.store().names()
    return _columns(reads.data(), tuple(reads.run_version(name) for name in names), table, None)


def python(query: str, runs: list[str], limit: int) -> str:
    """The same question in Python; `store` is open already."""
    quotes = '"""' if "\n" in query and '"' not in query and "\\" not in query else None
    text = f"{quotes}{query}{quotes}" if quotes else repr(query)
    return f"store.sql({text}{f', runs={runs!r}' if runs else ''}, limit={limit})"


def shell(query: str, runs: list[str], limit: int) -> str:
    """The same question in a shell."""
    # A query that began with a dash would be taken for an option.
    text = shlex.quote(f" {query}" if query.startswith("-") else query)
    named = f" --runs {','.join(runs)}" if runs else ""
    return f"selviz sql {text}{named} --limit {limit} --data {shlex.quote(reads.data())}"
