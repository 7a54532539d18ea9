"""Stage files read one query at a time: `read(file, "SELECT ...", fix)` gives a table, remembered while the file lasts.

An in-memory DuckDB instance attaches the file read-only for one query and lets go of it. (A connection made with
`duckdb.connect(file)` would, as long as it is open in this process, show the old content of a file that was replaced.)
Making an instance takes 15 ms, attaching a file 1 ms: instances are kept for the next query, files are not.
"""

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

import duckdb
import pandas as pd

from selviz.errors import SelvizError
from selviz.store.files import connect, quoted
from selviz.store.stage_files import record

CACHE_BYTES = 256 * 2**20
CONFIG = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_lock = threading.Lock()
_instances: list[duckdb.DuckDBPyConnection] = []
_cache: OrderedDict[tuple, tuple[int, pd.DataFrame]] = OrderedDict()


def read(files: dict[str, Path], query: str, parameters: tuple = (), fix: str = "") -> pd.DataFrame:
    """The result of `query` over attached `files` (name -> path). `fix` says how to write them again.

    A missing or damaged file raises SelvizError. The result is the caller's to change.
    """
    key = (tuple(_stamp(file, fix) for file in files.values()), query, parameters)
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key][1].copy(deep=False)
    with opened(files, fix) as connection:
        table = connection.execute(query, parameters).df()
    _remember(key, table)
    return table.copy(deep=False)


def check(file: Path, fix: str = "") -> None:
    """Raise SelvizError if the stage file is missing, truncated, or of a newer selviz."""
    try:
        if record(file) is None:
            raise SelvizError(f"{file} is missing")
    except SelvizError as error:
        raise with_fix(str(error), fix) from None


def _stamp(file: Path, fix: str) -> tuple:
    """Tells one content of a path from another."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise with_fix(f"{file} is missing", fix) from None
    return str(file), status.st_ino, status.st_mtime_ns, status.st_size


@contextlib.contextmanager
def opened(files: dict[str, Path], fix: str = ""):
    """A connection to an instance of its own, with `files` (name -> path) attached read-only until the block ends.

    A missing or damaged file raises SelvizError.
    """
    for file in files.values():
        check(file, fix)
    connection = _borrow()
    sound = False
    try:
        for name, file in files.items():
            attach(connection, name, file, fix)
        yield connection
        for name in files:
            connection.execute(f"DETACH {name}")
        sound = True
    except duckdb.Error as error:  # the queries are selviz's own: what they stumble over is the file
        names = ", ".join(str(file) for file in files.values())
        raise with_fix(f"{names} cannot be read ({str(error).splitlines()[0]})", fix) from error
    finally:
        if sound:
            with _lock:
                _instances.append(connection)
        else:
            connection.close()


def attach(connection, name: str, file: Path, fix: str = "") -> None:
    """Attach `file` read-only as `name`; a damaged one raises SelvizError."""
    try:
        connection.execute(f"ATTACH '{quoted(file)}' AS {name} (READ_ONLY)")
    except duckdb.Error as error:
        raise with_fix(f"{file} cannot be read ({str(error).splitlines()[0]})", fix) from error


def _borrow() -> duckdb.DuckDBPyConnection:
    with _lock:
        if _instances:
            return _instances.pop()
    return connect(**CONFIG, threads=1)


def _remember(key: tuple, table: pd.DataFrame) -> None:
    size = int(table.memory_usage(deep=True).sum())
    if size > CACHE_BYTES // 4:
        return
    with _lock:
        _cache[key] = (size, table)
        _cache.move_to_end(key)
        total = sum(entry[0] for entry in _cache.values())
        while total > CACHE_BYTES:
            total -= _cache.popitem(last=False)[1][0]


def _forget_after_fork():
    # The threads of an instance do not survive a fork, and closing such an instance would wait for them for ever.
    global _instances, _lock
    _abandoned.append(_instances)
    _instances, _lock = [], threading.Lock()


_abandoned: list = []
os.register_at_fork(after_in_child=_forget_after_fork)


def with_fix(problem: str, fix: str) -> SelvizError:
    return SelvizError(f"{problem}; {fix}" if fix else f"{problem}.")
