"""From settings to a finished run: the same numbers by every route, and nothing lost when the work is cut off."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.runs import load, train
from selviz.store import Store, read_json, write_json
from selviz.studies import ablation
from selviz.system.locks import Claim
from selviz.testing.toy import UNIT_SI, toy_known
from tests.helpers.plain import plain_index


@pytest.fixture
def toy_store(tmp_path):
    with toy_known() as config:
        store = Store(tmp_path)
        train.train_run(store, config)
        yield store, run_name(config)


def cli(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "selviz", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def test_toy_run_stores_the_numbers_worked_out_on_paper(toy_store):
    store, run = toy_store
    units = store.units(run, "relu")
    np.testing.assert_allclose(units["si"], UNIT_SI, atol=1e-6)
    assert units["preferred_class"].tolist() == ["a", "b", "a", "a"]
    assert units["dead"].tolist() == [False, False, True, False]
    assert units["mean_activation"].tolist() == pytest.approx([4 / 3, 1 / 3, 0, 4])
    layer = store.layers(run).set_index("layer").loc["relu"]
    assert layer["mean_si"] == pytest.approx(sum(UNIT_SI) / 4, abs=1e-6)
    assert layer["mean_si_live"] == pytest.approx(sum(UNIT_SI) / 3, abs=1e-6) and layer["dead"] == 1
    assert store.run(run)["test_accuracy"] == 1 and store.run(run)["kind"] == "untrained control"
    # Unit 1 is one-hot over three classes of four: the mean over its shuffles is known (test_selectivity).
    assert units["null_mean"][1] == pytest.approx(0.411, abs=0.07) and units["null_p95"][1] >= 5 / 7 - 1e-6


def test_toy_ablation_gives_the_accuracies_worked_out_on_paper(toy_store):
    store, run = toy_store
    result = ablation.run_ablation(store, run, {"relu": [1]}, draws=50)
    assert result["accuracy_before"] == 1 and result["accuracy_after"] == pytest.approx(2 / 3)
    assert [(row["class"], row["after"]) for row in result["per_class"]] == [("a", 1), ("b", 0), ("c", 1)]
    # Silencing unit 0 or 1 costs a class, silencing 2 or 3 costs nothing.
    assert {round(value, 4) for value in result["control"]["accuracies"]} == {0.6667, 1.0}
    assert result["control"]["smallest"] == pytest.approx(2 / 51)


def test_si_is_the_same_in_the_store_in_sql_and_in_a_plain_loop_over_images(tiny_store, tiny_run):
    units = tiny_store.units(tiny_run)
    by_sql = tiny_store.sql(
        """
        with m as (select layer, unit, label, avg(value::double) as mu
                   from activations join images using (run, image) group by all),
             t as (select layer, unit, max(mu) as highest, sum(mu) as total, count(*) as classes from m group by all),
             s as (select *, (total - highest) / (classes - 1) as rest from t)
        select layer, unit, (highest - rest) / (highest + rest + 1e-7) as si from s
        """
    )
    both = units.merge(by_sql, on=["layer", "unit"], suffixes=("", "_sql"))
    assert len(both) == len(units) == 144
    np.testing.assert_allclose(both["si"], both["si_sql"], atol=1e-5)
    labels = tiny_store.images(tiny_run)["label_index"].tolist()
    for layer in tiny_store.layers(tiny_run)["layer"]:
        matrix = tiny_store.matrix(tiny_run, layer)
        looped = [plain_index(matrix[:, unit].tolist(), labels, 10) for unit in range(matrix.shape[1])]
        np.testing.assert_allclose(tiny_store.units(tiny_run, layer)["si"], looped, atol=1e-5)


def test_a_finished_run_is_returned_as_it_is(tiny_store, tiny_run):
    before = (tiny_store.run_path(tiny_run) / "capture.duckdb").stat().st_mtime_ns
    summary = train.train_run(tiny_store, RunConfig("digits", "cnn", alpha=-1, epochs=1))
    assert summary["run"] == tiny_run
    assert (tiny_store.run_path(tiny_run) / "capture.duckdb").stat().st_mtime_ns == before


def test_capturing_again_mends_a_truncated_file_and_leaves_other_runs_alone(tmp_path):
    with toy_known() as config:
        store, run = Store(tmp_path), run_name(config)
        train.train_run(store, config)
        good = store.units(run)
        file = store.run_path(run) / "metrics.duckdb"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(SelvizError, match=f"selviz capture {run}"):
            store.units(run)
        assert store.runs()["state"].tolist() == ["finished"]
        train.capture_run(store, run)
        assert store.units(run).equals(good)


def test_two_processes_cannot_train_one_run(tmp_path):
    config = RunConfig("digits", "cnn", epochs=1)
    store = Store(tmp_path)
    held = Claim(store.run_path(run_name(config)) / "claim.json")
    with held, pytest.raises(SelvizError, match=f"Process {os.getpid()} .* already working on"):
        train.train_run(store, config)
    assert train.train_run(store, config)["epochs"] == 1


def test_a_run_that_fails_is_listed_with_its_reason_and_can_be_tried_again(tmp_path):
    store, config = Store(tmp_path), RunConfig("digits", "cnn", epochs=1, learning_rate=1e20)
    with pytest.raises(SelvizError, match="diverged"):
        train.train_run(store, config)
    row = store.runs().iloc[0]
    assert row["state"] == "failed" and "diverged" in row["reason"] and "--learning-rate 1e+20" in row["resume"]


def test_a_network_is_not_opened_on_images_that_are_not_its_own(toy_store):
    store, run = toy_store
    path = store.run_path(run) / "summary.json"
    write_json(path, {**read_json(path), "fingerprint": "0" * 16})
    with pytest.raises(SelvizError, match="not those that run"):
        load.load_network(store, run)


def test_damaged_or_missing_weights_are_one_clear_sentence(toy_store):
    store, run = toy_store
    (store.run_path(run) / "weights.safetensors").write_bytes(b"\0" * 50)
    with pytest.raises(SelvizError, match="weights.safetensors is damaged"):
        load.load_network(store, run)
    (store.run_path(run) / "weights.safetensors").unlink()
    with pytest.raises(SelvizError, match="weights.safetensors is missing"):
        load.load_network(store, run)


@pytest.mark.parametrize("units", [{}, {"relu": []}])
def test_silencing_nothing_is_refused_with_an_example(toy_store, units):
    with pytest.raises(SelvizError, match="LAYER:3,5"):
        ablation.run_ablation(*toy_store, units)


TRAIN = ("train", "--dataset", "digits", "--model", "cnn", "--epochs", "2", "--device", "cpu", "--json")


@pytest.mark.parametrize(
    "when",
    ["partial/checkpoint.pt", "config.json", "training.duckdb", "capture.duckdb"],
)
@pytest.mark.slow  # tests/failure/test_faults.py kills in short
def test_a_run_killed_at_any_stage_is_resumable_and_ends_in_the_same_weights(tmp_path, when):
    """SIGKILL as soon as the file appears: other runs stay readable, and the same command goes on with this one."""
    store = Store(tmp_path)
    other = train.train_run(store, RunConfig("digits", "cnn", alpha=1, epochs=0))["run"]
    run = run_name(RunConfig("digits", "cnn", epochs=2))
    process = cli(*TRAIN, "--data", str(tmp_path))
    while not (store.run_path(run) / when).exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = store.runs().set_index("run")
    assert rows.loc[run, "state"] == "unfinished" and rows.loc[run, "resume"].startswith(
        "selviz train --dataset digits"
    )
    assert len(store.units(other)) == 144 and rows.loc[other, "state"] == "finished"
    out, err = cli(*TRAIN, "--data", str(tmp_path)).communicate()
    summary = json.loads(out)
    assert summary["run"] == run, err
    whole = Store(tmp_path / "whole")
    out, _ = cli(*TRAIN, "--data", str(tmp_path / "whole")).communicate()
    assert json.loads(out)["test_accuracy"] == summary["test_accuracy"]
    for name in ("weights.safetensors",):
        assert (store.run_path(run) / name).read_bytes() == (whole.run_path(run) / name).read_bytes()
    assert store.units(run).equals(whole.units(run))


def test_a_run_killed_before_its_settings_were_written_is_not_called_damaged_and_leaves_nothing_behind(tmp_path):
    store, config = Store(tmp_path), RunConfig("digits", "cnn", alpha=0, epochs=1)
    folder = store.run_path(run_name(config))
    folder.mkdir(parents=True)
    (folder / ".config.json.1e234e4a").write_text('{"data')
    (row,) = store.runs().to_dict("records")
    assert row["state"] == "unfinished" and row["reason"].startswith("it was cut off before it began: type its command")
    train.train_run(store, config)
    assert store.runs()["state"].tolist() == ["finished"]
    assert not list(folder.glob(".*"))


def test_while_one_process_trains_another_reads_and_sees_the_run_land(tmp_path):
    store = Store(tmp_path)
    train.train_run(store, RunConfig("digits", "cnn", alpha=1, epochs=0))
    process = cli("train", "--dataset", "digits", "--model", "cnn", "--epochs", "1", "--data", str(tmp_path))
    states = set()
    while process.poll() is None:
        rows = store.runs()
        states.update(rows["state"])
        for run in rows.loc[rows["state"] == "finished", "run"]:
            assert len(store.units(run)) == 144
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr.read()
    assert "running" in states and store.runs()["state"].tolist() == ["finished"] * 2


def test_a_disk_that_fills_up_while_training_is_one_sentence_and_loses_nothing(tmp_path):
    """No file may grow beyond 100 kB: the checkpoint of the first epoch cannot be written."""
    code = (
        "import resource, sys; from selviz.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); sys.exit(main(sys.argv[1:]))"
    )
    store = Store(tmp_path)
    process = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--data", str(tmp_path)], capture_output=True, text=True
    )
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr.strip().splitlines()[-1].startswith("selviz: ") and "free some space" in process.stderr
    assert "Traceback" not in process.stderr
    assert store.runs()["state"].tolist() == ["failed"]
    assert not list(store.run_path(store.names()[0]).glob("partial/*.tmp"))
    out, _ = cli(*TRAIN, "--data", str(tmp_path)).communicate()
    assert json.loads(out)["epochs"] == 2 and store.runs()["state"].tolist() == ["finished"]
