"""SQL in the address and its answer: `query = asked(default)`, `result = answer(query, runs, limit)`.

A query that is too long for a link stays with its writer, and the address holds a mark of it, so that back and forward
work with it too.
"""

import hashlib
import shlex
import time
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from selviz.errors import SelvizError, TransientError
from selviz.store import Store, sql_process

from ...compute import queues, quotas, scheduler
from ...state import address, caches, reads, reruns

SECONDS = 10.0
AT_ONCE = 2  # queries of all visitors together; a visitor has one at a time
CACHE_MB = 60
MAX_KEPT = 500_000  # characters of the queries of one visit that are too long for a link
MARK = "too-long-"


def requested_query(default: str) -> str:
    """Return the query that the address names; else the one last asked; else the default, which is put into the
    address.
    """
    token = address.get("query")
    kept = st.session_state.setdefault("queries", {})
    if not address.has("query"):
        token = st.session_state.get("query") or query_token(default)
        address.fill(query=token)
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
    """Return what stands for the query in the address: itself, or a mark of it if it is too long for a link."""
    if len(quote(query)) <= address.MAX_LINK_LENGTH:
        return query
    mark = MARK + hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest()[:12]
    kept: dict[str, str] = st.session_state.setdefault("queries", {})
    kept.pop(mark, None)
    kept[mark] = query
    while len(kept) > 1 and sum(map(len, kept.values())) > MAX_KEPT:
        del kept[next(iter(kept))]
    return mark


@st.cache_resource
def _scheduler() -> queues.FairScheduler:
    return queues.FairScheduler(AT_ONCE)


@st.cache_resource
def _answers() -> caches.PickledLRU:
    return caches.PickledLRU(CACHE_MB)


def _ask(query: str, runs: tuple[str, ...] | None, limit: int) -> dict[str, Any]:
    """Ask in this visitor's turn, of which they have one; a newer request of theirs ends the query's process.

    TransientError where the visit has asked for as many as it may.
    """
    if wait := quotas.QUERIES.take(scheduler.visitor()):
        raise TransientError(quotas.QUERIES.message(wait))
    with _scheduler().turn(scheduler.visitor(), queues.SETTLING, lambda ahead: reruns.stop_if_superseded()):
        started = time.perf_counter()
        try:
            table = sql_process.run_sql_in_subprocess(
                reads.data(), query, runs, limit, SECONDS, while_waiting=reruns.stop_if_superseded
            )
        except TransientError:
            raise
        except SelvizError as error:
            return {"error": str(error)}
    seconds = time.perf_counter() - started
    return {"table": table, "cut": table.attrs["truncated"], "left_out": table.attrs["left_out"], "seconds": seconds}


def answer(query: str, runs: list[str], limit: int) -> dict[str, Any]:
    """Return {"table", "cut", "left_out", "seconds"}, or {"error": one sentence}; no runs means all that are finished.

    Answers are cached, and so is what is wrong with a query; what may pass, such as a time limit, is not.
    """
    names = runs or reads.store().names()
    key = (reads.data(), tuple(reads.run_version(name) for name in names), query, tuple(runs), limit)
    result: dict[str, Any] | None = _answers().get(key)
    if result is None:
        try:
            result = _ask(query, tuple(runs) or None, limit)
        except TransientError as error:
            return {"error": str(error)}
        _answers().put(key, result)
    return result


@st.cache_data(max_entries=64, show_spinner=False)
def _columns(folder: str, stamps: tuple, table: str, runs: tuple | None) -> pd.DataFrame:
    return Store(folder).sql(f"describe {table}", runs)[["column_name", "column_type"]]


def columns(table: str) -> pd.DataFrame:
    """Return the columns of a table of the store and their types, over the finished runs that have it."""
    names = reads.store().names()
    return _columns(reads.data(), tuple(reads.run_version(name) for name in names), table, None)


def python(query: str, runs: list[str], limit: int) -> str:
    """Return the same question in Python; `store` is open already."""
    quotes = '"""' if "\n" in query and '"' not in query and "\\" not in query else None
    text = f"{quotes}{query}{quotes}" if quotes else repr(query)
    return f"store.sql({text}{f', runs={runs!r}' if runs else ''}, limit={limit})"


def shell(query: str, runs: list[str], limit: int) -> str:
    """Return the same question in a shell."""
    # A query that began with a dash would be taken for an option.
    text = shlex.quote(f" {query}" if query.startswith("-") else query)
    named = f" --runs {','.join(runs)}" if runs else ""
    return f"selviz sql {text}{named} --limit {limit} --data {shlex.quote(reads.data())}"
