"""Whose turn it is to compute, where many visitors want to: `with turns.turn(visitor, FIRST): ...` around each piece.

A piece is short (a batch of images), so that a more urgent one waits for one piece at most. Of equally urgent pieces
the one goes first whose visitor has waited longest since the last turn.
"""

import itertools
import os
import threading
from collections import OrderedDict
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
        self._numbers = itertools.count(1)
        self._last: OrderedDict[Hashable, int] = OrderedDict()

    @contextmanager
    def turn(self, visitor: Hashable, urgency: int, wanted: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Waits for a turn and holds it. `wanted` is called before and while it waits, and may raise to give it up."""
        wanted()
        mine = (urgency, visitor, next(self._numbers))
        with self._moved:
            self._waiting.append(mine)
        try:
            while not self._begin(mine):
                wanted()
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
                self._moved.notify_all()

    def _begin(self, mine) -> bool:
        """Begins if it is its turn within LOOK seconds."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._free and min(self._waiting, key=self._order) is mine, LOOK):
                return False
            self._free -= 1
            self._waiting.remove(mine)
            self._last[mine[1]] = next(self._numbers)
            self._last.move_to_end(mine[1])
            while len(self._last) > MOST:
                self._last.popitem(last=False)
            if self._free:
                self._moved.notify_all()
            return True

    def _order(self, waiting) -> tuple[int, int, int]:
        urgency, visitor, number = waiting
        return urgency, self._last.get(visitor, 0), number


def at_once(threads: int) -> int:
    """How many pieces that use so many threads each are computed at a time: one core is left to draw the pages."""
    return max(1, ((os.cpu_count() or 1) - 1) // threads)
