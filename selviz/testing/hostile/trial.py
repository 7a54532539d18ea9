"""Inputs tried one by one in a process that is watched: `python -m selviz.testing.hostile.trial ROOT RUN SEED PLAN`.

A line of JSON before each input and one after it, so that whoever reads them knows at which one the process died.
"""

import contextlib
import json
import logging
import os
import random
import resource
import sys
import time
from pathlib import Path

from selviz.testing.hostile.surfaces import SURFACES, Room, Surface
from selviz.testing.hostile.watch import Watch

MEMORY = 3 * 2**30  # bytes more than at the beginning: a query may have 2 GB, the rest is its result and room
GROWTH = 2.6e9  # that the peak may grow by for one input


def main(root: str, run: str, seed: str, plan: str) -> None:
    """Carry out `plan`: JSON of [[surface, first number, last number + 1], ...]."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is printed by others is no result
    logging.disable(logging.CRITICAL)
    room = Room(Path(root), run)
    secret = (room.canaries / "secret.txt").read_text()
    watch = Watch(room.canaries)
    places = [room.store, room.inputs, room.root / "cache", room.root / "tmp"]
    for name, first, last in json.loads(plan):
        surface = SURFACES[name](room)
        watch.allow([room.root / "images"], [*places, *([room.root / "images"] if name == "folders" else [])])
        data = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (data + MEMORY, resource.RLIM_INFINITY))
        surface.lay_out(surface.good())
        surface.use(surface.good())  # what is imported at first use is not an input's doing
        for number in range(first, last):
            thing = surface.make(random.Random(f"{seed} {name} {number}"))
            print(json.dumps({"begins": [name, number]}), file=out)
            print(json.dumps({"ended": [name, number], **tried(surface, watch, thing, secret, room)}), file=out)


def tried(surface: Surface, watch: Watch, thing, secret: str, room: Room) -> dict:
    """Return how it ended (used, refused), what was seen that must not be, how long it took, how far the peak of memory rose."""
    surface.lay_out(thing)
    before, peak, started = _listed(room), _peak(), time.perf_counter()
    end, error = "used", None
    with watch.over() as seen, contextlib.redirect_stdout(sys.stderr):
        try:
            result = surface.use(thing)
        except surface.refusals as refusal:
            end, result = "refused", str(refusal)
        except BaseException as problem:
            end, result, error = "failed", str(problem), problem
    seconds, rise = time.perf_counter() - started, _peak() - peak
    if error is not None:
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        seen.append(f"raises {type(error).__name__} at {where}: {str(error)[:200]}")
    if isinstance(result, str) and secret in result:
        seen.append("tells the secret")
    if (after := _listed(room)) != before:
        seen.append(f"changes the folder around: {sorted(before ^ after)[:3]}")
    if rise > GROWTH:
        seen.append(f"takes {rise / 1e6:.0f} MB")
    return {"end": end, "seen": seen, "ms": round(1000 * seconds, 1), "rise_mb": round(rise / 1e6, 1)}


def _listed(room: Room) -> set[str]:
    """Return all that lies in the room outside the places where something may be written."""
    free = {"store", "inputs", "images", "cache", "tmp"}
    tops = [entry for entry in room.root.iterdir() if entry.name not in free]
    return {str(path) for top in tops for path in (top, *top.rglob("*"))}


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*sys.argv[1:])
