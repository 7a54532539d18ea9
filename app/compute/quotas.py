"""How much one visit may ask for in a while: `if seconds := QUERIES.take(visit): ...` says how long to wait instead.

Turns (`queues.py`) share the machine among visitors; a quota bounds what one of them can keep it busy with. What is
answered from a cache costs nothing and counts for nothing. Nothing here knows Streamlit.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from selviz.text import numbers

MAX_REMEMBERED = 2000  # visits; a server takes fewer at a time


class Quota:
    """At most `number` of something in any `seconds` seconds of one visit; threads may share it.

    `noun` says what is counted, such as "new queries".
    """

    def __init__(self, noun: str, number: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.noun, self.number, self.seconds = noun, number, seconds
        self._clock, self._lock = clock, threading.Lock()
        self._taken: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def take(self, visit: Hashable) -> float:
        """Count one more and return 0.0; where the visit has had its share, return the seconds to wait instead."""
        with self._lock:
            if wait := self._wait(visit):
                return wait
            self._taken.setdefault(visit, deque()).append(self._clock())
            self._taken.move_to_end(visit)
            while len(self._taken) > MAX_REMEMBERED:
                self._taken.popitem(last=False)
            return 0.0

    def wait(self, visit: Hashable) -> float:
        """Return the seconds until the visit may have one more, 0.0 where it may now."""
        with self._lock:
            return self._wait(visit)

    def message(self, seconds: float) -> str:
        """Return why a visit has to wait so long, in a sentence."""
        minutes = numbers.counted(max(1, round(self.seconds / 60)), "minute")
        how_long = numbers.counted(max(1, round(seconds)), "second")
        if seconds >= 90:
            how_long = numbers.counted(round(seconds / 60), "minute")
        return f"A visit may ask for {self.number} {self.noun} in {minutes}, and this one has; go on in {how_long}."

    def _wait(self, visit: Hashable) -> float:
        taken, now = self._taken.get(visit), self._clock()
        while taken and taken[0] <= now - self.seconds:
            taken.popleft()
        return 0.0 if taken is None or len(taken) < self.number else max(0.1, taken[0] + self.seconds - now)


# A query may take ten seconds of a core, a study or a training minutes to hours.
QUERIES = Quota("new queries", 60, 300.0)
STUDIES = Quota("studies or trainings", 12, 3600.0)
