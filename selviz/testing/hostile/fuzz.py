"""What hostile input does: `python benchmarks/failure/fuzz.py [--quick] [--seed 0] [--only zips]`, one JSON document.

Each surface's inputs are tried in a process that is watched (`watch.py`): none may run code, read outside the store
and the named folder of images, write outside its place, end the process, hang, or need all memory. The exit status is 1
where one did. An input is named by seed, surface and number, so that `--only SURFACE --first N` repeats it.
"""

import argparse
import asyncio
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selviz.testing.dashboard import ROOT
from selviz.testing.hostile import pictures, server
from selviz.testing.hostile.surfaces import SURFACES, Room
from selviz.testing.hostile.watch import MARK, Watch

INPUTS = {"uploads": 2000, "queries": 800, "zips": 500, "checkpoints": 1500, "networks": 1200, "claims": 1800,
          "folders": 250, "calls": 2000, "links": 200, "paths": 800, "messages": 250}  # fmt: skip
QUICK = {"uploads": 60, "queries": 40, "zips": 25, "checkpoints": 60, "networks": 50, "claims": 60, "folders": 10,
         "calls": 60, "links": 12, "paths": 40, "messages": 20}  # fmt: skip
OVER_THE_NETWORK = ("links", "paths", "messages")
PATIENCE = 60.0  # seconds for one input, a busy machine included
START = 400.0  # seconds until a surface is ready: it imports torch
LISTED = 40  # problems of a surface that are written out


def main() -> int:
    """Try everything and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--seed", default="0", help="of all inputs (default: %(default)s)")
    parser.add_argument("--only", choices=list(INPUTS), help="one surface")
    parser.add_argument("--first", type=int, default=0, help="number of its first input")
    parser.add_argument("--inputs", type=int, help="so many of each surface")
    args = parser.parse_args()
    counts = {name: args.inputs or count for name, count in (QUICK if args.quick else INPUTS).items()}
    if args.only:
        counts = {args.only: counts[args.only]}
    with tempfile.TemporaryDirectory(prefix="selviz-fuzz-") as folder:
        results = tried(make_room(Path(folder)), args.seed, counts, args.first, args.quick)
    print(json.dumps(results, indent=1))
    return 1 if results["problems"] else 0


def make_room(root: Path, store=None) -> Room:
    """Return a store with one run (a copy of `store`, or one that is trained now), canaries, and room for what is allowed."""
    from selviz.config import RunConfig
    from selviz.runs.train import train_run
    from selviz.store import Store

    for name in ("outside/run", "images", "inputs", "cache", "tmp", "home", "cwd"):
        (root / name).mkdir(parents=True)
    (root / "outside" / "secret.txt").write_text(f"the secret of the {MARK}: {os.urandom(16).hex()}")
    (root / "outside" / "secret.png").write_bytes(pictures.encoded("PNG", 7))
    (root / "outside" / "evil.py").write_text(f"open({str(root / 'outside' / 'made')!r}, 'w')")
    if store is not None:
        shutil.copytree(store.path, root / "store")
    else:
        train_run(Store(root / "store"), RunConfig("digits", "cnn", alpha=-1, epochs=1), lambda event: None)
    return Room(root, Store(root / "store").names()[0])


def tried(room: Room, seed: str, counts: dict[str, int], first: int = 0, together: bool = False) -> dict:
    """Return what was seen, by surface. `together`: the surfaces without a server share one process, which saves its start."""
    started = time.perf_counter()
    plain = [[name, first, first + count] for name, count in counts.items() if name in SURFACES]
    trials: dict[str, list[dict]] = {name: [] for name in counts}
    for plan in [plain] if together and plain else [[part] for part in plain]:
        in_a_process(room, seed, plan, trials)
    if network := {name: counts[name] for name in OVER_THE_NETWORK if name in counts}:
        asyncio.run(over_the_network(room, seed, network, first, trials))
    surfaces = {name: summary(results) for name, results in trials.items()}
    return {
        "seed": seed,
        "inputs": sum(surface["inputs"] for surface in surfaces.values()),
        "problems": sum(surface["problems"] for surface in surfaces.values()),
        "seconds": round(time.perf_counter() - started, 1),
        "surfaces": surfaces,
    }


def summary(results: list[dict]) -> dict:
    """Return counts, the slowest and the largest, and the problems of a surface, each with its input's number."""
    bad = [result for result in results if result["seen"]]
    ends = [result.get("end", "answered") for result in results]
    return {
        "inputs": len(results),
        **{end: ends.count(end) for end in sorted(set(ends))},
        "slowest_ms": max((result["ms"] for result in results), default=0),
        "largest_rise_mb": max((result.get("rise_mb", 0) for result in results), default=0),
        "problems": len(bad),
        "seen": [{"number": result["number"], "what": result["seen"]} for result in bad[:LISTED]],
    }


def in_a_process(room: Room, seed: str, plan: list, results: dict[str, list[dict]]) -> None:
    """Try the inputs of the plan; where the process dies or hangs, says so and goes on with the next one."""
    settings = {**os.environ, **room.environment(), "PYTHONPATH": str(ROOT)}
    while plan:
        words = [sys.executable, "-m", "selviz.testing.hostile.trial", str(room.root), room.run, seed, json.dumps(plan)]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                words, cwd=room.root / "cwd", env=settings, stdout=subprocess.PIPE, stderr=errors
            )
            begun, why = _listen(process, results)
            if why is None and begun is None and process.returncode == 0:
                return
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        if begun is None:
            raise SystemExit(f"The watched process did not start: {' '.join(words)}")
        name, number = begun
        seen = [why or f"ends the process ({process.returncode}): {' '.join(words)[:200]}"]
        results[name].append({"number": number, "end": "died", "seen": seen, "ms": 0})
        at = [part[0] for part in plan].index(name)
        plan = [[name, number + 1, plan[at][2]], *plan[at + 1 :]]
        plan = [part for part in plan if part[1] < part[2]]


def _listen(process, results) -> tuple[list | None, str | None]:
    """Return the input at which the process died or hung, and why if it hung."""
    begun = None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while (line := _line(process, waiting, START if begun is None else PATIENCE)) != b"":
            if line is None:
                process.kill()
                process.wait()
                return begun, f"hangs: no end after {PATIENCE:g} s"
            message = json.loads(line)
            if "begins" in message:
                begun = message["begins"]
            else:
                name, number = message.pop("ended")
                results[name].append({"number": number, **message})
                begun = None
    process.wait()
    return begun, None


def _line(process, waiting, patience: float) -> bytes | None:
    """Return the next line; b"" at the end, None where none came in time."""
    # Lines are short and written whole: one that has begun to come is there.
    return process.stdout.readline() if waiting.select(patience) else None


async def over_the_network(room: Room, seed: str, counts: dict[str, int], first: int, results) -> None:
    """Send links, paths and messages to a dashboard that is watched, and whether it is still there afterwards."""
    known = server.make_hostile_store(room)
    watch, secret = Watch(room.canaries), (room.canaries / "secret.txt").read_text()
    with server.serving(room) as (where, process, seen_file):

        def hears(name):
            def hear(number, seen, seconds):
                seen = [*seen, *watch.opened_canaries()]
                if process.poll() is not None:
                    seen.append(f"ended the server ({process.returncode})")
                results[name].append({"number": number, "seen": seen, "ms": round(1000 * seconds, 1)})

            return hear

        watch.opened_canaries()
        last = {name: first + count for name, count in counts.items()}
        if "links" in counts:
            await server.links(where, room, seed, range(first, last["links"]), known, hears("links"))
        for number in range(first, last.get("paths", first)):
            started = time.perf_counter()
            seen = await asyncio.to_thread(server.ask, where, room, secret, seed, number)
            hears("paths")(number, seen, time.perf_counter() - started)
        if "messages" in counts:
            await server.babble(where, seed, range(first, last["messages"]), hears("messages"))
        seen = [json.loads(line) for line in seen_file.read_text().splitlines()]
        alive = ["is gone"]
        if process.poll() is None:
            alive = await asyncio.to_thread(server.ask, where, room, secret, seed, 0)
        if seen or alive:
            name = next(iter(counts))
            results[name].append({"number": None, "seen": [*dict.fromkeys(seen), *alive], "ms": 0})


if __name__ == "__main__":
    sys.exit(main())
