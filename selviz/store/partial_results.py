"""Finished parts of a stage that is not: `tables = kept(folder / "partial" / "atlas-0.npz", make)` makes them once.

A stage that takes long keeps each part as soon as it is there, so that the same command again goes on where it was cut
off. Parts are disposable: one that is not whole is made again.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selviz.errors import system_problem, unreadable
from selviz.store.files import writing
from selviz.system.durable_files import move_into_place


def kept(path: Path, make: Callable[[], dict[str, pd.DataFrame]], again: bool = False) -> dict[str, pd.DataFrame]:
    """Return the tables of numbers at `path`; if they are not there, or `again`, those that `make` gives, kept at
    `path`.
    """
    tables = None if again else _finished(path)
    if tables is not None:
        return tables
    tables = make()
    temporary = path.with_name(f".{path.name}")
    arrays: dict[str, Any] = {
        f"{name}:{column}": table[column].to_numpy() for name, table in tables.items() for column in table
    }
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        move_into_place(temporary, path)
    return tables


def _finished(path: Path) -> dict[str, pd.DataFrame] | None:
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None  # not whole
    except (OSError, MemoryError) as error:
        if isinstance(error, FileNotFoundError) or system_problem(error) is None:
            return None
        raise unreadable(path, error) from error
    tables: dict[str, dict[str, Any]] = {}
    for key, values in arrays.items():
        name, _, column = key.partition(":")
        tables.setdefault(name, {})[column] = values
    return {name: pd.DataFrame(columns) for name, columns in tables.items()}
