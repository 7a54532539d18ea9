"""Finished files that survive a power cut: `move_into_place(temporary, final)`."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

WINDOWS = os.name == "nt"
HELD_OPEN = (5, 32)  # what Windows answers where another process has the file open: access denied, sharing violation
PATIENCE_S = 10.0  # for readers, who hold a file for one query


def move_into_place(temporary: Path, final: Path) -> None:
    """Rename a finished file or folder to its final name, so that after a power cut it is there whole or not at all.

    Its content is on the disk before it gets its name, and the name is on the disk when this returns.
    """
    for path in [temporary] if temporary.is_file() else sorted(temporary.rglob("*")):
        if path.is_file():
            _sync(path)
    if temporary.is_dir():
        _sync(temporary)
        rename(temporary, final)  # unlike a file, a folder that is there already stays
    else:
        replace(temporary, final)
    with contextlib.suppress(OSError):  # some network folders cannot be synced
        _sync(final.parent)


def replace(source: Path, target: Path) -> None:
    """Do what `os.replace` does; on Windows, where it fails while somebody reads the target, wait for the reader."""
    _wait_for_readers(os.replace, source, target)


def rename(source: Path, target: Path) -> None:
    """Do what `os.rename` does; on Windows, wait for those who read a file in the source."""
    _wait_for_readers(os.rename, source, target)


def _wait_for_readers(move: Callable[[Path, Path], None], source: Path, target: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            move(source, target)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in HELD_OPEN or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _sync(path: Path) -> None:
    if WINDOWS and path.is_dir():  # it opens no folders, and keeps a journal of their names
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows flushes only what may be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
