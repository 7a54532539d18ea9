"""Name in one place what selviz uses of Streamlit that its documentation does not promise.

Written for Streamlit 1.67; `pyproject.toml` has the upper bound. When Streamlit is raised, read this file and run
`tests/state/` and `tests/browser/`:

- `get_script_run_ctx()`: `.session_id`, `.page_script_hash`, `.cursors` (a new object per run of a page),
  `.session_state` (its `_state._keys()` are those of widgets without a key too), `.context_info`,
  `.cached_message_hashes`, `.is_history_navigation` and `.script_requests`;
- `ScriptRequests.request_rerun`, which is listened to: Streamlit keeps only the newest of the requests that wait;
- `RerunData` and `RerunException`: a rerun that keeps a newer request of its visitor (`address.rerun`);
- widget ids in requests are `$$ID-hash-key` (`address._widget_values`);
- `st.Page(callable, url_path=...)` names a registered page by its address alone (`navigation.page_at`);
- the runtime, its sessions and the web server: `app/server/streamlit_server.py`, `st.App` in `app/serve.py`;
- test ids such as `stMainBlockContainer` and `stPopoverBody` in `look/theme.py` and `look/keyboard.py`.
"""

from collections import deque
from contextlib import suppress

from streamlit.runtime.scriptrunner import RerunData, RerunException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

__all__ = [
    "RerunData",
    "RerunException",
    "context",
    "page_run",
    "received_requests",
    "running_in_streamlit",
    "session_id",
    "went_through_history",
    "widget_texts",
]


def running_in_streamlit() -> bool:
    """Return whether this thread runs a page, rather than a process that imports the entry file."""
    return get_script_run_ctx(suppress_warning=True) is not None


def context() -> ScriptRunContext:
    """Return the context of the page run of this thread."""
    current = get_script_run_ctx()
    if current is None:
        raise RuntimeError("pages are drawn by Streamlit: streamlit run app/main.py")
    return current


def page_run() -> object:
    """Return an object that is another one for each run of the page, to be compared with `is`."""
    return context().cursors


def session_id() -> str:
    """Return the key of the visitor's session, which is one tab of a browser."""
    return context().session_id


def widget_texts() -> list[str]:
    """Return the texts in this visitor's widgets, those without a key among them."""
    texts = []
    with suppress(RuntimeError, AttributeError):
        state = context().session_state._state
        for key in list(state._keys()):
            with suppress(KeyError):
                value = state[key]
                texts += [value] if isinstance(value, str) else []
    return texts


def went_through_history() -> bool:
    """Return whether the visitor came to this view by the browser's back or forward."""
    return bool(getattr(context(), "is_history_navigation", False))


MAX_RECEIVED = 2_000_000  # bytes of requests of one visitor that no run has looked at
_request_rerun = ScriptRequests.request_rerun


def _record_and_request(requests: ScriptRequests, request: RerunData) -> bool:
    """Note a request on its way to Streamlit, from the first one of a visit on."""
    if request.context_info is None:  # no browser's: a new runner begins with an empty one
        return _request_rerun(requests, request)
    received = requests.__dict__.setdefault("received", deque(maxlen=100))
    received.append(request)  # before the run that answers it can begin
    while len(received) > 1 and sum(map(_size, received)) > MAX_RECEIVED:
        received.popleft()
    accepted = _request_rerun(requests, request)
    if not accepted and request in received:
        received.remove(request)
    return accepted


def _size(request: RerunData) -> int:
    return len(request.query_string) + (request.widget_states.ByteSize() if request.widget_states else 0)


if _request_rerun.__name__ != _record_and_request.__name__:  # once a process, also where this file is loaded again
    ScriptRequests.request_rerun = _record_and_request  # type: ignore[method-assign]


def received_requests() -> deque[RerunData]:
    """Return the requests of this visitor that no run of the page has looked at yet, oldest first."""
    requests = context().script_requests
    received: deque[RerunData] = requests.__dict__.setdefault("received", deque(maxlen=100)) if requests else deque()
    return received
