"""What is in the tables?"""

import pandas as pd
import streamlit as st

from app import asking, common, examples, files, links, wording
from selviz.store import TABLES, meanings

ROWS = {"1000": "1,000", "10000": "10,000", "100000": "100,000"}
SIDES = {"examples": "Examples", "tables": "Tables"}
OWN = (
    ("Train one, or as many as you like:", "selviz train --dataset mnist-5k --model cnn --alpha=-1 --seed 1"),
    ("Take a whole run to another store, with its images:", "selviz export {run} --to {run}.zip"),
    ("Bring in a run from another store:", "selviz import --zip {run}.zip"),
    ("Take one table of a run to another program:", "selviz export {run} units --output units.csv"),
)


def named_runs(finished: dict[str, dict]) -> list[str]:
    """The runs that the address names; none means all that are finished."""
    named = [name for name in links.get("runs", "").split(",") if name]
    runs = [name for name in named if name in finished]
    for name in [name for name in named if name not in finished][:3]:
        links.not_found("run", name, ", ".join(runs) or "all finished runs")
    return runs


def side(worked: dict[str, str]) -> None:
    """Beside the box: questions that one click puts into it, and what the tables hold."""
    if links.segmented("Beside the box", SIDES, "side", label_visibility="collapsed") == "examples":
        with st.container(gap=None):
            for title, query in worked.items():
                put = {"query": asking.address(query)}
                st.button(title, type="tertiary", icon=":material/arrow_back:", on_click=links.put, kwargs=put)
        return
    names = ["runs", *TABLES]
    name = links.choose("table", names, "units")
    links.widget(st.selectbox, "Table", names, name="table", value=name, default="units")
    command = meanings.STORED_BY.get(name)
    st.markdown(meanings.table(name) + (f" A run has it after `selviz {command} RUN`." if command else ""))
    columns = asking.columns(name).to_records(index=False)
    words = [f"{meanings.column(name, column)} ({wording.plain(kind.lower())})".strip() for column, kind in columns]
    st.table(
        pd.DataFrame({"column": [wording.code(column) for column, _ in columns], "meaning": words}), hide_index=True
    )


def show(result: dict, query: str, limit: int) -> None:
    """The answer: how many rows, whether there are more, how long it took, the table and its files."""
    if "error" in result:
        st.error("This question has no answer; your query is as you left it.", icon=":material/error:")
        st.code(result["error"], language=None, wrap_lines=True)
        return
    table = result["table"]
    with st.container(horizontal=True, vertical_alignment="center"):
        cut = f", cut off at {wording.whole(len(table))} rows: there are more" if result["cut"] else ""
        st.markdown(f"**{wording.counted(len(table), 'row')}**{cut} · {result['seconds']:.2f} s", width="stretch")
        common.downloads("data", table)
    if len(table):
        st.dataframe(files.arrow(table), hide_index=True, height="auto" if len(table) <= 12 else 460)
    else:
        st.info("No row fits this question.", icon=":material/filter_alt_off:")
    if left_out := result["left_out"]:
        told = "; ".join(
            f"{wording.code(run)} ({wording.code(reason.replace(f'{common.store().run_path(run)}/', ''))})"
            for run, reason in list(left_out.items())[:3]
        )
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        st.caption(f"{wording.counted(len(left_out), 'run')} left out: {told}{more}")


run = common.require_run()["name"]
layers = common.read("layers", run)["layer"]
worked = examples.examples(run, layers.iloc[-1])
query = asking.asked(next(iter(worked.values())))
limit = int(links.choose("rows", list(ROWS), "1000", "number of rows"))
table = common.runs()
finished = table[table["state"] == "finished"].set_index("run").to_dict("index")
runs = named_runs(finished)
common.page(
    "What is in the tables?",
    "Everything that selviz stores is a table, and one question in SQL can be put to any number of networks. Take one "
    "of the examples and change it: nothing that is asked here can change what is stored.",
    asking.python(query, runs, limit),
    asking.shell(query, runs, limit),
)
box, beside = st.columns([3, 2], gap="large")
with box:
    links.widget(
        st.multiselect,
        "Runs",
        list(finished),
        name="runs",
        value=runs,
        default=[],
        text=",".join,
        format_func=common.labels(finished).get,
        placeholder=f"All {wording.counted(len(finished), 'finished run')}",
    )
    links.widget(
        st.text_area,
        "SQL: one SELECT, WITH or EXPLAIN",
        name="query",
        value=query,
        text=asking.address,
        height=230,
        help="Ctrl and Enter ask the question, and so does a click anywhere else.",
    )
    if asking.address(query) != query:
        st.caption(
            f"A link holds {links.LONGEST:,} characters and this query needs more, so the link does not hold it. "
            "Share has it as Python and as a command."
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Ask", type="primary", icon=":material/play_arrow:", on_click=asking.ask_again)
        links.segmented("Rows at most", ROWS, "rows")
with beside, st.container(height=400, border=False):
    side(worked)
show(asking.answer(query, runs, limit), query, limit)

st.subheader("Bring runs of your own, and take them elsewhere", anchor=False)
for column, (what, command) in zip(2 * st.columns(2, gap="large"), OWN):
    column.markdown(what)
    column.code(command.format(run=run), language="bash", wrap_lines=True)
