"""Results of queries, the last used within a bound in bytes: `cache.get(key, compute)`."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pandas as pd

Result = pd.DataFrame | np.ndarray[Any, Any]


class ResultCache:
    """Tables and arrays by key; threads may share it. A failure is never kept."""

    def __init__(self, max_bytes: int):
        self.max_bytes, self.bytes = max_bytes, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[int, Result]] = OrderedDict()
        self._computing: dict[Hashable, Future[Result]] = {}

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return the result of `key`; where it is not there, that of `compute()`, which one thread calls for all.

        A thread that waited for another one's call and saw it fail calls `compute` itself.
        """
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key][1]
                ahead = self._computing.get(key)
                if ahead is None:
                    own = self._computing[key] = Future()
                    break
            if ahead.exception() is None:
                return ahead.result()
        try:
            result = compute()
        except BaseException as error:
            with self._lock:
                self._computing.pop(key, None)
            own.set_exception(RuntimeError(repr(error)))
            raise
        with self._lock:
            self._computing.pop(key, None)
            self._keep(key, result)
        own.set_result(result)
        return result

    def clear(self) -> None:
        """Forget all results."""
        with self._lock:
            self._kept.clear()
            self.bytes = 0

    def _keep(self, key: Hashable, result: Result) -> None:
        size = held_bytes(result)
        if size > self.max_bytes // 4:
            return
        self._kept[key] = size, result
        self.bytes += size
        while self.bytes > self.max_bytes:
            self.bytes -= self._kept.popitem(last=False)[1][0]


def held_bytes(result: Result) -> int:
    """Return the memory that a result holds, in bytes."""
    if isinstance(result, pd.DataFrame):
        return int(result.memory_usage(deep=True).sum())
    return int(result.nbytes)
