"""Start and follow work in processes of its own: `start_demo_once()`, `begin(Study(data, run, "atlas"))`.

Nothing is drawn here; `app/page/job_panels.py` shows what is going on.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from selviz.errors import first_line, system_problem
from selviz.runs import background_jobs, demo
from selviz.system.processes import detached, environment, low_priority
from selviz.system.write_access import read_only
from selviz.text import safe_text

from ..state import reads
from . import quotas, scheduler


class Study(NamedTuple):
    """A stored study of a run, as the command that computes it: `selviz COMMAND RUN OPTIONS`."""

    data: str
    run: str
    command: str
    options: tuple[str, ...] = ()

    def shell(self) -> str:
        """Return the whole command."""
        return shlex.join(["selviz", self.command, self.run, *self.options, "--data", self.data])


class StudyProcess(NamedTuple):
    """The process of a study, and the file that it writes its messages to while it runs; then the last of these.

    `process` is None where none could be started.
    """

    process: subprocess.Popen[bytes] | None
    messages: Path | None
    last: str = ""


def demo_allowed() -> bool:
    """Return whether this dashboard shows what trains and computes."""
    return os.environ.get("SELVIZ_NO_DEMO") != "1"


def start_demo_once() -> None:
    """Start the demo where there is no run yet, once per store however many visitors there are."""
    if not demo_allowed() or read_only():
        return
    status = demo.status(reads.data())
    of_the_demo = {run["run"] for run in status["runs"]}
    begun = any(run["state"] == "finished" for run in status["runs"])
    if status["state"] == "absent" and not begun and set(reads.store().names()) <= of_the_demo:
        demo.start(reads.data())


def running_jobs() -> list[str]:
    """Return the sweeps of this store that a process works on."""
    data = reads.data()
    return [name for name in background_jobs.names(data) if background_jobs.running(background_jobs.place(data, name))]


@st.cache_resource
def study_processes() -> dict[Study, StudyProcess]:
    """Return the process of each study that was started, for all visitors of this server."""
    return {}


def begin(study: Study) -> None:
    """Queue a study. It runs in a process of its own, one per visitor, and goes on when the visitor leaves."""
    queue, visitor = scheduler.job_queue(), scheduler.visitor()
    if read_only() or queue.has_job_of(visitor) or quotas.STUDIES.take(visitor):
        return
    try:
        queue.add(visitor, study, partial(_compute, study_processes(), study))
    except RuntimeError as error:  # as many threads as may be
        study_processes()[study] = _not_started(error)


def _compute(processes: dict[Study, StudyProcess], study: Study) -> None:
    """Run the command to its end, after everybody else where the processor is busy."""
    command = [study.command, study.run, *study.options, "--data", study.data, "--json"]
    try:
        with tempfile.TemporaryDirectory(prefix="selviz-", ignore_cleanup_errors=True) as folder:
            messages = Path(folder, "messages")
            with messages.open("wb") as written:
                process = subprocess.Popen(
                    [*low_priority(), sys.executable, "-P", "-m", "selviz", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=written,
                    **detached(low_priority=True),
                    env=environment(),
                )
            processes[study] = StudyProcess(process, messages)
            process.wait()
            processes[study] = StudyProcess(process, None, _last_line(messages))
    except (OSError, MemoryError) as error:
        processes[study] = _not_started(error)


def _not_started(error: BaseException) -> StudyProcess:
    reason = system_problem(error) or first_line(error)
    return StudyProcess(None, None, f"It could not be started: {reason}; try again.")


def failed(study: Study) -> bool:
    """Return whether the last attempt at a study ended with an error."""
    started = study_processes().get(study)
    return started is not None and (started.process is None or bool(started.process.returncode))


def last_message(study: Study) -> str:
    """Return the last line that the process wrote, as text that Markdown leaves alone; "" where there is none yet."""
    started = study_processes().get(study)
    if started is None:
        return ""
    line = started.last
    if started.messages is not None:
        with suppress(OSError):  # it has ended just now
            line = _last_line(started.messages)
    return safe_text.code(line) if line else ""


def _last_line(messages: Path) -> str:
    with messages.open("rb") as file:
        file.seek(max(0, messages.stat().st_size - 2000))
        written = file.read().decode(errors="replace")
    lines = [line.strip() for line in written.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else ""
