"""Start, follow and stop work in processes of its own: `start_demo_once()`, `begin(Study(data, run, "atlas"))`.

Nothing is drawn here; `app/page/job_panels.py` shows what is going on.
"""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import streamlit as st

from selviz.config import run_name
from selviz.errors import first_line, system_problem
from selviz.runs import background_jobs, demo
from selviz.store import Store
from selviz.store.run_list import resume_command
from selviz.system.processes import detached, environment, low_priority
from selviz.system.write_access import read_only
from selviz.text import safe_text

from ..state import reads
from . import queues, quotas, scheduler

LEFT_AFTER_S = 5.0  # seconds of work before which nothing is said of the time left
POLL_S = 0.5
SNAPSHOTS = 4  # looks an epoch at a network while it learns


THE_DEMO = "the demo"  # the visitor in whose name the demo's studies are computed
SHARE = re.compile(r"(\d+)\s*%|(\d[\d,]*)\s*(?:/|of)\s*(\d[\d,]*)")


class Study(NamedTuple):
    """A stored study of a run, and of others, as the command that computes it: `selviz COMMAND RUN OPTIONS`."""

    data: str
    run: str
    command: str
    options: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # runs that it is computed of after the first

    @property
    def runs(self) -> tuple[str, ...]:
        return (self.run, *self.others)

    def arguments(self, run: str) -> list[str]:
        """Return what follows `selviz` for one of its runs."""
        return [self.command, *([run] if run else []), *self.options, "--data", self.data]

    def shell(self) -> str:
        """Return the whole command, a line a run."""
        return "\n".join(shlex.join(["selviz", *self.arguments(run)]) for run in self.runs)


@dataclass
class StudyProcess:
    """The process of a study, the file that it writes its messages to, and how far the study is over its runs."""

    process: subprocess.Popen[bytes] | None  # None where none could be started
    messages: Path | None  # while it runs
    last: str = ""  # of the messages, once it has ended
    begun: float = 0.0  # time.monotonic() when the study began
    number: int = 0  # of the run that is computed
    stopped: bool = False


class JobProgress(NamedTuple):
    """How far a study is: a share 0..1 and seconds left, None while they are unknown, and its last message."""

    share: float | None
    left: float | None
    message: str


def demo_allowed() -> bool:
    """Return whether this dashboard offers to train the demo."""
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
    study_processes().pop(study, None)
    try:
        queue.add(visitor, study, partial(_compute, study_processes(), study))
    except RuntimeError as error:  # as many threads as may be
        study_processes()[study] = _not_started(error)


def _compute(processes: dict[Study, StudyProcess], study: Study) -> None:
    """Run the command for each run to its end, after everybody else where the processor is busy."""
    begun = time.monotonic()
    for number, run in enumerate(study.runs):
        before = processes.get(study)
        if before is not None and (before.stopped or before.process is None or before.process.returncode):
            return
        try:
            with tempfile.TemporaryDirectory(prefix="selviz-", ignore_cleanup_errors=True) as folder:
                messages = Path(folder, "messages")
                with messages.open("wb") as written:
                    process = subprocess.Popen(
                        [*low_priority(), sys.executable, "-P", "-m", "selviz", *study.arguments(run), "--json"],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=written,
                        **detached(low_priority=True),
                        env=environment(),
                    )
                current = StudyProcess(process, messages, begun=begun, number=number)
                processes[study] = current
                process.wait()
                current.last, current.messages = _last_line(messages), None
        except (OSError, MemoryError) as error:
            processes[study] = _not_started(error)


def _not_started(error: BaseException) -> StudyProcess:
    reason = system_problem(error) or first_line(error)
    return StudyProcess(None, None, f"It could not be started: {reason}; try again.")


def stop(study: Study) -> None:
    """Take a study out of the queue, or end its process; what it has stored stays."""
    if scheduler.job_queue().remove(study):
        return
    started = study_processes().get(study)
    if started is not None and started.process is not None and started.process.poll() is None:
        started.stopped = True
        with suppress(psutil.Error):
            for child in psutil.Process(started.process.pid).children(recursive=True):
                child.terminate()
        started.process.terminate()


def was_stopped(study: Study) -> bool:
    """Return whether somebody has stopped the study."""
    started = study_processes().get(study)
    return started is not None and started.stopped


def failed(study: Study) -> bool:
    """Return whether the last attempt at a study ended with an error."""
    started = study_processes().get(study)
    if started is None or started.stopped:
        return False
    return started.process is None or bool(started.process.returncode)


def progress(study: Study) -> JobProgress:
    """Return how far a study is, from what its process says."""
    started = study_processes().get(study)
    if started is None:
        return JobProgress(None, None, "")
    line = _line_of(started)
    found = SHARE.search(line)
    share = None
    if found:
        percent, done, of = (int(part.replace(",", "")) if part else 0 for part in found.groups())
        share = min(1.0, percent / 100 if found[1] else done / max(of, 1))
    if len(study.runs) > 1:
        share = (started.number + (share or 0.0)) / len(study.runs)
    passed = time.monotonic() - started.begun
    left = passed * (1 - share) / share if share and passed > LEFT_AFTER_S else None
    return JobProgress(share, left, safe_text.code(line) if line else "")


def last_message(study: Study) -> str:
    """Return the last line that the process wrote, as text that Markdown leaves alone; "" where there is none yet."""
    started = study_processes().get(study)
    line = "" if started is None else _line_of(started)
    return safe_text.code(line) if line else ""


def _line_of(started: StudyProcess) -> str:
    messages = started.messages
    if messages is not None:
        with suppress(OSError):  # it has ended just now
            return _last_line(messages)
    return started.last


def _last_line(messages: Path) -> str:
    with messages.open("rb") as file:
        file.seek(max(0, messages.stat().st_size - 2000))
        written = file.read().decode(errors="replace")
    lines = [line.strip() for line in written.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else ""


# ----------------------------------------------------------------------------------------------- the demo's studies

OF_THE_DEMO = (  # command, options, and the file that says that it is stored
    ("metrics", (), "unit_metrics"),
    ("atlas", (), "atlas"),
    ("curves", (), "ablation"),
    ("dimensionality", (), "dimensionality"),
    ("robustness", (), "robustness"),
    ("map", (), "unit_map"),
)


def missing_of_the_demo() -> list[Study]:
    """Return the studies that the demo's networks do not have yet, those of the baseline first."""
    data, store = reads.data(), reads.store()
    runs = [run["run"] for run in demo.status(data)["runs"] if run["state"] == "finished"]
    found = [
        Study(data, run, command, options)
        for run in runs
        for command, options, stage in OF_THE_DEMO
        if not (store.run_path(run) / f"{stage}.duckdb").exists()
    ]
    if any(not (store.run_path(run) / "linear_maps.duckdb").exists() for run in runs):
        found.append(Study(data, runs[0], "basis", ("--family",)))
    return found + _missing_of_early_training(data, store)


def _missing_of_early_training(data: str, store: Store) -> list[Study]:
    """Return what the demo's baseline lacks of being trained once more, looked at while it learns."""
    baseline = demo.CONFIGS[0]
    twin = run_name(dataclasses.replace(baseline, snapshots=SNAPSHOTS))
    training = training_with_snapshots(data, dataclasses.asdict(baseline))
    missing = [training] if training and not (store.run_path(twin) / "snapshots.duckdb").exists() else []
    return missing if (store.run_path(twin) / "early.duckdb").exists() else [*missing, Study(data, twin, "early")]


def training_with_snapshots(data: str, settings: dict[str, Any]) -> Study | None:
    """Return the training of a network with these settings that is looked at while it learns; None if they are not
    known.
    """
    command = resume_command(Path("data"), {**settings, "snapshots": SNAPSHOTS})
    return Study(data, "", "train", tuple(shlex.split(command)[2:])) if command else None


def _stopped_file() -> Path:
    return demo.place(reads.data()).with_name("demo-studies.stopped")


@st.cache_resource
def _demo_studies(data: str) -> list[Study]:
    """Return the studies of the demo that this server has still to compute; one list for all visitors."""
    return []


def demo_studies_left() -> int:
    """Return how many studies of the demo are still to be computed by this server."""
    return len(_demo_studies(reads.data()))


def start_demo_studies_once() -> None:
    """Compute, once the demo is trained and as long as nobody has stopped it, what its pages show.

    One study at a time stands in the queue, so that a visitor's own waits for one of them at most.
    """
    if not demo_allowed() or read_only() or _stopped_file().exists():
        return
    if demo.status(reads.data())["state"] != "finished":
        return
    with _starting:
        left = _demo_studies(reads.data())
        if left or reads.data() in _begun:
            return
        _begun.add(reads.data())
        left.extend(missing_of_the_demo())
    if left:
        arguments = (left, scheduler.job_queue(), study_processes(), _stopped_file())
        threading.Thread(target=_compute_demo_studies, args=arguments, daemon=True).start()


def stop_demo_studies() -> None:
    """End the computing of the demo's studies, also for servers to come."""
    _stopped_file().touch()
    left = _demo_studies(reads.data())
    current = list(left)[:1]
    left.clear()
    for study in current:
        stop(study)


def _compute_demo_studies(
    left: list[Study], queue: queues.JobQueue, processes: dict[Study, StudyProcess], stopped: Path
) -> None:
    while left and not stopped.exists():
        study = left[0]
        if queue.add(THE_DEMO, study, partial(_compute, processes, study)):
            while queue.ahead_of(study) is not None:
                time.sleep(POLL_S)
        if left and left[0] is study:
            left.pop(0)


_starting, _begun = threading.Lock(), set[str]()
