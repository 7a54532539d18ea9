"""What stands before Streamlit on every request: `Middleware(Guard)`.

It asks for the right host name, lets nothing but the way to log in through before a log-in, bounds visits, messages and
uploads, takes no file where a dashboard is for reading only, and gives browsers their headers.
"""

import asyncio
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from selviz.system import embedding
from selviz.system.write_access import read_only

from . import limits, login, streamlit_server, visits

STREAM = "/_stcore/stream"
UPLOAD = "/_stcore/upload_file/"
HEALTH = ("/health", "/_stcore/health")  # a balancer may ask by address
METRICS = "/_stcore/metrics"
AFTER_LOGIN = ("/media/", UPLOAD, "/_stcore/agent")
# Plotly and Streamlit make functions and styles as they go; nothing else may come from elsewhere, pictures included.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors {}; form-action 'self'"
)
HEADERS = {
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
MAX_UPLOAD_BYTES = 10 * 2**20  # `server.maxUploadSize` in app/.streamlit/config.toml
FULL = "This dashboard has as many visitors as it can take at the moment. Please try again in a minute."


class Guard:
    """ASGI middleware; one object for all requests of a server."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self._waiting = 0  # visits before their log-in
        self._uploads: dict[str, int] = {}  # files that came, by visit
        self._coming = 0  # uploads on their way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._visit(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method, headers = scope["path"], scope["method"], Headers(scope=scope)
        refusal: Response | None = None
        upload = UPLOAD in path and method not in ("OPTIONS", "DELETE")
        if path not in HEALTH and not streamlit_server.is_host_allowed(headers.get("host")):
            refusal = PlainTextResponse("This dashboard is not known by that host name.", 421)
        elif METRICS in path and login.public():
            refusal = PlainTextResponse("Not found", 404)
        elif any(part in path for part in AFTER_LOGIN) and not login.let_in(_cookies(headers)):
            refusal = PlainTextResponse("Log in first.", 401)
        elif upload and read_only():
            refusal = PlainTextResponse("This dashboard is for reading only: no file is taken in.", 403)
        elif upload and (wrong := self._upload_problem(path)):
            refusal = PlainTextResponse(wrong, 429)
        elif (
            method == "GET"
            and "text/html" in headers.get("accept", "")
            and path not in HEALTH
            and not visits.has_room()
        ):
            refusal = HTMLResponse(f"<!doctype html><title>selviz</title><p>{FULL}", 503, {"Retry-After": "60"})
        self._coming += upload and refusal is None
        try:
            await (refusal or self._app)(scope, receive, send)
        finally:
            self._coming -= upload and refusal is None

    def _upload_problem(self, path: str) -> str | None:
        """Return why this file is not taken, None where it may come; counts it."""
        session = path.partition(UPLOAD)[2].partition("/")[0]
        if not streamlit_server.is_visit(session):
            return "There is no such visit."
        self._uploads = {name: count for name, count in self._uploads.items() if streamlit_server.is_visit(name)}
        if self._uploads.get(session, 0) >= limits.MAX_UPLOADS:
            return f"A visit may upload {limits.MAX_UPLOADS} files; open a new one."
        if streamlit_server.uploaded_bytes() + (self._coming + 1) * MAX_UPLOAD_BYTES > limits.MAX_UPLOADED_MB * 10**6:
            return "The visits of this dashboard hold as many pictures as it can take; try again in some minutes."
        self._uploads[session] = self._uploads.get(session, 0) + 1
        return None

    async def _visit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a WebSocket on, if there is room for another visit, and count its messages."""
        let_in = login.let_in(_cookies(Headers(scope=scope)))
        if not visits.has_room() or (not let_in and self._waiting >= limits.MAX_VISITS_BEFORE_LOGIN):
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": 1013, "reason": FULL[:120]})
            return
        self._waiting += not let_in
        try:
            longest = limits.MAX_MESSAGE if let_in else limits.MAX_BEFORE_LOGIN
            await self._app(scope, _counted(receive, send, longest), send)
        finally:
            self._waiting -= not let_in


def _counted(receive: Receive, send: Send, longest: int) -> Receive:
    """Let a visitor send so many messages in a second, none longer than these bytes, and the first one soon."""
    left, looked, silent = float(limits.MESSAGES_AT_ONCE), time.monotonic(), True

    async def receive_in_turn() -> Message:
        nonlocal left, looked, silent
        try:
            message = await asyncio.wait_for(receive(), limits.FIRST_MESSAGE_S if silent else None)
        except TimeoutError:
            return await _closed(send, 1008, "Nothing was asked.")
        if message["type"] != "websocket.receive":
            return message
        silent = False
        if len(message.get("bytes") or (message.get("text") or "").encode()) > longest:
            return await _closed(send, 1009, "This message is too long.")
        now = time.monotonic()
        left = min(limits.MESSAGES_AT_ONCE, left + (now - looked) * limits.MESSAGES_PER_S) - 1
        looked = now
        if left < 0:
            await asyncio.sleep(-left / limits.MESSAGES_PER_S)
        return message

    return receive_in_turn


async def _closed(send: Send, code: int, reason: str) -> Message:
    """Close a WebSocket, and return what tells the dashboard so."""
    await send({"type": "websocket.close", "code": code, "reason": reason})
    return {"type": "websocket.disconnect", "code": code}


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def headers() -> dict[str, str]:
    """Return the headers of every answer; pages of other origins show this one in a frame where `--embed` names them.

    X-Frame-Options, for browsers that do not know `frame-ancestors`, can name no other origin, so it goes then.
    """
    others = embedding.origins()
    policy = {"Content-Security-Policy": POLICY.format(" ".join(["'self'", *others]))}
    return HEADERS | policy | ({} if others else {"X-Frame-Options": "SAMEORIGIN"})


def _with_headers(send: Send) -> Send:
    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            more = [(name.lower().encode(), value.encode()) for name, value in headers().items()]
            message["headers"] = [*message.get("headers", ()), *(pair for pair in more if pair[0] not in there)]
        await send(message)

    return answered
