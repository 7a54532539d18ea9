"""Whose turn it is, where many visitors want to compute: `with turns.turn(visitor, FIRST): ...` around each piece.

A piece is short (a batch of images), so that a more urgent one waits for one piece at most. Of equally urgent pieces
the one goes first whose visitor has waited longest since the last turn. What takes minutes stands in a `Line`: first
come, first served, one for each visitor.
"""

import itertools
import os
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

FIRST, SETTLING, CONTROLS = range(3)  # a first estimate, the way to the exact value, what stands beside it
LOOK = 0.05  # seconds after which one who waits looks whether it is still wanted
MOST = 1000  # visitors whose last turn is remembered


class Turns:
    """Lets `at_once` pieces be computed at a time; threads share it."""

    def __init__(self, at_once: int = 1):
        self._free = at_once
        self._moved = threading.Condition()
        self._waiting: list[tuple[int, Hashable, int]] = []
        self._computing: list[Hashable] = []
        self._numbers = itertools.count(1)
        self._last: OrderedDict[Hashable, int] = OrderedDict()

    @contextmanager
    def turn(
        self, visitor: Hashable, urgency: int, wanted: Callable[[int], object] = lambda before: None
    ) -> Iterator[None]:
        """Waits for a turn and holds it.

        `wanted` is called before and while it waits, with the number of visitors who come before, and may raise to give
        the turn up.
        """
        wanted(0)
        mine = (urgency, visitor, next(self._numbers))
        with self._moved:
            self._waiting.append(mine)
        try:
            while not self._begin(mine):
                wanted(self._before(mine))
        finally:
            with self._moved:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                    self._moved.notify_all()
        try:
            yield
        finally:
            with self._moved:
                self._free += 1
                self._computing.remove(visitor)
                self._moved.notify_all()

    def _begin(self, mine) -> bool:
        """Begins if it is its turn within LOOK seconds."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._free and min(self._waiting, key=self._order) is mine, LOOK):
                return False
            self._free -= 1
            self._computing.append(mine[1])
            self._waiting.remove(mine)
            self._last[mine[1]] = next(self._numbers)
            self._last.move_to_end(mine[1])
            while len(self._last) > MOST:
                self._last.popitem(last=False)
            if self._free:
                self._moved.notify_all()
            return True

    def _before(self, mine) -> int:
        with self._moved:
            ahead = {other[1] for other in self._waiting if self._order(other) < self._order(mine)}
            return len({*ahead, *self._computing} - {mine[1]})

    def _order(self, waiting) -> tuple[int, int, int]:
        urgency, visitor, number = waiting
        return urgency, self._last.get(visitor, 0), number


class Line:
    """Runs what takes minutes, one after the other in the order of asking, each in a thread; threads share it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Hashable, Hashable, Callable]] = deque()  # the first one runs

    def ask(self, visitor: Hashable, key: Hashable, run: Callable[[], object]) -> bool:
        """Puts `run`, which returns when it is done, into the line; False where this visitor or `key` is in it."""
        with self._lock:
            if self._has(visitor, key):
                return False
            self._waiting.append((visitor, key, run))
            if len(self._waiting) == 1:
                threading.Thread(target=self._work, daemon=True).start()
            return True

    def before(self, key: Hashable) -> int | None:
        """How many come before `key`, 0 for the one that runs; None where it is not in the line."""
        with self._lock:
            return next((number for number, (_, other, _) in enumerate(self._waiting) if other == key), None)

    def busy(self, visitor: Hashable) -> bool:
        """Whether something of this visitor runs or waits."""
        with self._lock:
            return self._has(visitor)

    def _has(self, visitor: Hashable, key: Hashable = None) -> bool:
        return any(visitor == other or key == of for other, of, _ in self._waiting)

    def _work(self) -> None:
        more = True
        while more:
            try:
                self._waiting[0][2]()
            except Exception:
                traceback.print_exc()
            with self._lock:
                self._waiting.popleft()
                more = bool(self._waiting)


def at_once(threads: int) -> int:
    """How many pieces that use so many threads each are computed at a time: one core is left to draw the pages."""
    return max(1, ((os.cpu_count() or 1) - 1) // threads)
