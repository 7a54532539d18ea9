"""Show work that is going on: `sidebar()`, `demo_panel()` in a page without a run, `study(run, "atlas", ...)`."""

from typing import Any

import streamlit as st

from selviz.errors import SelvizError
from selviz.runs import demo
from selviz.store import read_json
from selviz.system.write_access import read_only
from selviz.text import numbers

from ..board import component as board
from ..compute import jobs, quotas, scheduler
from ..state import address, reads

TRAINING_HEIGHT = 110  # pixels of the small boards of networks in training
STATES = {"finished": "done", "running": "training", "unfinished": "waiting", "failed": "failed"}
READ_ONLY = "This dashboard is for reading only: nothing is trained, computed and kept, registered, saved or uploaded."
DEMO = (
    "The demo trains five small networks on 5,000 MNIST images. Class selectivity is suppressed in two of them, left "
    "alone in one and encouraged in two. It is a chosen illustration: settings were picked that show the effect in "
    "about a minute, with one seed each, so it is no evidence by itself."
)


def reading_only() -> None:
    """Say, where a dashboard is for reading only, why what follows is disabled."""
    if read_only():
        st.info(READ_ONLY, icon=":material/lock:")


def writing_control(disabled: bool = False, help: str | None = None) -> dict[str, Any]:
    """Return options of a widget that writes to the store: disabled, with the reason, where it is for reading only."""
    return {"disabled": True, "help": READ_ONLY} if read_only() else {"disabled": disabled, "help": help}


# ---------------------------------------------------------------------------------------------------------- the sidebar


def sidebar() -> None:
    """Show what is training, how far it is, and a stop button; redraws itself while there is work."""
    if read_only():
        st.caption("For reading only", help=READ_ONLY)
    status = demo.status(reads.data())
    if status["state"] == "running":
        st.fragment(_demo_progress, run_every=1.5)()
        return
    done = sum(run["state"] == "finished" for run in status["runs"])
    if status["state"] != "finished" and done and jobs.demo_allowed():
        st.caption(f"Demo: {done} of {len(status['runs'])} networks")
        st.button(
            "Go on with the demo",
            icon=":material/play_arrow:",
            on_click=_start_demo,
            key="start-line",
            **writing_control(),
        )


def _demo_progress() -> None:
    status = demo.status(reads.data())
    if _has_news(status):
        address.rerun()
    if not st.session_state.get("finished"):
        return  # the page itself shows the panel
    done, every = sum(run["state"] == "finished" for run in status["runs"]), len(status["runs"])
    st.progress((done + _share_trained(status)) / max(every, 1), text=f"Demo: {done} of {every} networks")
    st.button(
        "Stop",
        icon=":material/stop:",
        on_click=_stop_demo,
        key="stop-line",
        **writing_control(help="Stops the demo; finished networks stay"),
    )


# ------------------------------------------------------------------------------------------------------- an empty store


def demo_panel() -> None:
    """Show, in an empty page, what is going on and how the page gets filled."""
    status = demo.status(reads.data())
    if status["state"] == "running":
        st.fragment(_demo_runs, run_every=1.0)()
        return
    if status["state"] == "failed":
        st.error("The demo ended with an error; runs that were finished before it are kept.")
        st.code(status.get("reason") or "no reason was recorded", language=None, wrap_lines=True)
    elif status["state"] == "stopped":
        st.info("The demo was stopped, and no run is finished yet.", icon=":material/stop_circle:")
    else:
        st.title("There is no run in this store yet", anchor=False)
    st.markdown(DEMO)
    if jobs.demo_allowed():
        icon = ":material/play_arrow:"
        st.button("Start the demo", type="primary", icon=icon, on_click=_start_demo, **writing_control())
    st.caption("Or in a shell, for the demo or for one network of your own:")
    st.code("selviz demo\nselviz train --dataset mnist-5k --model cnn --alpha=-1", language="bash")


def _demo_runs() -> None:
    status = demo.status(reads.data())
    if _has_news(status):
        address.rerun()
    st.subheader("The demo is training its first network", anchor=False)
    st.markdown(DEMO + " Pages open as soon as the first network is finished.")
    _board_so_far(status)
    for run in status["runs"]:
        epoch, epochs = run.get("epoch") or 0, run.get("epochs") or 1
        label = f"α {numbers.alpha(run['alpha'])}: {STATES.get(run['state'], run['state'])}"
        if run["state"] == "running":
            label += f", epoch {epoch} of {epochs}"
        for name, show in (("loss", numbers.number), ("accuracy", numbers.percent), ("mean_si", numbers.si)):
            if not numbers.missing(run.get(name)):
                label += f" · {'mean SI' if name == 'mean_si' else name} {show(run[name])}"
        st.progress(1.0 if run["state"] == "finished" else min(epoch / epochs, 1.0), text=label)
    st.button("Stop the demo", icon=":material/stop:", on_click=_stop_demo, key="stop-panel", **writing_control())


def _board_so_far(status: dict[str, Any]) -> None:
    """Draw the network in training as its units are after its last epoch."""
    for run in status["runs"]:
        if run["state"] == "running" and (live := _live(run["run"])):
            board.show_training(run["run"], f"{run['run']}, in training", len(live["epochs"]), live["unit_si"])
            weights = "with its random weights, before training" if not live["epochs"] else "so far"
            st.caption(f"A tile is a unit of the network {weights}, the brighter the more selective.")
            return


def _live(run: str) -> dict[str, Any] | None:
    """Return what a run in training says of itself: "epochs" and "unit_si", None where there is nothing yet."""
    try:
        live = read_json(reads.store().run_path(run) / "partial" / "live.json")
    except SelvizError:  # just being written
        return None
    return live if live and live.get("unit_si") else None


def demo_boards() -> None:
    """Show, while the demo trains, its networks next to each other as they fill; redraws itself."""
    if demo.status(reads.data())["state"] == "running":
        st.fragment(_demo_boards, run_every=1.5)()


def _demo_boards() -> None:
    status = demo.status(reads.data())
    for column, run in zip(st.columns(max(1, len(status["runs"])), gap="small"), status["runs"]):
        with column:
            name, label = run["run"], f"α {numbers.alpha(run['alpha'])}"
            if run["state"] == "finished":
                units = reads.store().units(name)
                by_layer = [part["si"].tolist() for _, part in units.groupby("layer", sort=False)]
                if st.button(f"{label}: open", key=f"demo-open-{name}"):
                    address.update(run=name)
                    address.rerun()
                board.show_training(name, label, -1, by_layer, TRAINING_HEIGHT)
            elif live := _live(name):
                epoch, epochs = len(live["epochs"]), run.get("epochs") or 1
                st.button(f"{label}: {epoch} of {epochs} epochs", key=f"demo-open-{name}", disabled=True)
                board.show_training(name, label, epoch, live["unit_si"], TRAINING_HEIGHT)
            else:
                st.button(f"{label}: {STATES.get(run['state'], run['state'])}", key=f"demo-open-{name}", disabled=True)


def _start_demo() -> None:
    demo.start(reads.data(), again=True)


def _stop_demo() -> None:
    demo.stop(reads.data())


def _share_trained(status: dict[str, Any]) -> float:
    """Return how far the network in training is, 0..1."""
    return sum((r.get("epoch") or 0) / (r.get("epochs") or 1) for r in status["runs"] if r["state"] == "running") % 1.0


def _has_news(status: dict[str, Any]) -> bool:
    """Return whether there is more to show than when the page was drawn, or nothing left to wait for."""
    done = int((reads.store().runs()["state"] == "finished").sum())
    return status["state"] != "running" or done != st.session_state.get("finished", 0)


# ------------------------------------------------------------------------------------------------------- stored studies


def study(run: str, command: str, about: str, *options: str) -> None:
    """Show, where a stored study is missing, what it does, and the button and command that compute it."""
    wanted = jobs.Study(reads.data(), run, command, options)
    if scheduler.job_queue().ahead_of(wanted) is not None:
        st.fragment(_study_progress, run_every=1.5)(wanted)
        return
    st.info(about, icon=":material/hourglass_empty:")
    if jobs.failed(wanted):
        st.error("The last attempt ended with an error; nothing was lost.", icon=":material/error:")
        st.markdown(jobs.last_message(wanted) or "No reason was recorded.")
    if jobs.demo_allowed():
        busy = scheduler.job_queue().has_job_of(scheduler.visitor())
        why = "One at a time: what you asked for before is still being computed." if busy else None
        if wait := quotas.STUDIES.wait(scheduler.visitor()):
            busy, why = True, quotas.STUDIES.message(wait)
        st.button(
            "Compute it now",
            icon=":material/play_arrow:",
            key=f"study-{command}",
            on_click=jobs.begin,
            args=(wanted,),
            **writing_control(busy, why),
        )
    if read_only():
        st.caption(READ_ONLY)
    st.caption("Or in a shell:" if jobs.demo_allowed() else "It is not computed yet. In a shell:")
    st.code(wanted.shell(), language="bash", wrap_lines=True)


def _study_progress(wanted: jobs.Study) -> None:
    ahead = scheduler.job_queue().ahead_of(wanted)
    if ahead is None:
        address.rerun()
    computing = f"Computing {wanted.command}; you may leave this page. {jobs.last_message(wanted)}"
    st.info(scheduler.waiting_message(ahead) if ahead else computing, icon=":material/hourglass_top:")
