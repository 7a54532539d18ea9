"""Finished files that survive a power cut: `move_into_place(temporary, final)`."""

import contextlib
import os
from pathlib import Path


def move_into_place(temporary: Path, final: Path) -> None:
    """Rename a finished file or folder to its final name, so that after a power cut it is there whole or not at all.

    Its content is on the disk before it gets its name, and the name is on the disk when this returns.
    """
    for path in [temporary] if temporary.is_file() else sorted(temporary.rglob("*")):
        if path.is_file():
            _sync(path)
    if temporary.is_dir():
        _sync(temporary)
        os.rename(temporary, final)  # unlike a file, a folder that is there already stays
    else:
        os.replace(temporary, final)
    with contextlib.suppress(OSError):  # some network folders cannot be synced
        _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
