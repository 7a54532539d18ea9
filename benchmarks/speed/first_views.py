"""How long a visitor waits for a whole page, in a real browser: `python benchmarks/speed/first_views.py --data data`.

    {"run", "rounds", "pages": [{"page", "first_ms", "again_ms", "first_over_again", "start_ms", "start_over_first",
     "kilobytes": {"first": {"http", "messages", "pictures"}, "again": {...}, "back": {...}}}, ...]}

Three times of each page, medians over the rounds, from the typed address to a page on which nothing is missing, moves,
or waits (the text, every chart, board and picture): `first`, a browser that has never been here, on a server on which
each page was drawn before; `again`, another tab of that browser; `start`, a browser that has never been here, as the
first visitor of a server that has just begun to answer. `kilobytes` are what the browser received at one visit:
scripts and the like by HTTP, the server's messages, and the pictures that lie in these messages; `back` is for another
page of the menu and the way back, in the same tab, which has the pictures already. Quote the ratios: both
times of a ratio are of one round. `--part` leaves some of it out, since a round of `start` takes ten seconds a page.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.sync_api import Browser, BrowserContext, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from selviz.store import Store
from selviz.testing.dashboard import CHROMIUM, FLAGS, page_names, serving

PATIENCE = 120_000  # milliseconds
STILL = 400  # milliseconds without anything missing: the page is complete since they began
# When the page was complete, in milliseconds since the address was typed. Streamlit writes skeletons where the code of
# a chart, button or table is still to come; a chart is there once Plotly has drawn its lines.
COMPLETE = """() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const missing = !document.querySelector('[data-testid=stMain] :is(h1, h3, [data-testid=stAlert])')
    || !document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
    || document.querySelector('[data-stale=true], [data-testid=stSpinner], [data-testid=stSkeleton]')
    || all('[data-testid=stPlotlyChart]').some(chart => !chart.querySelector('.main-svg'))
    || all('.board-host').some(board => !board.firstElementChild)
    || all('[data-testid=stMain] img').some(image => !image.complete);
  if (missing) window.completeSince = undefined;
  else window.completeSince ??= performance.now();
  return performance.now() - window.completeSince > STILL && window.completeSince;
}""".replace("STILL", str(STILL))
HTTP = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""
PICTURE = re.compile(rb"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]*")
PARTS, KINDS = ("warm", "start"), ("first", "again", "back")


class Visit(NamedTuple):
    """One visit of a page: milliseconds to the complete page, and kilobytes received."""

    ms: float
    http: float
    messages: float
    pictures: float

    def kilobytes(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 1) for name in ("http", "messages", "pictures")}


def visit(context: BrowserContext, address: str, come_back: bool = False) -> tuple[Visit, Visit | None]:
    """Open an address in a tab of its own, and wait until the page is complete; then leave it, and `come_back`."""
    tab, messages = context.new_page(), []
    tab.set_default_timeout(PATIENCE)

    def note(payload: str | bytes) -> None:
        messages.append(payload if isinstance(payload, bytes) else payload.encode())

    tab.on("websocket", lambda socket: socket.on("framereceived", note))
    tab.goto(address, wait_until="commit")
    took = tab.wait_for_function(COMPLETE, polling="raf").json_value()
    first, back = _received(took, tab.evaluate(HTTP), messages), None
    if come_back:
        known, http = len(messages), tab.evaluate(HTTP)
        elsewhere = "train" if "/data" in address else "data"
        for go in (lambda: tab.locator(f"[data-testid=stSidebarNav] a[href*='/{elsewhere}']").click(), tab.go_back):
            drawn = _drawings(messages)
            go()
            while _drawings(messages) == drawn:
                tab.wait_for_timeout(50)
            tab.wait_for_function(COMPLETE, polling="raf")
        back = _received(0.0, tab.evaluate(HTTP) - http, messages[known:])
    tab.close()
    return first, back


def _received(ms: float, http: float, messages: list[bytes]) -> Visit:
    pictures = sum(len(picture) for message in messages for picture in PICTURE.findall(message))
    return Visit(ms, http / 1000, sum(map(len, messages)) / 1000, pictures / 1000)


def _drawings(messages: list[bytes]) -> int:
    """Return how many drawings of a page have ended."""
    return sum(ForwardMsg.FromString(message).WhichOneof("type") == "script_finished" for message in messages)


def new_context(browser: Browser) -> BrowserContext:
    """Return a browser that has never been anywhere."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


def medians(one: list[float], other: list[float]) -> float:
    """Return the median ratio of two times of the same rounds."""
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)


def warm(browser: Browser, address: str, page: str, rounds: int) -> tuple[dict[str, Any], list[float]]:
    """Return a page's figures on a warm server, and the times of its first visits."""
    first, again, back = [], [], None
    for number in range(rounds):
        context = new_context(browser)
        first.append(visit(context, address)[0])
        visited, back = visit(context, address, come_back=number == rounds - 1)
        again.append(visited)
        context.close()
    assert back is not None
    times = [[each.ms for each in visits] for visits in (first, again)]
    row = {
        "page": page,
        "first_ms": round(statistics.median(times[0])),
        "again_ms": round(statistics.median(times[1])),
        "first_over_again": medians(*times),
        "kilobytes": {name: each.kilobytes() for name, each in zip(KINDS, (first[-1], again[-1], back), strict=True)},
    }
    return row, times[0]


def after_start(browser: Browser, data: Path, script: str, path: str, rounds: int) -> list[float]:
    """Return the times of the first visit to servers that have just begun to answer."""
    times = []
    for _ in range(rounds):
        context = new_context(browser)
        with serving(data, script=script) as address:
            times.append(visit(context, f"{address}/{path}")[0].ms)
        context.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="a store with a finished run, such as the demo's")
    parser.add_argument("--run", help="the run that is looked at (default: the first finished one)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pages", help="only these, parted by commas")
    parser.add_argument("--part", choices=PARTS, help="measure this alone: the warm server, or the one that starts")
    parser.add_argument("--script", default="serve.py", choices=("serve.py", "main.py"), help="of app/")
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.error("this needs Chromium: sudo apt-get install chromium")
    data = options.data.resolve()
    runs = Store(data).runs()
    run = options.run or runs.loc[runs["state"] == "finished", "run"].iloc[0]
    names = [name for name in page_names() if options.pages is None or name in options.pages.split(",")]
    paths = {name: f"{'' if name == 'start' else name}?{urlencode({'run': run})}" for name in names}
    rows: dict[str, dict[str, Any]] = {name: {"page": name} for name in names}
    first: dict[str, list[float]] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if options.part != "start":
            with serving(data, script=options.script) as address:
                for path in paths.values():  # libraries, tables and results are there from then on
                    context = new_context(browser)
                    visit(context, f"{address}/{path}")
                    context.close()
                for name, path in paths.items():
                    rows[name], first[name] = warm(browser, f"{address}/{path}", name, options.rounds)
        if options.part != "warm":
            for name, path in paths.items():
                times = after_start(browser, data, options.script, path, options.rounds)
                rows[name]["start_ms"] = round(statistics.median(times))
                if name in first:
                    rows[name]["start_over_first"] = medians(times, first[name])
        browser.close()
    print(json.dumps({"run": run, "rounds": options.rounds, "pages": list(rows.values())}, indent=1))


if __name__ == "__main__":
    main()
