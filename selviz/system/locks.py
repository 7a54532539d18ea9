"""One process at a time works on a thing: `with Claim(folder / "claim.json"): train()`.

A claim is a file with host, pid and a heartbeat, so that other processes, and other machines on a shared disk, can
tell work in progress from work that was cut off. A claim whose process is gone, or whose heartbeat stopped, may be
taken over.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

from selviz.errors import SelvizError, TransientError, system_problem, unreadable
from selviz.system.durable_files import WINDOWS, replace
from selviz.system.write_access import check_writing

HEARTBEAT_S = 5.0  # between two heartbeats
STALE_S = 60.0  # without a heartbeat after which a claim whose process cannot be looked up is stale
GUARD_S = 120.0  # to wait for those who look at the same claim, which takes each some milliseconds

_held_here: set[str | None] = set()  # the tokens of the claims that this process holds


class ClaimRecord(TypedDict, total=False):
    """What a claim's file holds; one that cannot be read has its heartbeat alone."""

    token: str
    host: str
    pid: int
    born: str | None
    pids: str
    started: float
    heartbeat: float


class Claim:
    """Held from `__enter__` to `__exit__`; `lost` turns True if another process took it over meanwhile.

    Entering raises SelvizError naming host and pid where another live process holds it. `what` completes the sentence
    "Process 7 on lab2 is already working on <what>".
    """

    def __init__(self, path: str | Path, what: str = "", token: str | None = None) -> None:
        self.path, self.what = Path(path), what
        self.token, self.lost = token, False
        self._adopted = token is not None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @staticmethod
    def create(path: str | Path, what: str = "") -> str:
        """Return claim `path` now; returns the token with which another process (a child) adopts the claim."""
        return _take(Path(path), what)

    @classmethod
    def adopt(cls, path: str | Path, token: str, what: str = "") -> "Claim":
        """Return the claim that `Claim.create` made, to be entered by the process that does the work."""
        return cls(path, what, token)

    def __enter__(self) -> "Claim":
        if not self._adopted:
            self.token = _take(self.path, self.what)
        elif not self._renew():
            raise SelvizError(f"The claim {self.path} was taken by another process meanwhile; run the command again.")
        _held_here.add(self.token)
        self.lost = False
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name=f"claim {self.path.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        cast(threading.Thread, self._thread).join()
        release(self.path, self.token)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            # A full disk or a network hiccup must not end the work: the next beat may get through.
            with contextlib.suppress(OSError, TransientError):
                self.lost = not self._renew()
                if self.lost:
                    return

    def _renew(self) -> bool:
        """Write this process and the time into the claim; False if it is not ours any more."""
        with _guard(self.path):
            record = _read(self.path)
            if record is None or record.get("token") != self.token:
                return False
            _replace(self.path, _record(cast(str, self.token), record.get("started")))
            return True


def holder(path: str | Path) -> ClaimRecord | None:
    """Return {"host", "pid", "started", "heartbeat", ...} of the live process that holds `path`; None if absent or
    stale.
    """
    record = _read(Path(path))
    if record is None or _given_up(record) or not _alive(record, time.time()):
        return None
    # One of another machine that is dated far after now was left behind before a clock was set back.
    return record if _here(record) or record["heartbeat"] <= time.time() + STALE_S else None


def release(path: str | Path, token: str | None) -> None:
    """Remove the claim at `path` if `token` is its token; another one's is left alone."""
    path = Path(path)
    _held_here.discard(token)
    with contextlib.suppress(OSError, TransientError), _guard(path):
        record = _read(path)
        if record is not None and record.get("token") == token:
            path.unlink()


def _take(path: Path, what: str) -> str:
    check_writing()
    token = secrets.token_hex(16)
    _held_here.add(token)  # before the file is there, where another thread may read it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        left = _left_in_the_future(path)
        with _guard(path) as now:
            record = _read(path)
            if record is not None and record != left and not _given_up(record) and _alive(record, now):
                raise _held(record, path, what)
            if record is not None:
                _replace(path, _record(token))
            elif not _create(path, _record(token)):
                raise _held(_read(path) or {}, path, what)
    except OSError as error:
        _held_here.discard(token)
        raise TransientError(
            f"Cannot write {path} ({system_problem(error) or error.strerror or error}); nothing that was stored "
            "is lost. Make the folder "
            f"writable, free some space, or name another store with --data."
        ) from error
    except BaseException:
        _held_here.discard(token)
        raise
    return token


def _given_up(record: ClaimRecord) -> bool:
    """Return whether this process released the claim and could not remove its file, for instance with too many
    files open.
    """
    own = _here(record) and record.get("pid") == os.getpid() and record.get("born") == _born(os.getpid())
    return own and record.get("token") not in _held_here


def _left_in_the_future(path: Path) -> ClaimRecord | None:
    """Return a claim that is dated after now and that nobody renews while we look: a clock was set back since.

    One that cannot be looked up would otherwise hold until its date. A live one renews its date every HEARTBEAT_S
    seconds.
    """
    with _guard(path) as now:
        record = _read(path)
    if record is None or _here(record) or record["heartbeat"] <= now + HEARTBEAT_S:
        return None
    time.sleep(2 * HEARTBEAT_S)
    return record if _read(path) == record else None


def _held(record: ClaimRecord, path: Path, what: str) -> SelvizError:
    return SelvizError(
        f"Process {record.get('pid', '?')} on {record.get('host', '?')} is already working on {what or path.parent}; "
        f"wait until it has finished or stop it, then run the same command again."
    )


@contextlib.contextmanager
def _guard(path: Path) -> Iterator[float]:
    """Let one process at a time look at a claim and change it; the lock dies with its process. Yields the time.

    It is that of the file system, by which the heartbeats of all machines are dated. Whoever holds the lock removes its
    file; filelock takes a lock on a file that is no longer there again (on Windows it removes the file itself).
    """
    from filelock import FileLock  # like psutil below: commands that only read start sooner without

    lock = path.with_name(path.name + ".lock")
    with FileLock(lock, timeout=GUARD_S, poll_interval=0.005, fallback_to_soft=False):
        os.utime(lock)
        try:
            yield os.stat(lock).st_mtime
        finally:
            if not WINDOWS:
                with contextlib.suppress(OSError):
                    os.unlink(lock)


def _record(token: str, started: float | None = None) -> ClaimRecord:
    now = time.time()
    process: ClaimRecord = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "pids": _pid_space(),
    }
    return {"token": token, **process, "started": started or now, "heartbeat": now}


def _create(path: Path, record: ClaimRecord) -> bool:
    """Return whether there was no claim, so that this one is made; holds among machines that do not see each
    other's locks.
    """
    try:
        file = open(path, "x", encoding="utf-8")  # noqa: SIM115  (what fails to open is not ours to remove)
    except FileExistsError:
        return False
    try:
        with file:
            file.write(json.dumps(record))
    except OSError:
        os.unlink(path)
        raise
    return True


def _replace(path: Path, record: ClaimRecord) -> None:
    temporary = path.with_name(f".{path.name}.{record['token']}")
    try:
        temporary.write_text(json.dumps(record))
        replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> ClaimRecord | None:
    """Return the record at `path`, None if there is none; one that cannot be read is as old as its file."""
    try:
        text, modified = path.read_text(encoding="utf-8"), path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        text, modified = "", path.stat().st_mtime
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        record: ClaimRecord = json.loads(text)
        return {**record, "heartbeat": modified}
    except (ValueError, KeyError, TypeError):
        return {"heartbeat": modified}


def _alive(record: ClaimRecord, now: float) -> bool:
    if not _here(record):
        return now - record["heartbeat"] <= STALE_S
    # Where the process can be looked up no clock is asked, which may have been set.
    born = _born(record.get("pid"))
    return born is not None and born == record.get("born", born)


def _here(record: ClaimRecord) -> bool:
    return record.get("host") == socket.gethostname() and record.get("pids") == _pid_space()


def _born(pid: Any) -> str | None:
    """Return when process `pid` of this host started, in a form to compare; None if there is no such process."""
    try:
        state, *fields = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # a killed process that its parent has not yet noticed is gone
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, ValueError, TypeError, IndexError):
        pass
    import psutil

    try:  # where there is no /proc; with one, its number of ticks does not move when the clock is set
        process = psutil.Process(int(pid))
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except (psutil.NoSuchProcess, ValueError, TypeError, OverflowError):
        return None
    except psutil.AccessDenied:  # it is there, and another user's
        return ""


def _pid_space() -> str:
    """Return what tells boots of machines and containers apart: pids are comparable within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        return ""
