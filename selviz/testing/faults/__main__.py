"""What breaks when processes are killed, disks fill up, files rot.

`python benchmarks/failure/faults.py`, or `python -m selviz.testing.faults`, prints one JSON document:

    {"kills": {"kills", "stages": {...}}, "disk_full": {...}, "read_only": {...}, "clock": {...}, "damage": {...},
     "moved": {...}, "wrong": [...], "seconds"}

`wrong` has a sentence for everything that did not hold; it should be empty. Each command of `selviz` runs in a process
of its own, forked from one that has torch loaded. After each fault the store is opened and checked, the same command
runs again, and weights (SHA-256) and all tables but timings must be those of a run that nothing disturbed. A full disk
is a limit on the size of a file (RLIMIT_FSIZE), which needs no rights; where mounting is allowed (`unshare -rm`), a
small tmpfs that is really full, and a mount that can only be read, besides. --quick takes less than a minute, --short a
few seconds.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "SELVIZ_NO_DEMO": "1"}

from selviz.testing.faults.bench import COMMANDS, LOADED, WORK, Bench
from selviz.testing.faults.experiments import clock, damage, disk_full, kills, moved
from selviz.testing.faults.mounts import inside, mounted

SIZES = {  # kills, sizes of files at which the disk is full, places of a changed bit in each file
    "full": (100, (20_000, 300_000, 900_000, 1_200_000), 5),
    "quick": (12, (300_000,), 1),
    "short": (3, (300_000,), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--short", action="store_true", help="a few seconds: what a test runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places (default: %(default)s)")
    parser.add_argument("--kills", type=int, help="so many of them (default: 100; 12 with --quick, 3 with --short)")
    parser.add_argument("--only", help="such as kills,damage")
    parser.add_argument("--stages", help=f"only these of {','.join(COMMANDS)}")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    WORK.set_forkserver_preload(LOADED)
    if args.inside:
        print(json.dumps(inside(args.inside[0], Path(args.inside[1]))))
        return
    started = time.monotonic()
    number, limits, places = SIZES["short" if args.short else "quick" if args.quick else "full"]
    stages = args.stages.split(",") if args.stages else ["train", "atlas"] if args.short else list(COMMANDS)
    free = (100_000,) if args.quick else (50_000, 400_000, 900_000)
    everything = {"kills", "disk_full", "tmpfs", "read_only", "clock", "damage", "moved"}
    chosen = set(args.only.split(",")) if args.only else everything
    chosen = {"kills", "disk_full"} if args.short else chosen
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        bench = Bench(Path(folder), stages, args.seed)
        experiments = {
            "kills": lambda: kills(bench, args.kills or number),
            "moved": lambda: moved(bench),
            "read_only": lambda: mounted(bench, "read-only", free),
            "clock": lambda: clock(bench),
            "disk_full": lambda: disk_full(bench, limits),
            "tmpfs": lambda: mounted(bench, "tmpfs", free),
            "damage": lambda: damage(bench, places),
        }
        results = {}
        for name, experiment in experiments.items():
            if name in chosen:
                begun = time.monotonic()
                results[name] = {**experiment(), "seconds": round(time.monotonic() - begun, 1)}
                print(name, results[name], bench.wrong, file=sys.stderr)
    results |= {"wrong": bench.wrong, "seed": args.seed, "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
