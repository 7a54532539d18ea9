"""Sweeps on real workers: what is finished stays, what failed says why, and the same sweep again goes on."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selviz.cli import main
from selviz.config import RunConfig, parse_values, run_name
from selviz.errors import SelvizError
from selviz.runs import background_jobs, demo
from selviz.runs.sweep import grid, run_status, run_sweep, sweep_name
from selviz.runs.train import train_run
from selviz.store import Store

FIXED = {"dataset": "digits", "model": "cnn", "epochs": 1}
SWEEP = [sys.executable, "-m", "selviz", "sweep", "--dataset", "digits", "--model", "cnn"]


def test_a_grid_is_every_combination_and_its_baselines_are_one_run_each():
    found = grid({"alpha": [-1, 0], "seed": [0, 1], "penalty_labels": ["true", "shuffled"]}, **FIXED)
    assert [(c.alpha, c.seed, c.penalty_labels) for c in found] == [
        (-1, 0, "true"), (-1, 0, "shuffled"), (-1, 1, "true"), (-1, 1, "shuffled"), (0, 0, "true"), (0, 1, "true"),
    ]  # fmt: skip
    assert sweep_name(found) == sweep_name(found[::-1]) != sweep_name(found[1:])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"alpha": []}, "no run: alpha has no value"),
        ({"alpha": [1, 1.0]}, "the same run twice: alpha 1.0 is named twice"),
        ({"alpha": [0], "seed": [3, 4, 3]}, "the same run twice: seed 3 is named twice"),
    ],
)
def test_a_grid_without_a_run_or_with_one_twice_is_refused(settings, sentence):
    with pytest.raises(SelvizError, match=sentence):
        grid(settings, **FIXED)


def test_values_are_read_as_they_are_written():
    assert parse_values("alpha", "-5,-0.4,0,1e1") == [-5, -0.4, 0, 10]
    assert parse_values("seed", "0-2,7,") == [0, 1, 2, 7]
    assert parse_values("penalty_layers", "first:2,relu1+relu3") == ["first:2", "relu1+relu3"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--alphas=-1,none"], "'none' in --alphas is not a number; write --alphas=-1,0,0.5"),
        (["--seeds", "4-0"], "'4-0' in --seeds is not a number; write --seeds=0-4"),
        (["--alphas", ","], "no run: --alphas is empty"),
        (["--alphas=0,0"], "the same run twice: alpha 0.0"),
        (["--backend", "slurm"], "Unknown backend 'slurm'"),
        (["--gpus", "2"], "at most one GPU"),
        (["--backend", "ray", "--address", "127.0.0.1:9"], "No ray cluster answers at 127.0.0.1:9"),
        (["--backend", "ray", "--address", "auto"], "No ray cluster answers at"),
        (["--backend", "dask", "--address", "tcp://127.0.0.1:9"], "No dask cluster answers at tcp://127.0.0.1:9"),
        (["--backend", "dask", "--address", "nonsense"], "is no address of a cluster"),
        (["--backend", "dask"], "Give the address of its scheduler"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence_and_soon(tmp_path, capsys, monkeypatch, options, sentence):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # no test of these may find somebody's cluster
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    started = time.monotonic()
    status = main(["sweep", "--dataset", "digits", "--model", "cnn", "--epochs", "0", f"--data={tmp_path}", *options])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and sentence in err and time.monotonic() - started < 15
    assert not list(tmp_path.glob("runs/*"))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A store with a sweep of three runs by two processes: two finished, one that diverges."""
    data = tmp_path_factory.mktemp("swept")
    configs = [*grid({"alpha": [-1, 1]}, **FIXED), RunConfig(**FIXED, learning_rate=1e20)]
    rows = run_sweep(Store(data), configs, workers=2, threads=1)
    return data, configs, rows


def test_a_run_that_fails_is_recorded_with_its_reason_and_stops_no_other(swept):
    data, _, rows = swept
    assert rows["state"].tolist() == ["finished", "finished", "failed"]
    assert "diverged" in rows["reason"].iloc[2] and rows["accuracy"].iloc[0] > 0.5
    assert Store(data).runs().set_index("run")["state"].to_dict() == dict(zip(rows["run"], rows["state"], strict=True))


def test_runs_of_a_sweep_have_the_weights_of_single_runs_and_are_not_made_twice(swept, tmp_path):
    data, configs, _ = swept
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = train_run(Store(tmp_path), configs[0])["run"]
    finally:
        torch.set_num_threads(before)
    weights = Store(data).run_path(alone) / "weights.safetensors"
    assert weights.read_bytes() == (Store(tmp_path).run_path(alone) / "weights.safetensors").read_bytes()
    assert Store(data).units(alone).equals(Store(tmp_path).units(alone))
    made = weights.stat().st_mtime_ns
    again = run_sweep(Store(data), configs[:2], workers=1)
    assert again["state"].tolist() == ["finished"] * 2 and weights.stat().st_mtime_ns == made


def test_a_sweep_whose_worker_is_killed_loses_no_finished_run_and_goes_on_when_typed_again(tmp_path):
    """Two workers; one is killed while it trains, which ends the sweep in one sentence."""
    argv = [*SWEEP, "--alphas=-1,0,1", "--epochs", "3", "--workers", "2", "--data", str(tmp_path)]
    argv += ["--threads", "1", "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store = Store(tmp_path)
    while process.poll() is None and not [r for r in store.runs()["state"] if r == "finished"]:
        time.sleep(0.05)
    finished = list(tmp_path.glob("runs/*/summary.json"))
    claims = []
    while process.poll() is None and not claims:
        claims = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/claim.json")]
        time.sleep(0.02)
    assert claims and claims[0]["pid"] != process.pid
    os.kill(claims[0]["pid"], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 2 and out == "" and "type the same sweep again" in err and "Traceback" not in err
    made = {path: path.stat().st_mtime_ns for path in finished}
    done = subprocess.run(argv, capture_output=True, text=True)
    assert [row["state"] for row in json.loads(done.stdout)] == ["finished"] * 3, done.stderr
    assert made and {path: path.stat().st_mtime_ns for path in finished} == made


def test_a_sweep_that_was_stopped_says_so_and_its_job_is_listed(tmp_path):
    configs = grid({"alpha": [-1, 1]}, **{**FIXED, "epochs": 40})
    place = background_jobs.place(tmp_path, sweep_name(configs))

    def stop(news):
        if any(row["epoch"] >= 1 for row in news["runs"]):
            background_jobs.stop(place)

    with pytest.raises(SelvizError, match="was stopped; 0 of 2 runs are finished"):
        run_sweep(Store(tmp_path), configs, workers=1, report=stop)
    assert background_jobs.names(tmp_path) == [place.name] and background_jobs.state(place, False) == ("stopped", None)
    assert [row["run"] for row in background_jobs.about(place)["runs"]] == [run_name(config) for config in configs]
    assert [run_status(tmp_path, config)["state"] for config in configs] == ["unfinished", "waiting"]


def test_the_demo_is_a_job_like_any_other(tmp_path):
    assert demo.status(tmp_path)["state"] == "absent"
    demo.stop(tmp_path)
    assert demo.status(tmp_path)["state"] == "stopped"
    with background_jobs.working(demo.place(tmp_path), "the demo"):
        assert demo.status(tmp_path)["state"] == "running"
        assert not background_jobs.start(demo.place(tmp_path), ["demo"], tmp_path, "the demo")
    with pytest.raises(ValueError, match="broken"), background_jobs.working(demo.place(tmp_path), "the demo"):
        raise ValueError("broken")
    assert demo.status(tmp_path)["state"] == "failed" and demo.status(tmp_path)["reason"] == "broken"


def _living(pids):
    """Those of the processes that have not ended."""
    living = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                living.append(pid)
        except OSError:
            continue
    return living


def _descendants(pid):
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


ENDS = [signal.SIGTERM, *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGKILL, signal.SIGINT))]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", ENDS)
def test_a_sweep_that_is_ended_leaves_no_worker_behind_and_goes_on_when_typed_again(tmp_path, how):
    argv = [*SWEEP, "--alphas=-1,1", "--epochs", "200", "--workers", "2", "--data", str(tmp_path), "--threads", "1"]
    process = subprocess.Popen(  # a shell that starts the tests in the background has SIGINT ignored
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while process.poll() is None and not list(tmp_path.glob("runs/*/claim.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = _descendants(process.pid)
    assert len(children) >= 2
    process.send_signal(how)
    process.wait(60)
    deadline = time.monotonic() + 30
    while _living(children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _living(children) == []
    assert set(Store(tmp_path).runs()["state"]) <= {"unfinished"}


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_sweep_trains_one_run_after_the_other_where_there_is_no_dev_shm(tmp_path):
    argv = [*SWEEP, "--alphas=-1,1", "--epochs", "1", "--max-images", "60", "--workers", "2", "--json"]
    hidden = "mount -t tmpfs -o ro tmpfs /dev/shm && exec " + shlex.join([*argv, "--data", str(tmp_path)])
    done = subprocess.run(["unshare", "-rm", "sh", "-c", hidden], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("nothing may be mounted here")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [row["state"] for row in json.loads(done.stdout)] == ["finished"] * 2
