"""Name in one place what selviz uses of Streamlit that its documentation does not promise.

Written for Streamlit 1.67; `pyproject.toml` has the upper bound. When Streamlit is raised, read this file and run
`tests/state/` and `tests/browser/`:

- `get_script_run_ctx()`: `.session_id`, `.page_script_hash`, `.cursors` (a new object per run of a page),
  `.session_state` (its `_state._keys()` are those of widgets without a key too), `.context_info`,
  `.cached_message_hashes`, `.is_history_navigation` and `.script_requests`, whose `request_rerun` is listened to;
- `RerunData` and `RerunException`: a rerun that keeps a newer request of its visitor (`address.rerun`);
- widget ids in requests are `$$ID-hash-key` (`address._widget_values`);
- `st.Page(callable, url_path=...)` names a registered page by its address alone (`navigation.page_at`);
- the runtime, its sessions and the web server: `app/server/streamlit_server.py`, `st.App` in `app/serve.py`;
- test ids such as `stMainBlockContainer` and `stPopoverBody` in `look/theme.py` and `look/keyboard.py`.
"""

from contextlib import suppress

from streamlit.runtime.scriptrunner import RerunData, RerunException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

__all__ = ["RerunData", "RerunException", "context", "page_run", "running_in_streamlit", "session_id", "widget_texts"]


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
