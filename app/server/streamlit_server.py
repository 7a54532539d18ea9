"""Hold the server's side of `app/state/streamlit_internals.py`: what selviz uses of Streamlit's runtime and web server.

Tried with Streamlit 1.67; when it is raised, read this file and run `tests/server/`.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from streamlit.runtime import Runtime, runtime_util
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.web.server.starlette import starlette_websocket
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

ErrorHandler = Callable[[Exception], bool | None]


def running() -> Runtime | None:
    """Return the runtime of the server in this process; None without one, as where AppTest draws a page."""
    return Runtime._instance if type(Runtime._instance) is Runtime else None


def is_logged_in(cookies: Mapping[str, str]) -> bool:
    """Return whether the cookies hold a log-in that this server signed."""
    try:
        raw = starlette_websocket._get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
        return raw is not None and json.loads(raw).get("is_logged_in") is True
    except (ValueError, TypeError, AttributeError):
        return False


def is_host_allowed(host: str | None) -> bool:
    """Return whether `server.allowedHosts` lets a request with this Host header in; Streamlit asks for WebSockets
    alone.
    """
    return starlette_websocket.is_host_allowed(host)


def set_max_outgoing(megabytes: int) -> None:
    """Let messages to visitors be as long as this; `server.maxMessageSize`, read at the start, limits those from
    them.
    """
    runtime_util._max_message_size_bytes = megabytes * 10**6


def is_visit(session: str) -> bool:
    """Whether a session of this key has a visitor at this moment."""
    runtime = running()
    return runtime is not None and runtime.is_active_session(session)


def uploaded_bytes() -> int:
    """Return what the uploads of all visits hold together."""
    runtime = running()
    held = getattr(runtime and runtime.uploaded_file_mgr, "file_storage", {})
    return sum(len(file.data) for files in list(held.values()) for file in list(files.values()))


def end_slow_requests(head_s: float, body_s: float) -> None:
    """Close connections whose request does not come: uvicorn waits for the rest of one for ever.

    For the start of the server, before the first connection.
    """
    from uvicorn.protocols.http import h11_impl

    protocols: list[Any] = [h11_impl.H11Protocol]
    with suppress(ImportError):
        from uvicorn.protocols.http import httptools_impl

        protocols.append(httptools_impl.HttpToolsProtocol)
    for protocol in protocols:
        if not hasattr(protocol, "_selviz"):
            protocol._selviz = True
            protocol.connection_made = _watched(protocol.connection_made, head_s, body_s)


def _watched(connection_made: Callable[..., None], head_s: float, body_s: float) -> Callable[..., None]:
    def made(self: Any, transport: Any) -> None:
        connection_made(self, transport)
        self.loop.call_later(head_s, look, self, None, 0.0)

    def look(self: Any, before: object, waited: float) -> None:
        """End it if no other request than `before` began since; `waited`: seconds in which its body did not end."""
        if transport_closed(self):
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if cycle is before:
                self.transport.abort()
                return
            waited = 0.0
        else:
            waited = waited + head_s if cycle.more_body and cycle is before else 0.0
            if waited >= body_s:
                self.transport.abort()
                return
        self.loop.call_later(head_s, look, self, cycle, waited)

    def transport_closed(self: Any) -> bool:
        return self not in self.connections or self.transport.is_closing()  # a WebSocket by now, or gone

    return made


def visits(runtime: Runtime) -> tuple[int, int]:
    """Return the number of sessions that have a visitor, and of those whose visitor is gone and may come back."""
    active = len(runtime._session_mgr.list_active_sessions())
    return active, len(runtime._session_mgr.list_sessions()) - active


def end_expired(runtime: Runtime, oldest: int = 0) -> int:
    """End sessions whose visitors are gone longer than `server.disconnectedSessionTTL`, and the `oldest` of the others.

    Streamlit lets go of them only when another visitor leaves. Returns how many ended; for the event loop's thread.
    """
    sessions: Any = runtime._session_mgr
    stored = sessions._session_storage._cache
    ended = stored.expire()
    ended += [(name, stored.pop(name)) for name in list(stored)[:oldest]]
    for _, info in ended:
        info.session.shutdown()
    return len(ended)


def call_in_event_loop(runtime: Runtime, function: Callable[[], object]) -> None:
    """Call the function soon in the thread of the server's event loop."""
    runtime._get_async_objs().eventloop.call_soon_threadsafe(function)


def handle_errors(handler: ErrorHandler) -> None:
    """Let `handler` show what nobody caught: in this drawing, in later ones of this session, and in sessions to
    come.
    """
    context = get_script_run_ctx()
    if context is not None:
        context.on_script_error = handler
    runtime = running()
    if runtime is None:
        return
    logging.getLogger("streamlit.error_util").setLevel(logging.CRITICAL + 1)  # the handler writes the log's line
    sessions: Any = runtime._session_mgr
    sessions._on_script_error = handler
    for info in sessions.list_sessions():
        info.session._on_script_error = handler
