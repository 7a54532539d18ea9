"""The dashboard as `selviz serve` starts it: main.py with a health page, a guard before it, and a log.

`streamlit run app/serve.py` does the same with Streamlit's own options.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # Streamlit puts this folder on the path, not the one that holds selviz and app
    sys.path.insert(0, str(HERE.parent))
if HERE.name != "app":  # in a wheel the package is called selviz_app
    sys.modules.setdefault("app", import_module(HERE.name))

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, RedirectResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from streamlit.runtime import Runtime  # noqa: E402

from app.server import health as fitness  # noqa: E402
from app.server import limits, log, login, streamlit_server, unforeseen, visits  # noqa: E402
from app.server.first_page import FirstPage  # noqa: E402
from app.server.guard import Guard  # noqa: E402
from app.state import navigation  # noqa: E402
from selviz.errors import SelvizError  # noqa: E402

PATIENCE = 5.0  # seconds that a store on a network may take to answer


async def health(request: Request) -> JSONResponse:
    """Answer 200 where a page could be drawn now, data included; else 503 with the reason."""
    ready, reason = await Runtime.instance().is_ready_for_browser_connection
    if not ready:
        return _answer({"ok": False, "reason": reason})
    try:
        problem = await asyncio.wait_for(asyncio.to_thread(fitness.problem), PATIENCE)
        runs = await asyncio.wait_for(asyncio.to_thread(fitness.runs), PATIENCE)
    except (OSError, TimeoutError) as error:
        problem, runs = f"the store cannot be read ({getattr(error, 'strerror', None) or 'no answer'})", None
    return _answer({"ok": False, "reason": problem} if problem else {"ok": True, "runs": runs})


async def moved(request: Request) -> RedirectResponse:
    """Lead an address of an earlier version to the page that has its view now, before a browser notes it."""
    folder, _, old = request.url.path.rstrip("/").rpartition("/")
    new, more = navigation.MOVED[old]
    query = urlencode({**more, **request.query_params})
    return RedirectResponse(f"{folder}/{new}{'?' if query else ''}{query}", 307)


def _answer(facts: dict[str, object]) -> JSONResponse:
    return JSONResponse(facts, 200 if facts["ok"] else 503, {"Cache-Control": "no-store"})


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Say what is exposed at the start; at the end, what goes on without the server."""
    from app.compute import jobs  # what they cache belongs to the runtime, which is there only now
    from app.server import exposure

    streamlit_server.set_max_outgoing(limits.MAX_OUTGOING_MB)
    visits.keep_tidy()
    facts = exposure.facts()
    if os.environ.get("SELVIZ_SERVE_JSON") == "1":
        print(json.dumps(facts), flush=True)
    else:
        print(exposure.screen(facts), file=sys.stderr, flush=True)
    yield
    if log.is_on():
        log.write("stopped", jobs_that_go_on=jobs.running_jobs())


limits.raise_file_limit()
streamlit_server.end_slow_requests(limits.REQUEST_S, limits.BODY_S)
try:
    login.begin()
except SelvizError as error:
    print(f"selviz: {error}", file=sys.stderr, flush=True)
    sys.exit(2)

dashboard = st.App(
    "main.py",
    lifespan=lifespan,
    routes=[Route("/health", health), *(Route(f"/{old}", moved) for old in navigation.MOVED)],
    middleware=[Middleware(Guard), Middleware(FirstPage)],
    on_script_error=unforeseen.show,
)
