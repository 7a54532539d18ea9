"""Decide which visitor computes next: `with scheduler.turn(visitor, FIRST): ...` around each piece of work.

A piece is short (a batch of images), so that a more urgent one waits for one piece at most. Among equally urgent pieces
the one goes first whose visitor has waited longest since their last turn. What takes minutes waits in a `JobQueue`:
first come, first served, one job per visitor. Nothing here knows Streamlit.
"""

import itertools
import os
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

FIRST, SETTLING, CONTROLS = range(3)  # urgency: a first estimate, the way to the exact value, control sets
POLL_S = 0.05  # polling interval of requests that may be cancelled while they wait
MAX_REMEMBERED = 1000  # visitors whose last turn is remembered


class Request(NamedTuple):
    """A piece of work that waits for its turn."""

    urgency: int
    visitor: Hashable
    number: int  # in order of arrival


class FairScheduler:
    """Let `at_once` pieces be computed at a time; threads share one scheduler."""

    def __init__(self, at_once: int = 1) -> None:
        self._free = at_once
        self._moved = threading.Condition()
        self._waiting: list[Request] = []
        self._computing: list[Hashable] = []
        self._numbers = itertools.count(1)
        self._last_turn: OrderedDict[Hashable, int] = OrderedDict()

    @contextmanager
    def turn(
        self, visitor: Hashable, urgency: int, on_wait: Callable[[int], object] = lambda ahead: None
    ) -> Iterator[None]:
        """Wait for a turn and hold it.

        `on_wait` is called before and during the wait with the number of visitors ahead; it may raise to give up.
        """
        on_wait(0)
        request = Request(urgency, visitor, next(self._numbers))
        with self._moved:
            self._waiting.append(request)
        try:
            while not self._begin(request):
                on_wait(self._ahead(request))
        finally:
            with self._moved:
                if request in self._waiting:
                    self._waiting.remove(request)
                    self._moved.notify_all()
        try:
            yield
        finally:
            with self._moved:
                self._free += 1
                self._computing.remove(visitor)
                self._moved.notify_all()

    def _begin(self, request: Request) -> bool:
        """Begin if it is this request's turn within POLL_S seconds."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._free and min(self._waiting, key=self._order) is request, POLL_S):
                return False
            self._free -= 1
            self._computing.append(request.visitor)
            self._waiting.remove(request)
            self._last_turn[request.visitor] = next(self._numbers)
            self._last_turn.move_to_end(request.visitor)
            while len(self._last_turn) > MAX_REMEMBERED:
                self._last_turn.popitem(last=False)
            if self._free:
                self._moved.notify_all()
            return True

    def _ahead(self, request: Request) -> int:
        with self._moved:
            ahead = {other.visitor for other in self._waiting if self._order(other) < self._order(request)}
            return len({*ahead, *self._computing} - {request.visitor})

    def _order(self, request: Request) -> tuple[int, int, int]:
        return request.urgency, self._last_turn.get(request.visitor, 0), request.number


class Job(NamedTuple):
    """What takes minutes, for one visitor; `key` tells equal jobs apart from others."""

    visitor: Hashable
    key: Hashable
    run: Callable[[], object]


class JobQueue:
    """Run what takes minutes one after the other, in order of arrival, each in a thread; threads share one queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()  # the first one runs

    def add(self, visitor: Hashable, key: Hashable, run: Callable[[], object]) -> bool:
        """Queue `run`, which returns when it is done; False where this visitor or `key` is queued already."""
        with self._lock:
            if self._has(visitor, key):
                return False
            self._jobs.append(Job(visitor, key, run))
            if len(self._jobs) == 1:
                try:
                    threading.Thread(target=self._work, daemon=True).start()
                except RuntimeError:  # there are as many threads as may be
                    self._jobs.clear()
                    raise
            return True

    def ahead_of(self, key: Hashable) -> int | None:
        """Return how many jobs come before `key`, 0 for the one that runs; None where it is not queued."""
        with self._lock:
            return next((number for number, job in enumerate(self._jobs) if job.key == key), None)

    def jobs(self) -> list[Job]:
        """Return all jobs in their order, the one that runs first."""
        with self._lock:
            return list(self._jobs)

    def remove(self, key: Hashable) -> bool:
        """Take a job out that still waits; False where it runs already, or is not there."""
        with self._lock:
            waiting = next((job for job in list(self._jobs)[1:] if job.key == key), None)
            if waiting is not None:
                self._jobs.remove(waiting)
            return waiting is not None

    def has_job_of(self, visitor: Hashable) -> bool:
        """Return whether a job of this visitor runs or waits."""
        with self._lock:
            return self._has(visitor)

    def _has(self, visitor: Hashable, key: Hashable = None) -> bool:
        return any(job.visitor == visitor or job.key == key for job in self._jobs)

    def _work(self) -> None:
        more = True
        while more:
            try:
                self._jobs[0].run()
            except Exception:
                traceback.print_exc()
            with self._lock:
                self._jobs.popleft()
                more = bool(self._jobs)


def pieces_at_once(threads: int) -> int:
    """Return how many pieces that use so many threads each run at a time: one core is left to draw the pages."""
    return max(1, ((os.cpu_count() or 1) - 1) // threads)
