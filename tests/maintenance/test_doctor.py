"""`selviz doctor`: what is in order, what is not, and the command for it."""

import json
import os
import re

import pytest

from selviz.cli import COMMANDS, main
from selviz.maintenance import doctor
from selviz.store import Store


def test_a_sound_store_has_nothing_to_mend(tiny_store, capsys):
    before = {path: path.stat().st_mtime_ns for path in tiny_store.path.rglob("*")}
    assert main(["doctor", "--data", str(tiny_store.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == found["mend"] == 0
    assert {row["what"] for row in found["findings"]} == {
        "packages", "imports", "torch", "GPU", "store", "cache", "runs", "data sets", "records", "work"
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in tiny_store.path.rglob("*")} == before


def test_a_damaged_file_is_a_line_with_its_command_and_exit_status_1(own_store, tiny_run, capsys):
    os.truncate(own_store.run_path(tiny_run) / "capture.duckdb", 5000)
    assert main(["doctor", "--data", str(own_store.path)]) == 1
    told = capsys.readouterr().out
    assert "capture.duckdb is damaged: its 5,000 bytes" in told
    assert f"-> selviz capture {tiny_run} --data {own_store.path}\n" in told
    assert told.endswith("1 to put right\n")


def test_an_unfinished_run_and_a_failed_job_are_noted_and_nothing_to_mend(own_store, tiny_run):
    (own_store.run_path(tiny_run) / "summary.json").unlink()
    (own_store.path / "jobs").mkdir()
    (own_store.path / "jobs" / "sweep-1.json").write_text("{}")
    (own_store.path / "jobs" / "sweep-1.stopped").write_text('{"reason": "no disk"}')
    (own_store.path / "hypotheses" / "partial").mkdir(parents=True)
    (own_store.path / "hypotheses" / "partial" / "a.claim").write_text('{"heartbeat": 1, "host": "elsewhere"}')
    os.utime(own_store.path / "hypotheses" / "partial" / "a.claim", (1, 1))
    rows = [*doctor.runs(own_store, print), *doctor.work(own_store, print)]
    told = {(row["state"], row["told"]) for row in rows}
    assert ("note", f"run {tiny_run} is unfinished") in told
    assert ("note", "job sweep-1 failed (no disk)") in told
    assert ("ok", "1 claims of processes that are gone; the next command takes them over") in told
    assert next(row["fix"] for row in rows if "unfinished" in row["told"]).startswith("selviz train --dataset digits ")


def test_a_record_that_was_tampered_with_is_to_mend(own_store):
    (own_store.path / "hypotheses").mkdir()
    (own_store.path / "hypotheses" / "000001.json").write_text("{}")
    (row,) = doctor.records(own_store, print)
    assert row["state"] == "error" and "000001.json was changed" in row["told"] and "hypotheses-damaged" in row["fix"]


@pytest.mark.parametrize("needs", ["numpy>=999", "no-such-package>=1"])
def test_a_package_that_is_missing_or_too_old_names_what_installs_it(tmp_path, monkeypatch, needs):
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[project]\ndependencies = ["{needs}"]\n[project.optional-dependencies]\napp = []\n')
    monkeypatch.setattr(doctor, "PROJECT", project)
    (row,) = doctor.packages(Store(tmp_path), print)
    assert (row["state"], row["fix"]) == ("error", f"pip install '{needs}'")


def test_a_full_disk_is_to_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**60)
    assert [row["state"] for row in doctor.disk(Store(tmp_path), print)] == ["error", "error"]


def test_every_command_has_its_libraries_imported():
    named = {word for need in doctor.NEEDS for word in re.findall(r"[a-z]+", need.commands)}
    assert set(COMMANDS) <= named


def test_what_cannot_be_imported_names_the_commands_and_what_mends_it(tmp_path, monkeypatch):
    (tmp_path / "crashing_library.py").write_text("import os\nos._exit(11)\n")
    (tmp_path / "broken_library.py").write_text("raise OSError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(
        doctor,
        "NEEDS",
        (
            doctor.Need("train", ("crashing_library", "json")),
            doctor.Need("corruptions", ("broken_library",), "robustness"),
            doctor.Need("sweep --backend ray", ("a_library_that_is_not_there",), "ray"),
        ),
    )
    rows = list(doctor.imports(None, None))
    assert [row["state"] for row in rows] == ["error", "error", "note"]
    assert "train: crashing_library cannot be imported (it ends the process" in rows[0]["told"]
    assert "libGL" in rows[1]["told"] and rows[1]["fix"].endswith("pip install opencv-python-headless")
    assert rows[2]["fix"] == "pip install 'selviz[ray]'"
