"""Cached values of all engines of a process, under one budget of memory: `BoundaryCache(gigabytes=2)`."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

from selviz.errors import SelvizError

CACHE_GB = 2.0
Key = tuple[int, Hashable, int]  # owner, what of it, number of the batch


class BoundaryCache:
    """Lists of tensors by key under a budget, the longest unused given up first. Threads may share it."""

    def __init__(self, gigabytes: float = CACHE_GB):
        if not gigabytes >= 0:
            raise SelvizError(f"The memory for cached values is {gigabytes} GB; give 0 or more.")
        self.budget = int(min(gigabytes, 1e6) * 1e9)
        self.bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, tuple[int, list[Tensor]]] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}

    def get(self, key: Key, make: Callable[[], list[Tensor]]) -> tuple[list[Tensor], bool]:
        """Return (the value of `key`, whether it was held). Of several threads that want a new one, one makes it."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][1], True
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._held:
                    return self._held[key][1], True
            value = make()
            with self._lock:
                self._keep(key, value)
                self._making.pop(key, None)
        return value, False

    def forget(self, owner: int) -> None:
        """Give up what belongs to `owner`, the first part of its keys."""
        with self._lock:
            for key in [key for key in self._held if key[0] == owner]:
                self.bytes -= self._held.pop(key)[0]

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._held.clear()
            self.bytes = 0

    def _keep(self, key: Key, value: list[Tensor]) -> None:
        size = sum(part.nbytes for part in value if isinstance(part, Tensor))
        # Batches of the same owner and layers are wanted together: giving one up for another would lose them all.
        others = [other for other in self._held if other[:-1] != key[:-1]]
        if size > self.budget - self.bytes + sum(self._held[other][0] for other in others):
            return
        for other in others:
            if self.bytes + size <= self.budget:
                break
            self.bytes -= self._held.pop(other)[0]
        self._held[key] = (size, value)
        self.bytes += size
