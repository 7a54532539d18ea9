"""Stage files that are written, replaced or damaged; full and read-only disks; writers that are killed."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from selviz.errors import SelvizError
from selviz.store import read_json, stage_files, stage_is_whole, write_activations, write_json, write_stage
from selviz.store.queries import opened
from tests.helpers.stored import (
    IMAGES,
    ROOT,
    activations,
    everything_below,
    image_table,
    layer_table,
    make_run,
    metrics,
    number_in,
    python,
    rows_of,
)


@pytest.mark.parametrize("stage", ["capture", "metrics", "training"])
@pytest.mark.parametrize("keep", [0, 5000, 300_000])
def test_a_truncated_file_takes_its_tables_with_it_and_nothing_else(store, stage, keep):
    hurt, well = make_run(store, alpha=0), make_run(store, alpha=-1, seed=1)
    calls = {
        "capture": [lambda run: store.units(run), lambda run: store.activations(run, "conv1.relu", 0)],
        "metrics": [lambda run: store.units(run), lambda run: store.layers(run), lambda run: store.class_means(run)],
        "training": [lambda run: store.epochs(run)],
    }
    fix = dict.fromkeys(calls, f"selviz capture {hurt}") | {"training": "remove the folder .* selviz train --dataset"}
    for call in calls[stage]:
        call(hurt)  # remembered tables must not hide the damage
    os.truncate(store.run_path(hurt) / f"{stage}.duckdb", keep)
    for call in calls[stage]:
        with pytest.raises(SelvizError, match=rf"{stage}\.duckdb is damaged.*{fix[stage]}.* --data"):
            call(hurt)
        call(well)
    assert store.runs()["state"].tolist() == ["finished", "finished"]
    assert not stage_is_whole(store.run_path(hurt), stage)
    view = {"capture": "images", "metrics": "units", "training": "epochs"}[stage]
    table = store.sql(f"SELECT DISTINCT run FROM {view}")
    assert table["run"].tolist() == [well]
    assert f"{stage}.duckdb is damaged" in table.attrs["left_out"][hurt]
    with pytest.raises(SelvizError, match=f"run {hurt} cannot be read"):
        store.sql(f"SELECT DISTINCT run FROM {view}", runs=[hurt, well])
    with pytest.raises(SelvizError, match="is damaged"):
        store.export(hurt, view)


def test_a_missing_file_of_a_finished_run_names_the_command_that_writes_it(store):
    run = make_run(store)
    os.unlink(store.run_path(run) / "metrics.duckdb")
    with pytest.raises(SelvizError, match=rf"metrics\.duckdb is missing; write it again with: selviz capture {run}"):
        store.units(run)
    shutil.rmtree(store.path / "images")
    with pytest.raises(SelvizError, match=r"images\.duckdb is missing"):
        store.images(run)
    assert store.layers is not None


@pytest.mark.parametrize("stage", ["capture", "metrics"])
def test_bytes_that_changed_are_found_and_never_crash_a_reader(store, stage):
    run = make_run(store)
    file = store.run_path(run) / f"{stage}.duckdb"
    content = bytearray(file.read_bytes())
    assert stage_is_whole(store.run_path(run), stage)
    for start in (0, 4096, 12_288, len(content) // 2):
        spoilt = content.copy()
        spoilt[start : start + 4096] = bytes(byte ^ 0x55 for byte in spoilt[start : start + 4096])
        file.write_bytes(spoilt)
        assert not stage_is_whole(store.run_path(run), stage)
        with contextlib.suppress(SelvizError):  # what DuckDB's own checksums find; a spare block may be hit
            store.units(run)
        with contextlib.suppress(SelvizError):
            store.sql("SELECT * FROM units, activations")
    file.write_bytes(content)
    assert len(store.units(run)) == 5


def test_a_file_of_a_newer_selviz_asks_for_an_update_instead_of_guessing(store):
    run = make_run(store)
    path = store.run_path(run) / "metrics.json"
    write_json(path, {**read_json(path), "schema": 99})
    with pytest.raises(SelvizError, match="newer selviz"):
        store.layers(run)


def test_a_record_holds_checksum_schema_rows_and_provenance(shared, run):
    record = json.loads((shared.run_path(run) / "capture.json").read_text())
    assert record["provenance"] == {"device": "cpu"}
    assert record["rows"] == {"layers": 2, "images": IMAGES, "activations": IMAGES * 5}
    assert (record["stage"], record["schema"], len(record["sha256"])) == ("capture", 1, 64)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shared.run_path(run) / 'capture.duckdb'}' AS f (READ_ONLY)")
        assert dict(connection.execute("SELECT key, value FROM f.about").fetchall())["schema"] == "1"


def test_a_replaced_file_is_what_the_next_read_sees(tmp_path):
    for number in range(5):
        write_stage(tmp_path, "numbers", rows_of(number), {})
        assert number_in(tmp_path) == number
    assert sorted(os.listdir(tmp_path)) == ["numbers.duckdb", "numbers.json", "partial"]
    assert os.listdir(tmp_path / "partial") == []


def test_readers_see_the_old_file_or_the_new_one_while_a_process_replaces_it(tmp_path):
    write_stage(tmp_path, "numbers", rows_of(0), {})
    code = """
import sys, time
from pathlib import Path
from selviz.store import write_stage
from tests.helpers.stored import rows_of
end = time.monotonic() + 3
number = 0
while time.monotonic() < end:
    number += 1
    write_stage(Path(sys.argv[1]), "numbers", rows_of(number), {})
print(number)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    seen, errors = [], []

    def look():
        while writer.poll() is None:
            try:
                seen.append(number_in(tmp_path))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = int(writer.communicate()[0])
    assert errors == []
    assert len(set(seen)) > 3
    assert number_in(tmp_path) == last


def test_a_writer_that_is_killed_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    write_stage(tmp_path, "numbers", rows_of(0), {})
    code = """
import sys
from pathlib import Path
from selviz.store import write_stage
from tests.helpers.stored import rows_of
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    write_stage(Path(sys.argv[1]), "numbers", rows_of(number), {})
    print(number, flush=True)
"""
    random = np.random.default_rng(0)
    last = 0
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(last)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.0, 0.5))
        writer.send_signal(signal.SIGKILL)
        told = writer.communicate()[0].split()
        last = int(told[-1]) if told else last
        assert number_in(tmp_path) in (last, last + 1)
        assert stage_is_whole(tmp_path, "numbers")
        last = number_in(tmp_path)


@pytest.mark.parametrize("step", range(1, 8))
def test_a_writer_that_dies_at_any_step_of_the_replacement_leaves_a_whole_stage(tmp_path, step):
    write_stage(tmp_path, "numbers", rows_of(1), {})
    code = """
import os, sys
from pathlib import Path
from selviz.store import write_stage
from tests.helpers.stored import rows_of
left = int(sys.argv[2])
def dying(event, args):
    global left
    if event in ("os.rename", "os.remove", "open") and str(sys.argv[1]) in str(args[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), 9)
sys.addaudithook(dying)
write_stage(Path(sys.argv[1]), "numbers", rows_of(2), {})
"""
    done = python(code, tmp_path, step)
    assert done.returncode == (-9 if step < 8 else 0), done.stderr
    assert number_in(tmp_path) in (1, 2)
    assert stage_is_whole(tmp_path, "numbers")
    write_stage(tmp_path, "numbers", rows_of(3), {})
    assert number_in(tmp_path) == 3
    assert os.listdir(tmp_path / "partial") == []


def test_two_writers_that_die_between_their_renames_leave_a_whole_stage(tmp_path):
    write_stage(tmp_path, "numbers", rows_of(1), {"number": 1})
    record = tmp_path / "numbers.json"
    before = record.read_bytes()
    write_stage(tmp_path, "numbers", rows_of(2), {"number": 2})
    record.rename(tmp_path / "partial" / "numbers.json")  # the first died before it could move its record
    record.write_bytes(before)
    assert stage_is_whole(tmp_path, "numbers")
    assert stage_files.record(tmp_path / "numbers.duckdb")["provenance"] == {"number": 2}

    def rows():
        yield from ()
        raise ZeroDivisionError

    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    for folder in (tmp_path, tmp_path.with_name("copy")):
        assert stage_is_whole(folder, "numbers")
    with pytest.raises(ZeroDivisionError):  # the second dies while it writes
        write_stage(tmp_path, "numbers", {"numbers": rows()}, {"number": 3})
    stage_files.clear_partial(tmp_path.with_name("copy"))  # or there is none, and the run is finished
    for folder in (tmp_path, tmp_path.with_name("copy")):
        assert stage_is_whole(folder, "numbers") and number_in(folder) == 2
        assert json.loads((folder / "numbers.json").read_text())["provenance"] == {"number": 2}


UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]  # a mount table of its own
LIMITED = """
import resource, sys
import numpy as np
from selviz.errors import SelvizError
from selviz.store import Store, write_activations, write_images, write_json
from tests.helpers.stored import CLASSES, image_table, layer_table
store, size = Store(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
big = ((layer, np.random.default_rng(layer).gamma(2, size=(4000, 100)).astype(np.float32)) for layer in range(6))
layers = layer_table()
for write in (
    lambda: write_activations(store.run_path(store.names()[0]), layers, image_table(), big, {}),
    lambda: write_images(store.path, "f2", [b"x" * 1000] * 20_000, np.zeros(20_000, int), CLASSES),
    lambda: write_json(store.run_path(store.names()[0]) / "summary.json", {"text": "x" * 20_000_000}),
    lambda: store.export(store.names()[0], "class_means", sys.argv[3], "json"),
):
    try:
        write()
    except SelvizError as error:
        print(error)
"""


@pytest.mark.parametrize("size", [100, 20_000, 400_000, 6_000_000])
def test_a_disk_that_fills_up_is_one_sentence_and_the_store_stays_as_it_was(store, tmp_path, size):
    make_run(store)
    before = everything_below(store.path)
    done = python(LIMITED, store.path, size, tmp_path / "units.json")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == (4 if size == 100 else 3)  # an export of 20 rows fits into the others
    assert all(line.startswith("Cannot write ") and "nothing that was stored is lost" in line for line in lines)
    assert everything_below(store.path) == before
    assert sorted(os.listdir(tmp_path)) == (["data"] if size == 100 else ["data", "units.json"])


def test_a_small_disk_that_is_really_full_is_one_sentence_too(store, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    code = """
import sys
from pathlib import Path
import numpy as np
from selviz.errors import SelvizError
from selviz.store import write_activations, write_stage
from tests.helpers.stored import image_table, layer_table, number_in, rows_of
folder = Path(sys.argv[1])
big = ((layer, np.random.default_rng(layer).gamma(2, size=(4000, 100)).astype(np.float32)) for layer in range(6))
write_stage(folder, "numbers", rows_of(1), {})
try:
    write_activations(folder, layer_table(), image_table(), big, {})
except SelvizError as error:
    print(error)
print(number_in(folder), sorted(path.name for path in folder.rglob("*")))
"""
    mount = f"mount -t tmpfs -o size=4m none {disk} && {shlex.join([sys.executable, '-c', code, str(disk)])}"
    done = subprocess.run([*UNSHARE, "sh", "-c", mount], capture_output=True, text=True, cwd=ROOT)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("may not mount here")
    sentence, state = done.stdout.splitlines()
    assert sentence.startswith("Cannot write")
    assert "the disk is full" in sentence
    assert state == "1 ['numbers.duckdb', 'numbers.json', 'partial']"


def test_a_read_only_store_is_read_and_refuses_writing_in_one_sentence(store):
    run = make_run(store)
    code = """
import sys
from selviz.errors import SelvizError
from selviz.store import Store, write_images, write_json, write_stage
from selviz.system.locks import Claim
from tests.helpers.stored import activations, metrics, rows_of
store, run = Store(sys.argv[1]), sys.argv[2]
print(len(store.units(run)), len(store.activations(run, "conv1.relu", 0)), len(store.sql("SELECT * FROM units")))
for write in (
    lambda: write_stage(store.run_path(run), "metrics", metrics(activations(0)), {}),
    lambda: write_json(store.run_path(run) / "summary.json", {}),
    lambda: write_images(store.path, "f2", [b""], [0], ["a"]),
    lambda: write_stage(store.run_path("new"), "numbers", rows_of(1), {}),
    lambda: Claim.create(store.run_path(run) / "claim.json"),
):
    try:
        write()
    except SelvizError as error:
        print(error)
"""
    data = shlex.quote(str(store.path))
    command = shlex.join([sys.executable, "-c", code, str(store.path), run])
    mount = f"mount --bind {data} {data} && mount -o remount,bind,ro {data} && {command}"
    done = subprocess.run([*UNSHARE, "sh", "-c", mount], capture_output=True, text=True, cwd=ROOT)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("may not mount here")
    first, *refusals = done.stdout.splitlines()
    assert first == "5 40 5", done.stderr
    assert len(refusals) == 5
    assert all(line.startswith("Cannot write ") and "the disk is read-only" in line for line in refusals)


def test_activations_are_held_one_layer_at_a_time(tmp_path):
    alive = []

    def arrays():
        for layer in range(20):
            array = np.ones((100, 10), np.float32)
            alive.append(weakref.ref(array))
            assert sum(reference() is not None for reference in alive) <= 3
            yield layer, array
            del array

    layers = pd.DataFrame({"layer": range(20), "name": [f"relu{i}" for i in range(20)], "units": 10, "depth": 0.5})
    images = pd.DataFrame({"image": range(100), "label": 0, "prediction": 0, "fold": 0})
    write_activations(tmp_path, layers.assign(signed=False, squeeze=False), images, arrays(), {})
    assert len(alive) == 20


def test_rows_that_two_threads_write_lie_in_the_order_in_which_they_came(tmp_path):
    count = 2 * stage_files.ROW_GROUP + 1000
    values = np.random.default_rng(0).random((count // 8, 8), dtype=np.float32)
    write_stage(tmp_path, "long", {"lines": stage_files.activation_rows([(0, values)])}, {})
    with opened({"long": tmp_path / "long.duckdb"}) as connection:
        stored = connection.execute("SELECT value FROM long.lines").fetchnumpy()["value"]
    np.testing.assert_array_equal(stored, values.T.ravel())


@pytest.mark.parametrize("fault", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_what_goes_wrong_while_activations_are_made_comes_through_and_leaves_nothing(tmp_path, fault):
    def arrays():
        yield 0, activations(0)[0]
        raise fault("the network's fault")

    with pytest.raises(fault, match="the network's fault"):
        write_activations(tmp_path, layer_table(), image_table(), arrays(), {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stage_without_a_table_or_column_that_readers_need_is_refused(tmp_path):
    with pytest.raises(ValueError, match="class_means"):
        write_stage(
            tmp_path,
            "metrics",
            {name: table for name, table in metrics(activations(0)).items() if name != "class_means"},
            {},
        )
    tables = metrics(activations(0))
    with pytest.raises(ValueError, match="si"):
        write_stage(tmp_path, "metrics", {**tables, "units": tables["units"].drop(columns="si")}, {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stage_may_have_more_tables_and_columns_in_any_order(store):
    run = make_run(store)
    tables = metrics(activations(0))
    units = tables["units"].assign(auc=0.5)[["auc", *tables["units"].columns[::-1]]]
    write_stage(store.run_path(run), "metrics", {**tables, "units": pa.Table.from_pandas(units), "more": units}, {})
    assert store.units(run)["auc"].tolist() == [0.5] * 5
    assert store.sql("SELECT DISTINCT auc FROM units")["auc"].tolist() == [0.5]
    other = make_run(store, alpha=2)
    assert store.sql("SELECT run, count(auc) AS n FROM units GROUP BY run").set_index("run")["n"].to_dict() == {
        run: 5,
        other: 0,
    }


def test_json_is_written_whole_and_has_no_nan(tmp_path):
    path = tmp_path / "new" / "a.json"
    assert write_json(path, {"é": [1, None]}) == path
    assert read_json(path) == {"é": [1, None]}
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"é": [1, None]}
    assert os.listdir(path.parent) == ["a.json"]
    assert read_json(tmp_path / "none.json") is None
    path.write_text("{")
    with pytest.raises(SelvizError, match="is damaged"):
        read_json(path)
