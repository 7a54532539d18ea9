"""Whether pages and commands became slower: `python benchmarks/speed/two_checkouts.py BEFORE AFTER STORE` prints JSON.

    {"pages": {"network": {"before_ms", "after_ms", "ratio"}, ...}, "commands": {"runs": ..., "--help": ...}}

BEFORE and AFTER are checkouts of this repository, such as `git worktree add /tmp/before COMMIT` makes. Each round opens
both, in processes of their own, one after the other and by turns, so that what else the machine does falls on both.
Pages are runs of their script by `AppTest`, without a browser, each page opened several times on the same view; a
number is the median over rounds of the median within a round. Pages that one of the two lacks are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (("runs",), ("--help",))
# Names of today and of the first version, where pages were files.
PAGES = {"alpha": "overview", "network": "units", "unit": "unit", "silence": "ablation", "compare": "compare",
         "lesson": "lesson", "robustness": "robustness", "data": "data"}  # fmt: skip
PROGRAM = """
import json, logging, os, statistics, sys, time
logging.disable(logging.CRITICAL)
checkout, pages, visits = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, checkout)
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
from selviz.store import Store
store = Store(os.environ["SELVIZ_DATA"])
run = store.names()[0]
first = store.units(run).iloc[0]
folders = os.path.isdir(os.path.join(checkout, "app", "views", "unit"))
for page in pages:
    test = AppTest.from_file(os.path.join(checkout, "app", "main.py"), default_timeout=300)
    test.query_params["run"] = run
    if page[1] == "unit":
        test.query_params["layer"], test.query_params["unit"] = first["layer"], str(first["unit"])
    if folders:
        test._page_hash = calc_hash(page[0] if os.path.isdir(os.path.join(checkout, "app", "board")) else page[1])
    else:
        test.switch_page(os.path.join(checkout, "app", "views", page[1] + ".py"))
    took = []
    for _ in range(visits + 2):
        started = time.perf_counter()
        test.run()
        took.append(1000 * (time.perf_counter() - started))
    title = test.title[0].value if test.title else ""
    assert not test.exception and (title or page[0] == "lesson"), (page, [e.message for e in test.exception])
    print("page", page[0], statistics.median(took[2:]))
"""


def page_times(checkout: Path, store: Path, pages: list[tuple[str, str]], visits: int) -> dict[str, float]:
    """Return the median time in ms of one run of each page's script in a checkout, after two that fill its caches."""
    settings = {**os.environ, "SELVIZ_DATA": str(store), "SELVIZ_NO_DEMO": "1"}
    words = [sys.executable, "-P", "-c", PROGRAM, str(checkout), json.dumps(pages), str(visits)]
    done = subprocess.run(words, capture_output=True, text=True, env=settings, cwd=checkout)
    if done.returncode:
        sys.exit(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("page ")]
    return {page: float(ms) for _, page, ms in lines}


def command_time(checkout: Path, store: Path, command: tuple[str, ...]) -> float:
    """Return how long `selviz ...` of a checkout takes, in ms."""
    settings = {**os.environ, "PYTHONPATH": str(checkout), "SELVIZ_DATA": str(store)}
    place = ("--data", str(store)) if command[0] == "runs" else ()
    with tempfile.TemporaryDirectory() as elsewhere:
        started = time.perf_counter()
        words = [sys.executable, "-P", "-m", "selviz", *command, *place]
        subprocess.run(words, check=True, env=settings, cwd=elsewhere, stdout=subprocess.DEVNULL)
        return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("store", type=Path, help="a store with finished runs, such as the demo's; nothing is changed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--visits", type=int, default=6)
    parser.add_argument("--pages", default=",".join(PAGES), help="only these, parted by commas")
    arguments = parser.parse_args()
    checkouts = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    pages = [(page, PAGES[page]) for page in arguments.pages.split(",")]
    store = arguments.store.resolve()
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(arguments.rounds):
        for side, checkout in list(checkouts.items())[:: 1 if number % 2 == 0 else -1]:
            for page, ms in page_times(checkout, store, pages, arguments.visits).items():
                took.setdefault((side, page), []).append(ms)
            for command in COMMANDS:
                took.setdefault((side, command[0]), []).extend(command_time(checkout, store, command) for _ in range(2))

    def both(name: str) -> dict[str, float]:
        before, after = (statistics.median(took[side, name]) for side in checkouts)
        return {"before_ms": round(before, 1), "after_ms": round(after, 1), "ratio": round(after / before, 3)}

    result = {"pages": {page: both(page) for page, _ in pages}, "commands": {name: both(name) for name, *_ in COMMANDS}}
    print(json.dumps({**result, "rounds": arguments.rounds, "visits": arguments.visits}, indent=1))


if __name__ == "__main__":
    main()
