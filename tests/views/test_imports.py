"""Imports and zips in the browser: only what the server's owner allowed, layers first, a run at the end."""

import time

import pytest
import torch

from app.compute import jobs, scheduler
from app.views.data import zips
from app.views.train import imports
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.store import Store
from selviz.system.write_access import ALLOW_IMPORT
from tests.helpers.pages import text


@pytest.fixture
def allowed(tmp_path, monkeypatch):
    """A folder with the weights of an untrained network, which visitors may import from."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    torch.manual_seed(0)
    torch.save(models.build("cnn", 10, 1).state_dict(), folder / "mine.pt")
    (tmp_path / "secret.pt").write_bytes(b"not theirs")
    (folder / "out.pt").symlink_to(tmp_path / "secret.pt")
    monkeypatch.setenv(ALLOW_IMPORT, str(folder))
    return folder


def test_without_the_owners_word_nothing_can_be_imported(visit, own_store, monkeypatch):
    monkeypatch.delenv(ALLOW_IMPORT, raising=False)
    page = visit(own_store, "train", way="import")
    assert not page.exception
    assert "selviz serve --allow-import" in text(page)
    assert "Import it" not in [button.label for button in page.button]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"model": "evil.py:make"}, "code of yours is for the command line"),
        ({"model": "../x y"}, "Name a network"),
        ({"chosen": "../secret.pt"}, "not in the folder that the owner allowed"),
        ({"chosen": "out.pt"}, "not in the folder that the owner allowed"),
        ({"name": "../x"}, "Give the run a name"),
        ({"dataset": "folder:../.."}, "not in the folder that the owner allowed"),
        ({"numbers": "0.1; rm"}, "are numbers"),
    ],
)
def test_what_a_browser_may_not_ask_for_is_refused(allowed, asked, told):
    fine = {"name": "mine", "model": "cnn", "uploaded": None, "chosen": "mine.pt", "dataset": "digits", "numbers": ""}
    imports._checked(allowed.resolve(), **fine)
    with pytest.raises(SelvizError, match=told):
        imports._checked(allowed.resolve(), **{**fine, **asked})


def test_a_checkpoint_of_the_allowed_folder_becomes_a_run_with_its_layers_shown_before(visit, own_store, allowed):
    page = visit(own_store, "train", way="import")
    page.text_input(key="import-name").set_value("mine").run()
    page.text_input(key="import-model").set_value("cnn").run()
    page.selectbox(key="import-checkpoint").select("mine.pt").run()
    page.selectbox(key="import-dataset").select("digits").run()
    page.button(key="import-layers").click().run()
    assert "4 unit layers, 144 units" in text(page)
    page.button(key="import-start").click().run()
    study = next(job.key for job in scheduler.job_queue().jobs())
    while scheduler.job_queue().ahead_of(study) is not None:
        time.sleep(0.1)
    assert not jobs.failed(study), jobs.last_message(study)
    assert "mine" in own_store.names()
    for view in ("network", "unit", "silence", "compare", "alpha", "hidden", "early", "lesson", "robustness"):
        page = visit(own_store, view, run="mine")
        assert not page.exception and not page.error, view
        told = text(page)
        assert "<NA>" not in told and "nan" not in told.split() and "seed None" not in told, view


def test_a_run_goes_out_as_a_zip_and_comes_in_elsewhere(own_store, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SELVIZ_DATA", str(own_store.path))
    (tmp_path / "run.zip").write_bytes(zips.packed(tiny_run))
    assert Store(tmp_path / "there").unpack(tmp_path / "run.zip") == tiny_run
