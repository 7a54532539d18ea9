"""How many visitors there are, and the end of the visits of those who left: `keep_tidy()` once, `has_room(waiting)`."""

import threading
import time

from . import limits, streamlit_server

LOOK_S = 5.0  # between two looks for visits that have expired

_started = threading.Event()
_lock = threading.Lock()


def keep_tidy() -> None:
    """End expired visits from now on on a timer, in this process once."""
    with _lock:
        if _started.is_set() or streamlit_server.running() is None:
            return
        _started.set()
    limits.raise_file_limit()
    threading.Thread(target=_keep_tidy, name="end of visits", daemon=True).start()


def _keep_tidy() -> None:
    while (runtime := streamlit_server.running()) is not None:
        time.sleep(LOOK_S)
        try:
            streamlit_server.call_in_event_loop(runtime, lambda: streamlit_server.end_expired(runtime))
        except RuntimeError:  # the server ends
            return


def has_room() -> bool:
    """Return whether another visit can be taken; visits whose visitors are gone make room, the oldest first.

    For the thread of the event loop.
    """
    runtime = streamlit_server.running()
    if runtime is None:
        return True
    streamlit_server.end_expired(runtime)
    active, closed = streamlit_server.visits(runtime)
    over = active + closed + 1 - limits.max_visits()
    if over > 0 and closed:
        streamlit_server.end_expired(runtime, oldest=over)
    return active < limits.max_visits()
