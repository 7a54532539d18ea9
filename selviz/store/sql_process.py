"""A stranger's SQL in a process of its own: `run_sql_in_subprocess("data", query, runs, limit, seconds)`.

DuckDB neither counts what a function makes against its limit of memory nor looks for an interrupt meanwhile:
`repeat('A', 1000000000)` takes a minute and 5 GB. A process can be ended, and can be given no more memory.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from selviz.errors import SelvizError, TransientError, first_line, system_problem
from selviz.store.store import Store
from selviz.system.processes import ROOT, environment, takes_more_than

POLL_S = 0.05  # polling interval of whether anybody still waits for the answer
START_S = 20.0  # beyond the query's own time, in which Python starts on a busy machine and the result is sent
MEMORY = 3 * 2**30  # bytes beyond those of a process that has begun: DuckDB's own limit, a result and its copies
MAX_BYTES = 20_000_000  # of a result in Arrow's form: what a browser is sent, and what a cache holds
NICENESS = 10  # pages come first
REFUSED, MAY_PASS, NO_MEMORY = 3, 4, 5  # exit statuses after one sentence on stderr


def run_sql_in_subprocess(
    folder: str | os.PathLike[str],
    query: str,
    runs: Sequence[str] | None,
    limit: int,
    seconds: float,
    while_waiting: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """Return what `Store(folder).sql(...)` returns, whatever the query does, cut at MAX_BYTES.

    `while_waiting` is called all the time that the query takes; what it raises ends the query's process. SelvizError
    says what is wrong with the query; TransientError, that it took too long or that its process was ended.
    """
    try:
        question = json.dumps(
            {"folder": os.path.abspath(folder), "query": query, "runs": runs, "limit": limit, "seconds": seconds}
        )
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "selviz.store.sql_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
        )
    except (OSError, MemoryError) as error:
        reason = system_problem(error) or first_line(error)
        raise TransientError(f"The query cannot be asked now: {reason}; try again.") from error
    try:
        answer, complaint = _wait(child, question.encode(), seconds + START_S, while_waiting)
    except subprocess.TimeoutExpired:
        raise _took_too_long(seconds) from None
    finally:
        if child.poll() is None:
            child.kill()
        with child:  # reap it, and close its pipes
            pass
    if child.returncode == 0:
        return _unpacked(answer)
    if child.returncode == REFUSED:
        raise SelvizError(complaint.decode())
    if child.returncode == MAY_PASS:
        raise TransientError(complaint.decode())
    raise _ended(child.returncode, seconds)


def _wait(
    child: subprocess.Popen[bytes], question: bytes, seconds: float, while_waiting: Callable[[], object]
) -> tuple[bytes, bytes]:
    """Return what the child writes to stdout and stderr; after `seconds` raise TimeoutExpired."""
    deadline, given = time.monotonic() + seconds, question
    while True:
        try:
            return child.communicate(given or None, timeout=POLL_S)
        except subprocess.TimeoutExpired:
            given = b""
            if time.monotonic() > deadline:
                raise
            if takes_more_than(child, MEMORY):
                child.kill()
                child.wait()
                child.returncode = NO_MEMORY
                return b"", b""
        while_waiting()


def _took_too_long(seconds: float) -> TransientError:
    return TransientError(
        f"The query took longer than {seconds:g} seconds and was ended; name fewer runs, layers or units, make no long "
        "texts or lists in it, or try again when the machine is less busy."
    )


def _ended(status: int, seconds: float) -> TransientError:
    """Return the error of a process that did not come to its end: nobody can say that it would not another time."""
    if status == -getattr(signal, "SIGXCPU", 0) != 0:
        return _took_too_long(seconds)
    how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    cause = "" if status == NO_MEMORY else f", or its process was {how} from outside"
    return TransientError(
        f"The query needs more than {MEMORY / 2**30:g} GB of memory{cause}; name fewer runs, layers or units, make no "
        "long texts or lists in it, or try again."
    )


def _limit_resources(seconds: float) -> None:
    """Take no more memory than MEMORY from here on, end also where nobody waits any more, and come last.

    What limits itself is Linux; elsewhere `run_sql_in_subprocess` looks how much is taken.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds + START_S), int(seconds + START_S)))
        now = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, now + MEMORY))


def _packed(table: pd.DataFrame) -> pa.Table:
    """Return a table in Arrow's form, its first rows where all would be over MAX_BYTES; what has no type is text."""
    columns = [_arrow_column(table.iloc[:, position]) for position in range(table.shape[1])]
    packed = pa.Table.from_arrays(columns, names=[str(name) for name in table.columns])
    attrs: dict[Hashable | None, Any] = dict(table.attrs)
    if packed.nbytes > MAX_BYTES:
        rows = int(packed.num_rows * MAX_BYTES / packed.nbytes)
        if not rows:
            raise SelvizError(
                f"A row of the result is larger than {MAX_BYTES // 1_000_000} MB; name fewer or shorter columns."
            )
        packed, attrs["truncated"] = pa.Table.from_batches(packed.slice(0, rows).to_batches()), True
    return packed.replace_schema_metadata({b"attrs": json.dumps(attrs).encode()})


def _arrow_column(values: pd.Series) -> pa.Array:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _unpacked(answer: bytes) -> pd.DataFrame:
    packed = pa.ipc.open_stream(answer).read_all()
    table: pd.DataFrame = packed.replace_schema_metadata(None).to_pandas()
    table.attrs.update(json.loads(packed.schema.metadata[b"attrs"]))
    return table


def main() -> int:
    """Read one question from stdin and write the table, in Arrow's form, to stdout."""
    question = json.load(sys.stdin)
    _limit_resources(question["seconds"])
    try:
        store = Store(question["folder"])
        packed = _packed(store.sql(question["query"], question["runs"], question["limit"], question["seconds"]))
    except SelvizError as error:
        sys.stderr.write(str(error))
        return MAY_PASS if isinstance(error, TransientError) else REFUSED
    except MemoryError:
        return NO_MEMORY
    with pa.ipc.new_stream(sys.stdout.buffer, packed.schema) as stream:
        stream.write_table(packed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
