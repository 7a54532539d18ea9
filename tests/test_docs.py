"""The README is true: its commands exist, its examples run, its files are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from selviz.cli import COMMANDS, main, parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_stands_in_the_readmes_table(command):
    assert re.search(rf"^\| `selviz {command}\b", README, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_each_command_can_be_parsed(command):
    _, example, _ = COMMANDS[command]
    parser().parse_args(shlex.split(example)[1:])


def test_the_readmes_shell_examples_run_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [line for line in SHELL if line.startswith("selviz ")]
    assert {shlex.split(line)[1] for line in lines} >= set(COMMANDS) - {"demo", "capture", "serve"}
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert (tmp_path / "units.csv").read_text().count("\n") == 145


def test_the_readmes_python_runs_on_a_store(tiny_store, tmp_path):
    (tmp_path / "data").symlink_to(tiny_store.path)
    (example,) = PYTHON
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    end = "assert len(units) == 144 and len(tuning) == 10 and len(by_layer) == 4"
    program = "\n".join([start, example, end])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readmes_two_commands_are_those_that_are_checked():
    setup, test = [line for line in SHELL if not line.startswith("selviz ")]
    assert setup.endswith("streamlit run app/main.py")
    assert test == "bash tests/run"
    assert re.search(rf"^{test}$", (ROOT / ".ci/run").read_text(), re.M)
    assert README.index(test) < README.index("## "), "both commands stand before the first heading"


def test_every_file_that_the_readme_names_exists():
    named = re.findall(r"\]\(([^):]+)\)", README) + re.findall(
        r"`((?:selviz|app|tests|\.ci|\.streamlit)/[^`* ]*)`", README
    )
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name.partition("#")[0]).exists()] == []


def test_no_page_names_a_machine_or_a_tracker():
    pages = [ROOT / "README.md", ROOT / "data/README.md", *ROOT.glob("docs/*.md")]
    for page in pages:
        assert not re.search(r"(?<![\w.])/(work|opt|root|home)/|\bissues? #?\d", page.read_text()), page
