"""A stranger's SQL in a process of its own: `ask("data", query, runs, limit, seconds)` gives what `Store.sql` gives.

DuckDB neither counts what a function makes against its limit of memory nor looks for an interrupt meanwhile:
`repeat('A', 1000000000)` takes a minute and 5 GB. A process can be ended, and can be given no more memory.
"""

import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from selviz.errors import SelvizError
from selviz.store.store import Store
from selviz.system.processes import environment

START = 20.0  # seconds beyond the query's own, in which Python starts on a busy machine and the result is sent
MEMORY = 3 * 2**30  # bytes beyond those of a process that has begun: DuckDB's own limit, a result and its copies
REFUSED = 3  # exit status after one sentence on stderr


def ask(folder: str, query: str, runs: Sequence[str] | None, limit: int, seconds: float) -> pd.DataFrame:
    """`Store(folder).sql(...)`, whatever the query does. SelvizError also where it needs too much time or memory."""
    asked = json.dumps({"folder": str(folder), "query": query, "runs": runs, "limit": limit, "seconds": seconds})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "selviz.store.sql_process"],
            input=asked.encode(),
            capture_output=True,
            timeout=seconds + START,
            env=environment(),
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


def bound(seconds: float) -> None:
    """No more memory than MEMORY from here on (Linux), and an end also where nobody waits any more (not on Windows)."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds + START), int(seconds + START)))
        now = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, now + MEMORY))


def main() -> int:
    """Reads one question from stdin and writes the pickled table to stdout."""
    asked = json.load(sys.stdin)
    bound(asked["seconds"])
    try:
        table = Store(asked["folder"]).sql(asked["query"], asked["runs"], asked["limit"], asked["seconds"])
    except SelvizError as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(pickle.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
