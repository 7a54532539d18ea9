"""The Dockerfile and the card of a Space, without a container engine: parsed, and its commands run here."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from selviz.cli import parser

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "space"


def instructions():
    """The Dockerfile as (instruction, rest), continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def of(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def command(name):
    return json.loads(re.search(r"\[.*\]$", of(name)[-1])[0])


def test_the_image_is_slim_and_its_last_stage_holds_no_compiler_and_no_source():
    bases = [rest.split()[0] for rest in of("FROM")]
    assert set(bases) == {"python:3.12-slim"}
    last = instructions()[[i for i, (name, _) in enumerate(instructions()) if name == "FROM"][-1] :]
    assert all("--from=build" in rest for name, rest in last if name == "COPY")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert tuple(map(int, re.findall(r"\d+", requires))) <= (3, 12)


def test_the_server_runs_as_a_user_without_rights_over_a_store_that_it_does_not_own():
    last = [name for name, _ in instructions()]
    assert of("USER") == ["1000"] and last.index("USER") < last.index("CMD")
    assert "COPY --from=build /data /data" in (ROOT / "Dockerfile").read_text(), "with --chown it could be written"


def test_its_command_is_one_of_selviz_for_reading_only_and_at_the_port_that_is_exposed():
    arguments = parser().parse_args(command("CMD")[1:])
    assert arguments.public and arguments.no_login and str(arguments.port) == of("EXPOSE")[0]
    for line in of("RUN"):
        for words in re.findall(r"/venv/bin/selviz ([^&;]*)", line):
            parser().parse_args(shlex.split(words))


def test_what_the_image_leaves_out_is_not_what_the_package_is_built_from():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] not in "#!"]
    needed = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "CITATION.cff", "selviz", "app", "MANIFEST.in"}
    assert not needed & set(ignored)


def test_the_card_of_a_space_names_the_sdk_and_the_port_of_the_dockerfile():
    _, front, _ = (FOLDER / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["sdk"] == "docker" and str(card["app_port"]) == of("EXPOSE")[0]
    assert card["license"] == "mit" and len(card["short_description"]) <= 60


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def read_only(own_store):
    """A store that may not be written (by anybody but root, who may do all)."""
    folders = [own_store.path, *(path for path in own_store.path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield own_store.path
    for folder in folders:
        folder.chmod(0o755)


def test_the_health_check_passes_once_the_server_of_its_command_answers(read_only, tmp_path):
    port = str(free_port())
    arguments = [{"8501": port, "/data": str(read_only)}.get(word, word) for word in command("CMD")[1:]]
    check = [word.replace("8501", port) for word in command("HEALTHCHECK")]
    assert check[0] == "python"
    asked = [sys.executable, *check[1:]]
    assert subprocess.run(asked, stderr=subprocess.DEVNULL).returncode != 0, "nobody answers yet"
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    path = os.pathsep.join([str(ROOT), *sys.path])
    server = subprocess.Popen(
        [sys.executable, "-m", "selviz", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while subprocess.run(asked, stderr=subprocess.DEVNULL).returncode != 0:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(30)
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
