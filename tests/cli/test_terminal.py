"""What a shell sees: tables as wide as the terminal, completion, help."""

import os
import pty
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from selviz.cli import COMMANDS, GROUPS, completion, main
from selviz.text.tables import middle, sweep_text, table

WIDE = pd.DataFrame({"run": ["a-run-with-a-name"], **{f"column_{n}": [0.5] for n in range(20)}})


def test_a_table_ends_where_the_terminal_does_and_names_what_is_left_out():
    *lines, note = table(WIDE, width=80).splitlines()
    assert max(map(len, lines)) <= 80 and lines[0].startswith("run")
    shown = lines[0].split()
    assert note == f"(not shown at this width: {', '.join(list(WIDE)[len(shown) :])}; all are in --json)"


def test_a_table_for_a_file_has_every_column(capsys):
    assert table(WIDE).splitlines()[0].split() == list(WIDE)


def test_even_a_narrow_terminal_gets_the_first_column():
    assert table(WIDE, width=3).splitlines()[0] == "run"


def test_a_sweeps_table_has_no_line_that_wraps():
    names = [f"mnist-5k-cnn-a-5-from3-until7-labels-shuffled-s{seed}" for seed in range(20)]
    rows = [
        {"run": name, "state": "running", "epoch": 3, "epochs": 40, "loss": 0.1234, "accuracy": 0.5, "mean_si": 0.4,
         "dead": 100, "reason": "a long reason " * 20}
        for name in names
    ]  # fmt: skip
    text = sweep_text(rows, 10.0, 12, width=79)
    assert max(map(len, text.splitlines())) <= 79
    assert "…" in text and "-s0" in text and "dead" in text and "100" in text


def test_the_middle_of_a_long_name_is_left_out():
    assert middle("abcdefghij", 10) == "abcdefghij"
    assert middle("abcdefghij", 5) == "ab…ij"


def test_a_terminal_of_80_columns_shows_runs_without_a_line_that_wraps(tiny_store):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "selviz", "runs", "--data", str(tiny_store.path)]
    environment = {**os.environ, "COLUMNS": "80"}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env=environment):
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 10_000)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(leader)
    *lines, note = shown.decode().split("\r\n")[:-1]
    assert lines and max(map(len, lines)) <= 80 and note.startswith("(not shown at this width: ")


def test_every_command_stands_in_one_group_of_the_help(capsys):
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(re.search(rf"^{title}:$", shown, re.M) for title in GROUPS)


def test_selviz_alone_says_what_to_do_first(capsys):
    assert main([]) == 0
    assert "Begin with:\n  selviz demo" in capsys.readouterr().out


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_completion_of_each_shell_knows_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "max-images" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_names_of_runs(tmp_path, capsys):
    main(["completion", "bash"])
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    (tmp_path / "data" / "runs" / "digits-cnn-a0").mkdir(parents=True)
    program = """
source completion
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_selviz; echo "${COMPREPLY[*]}"; }
complete_line selviz abl
complete_line selviz units --lay
complete_line selviz layers dig
"""
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["ablate", "--layer", "digits-cnn-a0"], done.stderr
