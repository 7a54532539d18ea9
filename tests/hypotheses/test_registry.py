"""The ledger: records that cannot be changed unnoticed, tests that are cut off, networks that go, the report."""

import json
import re
import threading

import pytest

from selviz.cli import main
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.hypotheses import registry, samples
from selviz.hypotheses.report import html_report, markdown_report
from selviz.runs.train import train_run
from selviz.store import Store, append, read_chain
from selviz.testing.toy import WIDE, wide_known


@pytest.fixture
def wide(tmp_path):
    """A store with one hand-set network."""
    with wide_known():
        store = Store(tmp_path / "store")
        train_run(store, RunConfig(WIDE, "wide-selective", epochs=0))
        yield store


def necessary(store, **more):
    return registry.register(store, "necessary", {"run": store.names()[0], "unit": "relu:1", "class": "b", **more})


def file(store, number: int):
    return store.path / "hypotheses" / f"{number:06d}.json"


def test_many_who_write_at_once_all_succeed_in_one_chain(tmp_path):
    def write():
        for number in range(10):
            append(tmp_path, lambda records, number=number: {"kind": "note", "seen": len(records), "own": number})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = read_chain(tmp_path)
    assert chain.problems == [] and len(chain.records) == 40
    assert [record["seen"] for record in chain.records] == list(range(40))
    assert [record["previous"] for record in chain.records] == ["", *(r["hash"] for r in chain.records[:-1])]
    assert chain.head == chain.records[-1]["hash"]
    assert sorted(path.name for path in (tmp_path / "hypotheses").iterdir()) == [f"{n:06d}.json" for n in range(1, 41)]


def edit(path):
    path.write_text(path.read_text().replace('"seen": 1', '"seen": 7'))


def edit_with_a_new_hash(path):
    from selviz.store.ledger import record_hash

    record = json.loads(path.read_text()) | {"seen": 7}
    path.write_text(json.dumps(record | {"hash": record_hash(record)}))


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (edit, "000002.json was changed after it was written"),
        (edit_with_a_new_hash, "000003.json does not follow on the record before it"),
        (lambda path: path.unlink(), "000002.json is missing"),
        (lambda path: path.write_text("{"), "000002.json is damaged"),
        (lambda path: path.write_text(path.with_name("000003.json").read_text()), "000002.json is the record number 3"),
    ],
)
def test_a_record_that_was_tampered_with_is_named_and_nothing_is_added_after_it(tmp_path, tamper, told):
    for _ in range(3):
        append(tmp_path, lambda records: {"kind": "note", "seen": len(records)})
    tamper(tmp_path / "hypotheses" / "000002.json")
    assert any(told in problem for problem in read_chain(tmp_path).problems)
    with pytest.raises(SelvizError, match="do not hold together"):
        append(tmp_path, lambda records: {"kind": "note"})
    assert told in " ".join(registry.ledger(Store(tmp_path)).attrs["problems"])


def test_a_test_that_was_cut_off_keeps_its_registration_and_goes_on_where_it_stopped(wide, monkeypatch):
    key = necessary(wide)["hypothesis"]

    class Killed(BaseException):
        pass

    def cut_off(news):
        if news["done"] == 20:
            raise Killed

    with pytest.raises(Killed):
        registry.run_test(wide, key, cut_off)
    (row,) = registry.ledger(wide).to_dict("records")
    assert (row["state"], row["begun"], row["holm"]) == ("begun", True, 1.0)  # begun tests count, as p = 1
    calls = []
    monkeypatch.setattr(samples, "lost", lambda *a, original=samples.lost: calls.append(a) or original(*a))
    result = registry.run_test(wide, key)
    assert (result["verdict"], len(calls)) == ("supported", 40 - 20)
    assert [record["kind"] for record in read_chain(wide.path).records] == ["registered", "begun", "result"]
    assert not (wide.path / "hypotheses" / "partial" / key).exists()
    assert registry.run_test(wide, key) == result  # a verdict is not computed twice
    assert registry.repeat(wide, key) == {"hypothesis": key, "same": True, "differences": []}


def test_what_a_killed_writer_left_of_a_record_goes_with_the_next_one(tmp_path):
    folder = tmp_path / "hypotheses"
    folder.mkdir()
    for name in (".000001.json.f8068350", ".000002.json.f8068351"):
        (folder / name).write_text("{")
    append(tmp_path, lambda records: {"statement": "one"})
    # The second may be of somebody who writes at this moment.
    assert sorted(path.name for path in folder.iterdir()) == [".000002.json.f8068351", "000001.json"]


def test_an_abandoned_hypothesis_stays_and_cannot_be_tested(wide):
    first, second = necessary(wide)["hypothesis"], necessary(wide, controls=30)["hypothesis"]
    registry.abandon(wide, first, "the wrong unit")
    with pytest.raises(SelvizError, match="was given up .the wrong unit."):
        registry.run_test(wide, first)
    registry.run_test(wide, second)
    with pytest.raises(SelvizError, match="decided already"):
        registry.abandon(wide, second, "too late")
    assert registry.ledger(wide)["state"].tolist() == ["abandoned", "tested"]


def test_a_network_that_was_deleted_or_changed_after_registration_is_named(wide):
    key, run = necessary(wide)["hypothesis"], wide.names()[0]
    weights = wide.run_path(run) / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-4] + b"\0\0\0\1")
    with pytest.raises(SelvizError, match=f"run {run} was changed after registration"):
        registry.run_test(wide, key)
    weights.write_bytes(kept)
    wide.run_path(run).rename(wide.path / "elsewhere")
    with pytest.raises(SelvizError, match=f"run {run} was deleted after registration"):
        registry.run_test(wide, key)
    assert f"run {run} was deleted after registration" in registry.ledger(wide)["missing"][0]
    assert f"run {run} was deleted after registration" in html_report(wide, key)


def test_the_report_holds_what_a_reader_needs_to_check_it(wide):
    registered = necessary(wide, smallest="0.1")
    key = registered["hypothesis"]
    assert "No verdict yet" in markdown_report(wide, key)
    result = registry.run_test(wide, key)
    page, text = html_report(wide, key), markdown_report(wide, key)
    for told in (registered["hash"], result["hash"], "Supported", f"selviz hypothesis test {key} --again", "torch",
                 "claim 1 of 1 planned: level 0.05", registered["runs"][0]["weights"][:16]):  # fmt: skip
        assert told in page and told.replace("_", "\\_") in text
    assert page.count("<svg") == 4 and text.count("data:image/svg+xml") == 4
    assert not re.search(r"(src|href)=|<script|https?://(?!www\.w3\.org/2000/svg)", page)
    assert f"--run {wide.names()[0]} --unit relu:1 --class b --smallest 0.1" in page


def test_the_commands_register_test_list_and_report(wide, capsys, tmp_path):
    def run(*argv):
        code = main(["hypothesis", *argv, "--data", str(wide.path)])
        return code, capsys.readouterr()

    asked = ("--run", wide.names()[0], "--unit", "relu:1", "--class", "b")
    assert run("list")[1].out.startswith("No hypothesis is registered yet")
    assert "Not registered (--dry-run)" in run("register", "necessary", *asked, "--dry-run")[1].out
    code, told = run("register", "necessary", *asked, "--json")
    key = json.loads(told.out)["hypothesis"]
    assert code == 0 and len(json.loads(run("list", "--json")[1].out)["hypotheses"]) == 1
    assert "SUPPORTED" in run("test", key)[1].out
    assert "the same, bit for bit" in run("test", key[:4], "--again")[1].out
    assert run("report", key, "--output", str(tmp_path / "r.html"))[0] == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads(run("report", key, "--json")[1].out)["result"]["verdict"] == "supported"
    code, told = run("test", "ffffffffff")
    assert code == 2 and "Unknown hypothesis 'ffffffffff'" in told.err
    code, told = run("register", "necessary", "--run", wide.names()[0], "--unit", "relu:1")
    assert code == 2 and "it needs class" in told.err


def test_sql_reads_the_ledger_beside_the_runs(wide):
    key = necessary(wide)["hypothesis"]
    registry.run_test(wide, key)
    table = wide.sql("select hypothesis, verdict, p from hypotheses where kind = 'confirmatory'")
    assert table.to_dict("records") == [{"hypothesis": key, "verdict": "supported", "p": 1 / 40}]
