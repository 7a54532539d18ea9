"""The store works in the folders that people have: with other things in them, odd names, and fewer abilities."""

import errno
import io
import os
import shutil
import zipfile

import pandas as pd
import pytest

from selviz.errors import SelvizError
from selviz.maintenance.doctor import examine
from selviz.store import Store, append, list_groups, read_chain, read_json, write_group, write_json
from selviz.text.safe_text import printable, spreadsheet_cell
from tests.helpers.stored import CLASSES, make_run

STRAY = ["x (copy)", "@eaDir", "#recycle", "System Volume Information", ".DS_Store", "~$run", "a;b"]


@pytest.fixture
def littered(store):
    """A store with one run, and with what file managers, copies and network disks leave in every folder of it."""
    run = make_run(store)
    write_group(store.path, {"conv1.relu": [1]}, "some")
    append(store.path, lambda records: {"kind": "note"})
    places = [store.path / "runs", store.run_path(run), store.path / "groups", store.path / "hypotheses"]
    for place in places:
        for name in STRAY:
            (place / name).mkdir()
        (place / os.fsdecode(b"\xff\xfe")).mkdir()
        for name in ("._metrics.duckdb", "metrics (copy).duckdb", "._0.json", "x (copy).json", "Thumbs.db"):
            (place / name).write_bytes(b"\0stray")
    return store, run


def test_what_else_lies_in_a_store_is_passed_over(littered):
    store, run = littered
    assert store.names() == store.runs()["run"].tolist() == [run]
    assert store.sql("SELECT run, count(*) AS n FROM units GROUP BY run").values.tolist() == [[run, 5]]
    assert list_groups(store.path)["name"].tolist() == ["some"]
    assert read_chain(store.path).problems == []
    assert [
        row
        for row in examine(store)
        if row["what"] in ("runs", "records") and row["state"] == "error" and "it was rewritten" not in row["told"]
    ] == []  # the numbers of this run are made up
    store.pack(run, store.path.parent / "run.zip")


@pytest.mark.parametrize("name", ["a?b", "x:y", "sqlite:data", "http:", "~", "d*ta[1]", "it's", "é ü", "a;b"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_store_may_have_any_name(tmp_path, monkeypatch, name, relative):
    monkeypatch.chdir(tmp_path)
    store = Store(name if relative else tmp_path / name)
    run = make_run(store)
    assert len(store.units(run)) == 5
    table = store.sql("SELECT count(*) AS n FROM units")
    assert table["n"].tolist() == [5] and table.attrs["left_out"] == {}
    assert len(store.export(run, "units")) > 0


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_records_are_chained_where_files_cannot_be_linked(store, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(3):
        append(store.path, lambda records: {"kind": "note"})
    chain = read_chain(store.path)
    assert [record["number"] for record in chain.records] == [1, 2, 3] and chain.problems == []


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_compressed_in_another_way_is_refused_in_one_sentence(store, tmp_path, method):
    run = make_run(store, classes=CLASSES)
    store.pack(run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as old, zipfile.ZipFile(tmp_path / "other.zip", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(SelvizError, match="compressed in a way that selviz does not write"):
        Store(tmp_path / "data2").unpack(tmp_path / "other.zip")


def test_text_that_steers_a_terminal_is_shown_and_not_obeyed():
    assert printable("a\x1b[2Jb\r\x07\u202ec\n\td") == "a\\x1b[2Jb\\r\\x07\\u202ec\n\td"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1"])
def test_a_class_that_looks_like_a_formula_is_text_in_a_spreadsheet(store, text):
    shutil.rmtree(store.path, ignore_errors=True)
    assert spreadsheet_cell(text) == f"'{text}"
    from selviz.store import write_images
    from tests.helpers.stored import LABELS

    write_images(store.path, "f1", [b"picture"] * len(LABELS), LABELS, [text, "one", "two", "three"])
    run = make_run(store)
    saved = pd.read_csv(io.BytesIO(store.export(run, "images")))
    assert set(saved["label"]) == {f"'{text}", "one", "two", "three"}
    assert pd.read_parquet(io.BytesIO(store.export(run, "images", format="parquet")))["label"][0] == text


def test_a_number_of_a_summary_that_no_table_can_hold_hides_no_run(store):
    """Found by the fuzz: a zip whose summary had 400 digits for a mean was taken in, and the list was gone."""
    shutil.rmtree(store.path, ignore_errors=True)
    run = make_run(store)
    path = store.run_path(run) / "summary.json"
    write_json(path, {**read_json(path), "mean_si_live": 10**400, "odd": -(10**400)})
    table = store.runs()
    assert table["run"].tolist() == [run] and table["state"].tolist() == ["finished"]
    assert table["mean_si_live"].isna().all()
