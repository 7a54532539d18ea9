"""Cache values between requests and give memory back: `PickledLRU(100)`, `IdleTimer(15, give_back)`."""

import ctypes
import gc
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

M_ARENA_MAX, ARENAS = -8, 2  # as in glibc's malloc.h


class PickledLRU:
    """The values used last, by key, in at most that many megabytes; threads may share it.

    They are held in serial form: it is small, its size is known, and each reader gets a value of its own.
    """

    def __init__(self, megabytes: float) -> None:
        self.budget = int(megabytes * 1e6)
        self.bytes = 0
        self._lock = threading.Lock()
        self._pickled: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`, or the default."""
        with self._lock:
            if key not in self._pickled:
                return default
            self._pickled.move_to_end(key)
            pickled = self._pickled[key]
        return pickle.loads(pickled)

    def put(self, key: Hashable, value: Any) -> None:
        """Hold `value` under `key`; what was used longest ago goes where there is no room."""
        pickled = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self.bytes += len(pickled) - len(self._pickled.pop(key, b""))
            self._pickled[key] = pickled
            while self.bytes > self.budget:
                self.bytes -= len(self._pickled.popitem(last=False)[1])


class IdleTimer:
    """Call `give_back` when `touch` was not called for some seconds, then wait for the next `touch`."""

    def __init__(self, seconds: float, give_back: Callable[[], object]) -> None:
        self.seconds, self._give_back = seconds, give_back
        self._lock = threading.Lock()
        self._touched = 0.0
        self._waiting = False

    def touch(self) -> None:
        """Begin the wait again."""
        with self._lock:
            self._touched = time.monotonic()
            if not self._waiting:
                self._waiting = True
                self._start_timer(self.seconds)

    def _start_timer(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._check)
        timer.daemon = True
        timer.start()

    def _check(self) -> None:
        with self._lock:
            left = self._touched + self.seconds - time.monotonic()
            self._waiting = left > 0
            if self._waiting:
                self._start_timer(left)
                return
        self._give_back()


def share_arenas() -> None:
    """Let all threads allocate from the same few arenas (glibc).

    Otherwise each visitor's thread has an arena of its own, and what it frees there in between lies idle.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def freeze_garbage() -> None:
    """Collect garbage, then exempt all that is left from collection, since most of it stays for good.

    A collection that visits all imported libraries takes a third of a second, in which no visitor is served.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def trim_memory() -> None:
    """Give memory that Python has freed back to the system, where its C library keeps it (glibc)."""
    freeze_garbage()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
