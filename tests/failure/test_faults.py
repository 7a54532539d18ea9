"""The short form of the faults in `selviz.testing.faults`: commands that are killed, and full disks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("form", ["--short", pytest.param("--quick", marks=pytest.mark.slow)])
def test_what_was_killed_or_had_no_room_goes_on_to_the_same_weights_and_rows(form):
    done = subprocess.run(
        [sys.executable, "-m", "selviz.testing.faults", form], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["kills"]["kills"] >= 3
    assert found["disk_full"]["refused_in_one_sentence"] >= 2
