"""What a browser is told before Streamlit's own page begins: `Middleware(FirstPage)`.

Where the server is, which Streamlit otherwise finds out by asking the page's own address first, in vain and with two
errors in the console; `look/browser.js`, so that it hears of the first address already; the pages' style, and that a
menu will come, for which room is kept, so that nothing moves when it does.
"""

import json

import streamlit as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..look import browser, theme

MENU = """<style>@media (min-width: 768px) {
  html:not(.selviz-embedded, .selviz-presenting) #root:not(:has([data-testid=stSidebar]))
    [data-testid=stAppViewContainer] {padding-left: 300px}
}</style>"""


def head() -> bytes:
    """Return what is put into the page's head."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    place = f"location.origin + {json.dumps(f'/{base}' if base else '')}"
    script = (
        f"<script>window.__streamlit = {{BACKEND_BASE_URL: {place}, MAIN_PAGE_BASE_URL: {place} + '/'}};\n"
        "if (new URLSearchParams(location.search).get('embed') === 'true') "
        "document.documentElement.classList.add('selviz-embedded');</script>"
    )
    return f"{script}{browser.SCRIPT}{MENU}{theme.for_head()}".encode()


class FirstPage:
    """ASGI middleware; one object for all requests of a server."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        asks_for_page = any(name == b"accept" and b"text/html" in value for name, value in headers)
        if scope["type"] != "http" or scope["method"] != "GET" or not asks_for_page:
            await self._app(scope, receive, send)
            return
        # Packed, the page could not be added to; and a browser's copy of it may lack what is added.
        left_out = (b"accept-encoding", b"if-none-match", b"if-modified-since")
        scope = {**scope, "headers": [pair for pair in headers if pair[0] not in left_out]}
        started: Message | None = None
        body = bytearray()

        async def completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and _is_page(message):
                started = message
            elif started is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    whole = bytes(body).replace(b"<head>", b"<head>" + head(), 1)
                    kept = [pair for pair in started["headers"] if pair[0].lower() not in (b"content-length", b"etag")]
                    started["headers"] = [*kept, (b"content-length", str(len(whole)).encode())]
                    await send(started)
                    await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, completed)


def _is_page(message: Message) -> bool:
    headers = {name.lower(): value for name, value in message.get("headers", ())}
    plain = b"content-encoding" not in headers
    return message["status"] == 200 and plain and headers.get(b"content-type", b"").startswith(b"text/html")
