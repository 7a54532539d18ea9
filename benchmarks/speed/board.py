"""How fast the board answers, in a real browser: `python benchmarks/speed/board.py --data data` prints JSON.

    {"run", "repeats", "tile_ms", "bar_ms", "exact_ms", "controls_ms", "start_ms", "frames_per_second", "shift",
     "megabytes"}

Each time is {"median", "p95"} over the repeats, from the press of the button to what is on screen: the tile, the first
bar that moves, the exact number, 100 random and 100 matched sets; and from going to the start page of a warm server to
its complete picture. `shift` is the cumulative layout shift of each page, `megabytes` what its messages to the browser
have together; `frames_per_second` that of a pointer moving over a board of 22,720 units. `--part` measures some of it
alone; `--run` is the first baseline unless it is named.
"""

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, Page, sync_playwright

from selviz.publishing import board as boards
from selviz.store import Store
from selviz.testing.dashboard import CHROMIUM, FLAGS, serving

PAGES = ("", "lesson", "alpha", "network", "unit", "silence", "compare", "claims", "robustness", "hidden", "early",
         "train", "data")  # fmt: skip
PATIENCE = 120_000  # milliseconds
FIND = """const find = root => root.querySelector('.board-host')
  ?? [...root.querySelectorAll('*')].map(one => one.shadowRoot && find(one.shadowRoot)).find(Boolean);"""
# Notes when the tile is dark, when the bars first change (or the number above them, where the unit moves no class), and
# when what they say is no estimate.
WATCH = (
    """unit => {"""
    + FIND
    + """
  const {board} = find(document), times = window.boardTimes = {};
  let begun;
  const bars = () => board.outputs.innerText, before = bars(), index = board.indices(unit)[0];
  const was = board.silent.has(index);
  const look = () => {
    const now = performance.now() - begun;
    if (times.tile === undefined && board.silent.has(index) !== was) times.tile = now;
    if (times.bar === undefined && bars() !== before) times.bar = now;
    if (times.bar !== undefined && !board.view.estimate) times.exact = now;
    if (now < 30000 && times.exact === undefined) requestAnimationFrame(look);
  };
  board.top.addEventListener('pointerdown', () => { begun = performance.now(); look(); }, {once: true});
}"""
)
TILE = (
    """unit => {"""
    + FIND
    + """
  const {board} = find(document), frame = board.top.getBoundingClientRect();
  const {x, y, tile} = board.box(board.indices(unit)[0]);
  return [frame.x + x + tile / 2, frame.y + y + tile / 2];
}"""
)
# The cumulative layout shift as browsers define it: the largest sum of shifts that lie less than a second apart, in at
# most five seconds, without those that follow a click or key.
SHIFT = """() => { let first = 0, last = 0, sum = 0; window.shifted = 0; window.shifts = [];
  new PerformanceObserver(list => {
  for (const {hadRecentInput, startTime, value, sources} of list.getEntries()) {
    if (hadRecentInput) continue;
    if (startTime - last > 1000 || startTime - first > 5000) { sum = 0; first = startTime; }
    last = startTime;
    sum += value;
    window.shifts.push([Math.round(startTime), value, ...sources.map(({node, previousRect: a, currentRect: b}) =>
      `${(node?.closest?.('[class*=st-key]') ?? node)?.className} ${a.x},${a.y},${a.width},${a.height} > `
      + `${b.x},${b.y},${b.width},${b.height}`)]);
    window.shifted = Math.max(window.shifted, sum);
  } }).observe({type: 'layout-shift', buffered: true}); }"""


def quantiles(values: list[float]) -> dict[str, float]:
    """Return median and 95th percentile of times in milliseconds."""
    return {"median": round(statistics.median(values), 1), "p95": round(float(np.percentile(values, 95)), 1)}


def settled(page: Page) -> None:
    """Wait until the page is drawn."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=PATIENCE)


def clicks(page: Page, address: str, run: str, units: list[str], repeats: int, controls: bool) -> dict[str, Any]:
    """Measure clicks on tiles of the page of silencing; without `controls` none waits for the control sets."""
    page.goto(f"{address}/silence?draws=100&run={run}")
    page.locator(".board-row").first.wait_for(timeout=PATIENCE)
    settled(page)
    times: dict[str, list[float]] = {"tile": [], "bar": [], "exact": [], "controls": []}
    random.Random(0).shuffle(units)  # each one once, as a result that was there before is kept
    for _, unit in zip(range(repeats + 1), units):  # the first one loads what all need
        page.evaluate(WATCH, unit)
        begun = time.monotonic()
        page.mouse.click(*page.evaluate(TILE, unit))
        page.wait_for_function("window.boardTimes.exact !== undefined", timeout=PATIENCE)
        if controls:
            settled(page)
        times["controls"].append(1000 * (time.monotonic() - begun))
        found = page.evaluate("window.boardTimes")
        for name in ("tile", "bar", "exact"):
            times[name].append(found[name])
        page.get_by_role("button", name="Put all back").click()
        page.locator(".board-accuracy", has_text="was").wait_for(state="detached", timeout=PATIENCE)
        settled(page)
    shown = times if controls else {name: values for name, values in times.items() if name != "controls"}
    return {f"{name}_ms": quantiles(values[1:]) for name, values in shown.items()}


def start(page: Page, address: str, run: str, repeats: int) -> dict[str, float]:
    """Measure how long the start page takes on a warm server."""
    times = []
    for _ in range(repeats + 1):
        begun = time.monotonic()
        page.goto(f"{address}/?run={run}")
        page.locator(".board-row").first.wait_for(timeout=PATIENCE)
        page.locator(".selviz-ten img").first.wait_for(timeout=PATIENCE)
        times.append(1000 * (time.monotonic() - begun))
    return quantiles(times[1:])


def pages(browser: Browser, address: str, run: str, sources: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Return the layout shift and the megabytes received of each page, each with nothing in the browser's cache.

    `sources` writes what moved to stderr.
    """
    shift, megabytes = {}, {}
    received = [0]
    for name in PAGES:
        received[:] = [0]
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(len(data))))
        page.add_init_script(f"({SHIFT})()")
        page.goto(f"{address}/{name}?run={run}")
        settled(page)
        page.wait_for_timeout(1500)
        shift[name or "start"] = round(page.evaluate("window.shifted"), 3)
        if sources:
            print(name or "start", page.evaluate("window.shifts"), file=sys.stderr)
        page.context.close()
        megabytes[name or "start"] = round(sum(received) / 1e6, 2)
    return shift, megabytes


def frames(page: Page, units: int = 22_720, layers: int = 49, moves: int = 240) -> float:
    """Return frames per second of a pointer that moves over a generated board."""
    dice = np.random.default_rng(0)
    sizes = np.full(layers, units // layers)
    sizes[: units - sizes.sum()] += 1
    table = pd.DataFrame({"layer": [f"layer{n // 13}.{n}.relu" for n in range(layers)], "units": sizes})
    table["start"] = table["units"].cumsum() - table["units"]
    table["stage"] = boards.stages(table["layer"].tolist())
    classes = [f"class {number}" for number in range(1000)]
    si = dice.beta(1.2, 3, units).astype(np.float32)
    preferred = dice.integers(0, 1000, units).astype(np.int16)
    table = table.astype({"units": int, "start": int})
    model = boards.Board("x", "generated", classes, table, si, si, preferred, None, None, None).model()
    script, style = boards.script(), boards.STYLE.read_text(encoding="utf-8")
    view = {"silent": "", "mode": "silence", "silencing": True, "before": [0.8] * 1000, "accuracy_before": 0.8}
    page.set_content(
        f"<style>.host{{height:420px;container-type:inline-size}}{style}</style><div class=host></div>"
        f"<script>{script}\n"
        f"const board = new Board(document.querySelector('.host'), () => 0); board.show({json.dumps(model)});"
        f"board.update({json.dumps(view)});</script>"
    )
    page.wait_for_timeout(500)
    return page.evaluate(
        """moves => new Promise(done => {
          const begun = performance.now();
          const {x, y} = board.top.getBoundingClientRect();
          const step = number => {
            const at = board.box((number * 97) % board.count), place = {clientX: x + at.x + 1, clientY: y + at.y + 1};
            board.top.dispatchEvent(new PointerEvent("pointermove", place));
            if (number < moves) requestAnimationFrame(() => step(number + 1));
            else done(1000 * moves / (performance.now() - begun)); };
          step(0);
        })""",
        moves,
    )


PARTS = ("start", "clicks", "pages", "frames")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a store with a finished run, such as the demo's")
    parser.add_argument("--run", help="the run that is clicked on (default: the first baseline)")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--no-controls", action="store_true", help="do not wait for the control sets of each click")
    parser.add_argument(
        "--script", default="serve.py", choices=("serve.py", "main.py"), help="of app/; `selviz serve` runs serve.py"
    )
    parser.add_argument("--sources", action="store_true", help="write to stderr what moved on each page")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this alone; repeat it for more")
    args = parser.parse_args()
    store, parts = Store(args.data), args.part or PARTS
    runs = store.runs()
    run = args.run or runs.loc[(runs["state"] == "finished") & (runs["alpha"] == 0), "run"].iloc[0]
    last = store.units(run).query("not dead")
    last = last[last["layer"] == last["layer"].iloc[-1]]
    units = [f"{layer}:{unit}" for layer, unit in zip(last["layer"], last["unit"])]
    result: dict[str, Any] = {"run": run, "repeats": args.repeats}
    with sync_playwright() as driver, serving(args.data, script=args.script) as address:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        if "start" in parts:
            result["start_ms"] = start(page, address, run, args.repeats)
        if "clicks" in parts:
            result |= clicks(page, address, run, units, args.repeats, not args.no_controls)
        if "pages" in parts:
            result["shift"], result["megabytes"] = pages(browser, address, run, args.sources)
        if "frames" in parts:
            result["frames_per_second"] = round(frames(browser.new_context().new_page()), 1)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
