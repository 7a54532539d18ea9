"""A stranger's SQL in a process of its own: `ask("data", query, runs, limit, seconds)` gives what `Store.sql` gives.

DuckDB neither counts what a function makes against its limit of memory nor looks for an interrupt meanwhile:
`repeat('A', 1000000000)` takes a minute and 5 GB. A process can be ended, and can be given no more memory.
"""

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from selviz.errors import SelvizError

START = 20.0  # seconds beyond the query's own, in which Python starts on a busy machine and the result is sent
MEMORY = 3 * 2**30  # bytes beyond those of a process that has begun: DuckDB's own limit, a result and its copies
REFUSED = 3  # exit status after one sentence on stderr
HOME = Path(__file__).resolve().parents[2]


def ask(folder: str, query: str, runs: Sequence[str] | None, limit: int, seconds: float) -> pd.DataFrame:
    """`Store(folder).sql(...)`, whatever the query does. SelvizError also where it needs too much time or memory."""
    asked = json.dumps({"folder": str(folder), "query": query, "runs": runs, "limit": limit, "seconds": seconds})
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "selviz.store.apart"],
            input=asked.encode(),
            capture_output=True,
            timeout=seconds + START,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        raise SelvizError(
            f"The query took longer than {seconds:g} seconds and was ended; name fewer runs, layers or units, or make "
            "no long texts or lists in it."
        ) from None
    if done.returncode == REFUSED:
        raise SelvizError(done.stderr.decode())
    if done.returncode:
        raise SelvizError(
            f"The query needs more than {MEMORY / 2**30:g} GB of memory or ended its process; name fewer runs, layers "
            "or units, or make no long texts or lists in it."
        )
    return pickle.loads(done.stdout)  # of our own process, which nobody else can write to


def answer(asked: dict) -> bytes:
    """The pickled table of one question, in a process that has no other work."""
    from selviz.store.tables import Store

    runs = asked["runs"] and tuple(asked["runs"])
    return pickle.dumps(Store(asked["folder"]).sql(asked["query"], runs, asked["limit"], asked["seconds"]))


def bound(seconds: float) -> None:
    """No more memory than MEMORY from here on, and an end also where nobody waits any more (not on Windows)."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, now + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds + START), int(seconds + START)))


def main() -> int:
    asked = json.load(sys.stdin)
    from selviz.store import tables  # noqa: F401  before memory is bounded

    bound(asked["seconds"])
    try:
        sys.stdout.buffer.write(answer(asked))
        sys.stdout.buffer.flush()
    except SelvizError as error:
        sys.stderr.write(str(error))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
