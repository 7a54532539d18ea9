"""The pages Train and Early training: real processes that train, and a real run with snapshots."""

import time

import pandas as pd
import pytest

from app.views.early_training.panels import movements
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.runs import background_jobs
from selviz.runs.train import train_run
from selviz.store import Store, read_json
from selviz.studies.early_training import default_epochs, kept_epochs, run_early
from tests.helpers.pages import address_of, text


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A store with a run that kept two snapshots an epoch, and its early curves."""
    store = Store(tmp_path_factory.mktemp("watched"))
    run = train_run(store, RunConfig("digits", "cnn", alpha=-2, epochs=2, snapshots=2))["run"]
    run_early(store, run, [0, 2], steps=2)
    return store, run


def test_snapshots_begin_untrained_and_end_with_the_si_of_the_finished_run(watched):
    store, run = watched
    moments = store.snapshots(run)
    assert moments["done"].tolist() == pytest.approx([0, 5 / 9, 1, 14 / 9, 2])
    assert moments["test_accuracy"].iloc[-1] == pytest.approx(store.run(run)["test_accuracy"])
    last = store.snapshot_units(run).query("snapshot == 4").reset_index(drop=True)
    units = store.units(run)
    assert last[["layer", "unit", "preferred_class"]].equals(units[["layer", "unit", "preferred_class"]])
    pd.testing.assert_series_equal(last["si"], units["si"], atol=1e-4, rtol=0)  # captured with batch norm folded


def test_curves_after_the_last_epoch_are_those_of_the_finished_network(watched):
    from selviz.studies.ablation import NETWORK, run_curves

    store, run = watched
    early = store.early_curves(run)
    assert sorted(early["epoch"].unique()) == [0, 2] and len(early) == 2 * 12 * 3
    run_curves(store, run, layers=[NETWORK], steps=2)
    columns = ["direction", "draw", "removed", "accuracy"]
    late = early[early["epoch"] == 2][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(late, store.curves(run)[columns], atol=0.02, rtol=0, check_dtype=False)


def test_a_run_without_kept_weights_is_told_how_to_train_it(tiny_store, tiny_run, watched):
    with pytest.raises(SelvizError, match="selviz train --dataset digits .*--snapshots 4"):
        kept_epochs(tiny_store, tiny_run)
    with pytest.raises(SelvizError, match="no weights after epoch 7; it has 0, 1, 2"):
        run_early(*watched, [7])
    assert default_epochs(range(11)) == [1, 2, 6, 10] and default_epochs([0]) == [0]


def test_units_rise_and_fall_by_more_than_a_hair_and_dead_ones_do_not_count():
    units = pd.DataFrame(
        {
            "done": [0.0] * 4 + [1.0] * 4,
            "layer": "a",
            "unit": [0, 1, 2, 3] * 2,
            "si": [0.1, 0.5, 0.3, 0.0, 0.4, 0.2, 0.31, 0.0],
            "dead": [False, False, False, True] * 2,
        }
    )
    (row,) = movements(units).to_dict("records")
    assert row == {"done": 1.0, "rising": pytest.approx(1 / 3), "falling": pytest.approx(1 / 3)}


def test_the_early_page_shows_layers_units_and_the_chosen_epoch(watched, visit):
    store, _ = watched
    page = visit(store, "early", layer="relu2", epoch="2")
    assert not page.exception
    for title in ("Selectivity of each layer", "The units of relu2", "Rising and falling", "after epoch 2"):
        assert title in text(page)
    assert address_of(page)["layer"] == "relu2"


def test_the_early_page_of_a_run_without_snapshots_says_how_to_get_them(tiny_store, visit):
    page = visit(tiny_store, "early", beside="nothing,<b>")
    assert not page.exception and "--snapshots 4" in text(page)


def test_the_train_page_counts_networks_and_says_what_is_wrong_and_may_be_forbidden(tiny_store, visit, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("SELVIZ_READ_ONLY", "1")
        page = visit(tiny_store, "train", job="<script>")
        assert not page.exception and "for reading only" in text(page)
        assert not [button for button in page.button if "Train" in button.label and not button.disabled]
    page = visit(tiny_store, "train", job="<script>")
    assert not page.exception
    page.text_input(key="train-alpha").set_value("-1, one").run()
    assert "'one' in --alphas is not a number" in text(page)
    page.text_input(key="train-alpha").set_value("-1, 1").run()
    page.text_input(key="train-seed").set_value("0-4").run()
    assert "--alphas=-1,1 --seeds=0-4" in text(page)


def test_a_sweep_started_on_the_page_trains_in_a_process_of_its_own_and_is_listed(own_store, visit, monkeypatch):
    monkeypatch.setenv("SELVIZ_NO_DEMO", "0")
    page = visit(own_store, "train")
    page.selectbox(key="train-dataset").set_value("digits").run()
    page.text_input(key="train-alpha").set_value("2").run()
    page.text_input(key="train-epochs").set_value("1")
    page.button(key="train-start").click().run()  # in one request with the field: a press right after typing
    assert not page.exception
    (name,) = background_jobs.names(own_store.path)
    place = background_jobs.place(own_store.path, name)
    assert address_of(page)["job"] == name
    deadline = time.monotonic() + 240
    while background_jobs.running(place) and time.monotonic() < deadline:
        time.sleep(0.2)
    page.run()
    assert background_jobs.state(place, True) == ("finished", None), background_jobs.log(place)
    assert [run["epochs"] for run in read_json(place.with_suffix(".json"))["runs"]] == [1]
    assert "1 of 1 network finished" in page.get("progress")[0].text
    links = [link.proto.label for link in page.get("page_link")]
    assert "Open it" in links and "Compare it with the run at the side" in links
    assert own_store.runs()["state"].tolist() == ["finished"] * 2
