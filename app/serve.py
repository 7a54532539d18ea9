"""The dashboard as `selviz serve` starts it: main.py with a health page, headers for browsers, and a log.

`streamlit run app/serve.py` does the same with Streamlit's own options.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # Streamlit puts this folder on the path, not the one that holds selviz and app
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, PlainTextResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from streamlit.runtime import Runtime  # noqa: E402

from app.server import log  # noqa: E402
from selviz.system.write_access import read_only  # noqa: E402

PATIENCE = 5.0  # seconds that a store on a network may take to answer
UPLOAD = "/_stcore/upload_file/"
# Plotly and Streamlit make functions and styles as they go; nothing else may come from elsewhere, pictures included.
HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'self'; form-action 'self'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}


class Guard:
    """Headers on every answer; where a dashboard is for reading only, no file is taken in."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def answered(message):
            if message["type"] == "http.response.start":
                told = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(pair for pair in more if pair[0] not in told)]
            await send(message)

        upload = scope["type"] == "http" and UPLOAD in scope["path"] and scope["method"] not in ("OPTIONS", "DELETE")
        if upload and read_only():
            refusal = PlainTextResponse("This dashboard is for reading only: no file is taken in.", 403)
            await refusal(scope, receive, answered)
        else:
            await self._app(scope, receive, answered)


async def health(request: Request) -> JSONResponse:
    """200 where a page can be shown: the server takes visitors, and the store can be read; else 503 with the reason."""
    ready, reason = await Runtime.instance().is_ready_for_browser_connection
    runs = None
    if ready:
        try:
            runs = await asyncio.wait_for(asyncio.to_thread(_readable), PATIENCE)
        except (OSError, TimeoutError) as error:
            ready, reason = False, f"the store cannot be read ({getattr(error, 'strerror', None) or 'no answer'})"
    told = {"ok": ready, "runs": runs} if ready else {"ok": False, "reason": reason}
    return JSONResponse(told, 200 if ready else 503, {"Cache-Control": "no-store"})


def _readable() -> int:
    """The number of runs in the store, counted from its folders now; OSError where that fails."""
    from app.state import reads

    os.listdir(reads.data())
    runs = Path(reads.data(), "runs")
    return sum(not name.startswith(".") for name in os.listdir(runs)) if runs.exists() else 0


@asynccontextmanager
async def lifespan(app):
    """Says what is exposed at the start; at the end, what goes on without the server."""
    from app.compute import jobs  # what they cache belongs to the runtime, which is there only now
    from app.server import exposure

    told = exposure.facts()
    if os.environ.get("SELVIZ_SERVE_JSON") == "1":
        print(json.dumps(told), flush=True)
    else:
        print(exposure.screen(told), file=sys.stderr, flush=True)
    yield
    if os.environ.get("SELVIZ_LOG") == "1":
        log.write("stopped", jobs_that_go_on=jobs.running_jobs())


dashboard = st.App("main.py", lifespan=lifespan, routes=[Route("/health", health)], middleware=[Middleware(Guard)])
