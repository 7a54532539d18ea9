"""Let the n-th call to the system fail: `with failing("open", 3, errno.EMFILE, folder) as calls: ...; calls.failed`.

It works in a process that was started with `environment_of(build(folder))`, which puts `failing_calls.c` between
Python, DuckDB and torch on one side and the C library on the other. Starting a process ("fork") fails in Python.
"""

import _posixsubprocess
import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("failing_calls.c")
CALLS = ("open", "read", "write", "sync", "map", "fork")


@dataclass
class Calls:
    """How many calls of the kind there were, and how many of them failed."""

    made: int = 0
    failed: int = 0


def build(folder: Path) -> Path:
    """Compile the library that goes between; returns its path."""
    library = folder / "failing_calls.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def environment_of(library: Path) -> dict[str, str]:
    """Return the variables of a process in which calls can fail."""
    return {**os.environ, "LD_PRELOAD": str(library)}


@contextmanager
def failing(call: str, number: int, error: int, folder: Path, later_too: bool = False) -> Iterator[Calls]:
    """Let the call of that number fail that concerns files below the folder; `later_too`: and all after it."""
    calls = Calls()
    with (
        _failing_forks(calls, number, error, later_too)
        if call == "fork"
        else _failing_in_c(calls, call, number, error, folder, later_too)
    ):
        yield calls


@contextmanager
def _failing_in_c(calls: Calls, call: str, number: int, error: int, folder: Path, later_too: bool) -> Iterator[None]:
    library = ctypes.CDLL(None)
    library.fault_arm(call.encode(), number, error, os.fsencode(folder), later_too)
    try:
        yield
    finally:
        calls.made, calls.failed = library.fault_disarm(), library.fault_failed()


@contextmanager
def _failing_forks(calls: Calls, number: int, error: int, later_too: bool) -> Iterator[None]:
    known: Any = subprocess._fork_exec  # type: ignore[attr-defined]

    def fork_exec(*arguments: Any) -> int:
        calls.made += 1
        if calls.made == number or (later_too and calls.made > number):
            calls.failed += 1
            raise OSError(error, os.strerror(error))
        return _posixsubprocess.fork_exec(*arguments)

    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess._fork_exec = known  # type: ignore[attr-defined]
