"""Work that outlives the tab that started it: `start(place(data, name), ["sweep", ...], data)`, `with working(place):`.

A job is a `selviz` command in a process and session of its own. Beside its place, a path without suffix, lie `.lock`, a
claim while it works, `.log`, what it wrote, `.stopped`, why it ended early, and `.json`, what was asked of it.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from selviz.errors import SelvizError, unreadable
from selviz.store.files import check_name, read_json, write_json
from selviz.system.listing import files_in
from selviz.system.locks import Claim, holder, release
from selviz.system.processes import detached, environment

TOKEN = "SELVIZ_JOB_TOKEN"
LAST = 20_000  # bytes of a log that are shown


class Stopped(BaseException):
    """Raised by a `report` to end the work as if it were killed: the run stays unfinished, and can be resumed."""


def place(data: str | Path, name: str) -> Path:
    """Return where the job of that name is kept in the store."""
    return Path(data).resolve() / "jobs" / check_name("job", name)


def start(place: Path, arguments: Sequence[str], data: str | Path, what: str) -> bool:
    """Run `selviz *arguments --data DATA` as this job, in a process and session of its own; False if it runs already.

    However many callers there are, the claim lets one of them through.
    """
    try:
        token = Claim.create(_sibling(place, ".lock"), what)
    except SelvizError:
        if holder(_sibling(place, ".lock")):
            return False
        raise
    try:
        _sibling(place, ".stopped").unlink(missing_ok=True)
        with open(_sibling(place, ".log"), "ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "selviz", *arguments, "--data", str(Path(data).resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **detached(),
                env={**environment(), TOKEN: token},  # the app's folder is not on the child's path
            )
    except OSError as error:
        release(_sibling(place, ".lock"), token)
        raise SelvizError(
            f"Work cannot be started ({error}); run it in a shell: selviz {' '.join(arguments)}"
        ) from error
    return True


def stop(place: Path) -> None:
    """Ask the job to stop, wherever it runs; what is finished stays."""
    write_json(_sibling(place, ".stopped"), {"reason": "stopped"})


def is_stopped(place: Path) -> bool:
    """Return whether the job was asked to stop, or ended with an error."""
    return _sibling(place, ".stopped").exists()


def running(place: Path) -> bool:
    """Return whether a live process works on the job."""
    return holder(_sibling(place, ".lock")) is not None


def state(place: Path, finished: bool) -> tuple[str, str | None]:
    """Return (running, finished, stopped, failed or absent; the reason of a failure). Absent: never started, or
    cut off.
    """
    stopped = read_json(_sibling(place, ".stopped"))
    reason = (stopped or {}).get("reason")
    if running(place):
        return "running", None
    if finished:
        return "finished", None
    if stopped is not None:
        return ("stopped", None) if reason == "stopped" else ("failed", reason)
    return "absent", None


@contextlib.contextmanager
def working(place: Path, what: str) -> Iterator[Callable[[], None]]:
    """Hold the job's claim; gives a function that raises Stopped once the job was asked to stop.

    Raises SelvizError if another process is at it. What ends it leaves its reason for `state`.
    """
    token = os.environ.pop(TOKEN, None)
    lock = _sibling(place, ".lock")
    claim = Claim.adopt(lock, token, what) if token else Claim(lock, what)
    with claim:
        if not token:
            _sibling(place, ".stopped").unlink(missing_ok=True)

        def look() -> None:
            if is_stopped(place) or claim.lost:
                raise Stopped

        try:
            yield look
        except Exception as error:
            write_json(_sibling(place, ".stopped"), {"reason": str(error) or type(error).__name__})
            raise


def describe(place: Path, about: dict[str, Any]) -> None:
    """Keep what was asked of the job."""
    write_json(_sibling(place, ".json"), about)


def about(place: Path) -> dict[str, Any] | None:
    """Return what `describe` kept; None if nothing."""
    record: dict[str, Any] | None = read_json(_sibling(place, ".json"))
    return record


def log(place: Path) -> str:
    """Return the end of what the job wrote."""
    try:
        with open(_sibling(place, ".log"), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST))
            return file.read().decode(errors="replace").replace("\r", "\n")
    except OSError:
        return ""


def names(data: str | Path) -> list[str]:
    """Return all jobs of the store that were described, the latest first."""
    folder, found = Path(data) / "jobs", []
    try:
        for file in files_in(folder, ".json"):
            with contextlib.suppress(FileNotFoundError):  # removed just now
                found.append((file.stat().st_mtime, file.stem))
    except OSError as error:
        raise unreadable(folder, error) from error
    return [name for _, name in sorted(found, reverse=True)]


def _sibling(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)
