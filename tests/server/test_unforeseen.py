"""What nobody caught is one sentence with a number that the log repeats, however the server was started."""

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest

from app.server.unforeseen import SENTENCE
from selviz.testing.dashboard import ROOT, answering, free_port
from selviz.testing.visitor import Visitor
from tests.helpers.servers import asked

# A page that fails while it draws, in a part of it, and in what a button calls; made before Streamlit starts.
PROGRAM = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
import streamlit as st
import app.views.network.page as units, app.views.unit.page as unit, app.views.compare.page as compare

def boom():
    raise KeyError("a detail that is nobody's business")

def part():
    st.markdown("a page")
    st.fragment(boom)()

def button():
    typed = st.text_area("A claim", "secret idea: units see hats\\nsecond line")
    def quote():
        raise ValueError(f"cannot read {typed!r} or {typed.splitlines()[1]}, a detail that is nobody's business")
    st.button("break", on_click=quote)

units.show, unit.show, compare.show = boom, part, button
sys.argv[0] = "streamlit"
runpy.run_module("streamlit", run_name="__main__")
"""


@pytest.mark.parametrize("entry", ["serve.py", "main.py"])
def test_any_error_is_one_sentence_with_a_number_that_the_log_repeats(own_store, entry):
    async def break_everything(address):
        async with Visitor(address) as visitor:
            said = []
            for page in ("network", "unit", "compare"):
                await visitor.open(page)
                if page == "compare":
                    await visitor.press("break")
                    await visitor.until(lambda v: v.finished)
                said.append((visitor.errors(), visitor.elements("exception")))
            return said

    port, log = free_port(), own_store.path.with_name("log")
    command = [sys.executable, "-c", PROGRAM, str(ROOT), "run", str(ROOT / "app" / entry), "--server.port", str(port),
               "--server.address", "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType",
               "none"]  # fmt: skip
    settings = {"SELVIZ_DATA": str(own_store.path), "SELVIZ_NO_DEMO": "1", "SELVIZ_LOG": "1", "OMP_NUM_THREADS": "1"}
    with open(log, "w") as file:
        process = subprocess.Popen(
            command, cwd=own_store.path, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=file
        )
    address = f"http://127.0.0.1:{port}"
    with answering(process, f"{address}/_stcore/health", log.read_text):
        said = asyncio.run(break_everything(address))
        unfit = asked(f"{address}/health")[::2] if entry == "serve.py" else None
    assert "units see hats" not in log.read_text() and "second line" not in log.read_text()
    numbers = []
    for errors, exceptions in said:
        assert exceptions == [] and len(errors) == 1, said
        assert errors[0].startswith(SENTENCE) and not re.search(r"detail|Traceback|KeyError|/|http", errors[0])
        numbers.append(errors[0].removesuffix(".").rpartition(" ")[2])
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    told = {line["number"]: line for line in lines if line["event"] == "unforeseen"}
    assert [*told] == numbers and all("nobody's business" in line["trace"] for line in told.values())
    assert "Traceback" not in "".join(line for line in log.read_text().splitlines() if not line.startswith("{"))
    if unfit:
        assert unfit == (503, b'{"ok":false,"reason":"3 of the last 4 pages failed"}')
