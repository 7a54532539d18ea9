"""Sees what this process does while it uses what a stranger sent: `with watch.over() as seen: use(...)`.

Two witnesses: Python's audit events, which tell of files, processes, sockets and code, and Linux's inotify on a folder
of canaries, which tells of any library that opens one of them, whatever language it is written in.
"""

import ast
import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

MARK = "canary"  # stands in every payload: in its files' names, its modules, its code
_TORCH = find_spec("torch")  # its packages may lie elsewhere than the interpreter, as in an environment over another
_PACKAGES = [Path(_TORCH.origin).parents[1]] if _TORCH and _TORCH.origin else []
LIBRARIES = tuple(
    dict.fromkeys(map(os.path.realpath, (sys.prefix, sys.base_prefix, Path(__file__).parents[3], *_PACKAGES)))
)
SYSTEM = (*LIBRARIES, "/usr", "/lib", "/proc", "/sys", "/dev/null", "/dev/urandom", "/dev/shm", "/etc/localtime",
          "/etc/machine-id", "/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd", "/etc/ld.so", "/etc/fonts")  # fmt: skip
PROCESSES = tuple("os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty pty.spawn subprocess.Popen".split())
SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request", "webbrowser.open")
CHANGES = {"os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
           "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "shutil.move": 2, "shutil.copyfile": 2}  # fmt: skip
DANGEROUS = tuple("os posix nt subprocess builtins sys shutil socket importlib runpy webbrowser".split())
HARMLESS = (("builtins", "slice"), ("builtins", "bytearray"))  # what Streamlit's own memory of tables holds
# Processes of selviz's own: a query's, a stranger's network's; and matplotlib looks for fonts.
OWN = (
    [sys.executable, "-m", "selviz.store.sql_process"],
    [sys.executable, "-P", "-m", "selviz.store.sql_process"],
    [sys.executable, "-P", "-m", "selviz.networks.first_run"],
    ["fc-list"],
)
CODE = tuple("open exec eval compile __import__ system popen Popen run getattr globals load".split())
_IN_ALL = 0x00000FFF
_NONBLOCK = 0o4000


class Watch:
    """`canaries`: a folder not to be touched; `sockets`: whether this process is a server."""

    def __init__(self, canaries, sockets: bool = False):
        self._sockets, self._armed, self._busy = sockets, False, False
        self._seen: list[str] = []
        self._inotify = _watched(canaries)
        self.allow([], [])
        sys.addaudithook(self._hear)  # for good: a hook cannot be taken back

    def allow(self, reads, writes) -> None:
        """Allow from now on that files below `reads` are read, and those below `writes` read and written."""
        self._reads = (*map(os.path.realpath, (*reads, *writes)), *SYSTEM)
        self._writes = (*map(os.path.realpath, writes), "/dev/null", "/dev/shm")

    @contextmanager
    def over(self) -> Iterator[list[str]]:
        """Yield what is seen inside, a sentence each."""
        self._seen = []
        self.opened_canaries()  # whoever looked at them before
        self._armed = True
        try:
            yield self._seen
        finally:
            self._armed = False
            self._seen += self.opened_canaries()

    def arm(self, told) -> None:
        """Tell `told(sentence)` of everything from now on, for a server that runs until it is ended."""
        self._seen, self._armed = _Teller(told), True

    def opened_canaries(self) -> list[str]:
        """Return the canaries that were touched since the last question."""
        if self._inotify is None:
            return []
        try:
            data = os.read(self._inotify, 65536)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(data):
            _, _, _, length = struct.unpack_from("iIII", data, at)
            names.append(data[at + 16 : at + 16 + length].rstrip(b"\0").decode(errors="replace"))
            at += 16 + length
        return [f"the canary {name or 'folder'} was touched" for name in dict.fromkeys(names)]

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self._armed or self._busy:
            return
        self._busy = True  # what is done in here is not the input's doing
        try:
            if problem := self._problem(event, arguments):
                self._seen.append(problem)
        finally:
            self._busy = False

    def _problem(self, event: str, arguments: tuple) -> str | None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or path is None:  # a descriptor that is open already
                return None
            changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
            writing = bool(flags & changing if mode is None else set(mode) & set("wax+"))
            if not writing and not os.path.lexists(path):  # nothing to read, or relative to a folder's descriptor
                return None
            return self._outside(os.path.realpath(os.fsdecode(path)), writing)
        if event in CHANGES:
            return next(filter(None, (self._outside(path, True) for path in _changed(event, arguments))), None)
        if event in PROCESSES and not _own(arguments):
            return f"{event} {str(arguments)[:120]}"
        if event in SOCKETS and not self._sockets:
            return f"{event} {str(arguments[1:])[:120]}"
        dangerous = event == "pickle.find_class" and str(arguments[0]).partition(".")[0] in DANGEROUS
        if dangerous and tuple(arguments[:2]) not in HARMLESS:
            return f"unpickles {arguments[0]}.{arguments[1]}"
        if event == "import" and MARK in str(arguments[0]):
            return f"imports {arguments[0]}"
        if event == "compile" and _does_something(arguments[0]):
            return f"compiles {str(arguments[0])[:200]!r}"
        if event == "exec" and MARK in getattr(arguments[0], "co_filename", ""):
            return f"runs {arguments[0].co_filename}"
        return None

    def _outside(self, real: str, writing: bool) -> str | None:
        if any(real == place or real.startswith(f"{place}{os.sep}") or (place in SYSTEM and real.startswith(place))
               for place in (self._writes if writing else self._reads)):  # fmt: skip
            return None
        return f"{'writes' if writing else 'reads'} {real}"


def _own(arguments: tuple) -> bool:
    """Return whether selviz or a library of its own starts this process, and no input says how."""
    words = [str(word) for word in arguments[1]] if len(arguments) > 1 and isinstance(arguments[1], list) else []
    return any(words[: len(own)] == own for own in OWN)


def _changed(event: str, arguments: tuple) -> Iterator[str]:
    """Yield the paths that are made, moved or removed: a link itself, not what it leads to."""
    folders = [part for part in arguments[CHANGES[event] :] if isinstance(part, int)][-CHANGES[event] :]
    if event in ("os.mkdir", "os.chmod", "os.chown") or event.startswith("shutil"):
        folders = folders[-1:] if event == "os.mkdir" else []
    for position, path in enumerate(arguments[: CHANGES[event]]):
        if isinstance(path, int):
            continue
        handle = folders[position] if position < len(folders) else -1
        base = os.readlink(f"/proc/self/fd/{handle}") if handle >= 0 else os.getcwd()
        whole = os.path.join(base, os.fsdecode(path))
        yield os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))


def _does_something(source) -> bool:
    """Return whether code with the mark in it is more than a text between quotes, which torch writes out as such."""
    text = source.decode(errors="replace") if isinstance(source, bytes) else source
    if not isinstance(text, str) or MARK not in text[:100_000]:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    names = {getattr(node, "id", None) or getattr(node, "attr", None) for node in nodes} - {None}
    imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)
    return imports or bool(names & set(CODE)) or any(MARK in name for name in names)


class _Teller:
    def __init__(self, told):
        self.append = told


def _watched(folder) -> int | None:
    """Return an inotify descriptor on the folder and all that is in it; None where there is no inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        return None
    handle = libc.inotify_init1(_NONBLOCK)
    for place in [folder, *Path(folder).rglob("*")]:
        libc.inotify_add_watch(handle, os.fsencode(place), _IN_ALL)
    return handle
