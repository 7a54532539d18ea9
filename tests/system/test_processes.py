"""What selviz starts imports nothing from the folder that somebody happens to be in."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selviz.store import untrusted_files
from selviz.system import processes
from selviz.testing.dashboard import ROOT

SHADOWED = ("random", "json", "tempfile", "queue", "selectors", "numpy", "torch", "duckdb", "selviz")


@pytest.fixture
def littered(tmp_path, monkeypatch):
    """The current folder, with files that would stand in for modules; whoever imports one leaves a mark."""
    folder = tmp_path / "littered"
    folder.mkdir()
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write('{name} ')\nraise SystemExit(9)"
        )
    monkeypatch.chdir(folder)
    return tmp_path / "imported"


def test_a_child_does_not_import_what_lies_in_the_current_folder(littered):
    code = "import random, json, queue, selviz; print(selviz.__version__)"
    children = [["-c", code], ["-m", "selviz", "--help"]]
    for words in children:
        done = subprocess.run([sys.executable, *words], env=processes.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert not littered.exists()
    subprocess.run([sys.executable, "-m", "selviz", "--help"], capture_output=True)
    assert littered.exists(), "the files do stand in for modules where nothing is done against it"


def test_jobs_studies_sweeps_and_first_runs_do_not_either(littered, tiny_store, tmp_path, monkeypatch):
    from app.compute import jobs
    from selviz.runs import background_jobs

    data = tmp_path / "data"
    place = background_jobs.place(data, "a-job")
    assert background_jobs.start(place, ["runs"], data, "a test")
    study = jobs.Study(str(tiny_store.path), tiny_store.names()[0], "layers")
    started = {}
    jobs._compute(started, study)
    assert started[study].process.returncode == 0
    words = ["sweep", "--dataset", "digits", "--model", "cnn", "--alphas=-1,1", "--epochs", "1", "--max-images", "60"]
    words += ["--workers", "2", "--threads", "1", "--data", str(data)]
    command = [sys.executable, "-P", "-m", "selviz", *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "network.json").write_text("{}")
    (problem,) = untrusted_files.network_problems([Path("..") / "run"]).values()
    assert "cannot be used" in problem.message
    deadline = time.monotonic() + 60
    while not Path(f"{place}.log").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not littered.exists(), littered.read_text()


def test_a_child_ends_soon_after_its_parent_however_that_ended():
    program = (
        "import os, subprocess, sys, time\n"
        "child = 'import os, time; from selviz.system.processes import end_with; '\n"
        "child += 'end_with(int(os.environ[\"P\"])); time.sleep(100)'\n"
        "process = subprocess.Popen([sys.executable, '-c', child], env={**os.environ, 'P': str(os.getpid())})\n"
        "print(process.pid, flush=True)\ntime.sleep(100)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=processes.environment()
    )
    child = int(parent.stdout.readline())
    time.sleep(1)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").exists() and ") Z" in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child goes on")
