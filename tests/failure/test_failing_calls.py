"""Whatever system call fails, at whatever moment: one true sentence, nothing called damaged, and the next try works."""

import json
import shutil
import subprocess
import sys

import pytest

from selviz.testing.dashboard import ROOT
from selviz.testing.faults.injection import build, environment_of


def tried(folder, *options):
    """What `selviz.testing.faults.calls` finds; `benchmarks/failure/calls.py` tries every call of every scenario."""
    command = [sys.executable, "-m", "selviz.testing.faults.calls", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment_of(build(folder)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs LD_PRELOAD and a C compiler"
)
@pytest.mark.parametrize(
    ("options", "scenarios"),
    [
        (("--every", "47", "--only", "a query,doctor of claims and groups,a zip in that is there already"), 3),
        pytest.param(("--every", "29"), 28, marks=pytest.mark.slow),
        pytest.param((), 28, marks=pytest.mark.slow),
    ],
)
def test_every_failing_call_is_one_sentence_and_passes(tmp_path, options, scenarios):
    found = tried(tmp_path, *options)
    assert found["wrong"] == []
    assert len(found["scenarios"]) == scenarios
    assert all(part["tries"] > 0 for part in found["scenarios"].values())
