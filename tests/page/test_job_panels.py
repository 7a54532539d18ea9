"""Studies that a page offers: of one network, and of all networks like it; the tray leads to what was computed."""

import shutil
import time

import pytest

from app.compute import jobs, scheduler
from selviz.config import RunConfig
from selviz.runs import demo
from selviz.runs.train import train_run
from tests.helpers.pages import text


@pytest.fixture
def two(own_store):
    """Two networks that differ by alpha alone."""
    train_run(own_store, RunConfig("digits", "cnn", alpha=0, epochs=1))
    return own_store


def finished(study):
    while scheduler.job_queue().ahead_of(study) is not None:
        time.sleep(0.05)
    assert not jobs.failed(study), jobs.last_message(study)


def test_one_press_computes_a_study_for_all_networks_like_this_one(visit, two, monkeypatch):
    monkeypatch.delenv("SELVIZ_NO_DEMO")
    monkeypatch.setattr(jobs, "start_demo_once", lambda: None)
    names = two.names()
    page = visit(two, "hidden", run=names[0], part="dimensionality")
    button = page.button(key="family-dimensionality")
    assert button.label == "For all 2 networks like this one"
    page = button.click().run()
    study = jobs.Study(str(two.path), names[0], "dimensionality", (), (names[1],))
    assert "and 1 more network" in text(page) or "Computing dimensionality" in text(page)
    finished(study)
    assert all((two.run_path(name) / "dimensionality.duckdb").exists() for name in names)
    page = page.run()
    assert not page.exception and "Compute it now" not in [button.label for button in page.button]
    assert "done, open" in " ".join(str(element.proto) for element in page.get("page_link"))


def test_the_demos_studies_leave_no_page_of_it_without_its_study(own_store, monkeypatch):
    monkeypatch.setenv("SELVIZ_DATA", str(own_store.path))
    (tiny,) = own_store.names()
    config = RunConfig("digits", "cnn", alpha=0, epochs=1)
    monkeypatch.setattr(demo, "CONFIGS", (config,))
    monkeypatch.setattr(
        demo, "status", lambda data: {"state": "finished", "runs": [{"run": tiny, "state": "finished"}]}
    )
    asked = jobs.missing_of_the_demo()
    commands = [study.command for study in asked]
    assert commands == ["metrics", "atlas", "curves", "dimensionality", "robustness", "map", "basis", "train", "early"]
    for study in asked[-2:]:
        jobs._compute(jobs.study_processes(), study)
        assert not jobs.failed(study), jobs.last_message(study)
    assert [study.command for study in jobs.missing_of_the_demo()][-1] == "basis"
    early = asked[-1].run
    assert (own_store.run_path(early) / "early.duckdb").exists()
    shutil.rmtree(own_store.run_path(early))
    assert [study.command for study in jobs.missing_of_the_demo()][-2:] == ["train", "early"]
