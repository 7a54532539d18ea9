"""The processes that selviz starts, and how they end: `environment()`, `detached()`, `end_soon()`, `end_with(pid)`."""

import atexit
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selviz.system.durable_files import WINDOWS

HOME = Path(__file__).resolve().parents[2]
# Linux lets a process limit its own memory; elsewhere the process that started it looks how much it takes.
LIMITS_OWN_MEMORY = find_spec("resource") is not None and Path("/proc/self/statm").exists()
TRIAL_MEMORY = 4 * 2**30  # bytes, beyond its imports, of a process that tries a stranger's network
_IMPORTS = 2**30  # bytes that a process takes, at most, before it begins what it was started for
ROOT = Path(HOME.anchor)  # a folder that is always there, for a child to work in
POLL_S = 1.0  # between two looks whether a parent lives


def environment() -> dict[str, str]:
    """Return this process's variables for a child that is to import this selviz, wherever it runs."""
    # An empty part would be the current folder, where a stray random.py could stand in for Python's own.
    path = os.pathsep.join([str(HOME), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    # "Safe path" says the same of the folder itself, to this child and to those that it starts.
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def detached(low_priority: bool = False) -> dict[str, Any]:
    """Return options of `subprocess.Popen` for a process that outlives this one and hears nothing of its Ctrl-C."""
    if not WINDOWS:
        return {"start_new_session": True}
    flags = ["CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW", *(["BELOW_NORMAL_PRIORITY_CLASS"] if low_priority else [])]
    return {"creationflags": sum(getattr(subprocess, flag) for flag in flags)}


def low_priority() -> Sequence[str]:
    """Return what stands before a command that is to come after everybody else; on Windows `detached` says it."""
    return ("nice", "-n", "10") if shutil.which("nice") else ()


def replace_process(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command in this process's place, so that a signal to it reaches the command.

    On Windows no process can take another's place: the command runs as a child, whose exit status is returned.
    """
    sys.stdout.flush()
    if WINDOWS:
        return subprocess.call(list(command), env=dict(variables))
    os.execve(command[0], list(command), dict(variables))


def takes_more_than(process: subprocess.Popen[bytes], limit: int) -> bool:
    """Return whether a child that cannot limit itself takes more memory than `limit` bytes beyond its imports."""
    if LIMITS_OWN_MEMORY:
        return False
    import psutil

    try:
        return int(psutil.Process(process.pid).memory_info().rss) > limit + _IMPORTS
    except psutil.Error:  # it has ended
        return False


def end_soon() -> None:
    """Let this process end without Python's last collection: among all that torch made, that takes a second."""
    atexit.register(gc.freeze)


def end_with(parent: int) -> None:
    """End this process, which `parent` started, soon after that one has ended, however it did."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
