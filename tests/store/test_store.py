"""What readers get, on real DuckDB files made through the writers: tables by name, lists of runs, images."""

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
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import selviz
from selviz.config import RunConfig, config_from_dict, config_to_dict, run_name
from selviz.errors import SelvizError
from selviz.store import (
    image_folder,
    read_json,
    stage_is_whole,
    write_activations,
    write_images,
    write_json,
    write_stage,
)
from selviz.store.files import check_name
from selviz.system.locks import Claim
from tests.helpers.stored import (
    CLASSES,
    IMAGES,
    LABELS,
    LAYERS,
    ROOT,
    activations,
    everything_below,
    layer_table,
    make_run,
    metrics,
    python,
)


def test_layers_come_in_forward_order_under_their_names(shared, run):
    table = shared.layers(run)
    assert table["layer"].tolist() == ["conv1.relu", "conv2.relu"]
    assert table["units"].tolist() == [3, 2]
    assert table["depth"].tolist() == [0.25, 0.75]
    assert table["mean_si"].tolist() == [0.1, 1.05]
    assert {"mean_si_live", "null_mean", "null_p95", "dead", "signed", "squeeze"} <= set(table.columns)


def test_layers_of_many_runs_are_those_of_each(shared):
    names = shared.names()
    together = shared.layers_of(names)
    one_by_one = pd.concat([shared.layers(run).assign(run=run) for run in names], ignore_index=True)
    pd.testing.assert_frame_equal(together[list(one_by_one)], one_by_one)
    assert next(iter(together)) == "run" and shared.layers_of([]).empty


def test_layers_are_read_from_records_without_opening_a_file_and_from_files_where_records_lack_them(store, monkeypatch):
    from selviz.store import layers_of_runs as module
    from selviz.store.files import read_json, write_json

    runs = [make_run(store, seed=seed) for seed in (0, 1)]
    expected = store.layers_of(runs)
    opened = []
    read = module.read
    monkeypatch.setattr(module, "read", lambda files, *rest: opened.append(list(files)) or read(files, *rest))
    pd.testing.assert_frame_equal(store.layers_of(runs), expected)
    assert not opened
    record = store.run_path(runs[1]) / "metrics.json"
    write_json(record, {name: value for name, value in read_json(record).items() if name != "table"})
    pd.testing.assert_frame_equal(store.layers_of(runs), expected)
    assert ["m0", "m1"] in opened


def test_layers_of_runs_with_other_layers_or_a_damaged_file_are_refused(store):
    first, second = make_run(store), make_run(store, alpha=1)
    folder, tables = store.run_path(second), metrics(activations(0))
    write_stage(folder, "metrics", {**tables, "layers": tables["layers"].assign(units=[3, 4])}, {})
    with pytest.raises(SelvizError, match="do not have the same layers"):
        store.layers_of([first, second])
    os.truncate(folder / "metrics.duckdb", 9)
    with pytest.raises(SelvizError, match="metrics.duckdb is damaged"):
        store.layers_of([first, second])


def test_a_listed_run_is_read_again_when_its_summary_or_its_settings_change(store):
    run = make_run(store)
    assert store.runs()["test_accuracy"].tolist() == [0.6]
    path = store.run_path(run) / "summary.json"
    date = path.stat().st_mtime_ns
    write_json(path, {**read_json(path), "test_accuracy": 0.7})
    os.utime(path, ns=(date, date))  # of the same size and, as after a clock was set back, of the same time
    assert store.runs()["test_accuracy"].tolist() == [0.7]
    table = store.runs()
    table.loc[0, "test_accuracy"] = 0.1
    assert store.runs()["test_accuracy"].tolist() == [0.7]
    (store.run_path(run) / "config.json").write_text("{")
    assert store.runs()["state"].tolist() == ["failed"]
    path.unlink()
    assert store.runs()["state"].tolist() == ["failed"]


def test_units_name_their_layer_and_their_preferred_class(shared, run):
    table = shared.units(run)
    assert list(zip(table["layer"], table["unit"])) == [(name, unit) for name, n in LAYERS.items() for unit in range(n)]
    np.testing.assert_allclose(table["si"], [0, 0.1, 0.2, 1, 1.1])
    expected = [
        int(np.argmax([array[label == LABELS, unit].mean() for label in range(4)]))
        for array in activations(0)
        for unit in range(array.shape[1])
    ]
    assert table["preferred_index"].tolist() == expected
    assert table["preferred_class"].tolist() == [CLASSES[index] for index in expected]
    assert shared.units(run, "conv2.relu")["si"].tolist() == pytest.approx([1.0, 1.1])


def test_class_means_can_be_asked_for_by_layer_and_by_unit(shared, run):
    assert len(shared.class_means(run)) == 20
    assert len(shared.class_means(run, "conv2.relu")) == 8
    table = shared.class_means(run, "conv2.relu", 1)
    assert table["class"].tolist() == CLASSES
    assert table["class_index"].tolist() == [0, 1, 2, 3]
    array = activations(0)[1]
    np.testing.assert_allclose(table["mean"], [array[label == LABELS, 1].mean() for label in range(4)], rtol=1e-6)


def test_class_means_and_tuning_of_some_units_are_those_of_all_in_the_order_asked_for(shared, run):
    array = activations(0)[0]
    means = np.array([array[label == LABELS].mean(axis=0) for label in range(4)]).T
    np.testing.assert_allclose(shared.tuning(run, "conv1.relu"), means, rtol=1e-6)
    np.testing.assert_array_equal(
        shared.tuning(run, "conv1.relu", [2, 0, 2]), shared.tuning(run, "conv1.relu")[[2, 0, 2]]
    )
    both = [("conv2.relu", 1), ("conv1.relu", 2)]
    expected = [shared.tuning(run, layer, [unit])[0] for layer, unit in both]
    np.testing.assert_array_equal(shared.tuning_of(run, both), expected)
    whole = shared.class_means(run, "conv1.relu")
    some = whole[whole["unit"].isin([0, 2])].reset_index(drop=True)
    pd.testing.assert_frame_equal(shared.class_means(run, "conv1.relu", [2, 0]), some)
    for ask in (shared.tuning, shared.class_means):
        with pytest.raises(SelvizError, match="has the units 0 to 2"):
            ask(run, "conv1.relu", [0, 3])


def test_activations_and_matrix_are_the_written_floats_for_every_unit(shared, run):
    for name, array in zip(LAYERS, activations(0)):
        np.testing.assert_array_equal(shared.matrix(run, name), array)
        assert shared.matrix(run, name).dtype == np.float32
        for unit in range(array.shape[1]):
            table = shared.activations(run, name, unit)
            np.testing.assert_array_equal(table["value"], array[:, unit])
            assert table["image"].tolist() == list(range(IMAGES))
            assert table["label"].tolist() == [CLASSES[label] for label in LABELS]
            assert table["prediction"].tolist() == [CLASSES[(label + 1) % 4] for label in LABELS]
            assert set(table["fold"]) == {0, 1}


def test_activations_of_many_units_keep_their_order_over_batches_and_row_groups(store, tmp_path, monkeypatch):
    monkeypatch.setattr("selviz.store.stage_files._ROWS_A_BATCH", 1000)
    random = np.random.default_rng(0)
    values = [random.gamma(1, size=(301, units)).astype(np.float32) for units in (70, 1, 33)]
    layers = pd.DataFrame({"layer": range(3), "name": list("abc"), "units": [70, 1, 33], "depth": 0.5})
    images = pd.DataFrame({"image": range(301), "label": 0, "prediction": 0, "fold": 0})
    file = write_activations(tmp_path, layers.assign(signed=False, squeeze=False), images, enumerate(values), {})
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file}' AS f (READ_ONLY)")
        rows = connection.execute("SELECT * FROM f.activations").fetchnumpy()
    expected = [(i, unit, image) for i, a in enumerate(values) for unit in range(a.shape[1]) for image in range(301)]
    assert list(zip(*(rows[name].tolist() for name in ("layer", "unit", "image")))) == expected
    np.testing.assert_array_equal(rows["value"], np.concatenate([array.T.reshape(-1) for array in values]))


def test_activations_of_some_units_are_columns_of_the_matrix_over_several_row_groups(store):
    run, random = make_run(store), np.random.default_rng(0)
    values = [random.normal(size=(6000, units)).astype(np.float32) for units in (300, 250)]
    images = pd.DataFrame({"image": range(6000), "label": 0, "prediction": 0, "fold": np.repeat([0, 1, 2], 2000)})
    layers = layer_table().assign(units=[300, 250])
    write_activations(store.run_path(run), layers, images, enumerate(values), {})
    for layer, array in zip(("conv1.relu", "conv2.relu"), values):
        chosen = random.permutation(array.shape[1])[:60].tolist()
        np.testing.assert_array_equal(
            store.matrix(run, layer, [*chosen, chosen[0]]), array[:4000, [*chosen, chosen[0]]]
        )
        np.testing.assert_array_equal(store.matrix(run, layer), array[:4000])
    assert store.matrix(run, "conv1.relu", []).shape == (4000, 0)
    both = [("conv2.relu", 249), ("conv1.relu", 7), ("conv2.relu", 0), ("conv1.relu", 7)]
    expected = np.stack([values[int(layer == "conv2.relu")][:4000, unit] for layer, unit in both], axis=1)
    np.testing.assert_array_equal(store.activations_of(run, both), expected)
    with pytest.raises(SelvizError, match="has the units 0 to 249"):
        store.activations_of(run, [("conv1.relu", 250), ("conv2.relu", 250)])


def test_a_unit_is_a_dict_of_plain_values(shared, run):
    unit = shared.unit(run, "conv2.relu", 1)
    assert (unit["run"], unit["layer"], unit["unit"], unit["si"]) == (run, "conv2.relu", 1, pytest.approx(1.1))
    assert (unit["depth"], unit["signed"], unit["dead"]) == (0.75, False, False)
    assert unit["preferred_class"] in CLASSES
    json.dumps(unit)


def test_epochs_images_and_thumbnails_are_there(shared, run):
    assert shared.epochs(run)["loss"].tolist() == [2.0, 1.0]
    table = shared.epoch_layers(run)
    assert table["layer"].tolist() == ["conv1.relu", "conv2.relu"] * 2
    assert table["mean_si"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert shared.images(run)["label_index"].tolist() == LABELS.tolist()
    assert shared.thumbnails(run, [3, 0, 3, 99]) == {0: b"picture 0", 3: b"picture 3"}
    assert shared.thumbnails(run, []) == {}


def test_a_run_is_its_settings_and_its_summary(shared, run):
    about = shared.run(run)
    assert (about["run"], about["alpha"], about["epochs"], about["mean_si"]) == (run, 0.0, 2, 0.3)


def test_what_a_caller_does_to_a_table_does_not_reach_the_next_caller(shared, run):
    table = shared.units(run)
    table["si"] = 7.0
    table = shared.units(run)
    table.loc[0, "si"] = 8.0
    assert shared.units(run)["si"].max() < 2


def test_open_gives_the_store_without_importing_torch(shared, run):
    assert selviz.open(shared.path).units(run).equals(shared.units(run))
    code = """
import sys, selviz
store = selviz.open(sys.argv[1])
store.units(store.runs()["run"][0])
print("torch" in sys.modules)
"""
    assert python(code, shared.path).stdout == "False\n"


# ------------------------------------------------------------------------------------------------------------ listing


def test_an_empty_store_has_no_runs_and_says_how_to_get_some(store):
    assert store.names() == []
    assert store.runs().empty
    assert {"run", "state", "alpha", "test_accuracy", "mean_si", "resume"} <= set(store.runs().columns)
    assert store.sql("SELECT layer, unit, si FROM units").empty
    assert store.sql("SELECT run FROM runs").empty
    with pytest.raises(SelvizError, match="selviz demo"):
        store.run("digits")


def test_every_folder_is_listed_with_its_state_and_the_command_that_goes_on(store):
    finished = make_run(store)
    for name, config in (("cut", RunConfig("digits", "cnn", alpha=-5, epochs=3)), ("live", RunConfig("digits", "cnn"))):
        write_json(store.run_path(name) / "config.json", config_to_dict(config))
    write_json(store.run_path("bad") / "config.json", config_to_dict(RunConfig("digits", "cnn")))
    write_json(store.run_path("bad") / "failed.json", {"reason": "the loss is not finite"})
    store.run_path("broken").mkdir()
    (store.run_path("broken") / "summary.json").write_text("{")
    (store.run_path("broken") / "config.json").write_text("{}")
    store.run_path("empty").mkdir()
    (store.path / "runs" / "not a name").mkdir()
    (store.path / "runs" / "file").write_text("no folder")
    with Claim(store.run_path("live") / "claim.json"):
        table = store.runs().set_index("run")
    states = {"bad": "failed", "broken": "failed", "cut": "unfinished", "empty": "failed", "live": "running"}
    assert table["state"].to_dict() == {**states, finished: "finished"}
    assert table.loc["bad", "reason"] == "the loss is not finite"
    assert "summary.json" in table.loc["broken", "reason"]
    assert "config.json" in table.loc["empty", "reason"]
    assert str(os.getpid()) in table.loc["live", "reason"]
    assert table.loc["cut", "resume"].startswith("selviz train --dataset digits --model cnn --alpha=-5")
    assert pd.isna(table.loc["cut", "test_accuracy"])
    assert table.loc[finished, "units"] == 5
    assert store.runs().set_index("run").loc["live", "state"] == "unfinished"


def test_the_resume_command_names_the_very_same_run(store, tmp_path):
    from selviz.cli import parser

    for config in (
        RunConfig("digits", "cnn", alpha=-0.1, seed=3, epochs=0),
        RunConfig("digits", "cnn", alpha=1e-7, batch_size=64, learning_rate=0.123456789, precision="bf16-mixed"),
    ):
        write_json(store.run_path(run_name(config)) / "config.json", config_to_dict(config))
        with pytest.raises(SelvizError, match="unfinished") as error:
            store.units(run_name(config))
        command = shlex.split(str(error.value).partition("go on with: ")[2])
        args = vars(parser().parse_args(command[1:]))
        assert Path(args["data"]) == store.path
        again = config_from_dict({name: args[name] for name in config_to_dict(config)})
        assert run_name(again) == run_name(config)


def test_a_run_that_failed_or_runs_says_so_instead_of_showing_tables(store):
    write_json(store.run_path("bad") / "config.json", config_to_dict(RunConfig("digits", "cnn")))
    write_json(store.run_path("bad") / "failed.json", {"reason": "the loss is not finite"})
    with pytest.raises(SelvizError, match=r"failed \(the loss is not finite\); go on with: selviz train"):
        store.units("bad")
    with Claim(store.run_path("bad") / "claim.json"), pytest.raises(SelvizError, match="not finished: process"):
        store.units("bad")


def test_a_copied_folder_is_a_run_and_a_deleted_one_is_gone(store):
    first = make_run(store)
    shutil.copytree(store.run_path(first), store.run_path("copy"))
    assert store.units("copy").equals(store.units(first))
    assert store.runs()["run"].tolist() == ["copy", first]
    shutil.rmtree(store.run_path(first))
    assert store.names() == ["copy"]
    with pytest.raises(SelvizError, match="Unknown run"):
        store.units(first)


def test_unknown_runs_layers_and_units_name_the_near_ones(shared, run):
    with pytest.raises(SelvizError, match=f"did you mean '{run}'"):
        shared.units(run[:-1])
    with pytest.raises(SelvizError, match=r"Unknown layer 'conv1\.rellu'; did you mean 'conv1\.relu'"):
        shared.units(run, "conv1.rellu")
    for unit in (3, -1, "x", None):
        with pytest.raises(SelvizError, match=r"layer conv1\.relu has the units 0 to 2"):
            shared.activations(run, "conv1.relu", unit)
    with pytest.raises(SelvizError, match="0 to 2"):
        shared.class_means(run, "conv1.relu", 3)
    with pytest.raises(SelvizError, match="0 to 2"):
        shared.unit(run, "conv1.relu", 3)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\\..\\b", "-x", "a\0b", "a\nb", "x" * 201, None, 3]
)
def test_a_name_never_leaves_the_folder_of_runs(shared, name):
    for call in (shared.run_path, shared.run, shared.units, lambda name: shared.sql("SELECT 1", runs=[name])):
        with pytest.raises(SelvizError, match="cannot be the name of a run"):
            call(name)
    with pytest.raises(SelvizError, match="cannot be the name"):
        image_folder(shared.path, name)


def test_names_of_stages_and_runs_that_commands_make_are_allowed(shared):
    for config in (RunConfig("mnist-5k", "cnn", alpha=-1e-7), RunConfig("mnist-5k", "cnn", alpha=1e20)):
        assert shared.run_path(run_name(config)).parent == shared.path / "runs"


def test_images_are_written_once_for_all_runs_of_a_data_set(shared):
    folder = image_folder(shared.path, "f1")
    before = everything_below(shared.path / "images")
    assert sorted(before) == ["f1/images.duckdb", "f1/images.json"]
    assert write_images(shared.path, "f1", [b"another"], [0], ["another"]) == folder
    assert everything_below(shared.path / "images") == before


def test_of_two_processes_that_write_the_same_images_one_wins_and_both_go_on(tmp_path):
    code = """
import sys
import numpy as np
from selviz.store import write_images
print("ready", flush=True)
sys.stdin.readline()
write_images(sys.argv[1], "f1", [b"picture"] * 500, np.zeros(500, int), [sys.argv[2]])
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(number)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == [""] * 4
    assert os.listdir(tmp_path / "images") == ["f1"]
    assert sorted(os.listdir(tmp_path / "images" / "f1")) == ["images.duckdb", "images.json"]
    assert stage_is_whole(tmp_path / "images" / "f1", "images")


def test_damaged_images_are_written_again(store):
    run = make_run(store)
    file = image_folder(store.path, "f1") / "images.duckdb"
    os.truncate(file, 1000)
    with pytest.raises(SelvizError, match=r"images\.duckdb is damaged"):
        store.units(run)
    write_images(store.path, "f1", [b"new"] * IMAGES, LABELS, CLASSES)
    assert store.thumbnails(run, [7]) == {7: b"new"}
    assert os.listdir(store.path / "images") == ["f1"]
    assert sorted(os.listdir(file.parent)) == ["images.duckdb", "images.json"]


def test_threads_that_read_different_units_each_get_their_own(shared):
    wrong = []

    def look(run, seed):
        random = np.random.default_rng(seed)
        arrays = dict(zip(LAYERS, activations(seed)))
        for _ in range(40):
            layer = str(random.choice(list(LAYERS)))
            unit = int(random.integers(LAYERS[layer]))
            found = shared.activations(run, layer, unit)["value"]
            if not np.array_equal(found, arrays[layer][:, unit]):
                wrong.append((run, layer, unit))

    runs = dict(zip(sorted(shared.names()), (1, 0)))
    threads = [threading.Thread(target=look, args=item) for item in list(runs.items()) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_process_reads_on(shared, run):
    shared.units(run)
    shared.activations(run, "conv1.relu", 0)
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if len(shared.activations(run, "conv1.relu", 1)) == IMAGES else 1
        os._exit(code)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_reading_leaves_no_files_open_and_no_files_behind(shared, run):
    for unit in range(3):
        shared.activations(run, "conv1.relu", unit)
        shared.sql("SELECT * FROM units, activations", limit=5)
    files = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    assert [file for file in files if file.endswith(".duckdb")] == []
    assert all(not name.endswith((".wal", ".tmp")) for name in everything_below(shared.path))


def test_four_million_activations_take_at_most_4_2_bytes_each(tmp_path):
    random = np.random.default_rng(0)
    layers = pd.DataFrame({"layer": range(4), "name": list("abcd"), "units": 100, "depth": 0.5})
    images = pd.DataFrame({"image": range(10_000), "label": 0, "prediction": 0, "fold": 0})
    values = ((layer, random.gamma(1, size=(10_000, 100)).astype(np.float32)) for layer in range(4))
    file = write_activations(tmp_path, layers.assign(signed=False, squeeze=False), images, values, {})
    assert file.stat().st_size / 4_000_000 <= 4.2


@pytest.mark.parametrize("name", ["con", "NUL", "com1.a0", "lpt9", "run."])
def test_what_windows_has_no_folder_for_is_refused_there_alone(monkeypatch, name):
    assert check_name("run", name) == name
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SelvizError, match="Windows has no folder called"):
        check_name("run", name)
    assert check_name("run", "console-a0") == "console-a0"


def test_the_list_of_runs_is_that_of_the_files_however_often_it_was_asked_for(own_store, tiny_run):
    first = own_store.runs()
    first.loc[0, "test_accuracy"] = 2.0  # a reader's own copy
    assert own_store.runs()["test_accuracy"][0] <= 1
    summary = own_store.run_path(tiny_run) / "summary.json"
    write_json(summary, {**read_json(summary), "test_accuracy": 0.125})
    assert own_store.runs()["test_accuracy"].tolist() == [0.125]
    own_store.run_path("strange").mkdir()
    assert own_store.runs()["state"].tolist() == ["finished", "failed"]
