"""Windows, as far as Linux can play it: `environment(tmp_path)` for a child that lacks what Windows lacks.

In such a process, and in those that it starts, the modules of selviz and of the dashboard cannot import `fcntl`,
`resource` and their like, `os` and `signal` lack the names that Windows has not, and nothing below `/proc` opens.
Libraries still see Linux. Text is ASCII where no encoding is named.
"""

import builtins
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock  # noqa: F401  (both before anything is taken away: they are to be what they are on this system)
import psutil  # noqa: F401

OURS = ("selviz", "app", "selviz_app")
MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": """chown chroot fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp
             getpriority getsid getuid getxattr initgroups killpg lchown listxattr lockf major makedev minor mkfifo
             mknod nice openpty posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev
             removexattr sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid
             setpriority setsid setuid setxattr statvfs sync sysconf uname wait3 wait4 waitid WNOHANG O_CLOEXEC
             O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_TMPFILE""".split(),
    "signal": "SIGALRM SIGCHLD SIGHUP SIGKILL SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 SIGXCPU SIGXFSZ alarm setitimer".split(),
}  # fmt: skip


class Lacking(ModuleType):
    """A module without some of its names."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _hidden=frozenset(NAMES[module.__name__]))

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self._module, name)


_lacking = {"os": Lacking(os), "signal": Lacking(signal)}
_import = builtins.__import__
_path_exists = Path.exists


def _ours(name: object) -> bool:
    return isinstance(name, str) and name.partition(".")[0] in OURS and not name.startswith("selviz.testing")


def import_as_on_windows(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> ModuleType:
    """Import for a module of ours what Windows has, and for any other what Python does."""
    if level == 0 and globals is not None and _ours(globals.get("__name__")):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
        if name in _lacking:
            return _lacking[name]
    return _import(name, globals, locals, fromlist, level)


def refuse_proc(event: str, arguments: tuple[Any, ...]) -> None:
    """Let nobody but psutil, which stands for another system's own calls, open what Linux alone has."""
    if event not in ("open", "os.listdir") or not str(arguments[0]).startswith("/proc"):
        return
    if _asked_by_us():
        raise FileNotFoundError(2, "No such file or directory on Windows", str(arguments[0]))


def _exists(path: Path, **options: Any) -> bool:
    return not (str(path).startswith("/proc") and _asked_by_us()) and _path_exists(path, **options)


def _asked_by_us() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if _ours(module) or module.partition(".")[0] == "psutil":
            return _ours(module)
        frame = frame.f_back
    return False


def begin() -> None:
    """Play Windows from here on, for modules that are not yet imported."""
    builtins.__import__ = import_as_on_windows
    Path.exists = _exists
    sys.addaudithook(refuse_proc)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a child that plays Windows; a file that Python loads at its start is put in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import selviz.testing.other_systems as other_systems\nother_systems.begin()\n"
    )
    root = str(Path(__file__).parents[2])
    latin = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    return {**os.environ, **latin, "PYTHONPATH": os.pathsep.join([str(folder), root])}
