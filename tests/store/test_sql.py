"""SQL that people type reads the views and does nothing else; exports hold the same tables."""

import io
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from selviz.errors import SelvizError, TransientError
from selviz.store import sql_process, write_stage
from tests.helpers.stored import activations, everything_below, make_run, python


def test_views_hold_the_same_tables_as_the_methods_with_the_run_beside(shared, run):
    for view, table in {
        "units": shared.units(run),
        "layers": shared.layers(run),
        "class_means": shared.class_means(run),
        "images": shared.images(run),
        "epochs": shared.epochs(run),
    }.items():
        found = shared.sql(f"SELECT * FROM {view} WHERE run = '{run}'")
        pd.testing.assert_frame_equal(found.drop(columns="run"), table)
        assert set(shared.sql(f"SELECT DISTINCT run FROM {view}")["run"]) == set(shared.names())
    found = shared.sql("SELECT run, image, value FROM activations WHERE layer = 'conv1.relu' AND unit = 2 ORDER BY ALL")
    for name, seed in zip(sorted(shared.names()), (1, 0)):
        np.testing.assert_array_equal(found[found["run"] == name]["value"], activations(seed)[0][:, 2])
    assert shared.sql("SELECT run, alpha FROM runs ORDER BY alpha")["alpha"].tolist() == [-1.0, 0.0]


def test_a_stranger_s_query_has_the_same_answer_in_a_process_of_its_own(shared, run):
    query = "SELECT run, layer, avg(si) AS si, max(dead) AS dead FROM units GROUP BY ALL ORDER BY ALL"
    for runs in (None, (run,)):
        found, expected = sql_process.run_sql_in_subprocess(shared.path, query, runs, 3, 10), shared.sql(query, runs, 3)
        pd.testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs
    with pytest.raises(SelvizError, match="Only reading is allowed here, not DROP"):
        sql_process.run_sql_in_subprocess(shared.path, "drop table units", None, 3, 10)


def test_what_duckdb_neither_counts_nor_interrupts_is_ended(shared, monkeypatch):
    monkeypatch.setattr(sql_process, "START_S", 9.0)
    with pytest.raises(SelvizError, match="took longer than 1 seconds|needs more than 3 GB of memory"):
        sql_process.run_sql_in_subprocess(
            shared.path, "EXPLAIN SELECT md5(repeat('A', 1000000000)) FROM runs", None, 3, 1
        )


def test_a_query_with_half_a_character_is_one_sentence(shared):
    for ask in (shared.sql, lambda query: sql_process.run_sql_in_subprocess(shared.path, query, None, 3, 10)):
        with pytest.raises(SelvizError, match="half a character"):
            ask("select '\ud800'")


def test_class_means_can_be_worked_out_from_activations_and_images_in_sql(shared, run):
    query = """
        SELECT layer, unit, label AS class, avg(value) AS mean FROM activations JOIN images USING (run, image)
        GROUP BY ALL ORDER BY ALL
    """
    found = shared.sql(query, runs=[run])
    expected = shared.class_means(run).sort_values(["layer", "unit", "class"])
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-6)


def test_only_the_named_runs_are_read(shared, run):
    assert shared.sql("SELECT DISTINCT run FROM units", runs=[run])["run"].tolist() == [run]
    assert shared.sql("SELECT run FROM runs", runs=[run])["run"].tolist() == [run]
    with pytest.raises(SelvizError, match="Unknown run"):
        shared.sql("SELECT 1", runs=["digits"])


def test_more_runs_than_can_be_attached_are_read_in_turn_but_for_their_activations(store):
    run = make_run(store)
    for number in range(64):
        shutil.copytree(store.run_path(run), store.run_path(f"copy{number}"))
    assert len(store.sql("SELECT run FROM runs")) == 65
    assert store.sql("SELECT count(*) AS n FROM units")["n"].tolist() == [65 * 5]
    with pytest.raises(SelvizError, match="activations of 65 runs, and those of 64 can be read at once"):
        store.sql("SELECT count(*) FROM activations")
    names = [f"copy{number}" for number in range(64)]
    assert store.sql("SELECT count(*) AS n FROM units", runs=names)["n"].tolist() == [64 * 5]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM sniff_csv('{file}')",
        "SELECT * FROM read_duckdb('{other}', table_name = 'about')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out''')",
        "COPY units TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{folder}/out.csv'",
        "-- harmless\nEXPLAIN /* x */ ANALYZE CREATE TABLE t AS SELECT 1",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/new.duckdb'",
        "ATTACH '{folder}/new.duckdb' AS x (READ_ONLY)",
        "DETACH file0",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "INSERT INTO file0.units SELECT * FROM file0.units",
        "UPDATE file0.units SET si = 0",
        "DELETE FROM runs",
        "DROP VIEW units",
        "TRUNCATE runs",
        "WITH x AS (SELECT 1) INSERT INTO runs SELECT * FROM x",
        "PREPARE p AS SELECT 1",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW units",
        "",
        "  -- nothing",
        "SELECT * FROM listing",
        "SELECT * FROM frame",
        "SELECT getenv('HOME')",
        "SELECT ?",
        "SELECT $a",
        "SELEC 1",
        "SELECT * FROM unit",
        "SELECT sii FROM units",
    ],
)
def test_sql_reads_the_views_and_does_nothing_else(shared, tmp_path, query):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    write_stage(tmp_path, "other", {"t": pd.DataFrame({"a": [1]})}, {})
    before, here = everything_below(shared.path), set(os.listdir("."))
    frame = pd.DataFrame({"a": [1]})  # noqa: F841  a query must not see Python's variables
    values = {"file": tmp_path / "secret.csv", "folder": tmp_path, "other": tmp_path / "other.duckdb"}
    with pytest.raises(SelvizError) as error:
        shared.sql(query.format(**values))
    assert "\n" not in str(error.value)
    assert everything_below(shared.path) == before
    assert sorted(os.listdir(tmp_path)) == ["other.duckdb", "other.json", "partial", "secret.csv"]
    assert set(os.listdir(".")) == here


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT 1;", 1),
        ("-- a comment\nSELECT 1 /* another; one */", 1),
        ("WITH x AS (SELECT * FROM units) SELECT count(*) FROM x", 1),
        ("FROM layers", 4),
        ("VALUES (1), (2)", 2),
        ("EXPLAIN SELECT * FROM units", 1),
        ("/* why */ EXPLAIN ANALYZE SELECT * FROM units", 1),
        ("DESCRIBE units", 13),
        ("SELECT * FROM UNITS WHERE layer = 'it''s; not'", 0),
        ("SELECT * FROM units WHERE si > ALL (SELECT si FROM units WHERE layer = 'conv1.relu')", 4),
    ],
)
def test_sql_that_reads_is_answered(shared, query, rows):
    assert len(shared.sql(query)) == rows


def test_a_query_is_refused_before_anything_that_it_names_is_opened(shared, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")  # opening it would wait for ever
    with pytest.raises(SelvizError):
        shared.sql(f"SELECT * FROM read_csv('{tmp_path / 'pipe.csv'}')", seconds=5)


def test_show_tables_lists_every_view(shared):
    table = shared.sql("SHOW TABLES")
    assert {"runs", "epochs", "layers", "units", "class_means", "images", "activations"} <= set(table["name"])


def test_a_query_stops_at_its_time_and_leaves_nothing_running(shared):
    before = threading.active_count()
    started = time.monotonic()
    with pytest.raises(SelvizError, match=r"took longer than 0\.5 seconds"):
        shared.sql("SELECT count(*) FROM range(10_000_000_000_000) WHERE random() > 2", seconds=0.5)
    assert time.monotonic() - started < 60  # it would take hours; a busy machine starts it late
    assert threading.active_count() == before


def test_a_long_query_draws_no_progress_bar_into_the_output(shared):
    code = """
import sys, selviz
from selviz.errors import SelvizError
try:
    selviz.open(sys.argv[1]).sql("SELECT count(*) FROM range(10_000_000_000_000) WHERE random() > 2", seconds=3.5)
except SelvizError:
    print("too long")
"""
    done = python(code, shared.path)
    assert (done.stdout, done.stderr) == ("too long\n", "")


def test_rows_are_cut_at_the_limit_and_the_table_says_so(shared):
    table = shared.sql("SELECT * FROM activations", limit=7)
    assert (len(table), table.attrs["truncated"]) == (7, True)
    table = shared.sql("SELECT * FROM units", limit=10)
    assert (len(table), table.attrs["truncated"]) == (10, False)
    table = shared.sql("SELECT i FROM range(100_000_000_000) t(i)", limit=30_000)
    assert table["i"].tolist() == list(range(30_000))
    with pytest.raises(SelvizError, match="above 0"):
        shared.sql("SELECT 1", limit=0)


def test_a_query_that_needs_too_much_memory_is_refused(shared, monkeypatch):
    monkeypatch.setattr("selviz.store.sql.MEMORY", "100MB")
    with pytest.raises(SelvizError, match="more than 100MB of memory"):
        shared.sql("SELECT list(i) FROM range(1_000_000_000) t(i)")


def test_columns_of_one_name_and_no_rows_keep_their_columns(shared):
    assert list(shared.sql("SELECT layer, unit FROM units WHERE false").columns) == ["layer", "unit"]
    assert len(shared.sql("SELECT 1 AS a, 2 AS a").columns) == 2


@pytest.mark.parametrize("table", ["epochs", "epoch_layers", "layers", "units", "class_means", "images", "activations"])
def test_every_table_leaves_in_every_format_as_it_is(shared, run, table, tmp_path):
    expected = shared.sql(f"SELECT * FROM {table}", runs=[run])
    read = {
        "csv": lambda content: pd.read_csv(io.BytesIO(content), dtype_backend="pyarrow"),
        "json": lambda content: pd.DataFrame(json.loads(content)),
        "parquet": lambda content: pyarrow.parquet.read_table(io.BytesIO(content)).to_pandas(),
    }
    for form, parse in read.items():
        found = parse(shared.export(run, table, None, form))
        pd.testing.assert_frame_equal(found.astype(expected.dtypes), expected, rtol=1e-6)
    path = tmp_path / "it's.parquet"
    assert shared.export(run, table, path, "parquet") == path
    assert os.listdir(tmp_path) == ["it's.parquet"]


def test_what_cannot_be_exported_is_one_sentence(shared, run, tmp_path):
    with pytest.raises(SelvizError, match="Unknown table 'unit'; did you mean 'units'"):
        shared.export(run, "unit")
    with pytest.raises(SelvizError, match="Unknown format 'cvs'; did you mean 'csv'"):
        shared.export(run, "units", None, "cvs")
    for path in (tmp_path, tmp_path / "none" / "x.csv"):
        with pytest.raises(SelvizError, match="a folder that exists"):
            shared.export(run, "units", path)


def test_a_result_that_would_fill_the_memory_is_refused(shared, monkeypatch):
    monkeypatch.setattr("selviz.store.sql.MOST_BYTES", 1_000_000)
    with pytest.raises(SelvizError, match="larger than 0.001 GB"):
        shared.sql("SELECT repeat('x', 1000) FROM range(10_000)")


def test_a_query_whose_asker_has_gone_is_ended_at_once(shared):
    class Gone(Exception):
        pass

    def look():
        looks.append(time.monotonic())
        if len(looks) > 3:
            raise Gone

    looks, before = [], _children()
    endless = "SELECT count(*) FROM range(100000000000) a, range(100000000000) b"
    with pytest.raises(Gone):
        sql_process.run_sql_in_subprocess(shared.path, endless, None, 3, 60, while_waiting=look)
    assert time.monotonic() - looks[-1] < 2
    assert _children() == before


def test_an_ended_process_may_pass_and_is_told_as_such(shared, monkeypatch):
    killers = []

    def kill():
        for child in _children() - before:
            killers.append(child)
            os.kill(child, signal.SIGKILL)

    before = _children()
    with pytest.raises(TransientError, match="ended by signal 9 from outside"):
        sql_process.run_sql_in_subprocess(shared.path, "SELECT 1 AS a", None, 3, 60, while_waiting=kill)
    assert killers
    assert sql_process.run_sql_in_subprocess(shared.path, "SELECT 1 AS a", None, 3, 60)["a"].tolist() == [1]


def test_a_result_is_cut_at_what_a_browser_is_sent(shared, monkeypatch):
    table = sql_process.run_sql_in_subprocess(
        shared.path, "SELECT repeat('x', 1000000) AS a FROM range(40)", None, 100, 60
    )
    assert 10 <= len(table) < 20
    assert table.attrs["truncated"]
    with pytest.raises(SelvizError, match="A row of the result is larger than 20 MB"):
        sql_process.run_sql_in_subprocess(shared.path, "SELECT repeat('x', 30000000) AS a", None, 100, 60)


def test_every_type_of_value_comes_back_from_the_process(shared):
    query = (
        "SELECT 1::HUGEINT AS big, NULL::INT AS missing, [1, 2] AS list, {'a': 1} AS struct, "
        "'\\xC3\\xA9'::BLOB AS bytes, DATE '2026-01-01' AS day, INTERVAL 3 DAY AS span, uuid() AS id, "
        "1.5::DECIMAL(9, 2) AS money, true AS yes"
    )
    table = sql_process.run_sql_in_subprocess(shared.path, query, None, 3, 60)
    assert table["big"].tolist() == [1] and table["missing"].isna().all() and list(table["list"][0]) == [1, 2]
    assert (
        table["struct"][0] == {"a": 1} and bytes(table["bytes"][0]) == "é".encode() and table["money"].tolist() == [1.5]
    )


def test_a_stray_module_in_the_current_folder_is_not_imported(shared, tmp_path, monkeypatch):
    for name in ("random", "json", "pandas", "selviz"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stray module was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    assert len(sql_process.run_sql_in_subprocess(shared.path.resolve(), "SELECT 1 AS a", None, 3, 60)) == 1


def _children() -> set[int]:
    listed = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return set(map(int, listed.split()))


@pytest.mark.parametrize("view", ["units", "layers", "epochs", "images", "class_means"])
def test_more_runs_than_can_be_open_at_once_have_the_same_answer(shared, monkeypatch, view):
    query = f"SELECT * FROM {view} ORDER BY ALL"
    expected = shared.sql(query)
    monkeypatch.setattr("selviz.store.sql.MOST_RUNS", 1)
    pd.testing.assert_frame_equal(shared.sql(query)[list(expected)], expected)
    with pytest.raises(SelvizError, match="activations of 2 runs, and those of 1 can be read at once"):
        shared.sql("SELECT count(*) FROM activations")
    with pytest.raises(TransientError, match="took longer than"):
        shared.sql(query, seconds=1e-9)
