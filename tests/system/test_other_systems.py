"""Windows and macOS, simulated: what they lack is hidden. None of this has run there."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selviz.system import durable_files, locks, processes
from selviz.system.locks import Claim, holder
from selviz.testing import other_systems

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from selviz.system.locks import Claim
with Claim(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
QUERIES = """
import sys
from selviz.errors import TransientError
from selviz.store import sql_process

def ask(query):
    return sql_process.run_sql_in_subprocess(sys.argv[1], query, None, 10, 60)

assert ask("select count(*) as n from units")["n"].iloc[0] > 0
sql_process.MEMORY = -2**30
try:
    ask("select sum(a.range * b.range) from range(1000000) a, range(1000000) b")
except TransientError as error:
    assert "of memory" in str(error), error
else:
    raise AssertionError("nobody looked how much memory it takes")
"""


@pytest.fixture
def windows(tmp_path):
    """Run a command of selviz, or a program, in a process that plays Windows; returns what it printed."""
    variables = other_systems.environment(tmp_path / "site")
    variables |= {"OMP_NUM_THREADS": "1"}

    def run(*arguments, program=None):
        command = ["-c", program, *arguments] if program else ["-m", "selviz", *arguments]
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=variables, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    return run


def test_the_simulation_hides_what_windows_lacks(windows):
    program = (
        "import selviz.system.locks as locks, selviz.store.sql_process as sql, os\n"
        "assert hasattr(os, 'fork') and not hasattr(sql.os, 'fork') and not hasattr(sql.signal, 'SIGXCPU')\n"
        "assert locks._pid_space() == '' and locks._born(os.getpid()).count('.') == 1\n"
    )
    windows(program=program)


def test_runs_are_trained_read_and_silenced_without_anything_that_windows_lacks(windows, tmp_path):
    windows("train", "--dataset", "digits", "--model", "cnn", "--epochs", "1", "--max-images", "60")
    assert b"digits-cnn-a0" in windows("runs")
    assert json.loads(windows("runs", "--json"))[0]["state"] == "finished"
    ablated = json.loads(windows("ablate", "digits-cnn-a0", "--units", "relu2:0-7", "--draws", "3", "--json"))
    assert ablated["images"] > 0
    assert json.loads(windows("groups", "add", "digits-cnn-a0", "--units", "relu1:0", "--name", "cats", "--json"))
    assert windows("groups", "list")
    windows("export", "digits-cnn-a0", "--to", "run.zip")
    windows("import", "--zip", "run.zip", "--name", "again")
    left = [path.name for path in tmp_path.glob("data/**/*") if path.name.startswith(".") or path.suffix == ".lock"]
    assert left == []


def test_a_strangers_sql_runs_in_a_process_that_its_parent_watches(windows, tiny_store):
    windows(str(tiny_store.path), program=QUERIES)


def test_a_claim_is_seen_and_ends_with_its_process_where_there_is_no_proc(tmp_path, windows):
    path = tmp_path / "run" / "claim.json"
    variables = other_systems.environment(tmp_path / "site")
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], env=variables, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "held\n"
    ask = "import sys; from selviz.system.locks import holder\nprint(bool(holder(sys.argv[1])))"
    try:
        assert windows(str(path), program=ask) == b"True\n"
    finally:
        first.kill()
        first.wait()
    assert windows(str(path), program=ask) == b"False\n"


def test_a_file_that_somebody_reads_is_replaced_once_the_reader_has_finished(tmp_path, monkeypatch):
    refusals = iter([32, 5, 32])
    move = os.replace

    def as_on_windows(source, target):
        if (code := next(refusals, None)) is not None:
            error = PermissionError(13, "The process cannot access the file", str(target))
            error.winerror = code
            raise error
        move(source, target)

    monkeypatch.setattr(os, "replace", as_on_windows)
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    durable_files.move_into_place(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"


def test_a_folder_that_may_not_be_written_is_an_error_at_once(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    begun = time.monotonic()
    with pytest.raises(PermissionError):
        durable_files.replace(tmp_path / "new", tmp_path / "old")
    assert time.monotonic() - begun < 1


def test_no_folder_is_opened_and_files_are_flushed_for_writing_on_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_files, "WINDOWS", True)
    opened, open_file = [], os.open
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append((Path(path), flags)) or open_file(path, flags))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("content")
    durable_files.move_into_place(tmp_path / "new", tmp_path / "final")
    assert opened == [(tmp_path / "new" / "file", os.O_RDWR)]
    assert (tmp_path / "final" / "file").read_text() == "content"


def test_a_job_has_a_process_group_of_its_own_on_windows(monkeypatch):
    assert processes.detached() == {"start_new_session": True}
    monkeypatch.setattr(processes, "WINDOWS", True)
    flags = {"CREATE_NEW_PROCESS_GROUP": 0x200, "CREATE_NO_WINDOW": 0x8000000, "BELOW_NORMAL_PRIORITY_CLASS": 0x4000}
    for name, value in flags.items():
        monkeypatch.setattr(subprocess, name, value, raising=False)
    assert processes.detached() == {"creationflags": 0x8000200}
    assert processes.detached(low_priority=True) == {"creationflags": 0x8004200}


def test_serve_waits_for_the_server_where_no_process_can_take_anothers_place(monkeypatch):
    monkeypatch.setattr(processes, "WINDOWS", True)
    command = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['STATUS']))"]
    assert processes.replace_process(command, {**os.environ, "STATUS": "7"}) == 7


def _capture(folder):
    os.chdir(folder)
    import selviz

    run = selviz.train("digits", "cnn", epochs=0, max_images=60)
    return len(selviz.open("data").units(run.name))


def test_work_runs_in_processes_that_are_spawned(tmp_path):
    """As on Windows and macOS, where a child imports everything again instead of being a copy of its parent."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_capture, (tmp_path,)) == 144


def test_no_module_names_what_only_linux_has_without_an_alternative():
    """Each of these stands in one file, behind a question whether it is there."""
    allowed = {
        r"\bfcntl\b": set(),
        r"\bos\.(fork|O_CLOEXEC|pread|killpg|setsid|getuid|geteuid)\b": set(),
        r"\bos\.execv": {"selviz/system/processes.py"},
        r"start_new_session": {"selviz/system/processes.py"},
        r"import selectors": set(),
        r"import resource": {"selviz/networks/first_run.py", "selviz/store/sql_process.py", "app/server/limits.py"},
        r"os\.nice": {"selviz/store/sql_process.py"},
        r"sched_getaffinity": {"selviz/datasets/decoding.py"},
        r"[\"']/proc": {"selviz/networks/first_run.py", "selviz/store/sql_process.py", "selviz/system/locks.py",
                        "selviz/system/processes.py", "app/server/limits.py", "app/server/health.py"},
    }  # fmt: skip
    files = [path for top in ("selviz", "app") for path in (ROOT / top).rglob("*.py") if "testing" not in path.parts]
    for pattern, names in allowed.items():
        matching = {str(path.relative_to(ROOT)) for path in files if re.search(pattern, path.read_text("utf-8"))}
        assert matching <= names, pattern


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise on Windows")
def test_the_start_of_a_process_is_told_by_psutil_where_there_is_no_proc(monkeypatch):
    monkeypatch.setattr(locks, "Path", lambda path: Path("/nowhere", path.lstrip("/")))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        born = locks._born(child.pid)
        assert born and born == locks._born(child.pid) != locks._born(os.getpid())
        os.kill(child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while locks._born(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert locks._born(child.pid) is None  # a zombie: nobody has waited for it
    finally:
        child.kill()
        child.wait()
    assert locks._born("no number") is None


def test_claims_need_no_name_that_only_linux_has(tmp_path):
    with Claim(tmp_path / "claim.json"):
        assert holder(tmp_path / "claim.json")["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
