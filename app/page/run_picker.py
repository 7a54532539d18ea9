"""The run that all pages show: `pick_run()` draws its picker, `require_run()` returns it or stops the page."""

from typing import Any

import pandas as pd
import streamlit as st

from selviz.config import short_name
from selviz.figures import colors
from selviz.runs import demo
from selviz.store import stars
from selviz.text import numbers, safe_text

from ..look import theme
from ..state import address, reads
from . import job_panels

# What tells runs apart in the picker.
LABELLED = ("model", "dataset", "alpha", "seed", "epochs", "test_accuracy", "snapshots")


def pick_run() -> None:
    """Draw the sidebar's run picker; its choice is `st.session_state["run"]`, None while no run is finished."""
    st.session_state["runs"] = table = reads.store().runs()
    finished = table[table["state"] == "finished"] if len(table) else table
    names = list(finished["run"]) if len(finished) else []
    st.session_state["finished"] = len(names)
    if not names:
        st.session_state["run"] = None
        return
    default = st.session_state.get("run")
    if default not in names:
        default = first_run(finished)
    requested = address.get("run")
    if requested in set(table["run"]) - set(names):
        row = table[table["run"] == requested].iloc[0]
        st.warning(
            f"Run {safe_text.code(requested)} is {row['state']}, so there is nothing to show of it yet. "
            f"Shown instead: {safe_text.code(default)}.",
            icon=":material/hourglass:",
        )
        st.code(remedy(row), language=None, wrap_lines=True)
        chosen = default
    else:
        chosen = address.choose("run", names, default)
    st.session_state["run"] = chosen
    if requested != chosen:
        address.fill(run=chosen)
    rows = finished.reindex(columns=["run", *LABELLED]).set_index("run").to_dict("index")
    with st.sidebar:
        address.widget(st.selectbox, "Run", names, name="run", value=chosen, format_func=labels(rows).get)
        _star(chosen)
        row = finished[finished["run"] == chosen].iloc[0].to_dict()
        dot = f'<span style="color:{colors.alpha(row["alpha"], theme.dark())}">⬤</span>'
        imported = row.get("kind") == "imported"
        st.html(f"{dot}&ensp;{'trained elsewhere' if imported else 'alpha ' + numbers.alpha(row['alpha'])}")
        kind = "" if row.get("kind") in (None, "trained") else f", {row['kind']}"
        st.caption(
            f"{safe_text.code(short_name(row['dataset']))} · {safe_text.code(row['model'])}{kind}  \n"
            f"accuracy {numbers.share(row['test_accuracy'], row['images'])}  \n{safe_text.code(chosen)}"
        )


def _star(run: str) -> None:
    """Draw the button that makes a run the one that every visitor sees first, or that it no longer is."""
    is_starred = stars.starred(reads.data()) == run
    st.button(
        "Starred: shown first" if is_starred else "Show this run first",
        icon=":material/star:" if is_starred else ":material/star_border:",
        key="star",
        type="tertiary",
        on_click=stars.star,
        args=(reads.data(), None if is_starred else run),
        **job_panels.writing_control(help="The starred run is what every visitor of this dashboard sees first"),
    )


def first_run(finished: pd.DataFrame) -> str:
    """Return the run that a visitor sees first: the starred one, else the demo's baseline, else the oldest baseline.

    Without any of them it is the oldest run.

    A training that ends while others look on must not become what they see.
    """
    starred = stars.starred(reads.data())
    if starred in set(finished["run"]):
        return str(starred)
    baselines = finished[(finished["alpha"] == 0) & (finished["epochs"] != 0)]
    of_the_demo = {run["run"] for run in demo.status(reads.data())["runs"]}
    own = baselines[baselines["run"].isin(of_the_demo)]
    rows = own if len(own) else baselines if len(baselines) else finished
    return str(rows.sort_values(["created", "run"])["run"].iloc[0])


def labels(rows: dict[str, dict]) -> dict[str, str]:
    """Return the label of each run in a list of plain text: which way alpha pulls, alpha, accuracy, and of
    network, data set
    and seed what is not the same in all. Streamlit tells options apart by their labels, so equal ones get the name."""
    starred = stars.starred(reads.data())
    parts = {"model": "{}", "dataset": "{}", "seed": "seed {}"}
    differing = [key for key in parts if len({str(row[key]) for row in rows.values()}) > 1]
    by_run = {
        name: " · ".join(
            [
                f"{'★ ' if name == starred else ''}{colors.alpha_sign(row['alpha'])} "
                f"{name if numbers.missing(row['alpha']) else numbers.run(row)}",
                numbers.percent(row["test_accuracy"]),
                *(
                    parts[key].format(short_name(row[key]) if key == "dataset" else row[key])
                    for key in differing
                    if not pd.isna(row[key])
                ),
                *(["with snapshots"] if not pd.isna(row.get("snapshots", 0)) and row.get("snapshots", 0) > 0 else []),
            ]
        )
        for name, row in rows.items()
    }
    shared = {label for label, count in pd.Series(by_run).value_counts().items() if count > 1}
    return {name: f"{label} · {name}" if label in shared else label for name, label in by_run.items()}


def remedy(row: dict) -> str:
    """Return why a run is not finished, as far as that is known, and the command that goes on with it."""
    return (
        "\n".join(row[name] for name in ("reason", "resume") if isinstance(row.get(name), str)) or "no reason is known"
    )


def require_run() -> dict[str, Any]:
    """Return the chosen run, a dict of the columns of `reads.runs()`; without any run say how to get one, and stop."""
    name = st.session_state.get("run")
    if name is None:
        job_panels.demo_panel()
        st.stop()
    table = reads.runs()
    return {"name": name, **table[table["run"] == name].iloc[0].to_dict()}
