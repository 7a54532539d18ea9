"""What all pages share: `page(title, how)`, `run = require_run()`, `read("units", run)`, `chart(figure, how, table)`.

Reads are cached by the run's files (name, time of change, size) and bounded. The store is the folder in SELVIZ_DATA,
else `data/` beside the package.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import colours, files, keyboard, links, memory, saver, wording
from selviz import __version__
from selviz.config import short_name
from selviz.errors import SelvizError
from selviz.store import Store

SHARES = ("test_accuracy", "low_share", "high_share", "before", "after", "change", "change_low", "change_high")
SHARES += ("accuracy_after", "zero_share")
NUMBERS = {
    "test_accuracy": ("test accuracy, %", "%.1f"),
    "low_share": ("from, %", "%.1f"),
    "high_share": ("to, %", "%.1f"),
    "before": ("before, %", "%.1f"),
    "after": ("after, %", "%.1f"),
    "change": ("change, points", "%+.1f"),
    "change_low": ("from, points", "%+.1f"),
    "change_high": ("to, points", "%+.1f"),
    "p_holm": ("p, Holm", "%.3g"),
    "correlation": ("correlation", "%.2f"),
    "match_si": ("SI", "%.2f"),
    "null_within": ("null within classes", "%.2f"),
    "null_all": ("null", "%.2f"),
    "accuracy_after": ("accuracy after, %", "%.1f"),
    "zero_share": ("zeros, %", "%.1f"),
    "si": ("SI", "%.2f"),
    "mean_si": ("mean SI", "%.3f"),
    "mean_si_live": ("mean SI, live units", "%.3f"),
    "null_mean": ("null mean", "%.3f"),
    "null_p95": ("null 95 %", "%.3f"),
    "mean_activation": ("mean activation", "%.3g"),
}
ROOT = Path(__file__).resolve().parent.parent
STYLE = f"""<style>{keyboard.STYLE}
.stMainBlockContainer {{padding: 3.6rem 2.6rem 3rem 2.6rem}}
.stMainBlockContainer h1 {{font-size: clamp(1.6rem, 2.3vw, 2.1rem); padding: .4rem 0}}
.stMainBlockContainer h2 {{font-size: 1.5rem; padding: .8rem 0 .4rem 0}}
.stMainBlockContainer h3 {{font-size: 1.25rem; padding: .4rem 0}}
[class*="st-key-tile-"] button {{background-size: 100% auto; background-repeat: no-repeat; image-rendering: pixelated;
  padding: calc(100% - 2px) 0 0 0; overflow: hidden; border-width: 2px; min-height: 0}}
[class*="st-key-tile-"] button p {{font-size: .82rem; white-space: pre; line-height: 1.25}}
[data-testid=stCaptionContainer] code {{color: inherit; background: none; padding: 0; font-size: .95em}}
[class*=st-key-lesson-] button p {{white-space: normal; text-align: left !important}}
[data-testid=stHeadingDivider] {{margin-top: .5rem}}
[data-testid=stButtonGroup] button {{min-height: 2.5rem}}
.selviz-tiles {{display: grid; grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); gap: .6rem}}
.selviz-tiles figure {{margin: 0}}
.selviz-tiles figcaption {{font-size: .82rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}}
.st-key-strip [data-testid=stMetricValue] {{font-size: clamp(1.2rem, 1.9vw, 2.25rem)}}
.selviz-facts {{width: 100%; border-collapse: collapse}}
.selviz-facts :is(th, td) {{text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; font-size: .94rem;
  border-bottom: 1px solid #8883; overflow-wrap: anywhere}}
.selviz-facts th {{font-weight: 600; min-width: 9rem}}
.selviz-picture {{width: 100%; image-rendering: pixelated; border-radius: .4rem; display: block}}
</style>"""


def data() -> str:
    """The store's folder."""
    return os.environ.get("SELVIZ_DATA") or str(ROOT / "data")


def store() -> Store:
    """The store; cheap to make."""
    return Store(data())


def dark() -> bool:
    """Whether the visitor sees the dark theme."""
    return getattr(st.context.theme, "type", None) == "dark"


# --------------------------------------------------------------------------------------------------------- cached reads


def stamp(run: str) -> tuple:
    """What changes when a file of the run changes: name, inode, time, size of each, as one text, which hashes fast."""
    try:
        with os.scandir(store().run_path(run)) as entries:
            files = ((entry.name, entry.stat()) for entry in entries if entry.is_file())
            return (
                "\n".join(sorted(f"{name} {stat.st_ino} {stat.st_mtime_ns} {stat.st_size}" for name, stat in files)),
            )
    except OSError:
        return ()


@st.cache_resource(max_entries=128, show_spinner=False)
def _read(folder: str, files: tuple, method: str, *arguments) -> pd.DataFrame:
    return getattr(Store(folder), method)(*arguments)


@st.cache_data(max_entries=12, show_spinner=False)
def _read_large(folder: str, files: tuple, method: str, *arguments):
    return getattr(Store(folder), method)(*arguments)


def read(method: str, run: str, *arguments):
    """`Store.method(run, *arguments)`, cached as long as the run's files stay the same."""
    if method == "matrix":
        return _read_large(data(), stamp(run), method, run, *arguments)
    # All visitors share one table: pandas copies what a page writes into, and only then.
    return _read(data(), stamp(run), method, run, *arguments).copy(deep=False)


def unbounded(run: str, layers) -> None:
    """Says so where SI has no bound: in layers whose activations can be negative."""
    table = read("layers", run)
    signed = table[table["signed"] & table["layer"].isin(list(layers))]["layer"].tolist()
    if signed:
        more = f" and {len(signed) - 3} more" if len(signed) > 3 else ""
        st.caption(
            f"Activations can be negative in {', '.join(map(wording.code, signed[:3]))}{more}: SI is not bounded there."
        )


def class_names(run: str) -> list[str]:
    """The class names of the run's data set, in their order."""
    first = read("layers", run)["layer"].iloc[0]
    return read("class_means", run, first, 0)["class"].tolist()


def runs() -> pd.DataFrame:
    """Every run of the store, whatever its state, as the page found it when it began."""
    found = st.session_state.get("runs")
    return store().runs() if found is None else found


@st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
def _network(folder: str, files: tuple, run: str):
    from selviz.opening import load_network

    loaded = load_network(Store(folder), run)
    memory.settle()
    return loaded


def network(run: str):
    """(UnitNetwork, Dataset) of a run. One object for all visitors: it is read, never changed."""
    return _network(data(), stamp(run), run)


def watched(run: str) -> bool:
    """Whether its network could not be traced: its units were watched at import, and nothing can be computed anew."""
    return store().run(run).get("traced") == "watched"


def superseded() -> None:
    """Ends this run of the page if its visitor has asked for something newer: Streamlit looks at each such read."""
    st.session_state.get("run")


def waiting(call: Callable):
    """`call()` where it takes long: in a thread, so that a newer request of the visitor need not wait for its end."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    while not future.done():
        superseded()
        wait([future], 0.05)
    return future.result()


# ---------------------------------------------------------------------------------------------------------------- pages


def page(title: str, how: str, python: str = "", shell: str = "") -> None:
    """The title, which is the page's question, one sentence of how to read it, and link and code to take away."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(title, anchor=False, width="stretch")
        with popover("Share", ":material/share:", "share") as opened:
            if opened:
                st.caption("This view as a link; from the keyboard, Enter copies what has the focus")
                st.code(link(), language=None, wrap_lines=True)
                st.caption("The same numbers in Python")
                code = f"import selviz\n\nstore = selviz.open({data()!r})\n{python or 'store.runs()'}"
                st.code(code, language="python")
                if shell:
                    st.caption("The same in a shell")
                    st.code(shell, language="bash")
    st.markdown(how)
    st.session_state["notices"] = get_script_run_ctx().cursors, st.container()


@contextmanager
def popover(label: str, icon: str, key: str, **options):
    """A box that opens at a button; gives whether it is open, since what is in it is made only then."""
    with st.popover(label, icon=icon, on_change="rerun", key=key, **options) as box:
        if box.open:
            keyboard.enter(key)
        yield box.open


def link() -> str:
    """The address of what is on screen."""
    from urllib.parse import urlencode

    query = urlencode(st.query_params.to_dict(), safe=":;,.-")
    return f"{st.context.url or ''}{'?' if query else ''}{query}"


def downloads(name: str, behind: pd.DataFrame, figure=None, title: str = "", how: str = "") -> None:
    """Buttons that save the table as CSV and Parquet, and the figure as SVG, PNG and an interactive page.

    A file is made when it is asked for.
    """
    about = origin()
    stem = files.name(name, *st.query_params.to_dict().values(), suffix="")
    kinds = [
        ("CSV", ".csv", "text/csv", partial(files.csv, behind), None),
        ("Parquet", ".parquet", "application/vnd.apache.parquet", partial(files.parquet, behind, about), None),
    ]
    if figure is not None:
        make = partial(files.page, figure, title, how, about, dark(), stem)
        why = f"A page that opens without a network ({files.PAGE_MEGABYTES} MB): point at the figure for its values."
        kinds.append(("HTML", ".html", "text/html", make, why))
    with st.container(horizontal=True, gap="small", width="content", vertical_alignment="center"):
        for kind, suffix, mime, make, why in kinds:
            key = f"save-{name}{suffix}"
            st.download_button(kind, make, stem + suffix, mime, key, why, on_click="ignore", icon=":material/download:")
        if figure is not None:
            saver.pictures(files.alone(figure, dark()), files.told(title, how, about, dark(), stem), f"pictures-{name}")


def saving(name: str, behind: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
    """A box with the buttons that save a table, or one that is made when the box is opened."""
    with popover("Save", ":material/download:", f"saving-{name}") as opened:
        if opened:
            downloads(name, behind() if callable(behind) else behind)


def origin() -> dict[str, str]:
    """Where what is on screen comes from, for the files that take it away."""
    written = datetime.now(UTC).isoformat(timespec="seconds")
    return {"selviz": __version__, "address": link(), "written": written, "citation": files.citation()}


def chart(title: str, figure, how: str, behind: pd.DataFrame, key: str, on_select=None, selection_mode="points"):
    """A chart, its title, the table behind it, and one line of how to read it; gives the selection if `on_select`."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False, width="stretch")
        with popover("Table", ":material/table:", f"table-{key}") as opened:
            if opened:
                table(behind)
                downloads(key, behind, figure, title, how)
    options = {} if on_select is None else {"on_select": on_select, "selection_mode": selection_mode}
    event = st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=f"{title}. {how}", **options)
    st.caption(how)
    return event


def table(frame: pd.DataFrame, **options):
    """A table with the heads and formats that all pages use; shares 0..1 are shown in per cent."""
    shares = {name: 100 * frame[name].astype(float) for name in SHARES if name in frame}
    heads = {name: st.column_config.NumberColumn(head, format=form) for name, (head, form) in NUMBERS.items()}
    heads |= dict.fromkeys(("preferred_class", "match_class"), "prefers")
    options["column_config"] = {**heads, **options.get("column_config", {})}
    return st.dataframe(frame.assign(**shares), hide_index=True, **{"placeholder": "–", **options})


@contextmanager
def failures():
    """A SelvizError inside is shown as its sentence, once on a page; everything else on the page stays."""
    try:
        yield
    except SelvizError as error:
        drawing = get_script_run_ctx().cursors  # Streamlit makes new ones for each run
        of, told = st.session_state.get("failures", (None, set()))
        told = told if of is drawing else set()
        if str(error) in told:
            st.caption("This cannot be shown either, for the same reason.")
            return
        st.session_state["failures"] = drawing, told | {str(error)}
        if st.session_state.get("notices", (None,))[0] is not drawing:
            st.title("This page cannot be shown", anchor=False)
        st.error("This could not be shown; nothing was lost.", icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)


# ------------------------------------------------------------------------------------------------------------- the run


def pick_run() -> None:
    """The sidebar's run picker; what it says is `st.session_state["run"]`, None while no run is finished."""
    st.session_state["runs"] = table = store().runs()
    finished = table[table["state"] == "finished"] if len(table) else table
    names = list(finished["run"]) if len(finished) else []
    st.session_state["finished"] = len(names)
    if not names:
        st.session_state["run"] = None
        return
    default = st.session_state.get("run")
    if default not in names:
        baseline = finished[(finished["alpha"] == 0) & (finished["epochs"] != 0)]["run"]
        default = baseline.iloc[0] if len(baseline) else names[0]
    asked = links.get("run")
    if asked in set(table["run"]) - set(names):
        row = table[table["run"] == asked].iloc[0]
        st.warning(
            f"Run {wording.code(asked)} is {row['state']}, so there is nothing to show of it yet. "
            f"Shown instead: {wording.code(default)}.",
            icon=":material/hourglass:",
        )
        st.code(remedy(row), language=None, wrap_lines=True)
        chosen = default
    else:
        chosen = links.choose("run", names, default)
    st.session_state["run"] = chosen
    if asked is None or asked != chosen:
        links.put(run=chosen)
    rows = finished.set_index("run").to_dict("index")
    with st.sidebar:
        links.widget(st.selectbox, "Run", names, name="run", value=chosen, format_func=labels(rows).get)
        row = rows[chosen]
        dot = f'<span style="color:{colours.alpha(row["alpha"], dark())}">⬤</span>'
        imported = row.get("kind") == "imported"
        st.html(f"{dot}&ensp;{'trained elsewhere' if imported else 'alpha ' + wording.alpha(row['alpha'])}")
        kind = "" if row.get("kind") in (None, "trained") else f", {row['kind']}"
        st.caption(
            f"{wording.code(short_name(row['dataset']))} · {wording.code(row['model'])}{kind}  \n"
            f"accuracy {wording.share(row['test_accuracy'], row['images'])}  \n{wording.code(chosen)}"
        )


def labels(rows: dict[str, dict]) -> dict[str, str]:
    """The label of each run in a list of plain text: which way alpha pulls, alpha, accuracy, and of network, data set
    and seed what is not the same in all. Streamlit tells options apart by their labels, so equal ones get the name."""
    parts = {"model": "{}", "dataset": "{}", "seed": "seed {}"}
    differing = [key for key in parts if len({str(row[key]) for row in rows.values()}) > 1]
    told = {
        name: " · ".join(
            [
                f"{colours.alpha_sign(row['alpha'])} {name if wording.missing(row['alpha']) else wording.run(row)}",
                wording.percent(row["test_accuracy"]),
                *(parts[key].format(short_name(row[key]) if key == "dataset" else row[key]) for key in differing),
            ]
        )
        for name, row in rows.items()
    }
    shared = {label for label, count in pd.Series(told).value_counts().items() if count > 1}
    return {name: f"{label} · {name}" if label in shared else label for name, label in told.items()}


def remedy(row: dict) -> str:
    """Why a run is not finished, as far as that is known, and the command that goes on with it."""
    return (
        "\n".join(row[name] for name in ("reason", "resume") if isinstance(row.get(name), str)) or "no reason is known"
    )


def require_run() -> dict:
    """The chosen run as a dict of the columns of `runs()`; a page without any run says how to get one, and stops."""
    from app import work

    name = st.session_state.get("run")
    if name is None:
        work.panel()
        st.stop()
    table = runs()
    return {"name": name, **table[table["run"] == name].iloc[0].to_dict()}
