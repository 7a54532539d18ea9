"""What is in the tables?"""

import pandas as pd
import streamlit as st

from selviz.store import TABLES, schema
from selviz.text import numbers, safe_text

from ...page import export, frame, run_picker, tables
from ...state import address, reads
from . import examples, sql_console, zips

ROWS = {"1000": "1,000", "10000": "10,000", "100000": "100,000"}
SIDES = {"examples": "Examples", "tables": "Tables"}
OWN = (
    ("Train one, or as many as you like:", "selviz train --dataset mnist-5k --model cnn --alpha=-1 --seed 1"),
    ("Take a whole run to another store, with its images:", "selviz export {run} --to {run}.zip"),
    ("Bring in a run from another store:", "selviz import --zip {run}.zip"),
    ("Take one table of a run to another program:", "selviz export {run} units --output units.csv"),
)


def named_runs(finished: dict[str, dict]) -> list[str]:
    """Return the runs that the address names; none means all that are finished."""
    named = [name for name in address.get("runs").split(",") if name]
    runs = [name for name in named if name in finished]
    for name in [name for name in named if name not in finished][:3]:
        address.not_found("run", name, ", ".join(runs) or "all finished runs")
    return runs


def side(worked: dict[str, str]) -> None:
    """Show beside the box: questions that one click puts into it, and what the tables hold."""
    if address.segmented("Beside the box", SIDES, "side", label_visibility="collapsed") == "examples":
        with st.container(gap=None):
            for title, query in worked.items():
                put = {"query": sql_console.query_token(query)}
                st.button(title, type="tertiary", icon=":material/arrow_back:", on_click=address.update, kwargs=put)
        return
    names = ["runs", *TABLES]
    name = address.choose("table", names, "units")
    address.widget(st.selectbox, "Table", names, name="table", value=name, default="units")
    command = schema.stage_of(name).command if name in TABLES else ""
    st.markdown(schema.table_meaning(name) + (f" A run has it after `selviz {command} RUN`." if command else ""))
    columns = sql_console.columns(name).to_records(index=False)
    words = [
        f"{schema.column_meaning(name, column)} ({safe_text.plain(kind.lower())})".strip() for column, kind in columns
    ]
    st.table(
        pd.DataFrame({"column": [safe_text.code(column) for column, _ in columns], "meaning": words}), hide_index=True
    )


def show_result(result: dict, query: str, limit: int) -> None:
    """Show the answer: how many rows, whether there are more, how long it took, the table and its files."""
    if "error" in result:
        st.error("This question has no answer; your query is as you left it.", icon=":material/error:")
        st.code(result["error"], language=None, wrap_lines=True)
        return
    table = result["table"]
    with st.container(horizontal=True, vertical_alignment="center"):
        cut = f", cut off at {numbers.whole(len(table))} rows: there are more" if result["cut"] else ""
        st.markdown(f"**{numbers.counted(len(table), 'row')}**{cut} · {result['seconds']:.2f} s", width="stretch")
        tables.downloads("data", table)
    if len(table):
        st.dataframe(export.arrow(table), hide_index=True, height="auto" if len(table) <= 12 else 460)
    else:
        st.info("No row fits this question.", icon=":material/filter_alt_off:")
    if left_out := result["left_out"]:
        sentence = "; ".join(
            f"{safe_text.code(run)} ({safe_text.code(reason.replace(f'{reads.store().run_path(run)}/', ''))})"
            for run, reason in list(left_out.items())[:3]
        )
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        st.caption(f"{numbers.counted(len(left_out), 'run')} left out: {sentence}{more}")


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    layers = reads.store().layers(run)["layer"]
    worked = examples.examples(run, layers.iloc[-1])
    query = sql_console.requested_query(next(iter(worked.values())))
    limit = int(address.choose("rows", list(ROWS), "1000", "number of rows"))
    table = reads.runs()
    finished = table[table["state"] == "finished"].set_index("run").to_dict("index")
    runs = named_runs(finished)
    frame.page(
        "What is in the tables?",
        "Everything that selviz stores is a table, and one question in SQL can be put to any number of networks. Take "
        "one of the examples and change it: nothing that is asked here can change what is stored.",
        sql_console.python(query, runs, limit),
        sql_console.shell(query, runs, limit),
    )
    box, side_column = st.columns([3, 2], gap="large")
    with box:
        address.widget(
            st.multiselect,
            "Runs",
            list(finished),
            name="runs",
            value=runs,
            default=[],
            text=",".join,
            format_func=run_picker.labels(finished).get,
            placeholder=f"All {numbers.counted(len(finished), 'finished run')}",
        )
        address.widget(
            st.text_area,
            "SQL: one SELECT, WITH or EXPLAIN",
            name="query",
            value=query,
            text=sql_console.query_token,
            height=230,
            help="Ctrl and Enter ask the question, and so does a click anywhere else.",
        )
        if sql_console.query_token(query) != query:
            st.caption(
                f"A link holds {address.MAX_LINK_LENGTH:,} characters and this query needs more, so the link does not "
                "hold it. Share has it as Python and as a command."
            )
        with st.container(horizontal=True, vertical_alignment="bottom", key="sql-ask"):
            st.button("Ask", type="primary", icon=":material/play_arrow:")
            address.segmented("Rows at most", ROWS, "rows")
    with side_column, st.container(height=400, border=False):
        side(worked)
    slot = st.empty()  # what it held before goes as soon as the next question is asked
    with slot.container(), st.spinner("Asking the store ..."):
        result = sql_console.answer(query, runs, limit)
    with slot.container():
        show_result(result, query, limit)

    st.subheader("Bring runs of your own, and take them elsewhere", anchor=False)
    zips.show(run)
    st.caption("Or in a shell:")
    for column, (what, command) in zip(2 * st.columns(2, gap="large"), OWN):
        column.markdown(what)
        column.code(command.format(run=run), language="bash", wrap_lines=True)
