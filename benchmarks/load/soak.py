"""A day of a small class in a few minutes: `python benchmarks/load/soak.py [--quick]` prints one JSON document.

What a visit is, what is sampled and how a slope is judged stands in `selviz/testing/soak.py`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selviz.testing.dashboard import serving
from selviz.testing.soak import DAY, SOON, slope, soak, soak_at_a_limit


def main(options) -> dict:
    from selviz.config import RunConfig
    from selviz.runs.train import train_run
    from selviz.store import Store

    with tempfile.TemporaryDirectory(prefix="selviz-soak-") as made:
        store = Store(options.data or made)
        if not options.data:
            for alpha in (0, -1):
                train_run(store, RunConfig("digits", "cnn", alpha=alpha, epochs=1), lambda news: None)
        servers: list = []
        started = time.perf_counter()
        settings, script = ({}, "serve.py") if options.handles else (SOON, "main.py")
        with serving(store.path, started=servers.append, script=script, **settings) as address:
            asked = (address, servers[0].pid, store, options.visits, options.rounds, options.visitors)
            found = asyncio.run(
                soak_at_a_limit(*asked, options.handles) if options.handles else soak(*asked, rest=options.rest)
            )
        return {
            "visits": found["samples"][-1]["visits"],
            "seconds": round(time.perf_counter() - started, 1),
            "visitors_at_once": options.visitors,
            "errors": len(found["errors"]),
            "lost_visits": len(found["lost"]),
            **{name: slope(found["samples"], name) for name in ("memory_mb", "handles", "threads")},
            **{name: found[name] for name in ("limit", "before", "crowd", "after") if name in found},
            "most_handles": max(sample["handles"] for sample in found["samples"]),
            "examples": {"errors": found["errors"][:5], "lost": found["lost"][:5]},
            "handles_at_the_end": found["kinds"],
            "samples": found["samples"],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=DAY)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--visitors", type=int, default=6, help="at once")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds after each round (default: %(default)s)")
    parser.add_argument("--data", help="a store with finished runs; one with two small runs is made without")
    parser.add_argument(
        "--handles",
        type=int,
        default=0,
        help="that the server may open; with a limit it keeps the sessions of those who left for its usual 120 s",
    )
    parser.add_argument("--quick", action="store_true", help="120 visits, less than a minute")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.visits, chosen.rounds = 120, 10
    print(json.dumps(main(chosen), indent=1))
