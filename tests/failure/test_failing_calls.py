"""Whatever system call fails, at whatever moment: one true sentence, nothing called damaged, and the next try works."""

import pytest

from tests.helpers import failing_calls

START = """
import errno, json
from selviz.errors import SelvizError
from selviz.store import *
from selviz.store import queries
from tests.helpers.failing_calls import every
from tests.helpers import stored
store = Store(folder / "data")
run = store.names()[0]
reading = {"open": (errno.EMFILE, errno.EACCES, errno.EIO), "read": (errno.EIO,)}
writing = {"open": (errno.EMFILE, errno.EACCES), "read": (errno.EIO,), "write": (errno.ENOSPC, errno.EIO)}
def fresh(call):
    def operation():
        queries._results.clear()
        return call()
    return operation
"""
SCENARIOS = {
    "the list of runs": """
from selviz.store import run_list
def call():
    run_list._finished.clear()
    listed = store.runs().iloc[0]
    if listed["state"] == "failed":  # the one run that could not be read; nobody is told to train it again
        assert not isinstance(listed["resume"], str)
        raise SelvizError(listed["reason"])
    return listed["state"]
print(json.dumps(every(call, reading)))
""",
    "a table": "print(json.dumps(every(fresh(lambda: len(store.units(run))), reading)))",
    "an activation": """
print(json.dumps(every(fresh(lambda: len(store.activations(run, "conv1.relu", 1))), reading)))
""",
    "pictures": "print(json.dumps(every(fresh(lambda: len(store.thumbnails(run, [0, 1]))), reading)))",
    "a query": """
query = "SELECT count(*) AS n FROM units"
print(json.dumps(every(fresh(lambda: (lambda t: [t["n"].tolist(), t.attrs["left_out"]])(store.sql(query))), reading)))
""",
    "a stage that is written": """
def call():
    write_stage(folder / "data" / "runs" / "new", "numbers", stored.rows_of(7), {})
    return stored.number_in(folder / "data" / "runs" / "new")
print(json.dumps(every(call, writing)))
""",
    "a capture": """
def call():
    values = stored.activations(3)
    write_activations(folder / "data" / "runs" / "captured", stored.layer_table(), stored.image_table(),
                      enumerate(values), {})
    return stage_is_whole(folder / "data" / "runs" / "captured", "capture")
print(json.dumps(every(call, writing)))
""",
    "a record of a claim": """
import shutil
def call():
    shutil.rmtree(folder / "data" / "hypotheses", ignore_errors=True)
    number = append(folder / "data", lambda records: {"kind": "note"})["number"]
    chain = read_chain(folder / "data")
    return [chain.problems, len(chain.records) >= number]
print(json.dumps(every(call, writing)))
""",
    "a lock": """
from selviz.system.locks import Claim, holder
def call():
    with Claim(folder / "data" / "claim.json", "a test"):
        return holder(folder / "data" / "claim.json") is not None
print(json.dumps(every(call, writing)))
""",
}


LONG = ("a stage that is written", "a capture")  # hundreds of calls, each of which fails once in every way


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    return failing_calls.library(tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SCENARIOS]
)
def test_every_failing_call_is_one_sentence_and_passes(wrapped, tmp_path, name):
    from selviz.store import Store
    from tests.helpers.stored import CLASSES, make_run

    make_run(Store(tmp_path / "data"), classes=CLASSES)
    found = failing_calls.outcomes(wrapped, tmp_path, START + SCENARIOS[name])
    print(name, found["tries"], found["refused"])
    assert found["tries"] > 0
    assert found["wrong"] == []
