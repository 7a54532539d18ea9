"""Stage files read one query at a time: `read({"metrics": file}, "SELECT * FROM metrics.units", (), fix)` gives a
table.

An in-memory DuckDB instance attaches the files read-only for one query and lets go of them. (A connection made with
`duckdb.connect(file)` would, as long as it is open in this process, show the old content of a file that was replaced.)
Making an instance takes 15 ms, attaching a file 1 ms: instances are kept for the next query, files are not. Results are
cached while their files stay the same; what fails is not remembered, since a file may be read again a moment later.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from selviz.errors import SelvizError, TransientError, first_line, system_problem, unreadable
from selviz.store.files import connect, sql_path
from selviz.store.result_cache import Result, ResultCache
from selviz.store.stage_files import record, stage_is_whole

CACHE_BYTES = 256 * 2**20
CONFIG = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
Files = Mapping[str, Path]  # the name that a file is attached under -> its path
Fix = Callable[[], str]  # the end of an error's sentence: how to write the file again

_lock = threading.Lock()
_instances: list[duckdb.DuckDBPyConnection] = []
_results = ResultCache(CACHE_BYTES)


def no_fix() -> str:
    """Return the empty end of a sentence, for files that nobody knows how to write again."""
    return ""


def read(files: Files, query: str, parameters: tuple[Any, ...] = (), fix: Fix = no_fix) -> pd.DataFrame:
    """Return the result of `query` over `files`, from the cache if they are still the same; it is the caller's to
    change.

    A missing or damaged file raises SelvizError, which ends with `fix()`; what may pass raises TransientError.
    """

    def compute() -> Result:
        with opened(files, fix) as connection:
            return connection.execute(query, parameters).df()

    table = _results.get((_versions(files, fix), query, parameters), compute)
    assert isinstance(table, pd.DataFrame)
    return table.copy(deep=False)


def read_column(
    files: Files, query: str, parameters: tuple[Any, ...] = (), fix: Fix = no_fix
) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the one column of a query's result as an array, cached as by `read`; it is the caller's to change."""

    def compute() -> Result:
        with opened(files, fix) as connection:
            (values,) = connection.execute(query, parameters).fetchnumpy().values()
            return np.asarray(values)

    values = _results.get((_versions(files, fix), query, parameters, "column"), compute)
    assert isinstance(values, np.ndarray)
    return values.copy()


def read_ordered(
    files: Files, query: str, parameters: tuple[Any, ...] = (), fix: Fix = no_fix
) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the first column of a query's result in the order of its second one, cached as by `read`."""

    def compute() -> Result:
        with opened(files, fix) as connection:
            values, places = map(np.asarray, connection.execute(query, parameters).fetchnumpy().values())
            return values if bool((places[1:] > places[:-1]).all()) else values[np.argsort(places, kind="stable")]

    values = _results.get((_versions(files, fix), query, parameters, "ordered"), compute)
    assert isinstance(values, np.ndarray)
    return values.copy()


def check(file: Path, fix: Fix = no_fix) -> None:
    """Raise SelvizError if the stage file is missing, truncated, or of a newer selviz."""
    try:
        if record(file) is None:
            raise SelvizError(f"{file} is missing")
    except TransientError:
        raise
    except SelvizError as error:
        raise with_fix(str(error), fix) from None


def _versions(files: Files, fix: Fix) -> tuple[tuple[str, str, int, int, int], ...]:
    """Tell one content of the files from another."""
    versions = []
    for name, file in files.items():
        try:
            status = os.stat(file)
        except (FileNotFoundError, NotADirectoryError):
            raise with_fix(f"{file} is missing", fix) from None
        except OSError as error:
            raise unreadable(file, error) from error
        versions.append((name, str(file), status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(versions)


@contextlib.contextmanager
def opened(files: Files, fix: Fix = no_fix) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a connection to an instance of its own, with `files` attached read-only until the block ends.

    A missing or damaged file raises SelvizError; what may pass raises TransientError.
    """
    for file in files.values():
        check(file, fix)
    connection = _borrow(files)
    sound = False
    try:
        for name, file in files.items():
            attach(connection, name, file, fix)
        yield connection
        for name in files:
            connection.execute(f"DETACH {name}")
        sound = True
    except (duckdb.Error, MemoryError) as error:  # the queries are selviz's own: what they stumble over is the file
        raise _explained(list(files.values()), error, fix) from error
    finally:
        if sound:
            with _lock:
                _instances.append(connection)
        else:
            connection.close()


def attach(connection: duckdb.DuckDBPyConnection, name: str, file: Path, fix: Fix = no_fix) -> None:
    """Attach `file` read-only as `name`; one that cannot be read raises SelvizError."""
    try:
        connection.execute(f"ATTACH '{sql_path(file)}' AS {name} (READ_ONLY)")
    except duckdb.Error as error:
        raise _explained([file], error, fix) from error


def damaged(files: list[Path]) -> list[Path]:
    """Return those of the stage files whose content is not what was written; each is read to its end."""
    return [file for file in files if not stage_is_whole(file.parent, file.stem)]


def _explained(files: list[Path], error: BaseException, fix: Fix) -> SelvizError:
    """Return what made a query over `files` fail: the system, a damaged file, or something that may pass."""
    if system_problem(error):
        return unreadable(files[0] if len(files) == 1 else files[0].parent, error)
    if broken := damaged(files):
        names = ", ".join(map(str, broken))
        return with_fix(f"{names} cannot be read ({first_line(error)})", fix)
    return unreadable(files[0] if len(files) == 1 else files[0].parent, error)


def _borrow(files: Files) -> duckdb.DuckDBPyConnection:
    with _lock:
        if _instances:
            return _instances.pop()
    try:
        return connect(**CONFIG, threads=1)
    except (duckdb.Error, OSError, MemoryError) as error:
        raise unreadable(next(iter(files.values())), error) from error


def _forget_after_fork() -> None:
    # The threads of an instance do not survive a fork, and closing such an instance would wait for them for ever.
    global _instances, _lock, _results
    _abandoned.append(_instances)
    _instances, _lock, _results = [], threading.Lock(), ResultCache(CACHE_BYTES)


_abandoned: list[list[duckdb.DuckDBPyConnection]] = []
os.register_at_fork(after_in_child=_forget_after_fork)


def with_fix(problem: str, fix: Fix) -> SelvizError:
    """Return the error of a problem and how to mend it, as one sentence."""
    end = fix()
    return SelvizError(f"{problem}; {end}" if end else f"{problem}.")
