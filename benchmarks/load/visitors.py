"""Ten visitors at once: `python benchmarks/load/visitors.py` prints one JSON document.

Visitors open the Ablation page and change their units and the mode as fast as they get answers, one time in three
before the answer came; two more do so in a browser, by the address bar. Every answer is compared with `run_ablation` in
this process. `wrong_answers`: another accuracy than that. `lost_requests`: the newest request of a visitor was not
answered, for instance because an older one won. `errors`: exceptions and error boxes on a page, and exceptions in the
server's log; `examples` has the first of each, with the traceback. Times run from sending a request to the first
accuracy (an estimate, or the answer at once where it is known) and to the exact one; those of the browsers include
loading the page.

Memory is the server's (resident set, MB). Both levels are taken at rest, --rest seconds after the last visitor left:
`memory_before_mb` after one visitor has asked for ten seconds, so that libraries, network and images are loaded,
`memory_after_mb` after the crowd. `memory_back`: the second is at most TOLERANCE times the first. What may stay are
answers, which are kept within a budget of their own (in app/compute/ablation.py).

The store is made for it, or is the one in --data.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selviz.config import RunConfig
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.testing.crowd import MODES, Question, Tally, crowd, questions
from selviz.testing.dashboard import raised, resident, serving

WARM_UP = 10.0  # seconds of one visitor
TOLERANCE = 1.15


def figures(tally: Tally) -> dict:
    def median_ms(seconds: list[float]) -> float | None:
        return 1e3 * statistics.median(seconds) if seconds else None

    return {
        "requests": tally.requests,
        "superseded_requests": tally.superseded,
        "checked_answers": tally.answers,
        "wrong_answers": len(tally.wrong),
        "lost_requests": len(tally.lost),
        "errors": len(tally.errors),
        "median_first_estimate_ms": median_ms(tally.first),
        "median_settled_ms": median_ms(tally.settled),
        "worst_settled_ms": 1e3 * max(tally.settled, default=0),
        "browser_median_first_estimate_ms": median_ms(tally.browser_first),
        "browser_median_settled_ms": median_ms(tally.browser_settled),
        "browser_answers": len(tally.browser_settled),
        "examples": {"wrong": tally.wrong[:5], "lost": tally.lost[:5], "errors": tally.errors[:5]},
    }


async def measure(address: str, server: int, run: str, asked: list[Question], options) -> dict:
    """Warms the server up, lets the visitors in, waits until it has rested."""
    await crowd(address, run, asked, WARM_UP, visitors=1, browsers=0)
    await asyncio.sleep(options.rest)
    memory = [resident(server)]

    async def watch() -> None:
        while True:
            memory.append(resident(server))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    started = time.perf_counter()
    tally = await crowd(address, run, asked, options.seconds, options.visitors, options.browsers)
    print(f"{tally.requests} requests in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    await asyncio.sleep(options.rest)
    watching.cancel()
    after = resident(server)
    return {
        **figures(tally),
        "memory_before_mb": memory[0],
        "memory_peak_mb": max(memory),
        "memory_after_mb": after,
        "memory_ratio": after / memory[0],
        "memory_back": after <= TOLERANCE * memory[0],
        "visitors": options.visitors,
        "browsers": options.browsers,
        "seconds": options.seconds,
        "questions": len(asked),
        "modes": list(MODES),
        "run": run,
    }


def main(options) -> dict:
    people = options.visitors + options.browsers
    if options.selections < people:
        sys.exit(f"{options.selections} selections are too few for {people} people; give --selections {people}.")
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as made:
        store = Store(options.data or made)
        if not options.data:
            train_run(store, RunConfig("mnist-5k", "cnn", epochs=2))
        run = options.run or store.names()[0]
        asked = questions(store, run, options.selections)
        print(f"{len(asked)} questions answered by the library", file=sys.stderr, flush=True)
        servers: list = []
        path = Path(made) / "server.log"
        with path.open("wb") as log, serving(store.path, started=servers.append, log=log) as address:
            found = asyncio.run(measure(address, servers[0].pid, run, asked, options))
        logged = raised(path)
        found["errors"] += len(logged)
        found["examples"]["server_log"] = logged[:5]
        return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--browsers", type=int, default=2)
    parser.add_argument("--selections", type=int, default=40, help="random sets of units; each is asked in every mode")
    parser.add_argument("--rest", type=float, default=30, help="seconds after all have left")
    parser.add_argument("--data", help="a store with finished runs; its first run, unless --run names another")
    parser.add_argument("--run")
    print(json.dumps(main(parser.parse_args())))
