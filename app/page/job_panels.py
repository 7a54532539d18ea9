"""Show work that is going on: `tray()`, `demo_panel()` in a page without a run, `study(run, "atlas", ...)`."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from selviz.errors import SelvizError
from selviz.runs import background_jobs, demo, sweep
from selviz.runs.families import siblings
from selviz.store import read_json
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text
from selviz.text.tables import duration

from ..board import component as board
from ..compute import jobs, queues, quotas, scheduler
from ..state import address, reads
from ..state.navigation import page_at

PAGES_WITH_STUDIES = ("network", "unit", "silence", "claims", "robustness", "hidden", "early")

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


# ------------------------------------------------------------------------------------------------------------- the tray


class OwnJob(NamedTuple):
    """A study that this tab has started, and the page that it was started on."""

    study: jobs.Study
    page: str
    query: dict[str, str]


def tray() -> None:
    """Show, on every page, each study, training and sweep that is going on, and what has become of this tab's own.

    It draws itself again while there is work.
    """
    if read_only():
        st.caption("For reading only", help=READ_ONLY)
    jobs.start_demo_studies_once()
    status = demo.status(reads.data())
    if status["state"] == "running" or jobs.running_jobs() or scheduler.job_queue().jobs():
        st.fragment(_tray, run_every=1.5)()
    else:
        _ended_jobs()
    done = sum(run["state"] == "finished" for run in status["runs"])
    if status["state"] not in ("finished", "running") and done and jobs.demo_allowed():
        st.caption(f"Demo: {done} of {len(status['runs'])} networks")
        st.button(
            "Go on with the demo",
            icon=":material/play_arrow:",
            on_click=_start_demo,
            key="start-line",
            **writing_control(),
        )


def _tray() -> None:
    status = demo.status(reads.data())
    if status["state"] == "running" and _has_news(status):
        address.rerun()
    listed = scheduler.job_queue().jobs()
    sweeps = jobs.running_jobs()
    working = status["state"] == "running" or bool(listed or sweeps)
    own = {job.study for job in _own_jobs()}
    going_on = own & {job.key for job in listed}
    if not working or going_on != st.session_state.get("own jobs going on", going_on):
        st.session_state["own jobs going on"] = going_on
        address.rerun()  # what was computed can be shown
    st.session_state["own jobs going on"] = going_on
    if status["state"] == "running" and st.session_state.get("finished"):  # else the page itself shows the panel
        done, every = sum(run["state"] == "finished" for run in status["runs"]), len(status["runs"])
        share = (done + _share_trained(status)) / max(every, 1)
        _entry("demo", f"Demo: {done} of {every} networks", share, _stop_demo, "Finished networks stay")
    for name in sweeps:
        rows = sweep.job_status(reads.data(), name)
        done = sum(row["state"] == "finished" for row in rows)
        label = f"Training: {done} of {numbers.counted(len(rows), 'network')}" if rows else "Training"
        place = background_jobs.place(reads.data(), name)
        share = sweep.done_share(rows) if rows else 0.0
        _entry(name, label, share, partial(background_jobs.stop, place), "Finished networks stay")
    for ahead, job in enumerate(listed):
        _study_entry(job, ahead, job.key in own)
    _ended_jobs()


def _study_entry(job: queues.Job, ahead: int, own: bool) -> None:
    study = job.key
    if not isinstance(study, jobs.Study):
        return
    of_demo = job.visitor == jobs.THE_DEMO
    label = named(study)
    if of_demo:
        left = jobs.demo_studies_left()
        label = f"For the demo's pages: {label}" + (f", {left - 1} more" if left > 1 else "")
    if ahead:
        state = f"{'your job' if own else 'waiting'}, {ahead} before it"
        share = 0.0
    else:
        found = jobs.progress(study)
        share = found.share or 0.0
        state = f"about {duration(found.left)} left" if found.left else "computing"
    stop = jobs.stop_demo_studies if of_demo else partial(jobs.stop, study)
    key = hashlib.sha256(repr(study).encode()).hexdigest()[:12]
    _entry(key, f"{label}: {state}", share, stop, "What is stored stays")


def _entry(key: str, label: str, share: float, stop: Callable[[], object], help: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"tray-{key}"):
        st.progress(min(max(share, 0.0), 1.0), text=label)
        st.button(
            "Stop", icon=":material/stop:", on_click=stop, key=f"stop-{key}", type="tertiary",
            **writing_control(help=help),
        )  # fmt: skip


def _own_jobs() -> list[OwnJob]:
    own: list[OwnJob] = st.session_state.setdefault("own jobs", [])
    return own


def _ended_jobs() -> None:
    """Draw what has become of the jobs of this tab: the way to what was computed, or that it failed."""
    for number, job in enumerate(_own_jobs()):
        if scheduler.job_queue().ahead_of(job.study) is not None:
            continue
        label = named(job.study)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if jobs.was_stopped(job.study) or job.study not in jobs.study_processes():
                st.caption(f"{label}: stopped")
            elif jobs.failed(job.study):
                st.caption(f"{label}: failed. {jobs.last_message(job.study)}")
            else:
                st.page_link(page_at(job.page), label=f"{label}: done, open", query_params=job.query)
            st.button("", icon=":material/close:", key=f"forget-{number}", type="tertiary", help="Take it off the list",
                      on_click=_own_jobs().remove, args=(job,))  # fmt: skip


def named(study: jobs.Study) -> str:
    """Return a study in a few words: what is computed, of which network, of how many more."""
    table = reads.runs()
    row = table[table["run"] == study.run]
    run = numbers.run(row.iloc[0].to_dict()) if len(row) and not numbers.missing(row.iloc[0]["alpha"]) else study.run
    more = f" and {numbers.counted(len(study.others), 'more network')}" if study.others else ""
    what = {"hypothesis": "claim", "basis": "other bases", "map": "map of units"}.get(study.command, study.command)
    if study.command == "train":
        return "training with snapshots"
    if study.command == "import":
        return f"import of {safe_text.plain(study.options[1])}"
    name = study.options[0] if study.command == "hypothesis" else run
    return f"{what} of {safe_text.plain(name)}{more}"


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
    st.code("selviz demo\nselviz train --dataset mnist-5k --model cnn --alpha=-1", language="bash", wrap_lines=True)


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


def study(
    run: str,
    command: str,
    about: str,
    *options: str,
    stage: str = "",
    alike: Sequence[str] = (),
    label: str = "Compute it now",
    key: str = "",
) -> None:
    """Show, where a stored study is missing, what it does, and the button of this label and command that compute it.

    With `stage`, the file that it writes, it can be computed for all networks like this one that do not have it; or
    for the runs that are named as `alike`. A page that offers two studies of one command gives each a `key`.
    """
    wanted = jobs.Study(reads.data(), run, command, options)
    alike = without(run, stage) if stage else alike
    family = wanted._replace(others=tuple(name for name in alike if name != run))
    queue = scheduler.job_queue()
    current = next((one for one in (wanted, family) if queue.ahead_of(one) is not None), None)
    if current is not None:
        st.fragment(_study_progress, run_every=1.5)(current)
        return
    st.info(about, icon=":material/hourglass_empty:")
    for one in dict.fromkeys((wanted, family)):
        if jobs.failed(one):
            st.error("The last attempt ended with an error; nothing was lost.", icon=":material/error:")
            st.markdown(jobs.last_message(one) or "No reason was recorded.")
    key = key or command
    with st.container(horizontal=True, gap="small"):
        begin_button(label, wanted, f"study-{key}", primary=True)
        if family.others:
            begin_button(f"For all {len(family.runs)} networks like this one", family, f"family-{key}")
    if read_only():
        st.caption(READ_ONLY)
    st.caption("Or in a shell:")
    st.code(wanted.shell(), language="bash", wrap_lines=True)


def without(run: str, stage: str) -> list[str]:
    """Return the runs like this one, itself among them, that do not have a stage."""
    store = reads.store()
    names = [run, *siblings(reads.runs(), run)["run"]]
    return [name for name in dict.fromkeys(names) if not (store.run_path(name) / f"{stage}.duckdb").exists()]


def begin_button(label: str, study: jobs.Study, key: str, primary: bool = False) -> None:
    """Draw the button that queues a study."""
    busy = scheduler.job_queue().has_job_of(scheduler.visitor())
    why = "One at a time: what you asked for before is still being computed." if busy else None
    if wait := quotas.STUDIES.wait(scheduler.visitor()):
        busy, why = True, quotas.STUDIES.message(wait)
    pressed = st.button(
        label,
        icon=":material/play_arrow:",
        key=key,
        type="primary" if primary else "secondary",
        **writing_control(busy, why),
    )
    if pressed:  # no callback: that would begin what was on screen before a field that was changed just now
        begin(study)
        address.rerun()


def begin(study: jobs.Study) -> None:
    """Queue a study, and note on which page, so that the tray leads back."""
    jobs.begin(study)
    own = _own_jobs()
    own[:] = [job for job in own if job.study != study]
    path = (st.context.url or "").rstrip("/").rpartition("/")[2]
    if study.command == "import":  # leads to what is imported
        own.append(OwnJob(study, "network", {"run": study.options[1]}))
    else:
        own.append(OwnJob(study, path if path in PAGES_WITH_STUDIES else "network", st.query_params.to_dict()))


def _study_progress(wanted: jobs.Study) -> None:
    ahead = scheduler.job_queue().ahead_of(wanted)
    if ahead is None:
        address.rerun()
    if ahead:
        st.info(f"Waiting: your job, {ahead} before it.", icon=":material/hourglass_top:")
        return
    found = jobs.progress(wanted)
    left = f", about {duration(found.left)} left" if found.left else ""
    st.info(
        f"Computing {wanted.command}{left}; you may leave this page. {found.message}", icon=":material/hourglass_top:"
    )
    if found.share is not None:
        st.progress(found.share)
