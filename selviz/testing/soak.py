"""A day of a small class in a few minutes: `asyncio.run(soak(address, process, store, 120, 10, 6))`.

Six people who open a page every three minutes for 24 hours make 2,880 visits. Here rounds of visits follow each other
without a pause: in each, some visitors come at once, walk from page to page by random links (other units, images,
silenced sets, queries), and leave. When all of a round have left, the server's memory (resident set), file handles and
threads are sampled. Two slopes come of it, per 1,000 visits, by least squares over the rounds after the first third
(caches fill in it), each with a 95 % t interval, which takes the rounds' noise as independent. `flat`: the interval of
the slope does not lie above 0, or what it may rise by in a day is below a twentieth of the level.
"""

import asyncio
import os
import random
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import websockets
from scipy import stats

from selviz.testing.dashboard import page_paths
from selviz.testing.visitor import Visitor

DAY = 2880  # visits
# Streamlit keeps the session of a visitor who left for two minutes, in case of return: three file handles each.
SOON = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "1"}
TTL_S = 120  # the time to live of a session whose visitor is gone, as Streamlit has it
SETTLED = 1 / 3  # of the rounds are over before a slope is taken
SMALL = 0.05  # of the level
PATIENCE_S = 600  # for a page, on a machine that may have other work
GRACE_S = 15  # between two looks for what has expired, and room


def link(dice: random.Random, page: str, run: str, sizes: dict[str, int], images: int) -> dict[str, str]:
    """Return a link to the page that a person might have."""
    layer = dice.choice(list(sizes))
    unit = str(dice.randrange(sizes[layer]))
    parameters = {
        "unit": {"layer": layer, "unit": unit, "image": str(dice.randrange(images))},
        "silence": {"silence": f"{layer}:{unit}", "mode": dice.choice(["zero", "mean"])},
        "network": {"layer": layer, "dead": dice.choice(["all", "live"])},
        "lesson": {"step": str(dice.randrange(1, 8))},
        "data": {"query": f"select * from units where unit = {unit} limit {dice.randrange(1, 50)}"},
    }
    return {"run": run, **parameters.get(page, {})}


def kinds(process: int) -> dict[str, int]:
    """Return what the file handles of a process are now: sockets, pipes, files by their ending, ... (Linux)."""
    counts = Counter()
    for handle in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed in between
            name = os.readlink(handle)
            counts[Path(name).suffix or name if name.startswith("/") else name.partition(":")[0]] += 1
    return dict(counts.most_common())


def sample(process: int) -> dict[str, float]:
    """Return memory (MB), file handles and threads of a process now (Linux)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    handles = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return {"memory_mb": int(lines["VmRSS"].split()[0]) / 1024, "handles": handles, "threads": int(lines["Threads"])}


async def soak(address: str, process: int, store, visits: int, rounds: int, visitors: int, pages=(), rest=0.5) -> dict:
    """Return the samples after each round, the errors that pages showed, and the visits that did not end."""
    run = store.names()[0]
    sizes = store.layers(run).set_index("layer")["units"].to_dict()
    images, errors, lost, samples = len(store.images(run)), [], [], []
    each = max(1, visits // (rounds * visitors))

    async def visit(number: int, rounded: int) -> None:
        dice = random.Random(f"{rounded} {number}")
        try:
            async with Visitor(address) as visitor:
                for _ in range(each):
                    page = dice.choice(pages or page_paths())
                    query = link(dice, page, run, sizes, images)
                    await visitor.open(page, urlencode(query), PATIENCE_S)
                    errors.extend(f"{page} {query}: {error}" for error in visitor.errors())
        except Exception as error:  # whatever ends a visit is a finding
            lost.append(f"{type(error).__name__}: {error}"[:200])

    for rounded in range(rounds):
        await asyncio.gather(*(visit(number, rounded) for number in range(visitors)))
        await asyncio.sleep(rest)  # the server puts sessions away after its clients are gone
        samples.append({"visits": (rounded + 1) * each * visitors, **sample(process)})
        print(f"round {rounded + 1} of {rounds}: {samples[-1]}", file=sys.stderr, flush=True)
    return {"run": run, "samples": samples, "errors": errors, "lost": lost, "kinds": kinds(process)}


async def at_the_limit(address: str, process: int, visitors: int) -> dict:
    """Return how many of so many visitors who stay were let in, and what came of the others and of the next one.

    `refused` were told so, by the server's answer to their request to connect; `others` ended in another way.
    """
    let_in: list[Visitor] = []
    refused, others = 0, []
    for _ in range(visitors):
        try:
            let_in.append(await Visitor(address).__aenter__())
        except websockets.InvalidStatus:
            refused += 1
        except Exception as error:  # whatever else ends a visit is a finding
            others.append(f"{type(error).__name__}: {error}"[:200])
    for visitor in let_in:
        await visitor.open("train", seconds=PATIENCE_S)
    told = [error for visitor in let_in for error in visitor.errors()]
    held = sample(process)["handles"]
    for visitor in let_in:
        await visitor.__aexit__()
    async with Visitor(address) as visitor:
        await visitor.open("alpha", seconds=PATIENCE_S)
        told += visitor.errors()
    return {"let_in": len(let_in), "refused": refused, "others": others, "errors": told, "handles": held}


async def soak_at_a_limit(
    address: str, process: int, store, visits: int, rounds: int, visitors: int, handles: int
) -> dict:
    """Return what a soak gives of a server that may open few files and keeps sessions as long as it always does.

    `before` and `after` are samples where all visitors have been gone for longer than TTL_S; in between rounds follow
    each other while sessions of earlier ones are still kept, and then more visitors come than there is room for.
    """
    import resource  # Windows has none

    resource.prlimit(process, resource.RLIMIT_NOFILE, (handles, handles))
    await soak(address, process, store, len(page_paths()), 1, 1)  # libraries and caches
    await asyncio.sleep(TTL_S + GRACE_S)
    before = sample(process)
    found = await soak(address, process, store, visits, rounds, visitors)
    crowd = await at_the_limit(address, process, handles // 5 + 10)
    await asyncio.sleep(TTL_S + GRACE_S)
    async with Visitor(address) as visitor:
        await visitor.open("network", seconds=PATIENCE_S)
        found["errors"] += visitor.errors()
        held = kinds(process)
    await asyncio.sleep(TTL_S + GRACE_S)
    return {**found, "limit": handles, "before": before, "crowd": crowd, "after": sample(process), "kinds": held}


def slope(samples: list[dict], name: str) -> dict:
    """Return how a quantity rises with the visits, over the later rounds: per 1,000 visits and per day, 95 %
    interval.
    """
    later = samples[int(len(samples) * SETTLED) :]
    x, y = np.array([one["visits"] for one in later]) / 1000, np.array([one[name] for one in later])
    regression = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * np.nan_to_num(regression.stderr)  # NaN where the quantity never changed
    low, high = regression.slope - half, regression.slope + half
    level = float(np.median(y))
    return {
        "level": level,
        "per_1000_visits": regression.slope,
        "low": low,
        "high": high,
        "a_day": regression.slope * DAY / 1000,
        "a_day_high": high * DAY / 1000,
        "rounds": len(x),
        "flat": bool(low <= 0 or high * DAY / 1000 < SMALL * level),
    }
