"""What the wheel and the source distribution hold."""

import subprocess
import tomllib
from pathlib import PurePosixPath

import pytest

from selviz.testing.dashboard import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def tracked():
    """The repository's files; of a source distribution, all that are there."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [PurePosixPath(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [PurePosixPath(path) for path in found if ".egg-info" not in str(path)]


@pytest.mark.parametrize(("folder", "package"), [("selviz", "selviz"), ("app", "selviz_app")])
def test_every_file_that_is_no_python_is_in_the_wheel(tracked, folder, package):
    patterns = SETTINGS["tool"]["setuptools"]["package-data"][package]
    others = [path.relative_to(folder) for path in tracked if path.parts[0] == folder and path.suffix != ".py"]
    others = [path for path in others if path.suffix != ".md" and path.parts[0] != "testing"]
    missing = [str(path) for path in others if not any(path.match(pattern) for pattern in patterns)]
    assert len(others) > 3 and missing == []


def test_every_folder_of_python_is_a_package(tracked):
    """The wheel holds packages: a folder without __init__.py would be left out of it."""
    folders = {path.parent for path in tracked if path.suffix == ".py" and path.parts[0] in ("selviz", "app", "tests")}
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()] == []


def test_the_source_distribution_names_every_folder_and_file_of_the_repository(tracked):
    manifest = (ROOT / "MANIFEST.in").read_text().split()
    own = {"pyproject.toml", "setup.py", "MANIFEST.in"}  # setuptools takes these by itself
    own |= {"PKG-INFO", "setup.cfg", ".pytest_cache"}  # and writes the first two of these into it
    tops = {path.parts[0] if len(path.parts) > 1 else str(path) for path in tracked}
    assert sorted(top for top in tops if top not in {*manifest, *own, "data"}) == []


def test_dependencies_stand_in_one_place():
    named = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert [line for line in named if line] == ["-e .[app,captum,robustness]"]
    heavy = {"statsmodels", "mlxtend", "ray", "dask", "timm", "streamlit", "plotly", "opencv-python", "corrupt-tta"}
    heavy |= {"captum", "matplotlib"}
    assert [text for text in SETTINGS["project"]["dependencies"] if text.split(">")[0] in heavy] == []
