"""The pieces of the Train page: `settings()` gives the sweep that was asked for, `watch(job)` shows one."""

import math
from functools import partial

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.config import SETTINGS, TRAINING_SETTINGS, RunConfig, parse_values
from selviz.errors import SelvizError
from selviz.runs import background_jobs
from selviz.runs.sweep import RunStatus, done_share, grid, job_configs, run_status, sweep_name
from selviz.store import read_json
from selviz.system.write_access import read_only
from selviz.text import numbers, safe_text

from ...compute import jobs, quotas, scheduler
from ...look import theme
from ...page import job_panels, tables
from ...state import address, reads
from ...state.navigation import page_at

MOST_RUNS = 500
FIRST = {"alpha": "-1, 0, 1", "seed": "0", "epochs": "8"}


@st.cache_data(show_spinner=False)
def known() -> tuple[list[str], list[str]]:
    """Return names of the data sets and networks that selviz can make."""
    from selviz import datasets
    from selviz.networks import models

    return list(datasets.DATASETS), list(models.MODELS)


def settings() -> tuple[list[RunConfig], list[str]] | None:
    """Draw the settings; gives the runs and the command that starts them, None where they make no sweep."""
    names, networks = known()
    names = list(dict.fromkeys([*names, *reads.runs()["dataset"]]))
    one, two = st.columns(2)
    dataset = one.selectbox("Data set", names, key="train-dataset")
    model = two.selectbox("Network", networks, key="train-model")
    typed = {name: st.text_input(_title(name), value, key=f"train-{name}", help=_help(name))
             for name, value in FIRST.items()}  # fmt: skip
    with st.expander("More settings", key="train-more", on_change="rerun") as box:
        if box.open:
            for name in (name for name in TRAINING_SETTINGS if name not in FIRST):
                default = str(SETTINGS[name].default)
                if choices := SETTINGS[name].choices:
                    chosen = st.multiselect(_title(name), choices, [default], key=f"train-{name}", help=_help(name))
                    typed[name] = ",".join(chosen)
                else:
                    typed[name] = st.text_input(_title(name), default, key=f"train-{name}", help=_help(name))
    try:
        values = {name: parse_values(name, text.replace(" ", "")) for name, text in typed.items()}
        number = math.prod(map(len, values.values()))
        if number <= 10 * MOST_RUNS:  # some combinations may be one run
            configs = grid({"model": [model], "dataset": [dataset], **values})
            number = len(configs)
        if number > MOST_RUNS:
            raise SelvizError(f"That would be {number:,} runs; {MOST_RUNS} are as many as this page starts.")
    except SelvizError as error:
        st.code(str(error), language=None, wrap_lines=True)
        return None
    words = ["sweep", f"--model={model}", f"--dataset={dataset}"]
    for name, text in typed.items():
        if name in FIRST or text != str(SETTINGS[name].default):
            words.append(f"{SETTINGS[name].sweep_option}={text.replace(' ', '')}")
    return configs, words


def start(configs: list[RunConfig], words: list[str]) -> None:
    """Start the sweep, or goes on with it, and shows it."""
    place = background_jobs.place(reads.data(), sweep_name(configs))
    if read_only() or another(place.name) or quotas.STUDIES.take(scheduler.visitor()):
        return
    from selviz.runs.sweep import shape

    place.parent.mkdir(parents=True, exist_ok=True)
    background_jobs.describe(place, shape(configs, words))
    background_jobs.start(place, words, reads.data(), "this sweep")
    address.update(job=place.name)


def another(name: str) -> str | None:
    """Return a job other than `name` that is running: this machine trains one sweep at a time."""
    return next((job for job in jobs.running_jobs() if job != name), None)


def title(name: str) -> str:
    """Return a job in a list: what is varied in it. Streamlit tells options apart by this, so it must not change."""
    configs = job_configs(reads.data(), name)
    alphas = sorted({config.alpha for config in configs})
    shown = ", ".join(map(numbers.alpha, alphas[:5])) + (", …" if len(alphas) > 5 else "")
    kinds = " · ".join(dict.fromkeys(f"{config.model} · {config.dataset}" for config in configs))
    return f"{kinds}, α {shown} ({numbers.counted(len(configs), 'network')}) · {name.removeprefix('sweep-')}"


def watch(name: str) -> None:
    """Show one job: how far it is, its runs, the one that trains now, its log; redraws itself while it runs."""
    if background_jobs.running(background_jobs.place(reads.data(), name)):
        st.fragment(_watch, run_every=2.0)(name, True)
    else:
        _watch(name, False)


def _watch(name: str, was_running: bool) -> None:
    place, data = background_jobs.place(reads.data(), name), reads.data()
    configs = job_configs(reads.data(), name)
    rows = [run_status(data, config) for config in configs]
    state, reason = background_jobs.state(place, all(row["state"] == "finished" for row in rows))
    if was_running and state != "running":
        address.rerun()
    done = sum(row["state"] == "finished" for row in rows)
    failed = [row for row in rows if row["state"] == "failed"]
    words = {"running": "training", "absent": "cut off"}.get(state, state)
    st.progress(
        min(1.0, done_share(rows)),
        text=f"{words}: {done} of {numbers.counted(len(rows), 'network')} finished"
        + (f", {len(failed)} failed" if failed else ""),
    )
    if reason:
        st.code(reason, language=None, wrap_lines=True)
    _buttons(name, state)
    current = _current(rows)
    if current is not None:
        _live(current, configs[rows.index(current)])
    _table(rows)
    for row in failed[:3]:
        st.code(f"{row['run']}: {row['reason']}", language=None, wrap_lines=True)
    with st.expander("What the job wrote", key=f"log-{name}", on_change="rerun") as box:
        if box.open:
            st.code(
                background_jobs.log(place).strip() or "Nothing: it was started in a shell, or has not begun.",
                language=None,
            )


def _buttons(name: str, state: str) -> None:
    place = background_jobs.place(reads.data(), name)
    if state == "running":
        st.button(
            "Stop", icon=":material/stop:", key="train-stop", on_click=background_jobs.stop, args=(place,),
            **job_panels.writing_control(help="Ends the job; finished networks stay, and it can go on later."),
        )  # fmt: skip
    elif state != "finished":
        words = (background_jobs.about(place) or {}).get("arguments")
        busy = another(name)
        st.button(
            "Go on", icon=":material/play_arrow:", key="train-on", type="primary",
            on_click=start, args=(job_configs(reads.data(), name), words),
            **job_panels.writing_control(
                bool(busy) or not words, "Another sweep is training; stop it or wait for its end." if busy else None
            ),
        )  # fmt: skip


def _current(rows: list[RunStatus]) -> RunStatus | None:
    """Return the run to look at: one that trains, else the last that has begun."""
    for state in ("running", "unfinished", "finished"):
        rows_in_state = [row for row in rows if row["state"] == state]
        if rows_in_state:
            return rows_in_state[0] if state == "running" else rows_in_state[-1]
    return None


def _ways_on(run: str) -> None:
    """Draw the ways to the pages of a finished run: alone, and compared with the one that is chosen at the side."""
    chosen = st.session_state.get("run")
    with st.container(horizontal=True, gap="medium"):
        st.page_link(page_at("network"), label="Open it", icon=":material/grid_view:", query_params={"run": run})
        if chosen and chosen != run:
            query = {"run": chosen, "runs": f"{chosen},{run}", "baseline": chosen}
            label = "Compare it with the run at the side"
            st.page_link(page_at("compare"), label=label, icon=":material/compare_arrows:", query_params=query)


def _live(row: dict, config: RunConfig) -> None:
    """Show loss, accuracy and the histogram of SI of a run, as far as it is."""
    run = row["run"]
    epochs, units = _so_far(row)
    st.markdown(f"**{safe_text.code(run)}**, alpha {numbers.alpha(config.alpha)}, seed {config.seed}: {row['state']}")
    if row["state"] == "finished":
        _ways_on(run)
    if epochs is None or epochs.empty:
        st.caption("Its first epoch is not finished yet.")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        tables.chart(
            "Loss and accuracy",
            partial(figures.training.progress, epochs, theme.dark()),
            "After each epoch; the loss holds the penalty. Dotted: accuracy on training images, during the epoch.",
            epochs,
            f"train-{run}",
        )
    with right:
        tables.chart(
            "SI of units",
            partial(figures.training.si_histogram, units, config.alpha, theme.dark()),
            f"{numbers.counted(len(units), 'unit')} after epoch {int(epochs['epoch'].max())}, dead ones at 0, on "
            f"the evaluation images; dashed: the mean, {numbers.si(float(units['si'].mean()))}.",
            units,
            f"train-si-{run}",
        )


def _so_far(row: dict) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Return a run's epochs and its units' SI, from its live file or, once it is finished, from its stages."""
    if row["state"] == "finished":
        return reads.store().epochs(row["run"]), reads.store().units(row["run"])[["layer", "unit", "si"]]
    live = read_json(reads.store().run_path(row["run"]) / "partial" / "live.json")
    if not live or not live["epochs"]:
        return None, None
    units = [(layer, unit, si) for layer, values in enumerate(live["unit_si"]) for unit, si in enumerate(values)]
    return pd.DataFrame(live["epochs"]), pd.DataFrame(units, columns=["layer", "unit", "si"])


def _table(rows: list[dict]) -> None:
    table = pd.DataFrame(rows)[["run", "state", "alpha", "seed", "epoch", "epochs", "accuracy", "mean_si", "dead"]]
    table["accuracy"] = 100 * table["accuracy"].astype(float)
    heads = {
        "accuracy": st.column_config.NumberColumn("test accuracy, %", format="%.1f"),
        "mean_si": st.column_config.NumberColumn("mean SI, live units", format="%.3f"),
    }
    tables.table(table, column_config=heads)


def _title(name: str) -> str:
    return SETTINGS[name].plural.capitalize() or SETTINGS[name].title


def _help(name: str) -> str:
    help_text = SETTINGS[name].help.partition(", write --alpha")[0]
    numeric = SETTINGS[name].type in (int, float)
    several = "One value or several, with commas between them" if numeric or name == "penalty_layers" else "One or more"
    return f"{help_text[0].upper()}{help_text[1:]}. {several}; a network is trained for each combination."
