"""What the server keeps between requests, and when it gives memory back: `Recent(100)`, `AfterRest(15, give_back)`."""

import ctypes
import gc
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress

ARENA_MAX, PLACES = -8, 2  # M_ARENA_MAX of glibc's malloc.h


class Recent:
    """The values last used, by key, in at most that many megabytes; threads may share it.

    They are kept in serial form: it is small, its size is known, and each reader gets a value of its own.
    """

    def __init__(self, megabytes: float):
        self.budget = int(megabytes * 1e6)
        self.bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, default=None):
        with self._lock:
            if key not in self._held:
                return default
            self._held.move_to_end(key)
            held = self._held[key]
        return pickle.loads(held)

    def put(self, key: Hashable, value) -> None:
        held = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self.bytes += len(held) - len(self._held.pop(key, b""))
            self._held[key] = held
            while self.bytes > self.budget:
                self.bytes -= len(self._held.popitem(last=False)[1])


class AfterRest:
    """Calls `give_back` when `touch` was not called for some seconds, then waits for the next `touch`."""

    def __init__(self, seconds: float, give_back: Callable[[], object]):
        self.seconds, self._give_back = seconds, give_back
        self._lock = threading.Lock()
        self._touched = 0.0
        self._waiting = False

    def touch(self) -> None:
        with self._lock:
            self._touched = time.monotonic()
            if not self._waiting:
                self._waiting = True
                self._look_again(self.seconds)

    def _look_again(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        with self._lock:
            left = self._touched + self.seconds - time.monotonic()
            self._waiting = left > 0
            if self._waiting:
                self._look_again(left)
                return
        self._give_back()


def share() -> None:
    """Lets all threads take memory from the same few places (glibc).

    Else each visitor's thread has a place of its own, and what it frees there in between lies idle.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(ARENA_MAX, PLACES)


def settle() -> None:
    """Looks for garbage, then takes all that is left out of the collector's sight, since most of it stays for good.

    Looking at libraries that never go takes a third of a second, in which no visitor is served.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def trim() -> None:
    """Gives memory that Python has freed back to the system, where its C library keeps it (glibc)."""
    settle()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
