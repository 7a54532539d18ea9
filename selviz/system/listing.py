"""What lies in a folder, or an error: `walk(folder)` is `os.walk` that does not leave out what it cannot list."""

import os
from collections.abc import Iterator
from pathlib import Path

from selviz.errors import unreadable


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (folder, names of folders in it, names of files in it) for it and all below it, as `os.walk` does.

    Raises TransientError where the system refuses to list one of them: os.walk leaves it out without a word, and so
    do `Path.glob` and `Path.rglob`. A folder that is not there holds nothing.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise unreadable(error.filename or folder, error) from error

    return os.walk(folder, onerror=refuse)


def names_in(folder: str | Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, both sorted; see `walk`."""
    _, folders, files = next(walk(folder), ("", [], []))
    return sorted(folders), sorted(files)


def files_in(folder: str | Path, ending: str) -> list[Path]:
    """Return the files in a folder whose names have this ending, sorted; see `walk`."""
    return [Path(folder) / name for name in names_in(folder)[1] if name.endswith(ending)]
