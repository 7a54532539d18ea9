"""Start and follow work in processes of its own: `start_demo_once()`, `begin(Study(data, run, "atlas"))`.

Nothing is drawn here; `app/page/job_panels.py` shows what is going on.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from selviz.runs import background_jobs, demo
from selviz.system.processes import detached, environment, low_priority
from selviz.system.write_access import read_only
from selviz.text import safe_text

from ..state import reads
from . import scheduler


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
    """The process of a study, and the file that it writes its messages to, in a folder that goes with this object."""

    process: subprocess.Popen[bytes]
    messages: Path
    folder: tempfile.TemporaryDirectory[str]


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
    if not read_only():
        scheduler.job_queue().add(scheduler.visitor(), study, partial(_compute, study_processes(), study))


def _compute(processes: dict[Study, StudyProcess], study: Study) -> None:
    """Run the command to its end, after everybody else where the processor is busy."""
    folder = tempfile.TemporaryDirectory(prefix="selviz-", ignore_cleanup_errors=True)  # until nobody asks how it went
    messages = Path(folder.name, "messages")
    command = [study.command, study.run, *study.options, "--data", study.data, "--json"]
    with messages.open("wb") as written:
        process = subprocess.Popen(
            [*low_priority(), sys.executable, "-m", "selviz", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=written,
            **detached(low_priority=True),
            env=environment(),
        )
    processes[study] = StudyProcess(process, messages, folder)
    process.wait()


def failed(study: Study) -> bool:
    """Return whether the last attempt at a study ended with an error."""
    started = study_processes().get(study)
    return started is not None and bool(started.process.returncode)


def last_message(study: Study) -> str:
    """Return the last line that the process wrote, as text that Markdown leaves alone; "" where there is none yet."""
    started = study_processes().get(study)
    if started is None:
        return ""
    with started.messages.open("rb") as file:
        file.seek(max(0, started.messages.stat().st_size - 2000))
        written = file.read().decode(errors="replace")
    lines = [line.strip() for line in written.replace("\r", "\n").splitlines() if line.strip()]
    return safe_text.code(lines[-1]) if lines else ""
