"""Pages drawn while calls to the system fail, in short; `benchmarks/failure/pages.py` tries every call of every
page.
"""

import json
import shutil
import subprocess
import sys

import pytest

from selviz.testing.dashboard import ROOT
from selviz.testing.faults.injection import build, environment_of


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs LD_PRELOAD and a C compiler"
)
def test_a_page_that_meets_a_failing_call_says_so_calls_nothing_damaged_and_is_whole_the_next_time(own_store, tmp_path):
    command = [sys.executable, "-m", "selviz.testing.faults.pages", str(own_store.path)]
    options = ["--pages", "network,unit", "--calls", "open,read", "--errors", "1", "--every", "60"]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment_of(build(tmp_path)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["failures"] >= 10
