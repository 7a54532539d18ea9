"""The processes that selviz starts, and how they end: `environment()`, `end_soon()`."""

import atexit
import gc
import os
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Return this process's variables for a child that is to import this selviz, wherever it runs."""
    # An empty part would be the current folder, where a stray random.py could stand in for Python's own.
    path = os.pathsep.join([str(HOME), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    return {**os.environ, "PYTHONPATH": path}


def end_soon() -> None:
    """Let this process end without Python's last collection: among all that torch made, that takes a second."""
    atexit.register(gc.freeze)
