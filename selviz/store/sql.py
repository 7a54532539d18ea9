"""SQL that people type: `run_query(query, ...)` in an instance that can read the views and nothing else."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd

from selviz.errors import SelvizError, TransientError, system_problem
from selviz.store.files import connect
from selviz.store.queries import CONFIG, attach, check, damaged
from selviz.store.schema import TABLES
from selviz.store.schema.views import create_hypotheses, create_runs, create_views

MOST_RUNS = 64  # attached at once; 1,000 files would take 930 MB and 1,006 file handles
MEMORY = "1GB"
MOST_BYTES = 500_000_000  # of a result, which is outside DuckDB's own limit
# What DuckDB raises, besides a plain Error, where a file's content is not what it should be.
DAMAGE = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
VIEWS = ("runs", "hypotheses", *TABLES)
_ALLOWED = "one SELECT, WITH or EXPLAIN over the views " + ", ".join(VIEWS)


def wanted_views(query: str) -> list[str]:
    """Return the views that `query` names. Anything but exactly one statement that only reads raises SelvizError."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise SelvizError(f"The query has {half!r}, half a character; write it again.") from None
    with _instance() as connection:
        _harden(connection)  # first, because looking for the names in a query opens the files among them
        kind = _statement(connection, query)
        if kind == duckdb.StatementType.EXPLAIN:
            inner = re.sub(r"^\s*explain(\s+analyze|\s*\([^)]*\))?", "", _bare(query), flags=re.IGNORECASE)
            kind = _statement(connection, inner)
        if kind != duckdb.StatementType.SELECT:
            raise SelvizError(f"Only reading is allowed here, not {kind.name}: write {_ALLOWED}.")
        try:
            names = {name.lower() for name in connection.get_table_names(query)}
        except (
            duckdb.Error
        ):  # it does not know the views' columns, which JOIN ... USING needs; words name too many views
            names = set(re.findall(r"\w+", query.lower()))
    return [view for view in VIEWS if view in names]


def run_query(
    query: str,
    wanted: list[str],
    listing: pd.DataFrame,
    files: dict[str, dict[str, Path]],
    limit: int | None,
    seconds: float,
    left_out: dict[str, str],
    hypotheses: pd.DataFrame,
) -> pd.DataFrame:
    """Return at most `limit` rows of `query`, or all. `files`: run -> stage -> file, all attached read-only.

    The table's attrs say "truncated" (whether rows were cut) and "left_out" (run -> why it could not be read).
    """
    with _instance() as connection:
        deadline = time.monotonic() + seconds
        views = [view for view in wanted if view in TABLES]
        sources = {} if len(files) > MOST_RUNS else _attach(connection, files, left_out)
        if "runs" in wanted or not wanted:
            create_runs(connection, listing)
        if "hypotheses" in wanted or not wanted:
            create_hypotheses(connection, hypotheses)
        if len(files) > MOST_RUNS:
            try:
                _copy_views(connection, files, views, left_out, deadline)
            except duckdb.OutOfMemoryException:
                raise _too_large() from None
            except TimeoutError:
                raise _too_long(seconds) from None
        else:
            create_views(connection, sources, views)
        if not wanted:
            create_views(connection, {}, TABLES)  # without rows, for SHOW TABLES and the like
        _harden(connection)
        try:
            with _time_limit(connection, max(0.01, deadline - time.monotonic())):
                table = _fetch(connection, query, None if limit is None else limit + 1)
        except duckdb.InterruptException:
            raise _too_long(seconds) from None
        except duckdb.OutOfMemoryException:
            raise _too_large() from None
        except duckdb.Error as error:
            if isinstance(error, DAMAGE) or type(error) is duckdb.Error:
                if reason := system_problem(error):
                    raise TransientError(f"The stored runs cannot be read now: {reason}; try again.") from error
                paths = {file for stages in files.values() for file in stages.values()}
                if broken := damaged(sorted(paths)):
                    names = ", ".join(map(str, broken))
                    raise SelvizError(f"Stored files are damaged: {names}; leave these runs out.") from error
            raise _complaint(error) from None
    result = table if limit is None else table.head(limit)
    result.attrs.update(truncated=len(table) > len(result), left_out=left_out)
    return result


def _too_long(seconds: float) -> TransientError:
    return TransientError(
        f"The query took longer than {seconds:g} seconds; name fewer runs, layers or units, or allow more time."
    )


def _too_large() -> SelvizError:
    return SelvizError(
        f"The query needs more than {MEMORY} of memory; name fewer runs, layers or units, or aggregate first."
    )


def _copy_views(
    connection: duckdb.DuckDBPyConnection,
    files: dict[str, dict[str, Path]],
    views: list[str],
    left_out: dict[str, str],
    deadline: float,
) -> None:
    """Copy the views of many runs into tables, so that only some of the runs' files are open at a time.

    Columns that are not declared, which single runs may have, are left out. TimeoutError at `deadline`.
    """
    create_views(connection, {}, views)
    columns = {}
    for view in views:
        described = connection.execute(f"DESCRIBE {view}").fetchall()
        columns[view] = {str(name) for name, *_ in described}
        connection.execute(f"CREATE TABLE copied_{view} AS SELECT * FROM {view} LIMIT 0")
        connection.execute(f"DROP VIEW {view}")
    names = list(files)
    for first in range(0, len(names), MOST_RUNS):
        if time.monotonic() > deadline:
            raise TimeoutError
        part = {run: files[run] for run in names[first : first + MOST_RUNS]}
        sources = _attach(connection, part, left_out)
        for view in views:
            if not sources:
                continue
            create_views(connection, sources, [view])
            there = [name for name, *_ in connection.execute(f"DESCRIBE {view}").fetchall() if name in columns[view]]
            chosen = ", ".join(f'"{name}"' for name in there)
            connection.execute(f"INSERT INTO copied_{view} BY NAME SELECT {chosen} FROM {view}")
            connection.execute(f"DROP VIEW {view}")
        attached = connection.execute("SELECT database_name FROM duckdb_databases() WHERE database_name LIKE 'file%'")
        for (name,) in attached.fetchall():
            connection.execute(f"DETACH {name}")
    for view in views:
        connection.execute(f"ALTER TABLE copied_{view} RENAME TO {view}")


def _attach(
    connection: duckdb.DuckDBPyConnection, files: dict[str, dict[str, Path]], left_out: dict[str, str]
) -> dict[str, dict[str, str]]:
    sources: dict[str, dict[str, str]] = {}
    names: dict[Path, str] = {}
    for run, stages in files.items():
        try:
            for file in stages.values():
                if file not in names:
                    check(file)
                    name = f"file{len(names)}"
                    attach(connection, name, file)
                    names[file] = name
        except TransientError:  # else an answer without this run would be taken for the whole
            raise
        except SelvizError as error:
            left_out[run] = str(error)
        else:
            sources[run] = {stage: names[file] for stage, file in stages.items()}
    return sources


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, rows: int | None) -> pd.DataFrame:
    connection.execute(query)
    chunks: list[pd.DataFrame] = []
    row_count, size = 0, 0
    while rows is None or row_count < rows:
        chunk = connection.fetch_df_chunk(1)
        if chunk.empty and chunks:
            break
        chunks.append(chunk)
        row_count += len(chunk)
        size += int(chunk.memory_usage(deep=True).sum())
        if size > MOST_BYTES:
            raise SelvizError(
                f"The result is larger than {MOST_BYTES / 1e9:g} GB; name fewer columns or rows, or aggregate first."
            )
        if chunk.empty:
            break
    return pd.concat(chunks, ignore_index=True) if len(chunks) > 1 else chunks[0]


@contextlib.contextmanager
def _time_limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            connection.interrupt()
            wait = 0.1  # an interrupt between two steps of a query is lost

    thread = threading.Thread(target=watch, name="sql time limit", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _harden(connection: duckdb.DuckDBPyConnection) -> None:
    """Allow no other files from here on, with no way back."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


@contextlib.contextmanager
def _instance() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(**CONFIG, memory_limit=MEMORY, max_temp_directory_size="0B")
    try:
        yield connection
    finally:
        connection.close()


def _statement(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.StatementType:
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _complaint(error) from None
    if len(statements) != 1:
        raise SelvizError(f"The query has {len(statements)} statements; write {_ALLOWED}.")
    return statements[0].type


def _bare(query: str) -> str:
    """Return `query` without leading comments."""
    return re.sub(r"\A(\s+|--[^\n]*\n|/\*.*?\*/)+", "", query, flags=re.DOTALL)


def _complaint(error: duckdb.Error) -> SelvizError:
    text = " ".join(str(error).split("\nLINE ")[0].split())
    if isinstance(error, duckdb.PermissionException):
        return SelvizError(f"Queries read the stored runs and nothing else: write {_ALLOWED}.")
    if "does not exist" in text and "Table" in text:
        text += f" The views are {', '.join(VIEWS)}."
    return SelvizError(text)
