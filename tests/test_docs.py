"""The documents are true: their commands exist, their examples run, their files are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selviz.cli import COMMANDS, main, parser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
COMMANDS_PAGE = (DOCS / "commands.md").read_text()
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "space" not in path.parts]
# Pages with Python that is run here; of the first, the blocks one by one over a store, of the second as one program.
RUN_ONE_BY_ONE, RUN_AS_ONE = ("README.md", "docs/from-python.md"), ("docs/tutorial.md",)
NOT_RUN: dict[str, str] = {}  # a page: why its Python cannot be run
RUN_ELSEWHERE = ("docs/training-loops.md",)  # each block as it stands, in tests/api/test_training_loops.py


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of that language, also those that are indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.S | re.M)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def shell(text: str) -> list[str]:
    return [line for block in blocks(text, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_stands_in_the_table_of_commands(command):
    assert re.search(rf"^\| `selviz {command}\b", COMMANDS_PAGE, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_each_command_can_be_parsed(command):
    _, example, _ = COMMANDS[command]
    parser().parse_args(shlex.split(example)[1:])


def test_the_shell_examples_run_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = shell(COMMANDS_PAGE)
    assert {shlex.split(line)[1] for line in lines} >= set(COMMANDS) - {"demo", "capture", "serve"}
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert (tmp_path / "units.csv").read_text().count("\n") == 145


def test_every_command_that_a_page_names_can_be_parsed():
    """In blocks for a console; words in capitals and what only a shell understands are left out."""
    for page in [ROOT / "README.md", *PAGES]:
        text = page.read_text().replace("\\\n", " ")
        for line in [line for block in blocks(text, "console") for line in block.splitlines()]:
            command = line.removeprefix("$ ").partition("  #")[0]
            if line.startswith("$ selviz ") and not re.search(r"[<>|&;$]|\b[A-Z]{3,}\b", command):
                parser().parse_args(shlex.split(command)[1:])


def run_python(program, folder):
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    done = subprocess.run([sys.executable, "-c", f"{start}\n{program}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", RUN_ONE_BY_ONE)
def test_the_python_of_a_page_runs_on_a_store(page, own_store, tmp_path):
    (tmp_path / "data").symlink_to(own_store.path)
    first, *others = blocks((ROOT / page).read_text(), "python")
    run_python(f"{first}\nassert len(units) == 144 and len(tuning) == 10 and len(by_layer) == 4", tmp_path)
    for example in others:
        run_python(example, tmp_path)


@pytest.mark.parametrize("page", RUN_AS_ONE)
def test_the_python_of_a_page_runs_as_one_program(page, tmp_path):
    printed = run_python("\n".join(blocks((ROOT / page).read_text(), "python")), tmp_path)
    assert re.search("supported|refuted|open|not excluded", printed)
    assert (tmp_path / "claim.html").exists() and (tmp_path / "site" / "index.html").exists()


def test_every_page_with_python_is_run_or_says_why_not():
    pages = {str(path.relative_to(ROOT)) for path in PAGES if blocks(path.read_text(), "python")}
    assert pages <= {*RUN_ONE_BY_ONE, *RUN_AS_ONE, *RUN_ELSEWHERE, *NOT_RUN}


def test_every_page_without_an_example_that_is_tried_names_why():
    """In a comment at its end; pages that a script writes name the script."""
    for page in PAGES:
        text = page.read_text()
        commands = [line for block in blocks(text, "console") for line in block.splitlines()]
        tried = (
            "\n::: " in text
            or blocks(text, "python")
            or shell(text)
            or [line for line in commands if line.startswith("$ selviz ")]
        )
        written = re.search(r"`?python (-m selviz\.cli\.reference|reproduction/\w+\.py)", text)
        assert tried or written or re.search(r"^<!-- No example is run here: .{5,}\. -->$", text, re.M), page


def test_the_readmes_two_commands_are_those_that_are_checked():
    setup, test = shell(README)
    assert setup.endswith("streamlit run app/main.py")
    assert test == "bash tests/run"
    assert re.search(rf"^{test}$", (ROOT / ".ci/run").read_text(), re.M)
    assert README.index(test) < README.index("## "), "both commands stand before the first heading"


def test_the_readme_is_a_screen_and_a_half():
    assert README.count("\n") <= 90


EXAMPLE = "app/views/dead/page.py"  # of CONTRIBUTING: a page that is to be written


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"\]\(([^):]+)\)", text) + re.findall(
        r"`((?:selviz|app|tests|docs|\.ci|\.streamlit)/[^`* ]*)`", text
    )
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name.partition("#")[0]).exists()]
    assert [name for name in missing if name != EXAMPLE and "ROOM" not in name] == []


def test_every_link_of_a_page_leads_to_a_file():
    for page in PAGES:
        links = re.findall(r"\]\(([^):\s]+)\)", page.read_text())
        assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == [], page


def test_every_page_of_the_site_is_in_its_menu():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"[\w/-]+\.md", text[text.index("nav:") :]))
    assert listed == {str(path.relative_to(DOCS)) for path in PAGES}
    assert yaml.safe_load(text)["docs_dir"] == "docs"


def test_no_page_names_a_machine_or_a_tracker():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", *PAGES]:
        assert not re.search(r"(?<![\w.])/(work|opt|root|home)/|\bissues? #?\d", page.read_text()), page
