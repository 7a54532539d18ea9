"""Work that is going on: `line()` in the sidebar, `panel()` in a page without a run, `study(run, "atlas", ...)`."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import partial

import streamlit as st

from app.compute import scheduler
from app.state import address, reads
from selviz.runs import background_jobs, demo
from selviz.system.processes import environment
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text

WORDS = {"finished": "done", "running": "training", "unfinished": "waiting", "failed": "failed"}
READING = "This dashboard is for reading only: nothing is trained, computed and kept, registered, saved or uploaded."
NICE = ("nice", "-n", "10") if shutil.which("nice") else ()
EXPLAINED = (
    "The demo trains five small networks on 5,000 MNIST images. Class selectivity is suppressed in two of them, left "
    "alone in one and encouraged in two. It is a chosen illustration: settings were picked that show the effect in "
    "about a minute, with one seed each, so it is no evidence by itself."
)


def begin_once() -> None:
    """Starts the demo where there is no run yet, once per store however many visitors there are."""
    if not allowed() or read_only():
        return
    status = demo.status(reads.data())
    of_the_demo = {run["run"] for run in status["runs"]}
    begun = any(run["state"] == "finished" for run in status["runs"])
    if status["state"] == "absent" and not begun and set(reads.store().names()) <= of_the_demo:
        demo.start(reads.data())


def allowed() -> bool:
    """Whether this dashboard shows what trains and computes."""
    return os.environ.get("SELVIZ_NO_DEMO") != "1"


def reading_only() -> None:
    """Says, where a dashboard is for reading only, why what follows is disabled."""
    if read_only():
        st.info(READING, icon=":material/lock:")


def control(disabled: bool = False, help: str | None = None) -> dict:
    """Options of a control that writes to the store: disabled, with the reason, where a dashboard is for reading."""
    return {"disabled": True, "help": READING} if read_only() else {"disabled": disabled, "help": help}


def running_jobs() -> list[str]:
    """The sweeps of this store that a process works on."""
    data = reads.data()
    return [name for name in background_jobs.names(data) if background_jobs.running(background_jobs.place(data, name))]


def line() -> None:
    """In the sidebar: what is training, how far it is, and a stop button; redraws itself while there is work."""
    if read_only():
        st.caption("For reading only", help=READING)
    status = demo.status(reads.data())
    if status["state"] == "running":
        st.fragment(_line, run_every=1.5)()
        return
    done = sum(run["state"] == "finished" for run in status["runs"])
    if status["state"] != "finished" and done and allowed():
        st.caption(f"Demo: {done} of {len(status['runs'])} networks")
        st.button("Go on with the demo", icon=":material/play_arrow:", on_click=_start, key="start-line", **control())


def panel() -> None:
    """In an empty page: what is going on and how the page gets filled."""
    state = demo.status(reads.data())["state"]
    if state == "running":
        st.fragment(_panel, run_every=1.0)()
        return
    if state == "failed":
        st.error("The demo ended with an error; runs that were finished before it are kept.")
        st.code(demo.status(reads.data()).get("reason") or "no reason was recorded", language=None, wrap_lines=True)
    elif state == "stopped":
        st.info("The demo was stopped, and no run is finished yet.", icon=":material/stop_circle:")
    else:
        st.title("There is no run in this store yet", anchor=False)
    st.markdown(EXPLAINED)
    if allowed():
        st.button("Start the demo", type="primary", icon=":material/play_arrow:", on_click=_start, **control())
    st.caption("Or in a shell, for the demo or for one network of your own:")
    st.code("selviz demo\nselviz train --dataset mnist-5k --model cnn --alpha=-1", language="bash")


@st.cache_resource
def _studies() -> dict:
    """(store, run, command, options) -> (process, the file of its messages), for all visitors of this server."""
    return {}


def study(run: str, command: str, told: str, *options: str) -> None:
    """Where a stored study is missing: what it does, and the button and command (`selviz COMMAND RUN`) that fill it.

    It runs in a process of its own, one after the other and one for each visitor, and goes on when the visitor leaves.
    """
    key = (reads.data(), run, command, *options)
    if scheduler.line().before(key) is not None:
        st.fragment(_studying, run_every=1.5)(key)
        return
    process, _ = _studies().get(key, (None, None))
    st.info(told, icon=":material/hourglass_empty:")
    if process is not None and process.returncode:
        st.error("The last attempt ended with an error; nothing was lost.", icon=":material/error:")
        st.markdown(_last_words(key) or "No reason was told.")
    if allowed():
        busy = scheduler.line().busy(scheduler.visitor())
        st.button(
            "Compute it now",
            icon=":material/play_arrow:",
            key=f"study-{command}",
            on_click=_begin,
            args=(key,),
            **control(busy, "One at a time: what you asked for before is still being computed." if busy else None),
        )
    if read_only():
        st.caption(READING)
    st.caption("Or in a shell:" if allowed() else "It is not computed yet. In a shell:")
    parts = ["selviz", command, run, *options, "--data", reads.data()]
    st.code(" ".join(map(shlex.quote, parts)), language="bash", wrap_lines=True)


def _begin(key: tuple) -> None:
    if not read_only():
        scheduler.line().ask(scheduler.visitor(), key, partial(_compute, _studies(), *key))


def _compute(studies: dict, data: str, run: str, command: str, *options: str) -> None:
    """Runs the command to its end, after everybody else where the processor is busy."""
    messages = tempfile.TemporaryFile()  # noqa: SIM115  (read as long as somebody asks how it went)
    process = subprocess.Popen(
        [*NICE, sys.executable, "-m", "selviz", command, run, *options, "--data", data, "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=messages,
        start_new_session=True,
        env=environment(),
    )
    studies[data, run, command, *options] = (process, messages)
    process.wait()


def _studying(key: tuple) -> None:
    before = scheduler.line().before(key)
    if before is None:
        address.again()
    told = scheduler.waiting(before) if before else f"Computing {key[2]}; you may leave this page. {_last_words(key)}"
    st.info(told, icon=":material/hourglass_top:")


def _last_words(key: tuple) -> str:
    """The last line that the process wrote, as text that Markdown leaves alone."""
    if key not in _studies():
        return ""  # it is just about to start
    _, messages = _studies()[key]
    size = os.fstat(messages.fileno()).st_size
    written = os.pread(messages.fileno(), 2000, max(0, size - 2000)).decode(errors="replace")
    lines = [line.strip() for line in written.replace("\r", "\n").splitlines() if line.strip()]
    return safe_text.code(lines[-1]) if lines else ""


def _start() -> None:
    demo.start(reads.data(), again=True)


def _stop() -> None:
    demo.stop(reads.data())


def _line() -> None:
    status = demo.status(reads.data())
    if _landed(status):
        address.again()
    if not st.session_state.get("finished"):
        return  # the page itself shows the panel
    done = sum(run["state"] == "finished" for run in status["runs"])
    st.progress(
        (done + _share(status)) / max(len(status["runs"]), 1), text=f"Demo: {done} of {len(status['runs'])} networks"
    )
    st.button(
        "Stop", icon=":material/stop:", on_click=_stop, key="stop-line",
        **control(help="Stops the demo; finished networks stay"),
    )  # fmt: skip


def _panel() -> None:
    status = demo.status(reads.data())
    if _landed(status):
        address.again()
    st.subheader("The demo is training its first network", anchor=False)
    st.markdown(EXPLAINED + " Pages open as soon as the first network is finished.")
    for run in status["runs"]:
        epoch, epochs = run.get("epoch") or 0, run.get("epochs") or 1
        told = f"α {numbers.alpha(run['alpha'])}: {WORDS.get(run['state'], run['state'])}"
        if run["state"] == "running":
            told += f", epoch {epoch} of {epochs}"
        for name, show in (("loss", numbers.number), ("accuracy", numbers.percent), ("mean_si", numbers.si)):
            if not numbers.missing(run.get(name)):
                told += f" · {'mean SI' if name == 'mean_si' else name} {show(run[name])}"
        st.progress(1.0 if run["state"] == "finished" else min(epoch / epochs, 1.0), text=told)
    st.button("Stop the demo", icon=":material/stop:", on_click=_stop, key="stop-panel", **control())


def _share(status: dict) -> float:
    """How far the network in training is, 0..1."""
    return sum((r.get("epoch") or 0) / (r.get("epochs") or 1) for r in status["runs"] if r["state"] == "running") % 1.0


def _landed(status: dict) -> bool:
    """Whether there is more to show than when the page was drawn, or nothing left to wait for."""
    done = int((reads.store().runs()["state"] == "finished").sum())
    return status["state"] != "running" or done != st.session_state.get("finished", 0)
