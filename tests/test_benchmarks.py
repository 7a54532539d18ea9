"""Each benchmark and each script of the reproduction starts from its place in the repository and says what it does."""

import json
import subprocess
import sys

import pytest

from selviz.testing.dashboard import ROOT

SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "reproduction")
    for path in (ROOT / folder).rglob("*.py")
    if "__main__" in path.read_text()
)
# All in one process, which imports torch once.
PROGRAM = """
import contextlib, io, json, runpy, sys
told = {}
for script in sys.argv[1:]:
    printed = io.StringIO()
    sys.argv = [script, "--help"]
    before = list(sys.path)
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        told[script] = [end.code, printed.getvalue()]
    sys.path[:] = before
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    # From another folder: what a script imports it must find by itself.
    words = [sys.executable, "-c", PROGRAM, *(str(ROOT / script) for script in SCRIPTS if "faults" not in script)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", [script for script in SCRIPTS if "faults" not in script])
def test_a_script_says_what_it_measures_and_names_itself_where_it_lies(told, script):
    status, help_text = told[str(ROOT / script)]
    assert status == 0 and len(help_text) > 200
    named = (ROOT / script).read_text().partition('"""')[2].partition('"""')[0]
    assert script in named, f"the first words of {script} should say how it is started"
