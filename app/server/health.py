"""Whether pages can be drawn at this moment: `problem()` tries what a page needs, `note(failed)` counts how pages
ended.
"""

import os
import threading
import time
from collections import deque
from pathlib import Path

import psutil

from selviz.errors import SelvizError
from selviz.store import Store
from selviz.store.queries import opened

from ..state import reads
from . import limits, log

REMEMBERED_S = 60.0  # for which a page that failed, or was drawn, counts
FAILURES = 3  # of pages in that time, and more than half of all, make the server unfit
TRIED_RUNS = 3  # the first of them that can be read is enough: one damaged run is no matter of the server's
MIN_FREE_HANDLES = 20  # what a page opens at the same time, and room
MIN_MEMORY = 150 * 10**6  # bytes

_ends: deque[tuple[float, bool]] = deque(maxlen=1000)
_lock = threading.Lock()


def note(failed: bool) -> None:
    """Remember how the drawing of a page ended."""
    with _lock:
        _ends.append((time.monotonic(), failed))


def problem() -> str | None:
    """Return why pages cannot be drawn now, None where they can; reads the store, so not for the event loop."""
    return _failing() or _handles() or _memory() or _store()


def runs() -> int:
    """Return the number of runs in the store, counted from its folders now; OSError where that fails."""
    os.listdir(reads.data())
    folder = Path(reads.data(), "runs")
    return sum(not name.startswith(".") for name in os.listdir(folder)) if folder.exists() else 0


def _failing() -> str | None:
    since = time.monotonic() - REMEMBERED_S
    with _lock:
        recent = [failed for moment, failed in _ends if moment >= since]
    if sum(recent) >= FAILURES and 2 * sum(recent) > len(recent):
        return f"{sum(recent)} of the last {len(recent)} pages failed"
    return None


def _handles() -> str | None:
    used, allowed = limits.handles()
    return f"{used} of {allowed} file handles are in use" if allowed - used < MIN_FREE_HANDLES and allowed > 0 else None


def _memory() -> str | None:
    free = available_memory()
    return f"{free / 1e6:.0f} MB of memory are left" if free is not None and free < MIN_MEMORY else None


def available_memory() -> int | None:
    """Return the bytes that this machine, or this container, has left; None where it does not say."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        limits += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):  # no Linux
        limits.append(int(psutil.virtual_memory().available))
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = [
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith("file ")
        ]
        limits.append(limit - used + sum(cached))
    except (OSError, ValueError):  # no limit ("max"), or no control groups
        pass
    return min(limits, default=None)


def _store() -> str | None:
    """Open a stage file of a finished run and read from it, as every page does; nothing that is cached counts."""
    reasons = []
    try:
        store = Store(reads.data())
        newest = sorted(store.names(), key=lambda name: _modified(store.run_path(name) / "summary.json"), reverse=True)
        for name in newest[:TRIED_RUNS]:
            file = store.run_path(name) / "capture.duckdb"
            if not file.exists():
                continue
            try:
                with opened({"capture": file}) as connection:
                    connection.execute("SELECT name FROM capture.layers LIMIT 1").fetchall()
                return None
            except SelvizError as error:
                reasons.append(str(error))
    except OSError as error:
        return f"the store cannot be read ({error.strerror or error})"
    if reasons and log.is_on():  # /health is open to everybody, and the sentence names paths
        log.write("unfit", reason=reasons[0])
    return f"none of the {len(reasons)} newest runs can be opened" if reasons else None


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
