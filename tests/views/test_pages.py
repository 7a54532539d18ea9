"""What the pages say, on a tiny real store: addresses, filters, numbers, empty and damaged stores."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from app.compute import ablation
from app.page import gallery
from selviz.ablation import relevance
from selviz.config import RunConfig
from selviz.runs.load import open_engine
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies.ablation import run_ablation
from selviz.testing.dashboard import page_names
from selviz.testing.toy import toy_known
from tests.helpers.pages import MAIN, address_of, metrics, text

OF_RUNS = [view for view in page_names() if view != "train"]  # what cannot be shown without a run
OF_OTHER_FILES = ("hidden", "early", "claims")  # need nothing of what was captured
VIEWS = ("lesson", "alpha", "network", "unit", "silence", "compare", "hidden", "data")


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_runs_without_an_exception(visit, tiny_store, view):
    page = visit(tiny_store, view)
    assert not page.exception
    assert not page.error
    assert page.title[0].value.endswith("?")


def test_the_address_of_a_unit_opens_it_with_its_numbers(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "unit", run=tiny_run, layer="relu2", unit="7")
    unit = tiny_store.unit(tiny_run, "relu2", 7)
    shown = metrics(page)
    assert shown["SI"] == (f"{unit['si']:.2f}", f"null {unit['null_mean']:.2f}, up to {unit['null_p95']:.2f}")
    assert shown["Preferred class"][0] == (unit["preferred_class"] if not unit["dead"] else "–")
    assert address_of(page)["layer"] == "relu2"
    assert address_of(page)["unit"] == "7"


def test_next_and_previous_step_through_the_units_and_on_into_the_next_layer(visit, tiny_store):
    page = visit(tiny_store, "unit", layer="relu1", unit="15")
    page.button(key="step-Next").click().run()
    assert (address_of(page)["layer"], address_of(page)["unit"]) == ("relu2", "0")
    page.button(key="step-Previous").click().run()
    assert (address_of(page)["layer"], address_of(page)["unit"]) == ("relu1", "15")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ({"layer": "relu9"}, "`relu9`, which is not here. Shown instead: `relu"),
        ({"layer": "relu1", "unit": "16"}, "`16`, which is not here. Shown instead: `15 (there are 0 to 15)`"),
        ({"layer": "relu1", "unit": "<b>x</b>"}, "`<b>x</b>`, which is not here"),
        ({"run": "mnist-9k"}, "`mnist-9k`, which is not here. Shown instead: `digits-"),
        ({"image": "-4"}, "`-4`, which is not here. Shown instead: `0 ("),
    ],
)
def test_a_wrong_link_says_what_is_not_there_and_shows_the_nearest(visit, tiny_store, address, told):
    page = visit(tiny_store, "unit", **address)
    assert not page.exception
    assert told in "\n".join(warning.value for warning in page.warning)


def test_the_gallery_shows_images_from_the_highest_to_the_lowest_and_marks_those_taken_wrongly(
    visit, tiny_store, tiny_run
):
    table = tiny_store.activations(tiny_run, "relu3", 5).sort_values(["value", "image"], ascending=[False, True])
    page = visit(tiny_store, "unit", layer="relu3", unit="5")
    shown = {
        band: [page.button(key=f"tile-{band}-{rank}").label for rank in range(gallery.SHOWN[band])]
        for band in gallery.BANDS
    }
    values = [label.split("\n")[1] for label in shown["most"]]
    assert values == [f"{value:.3g}" for value in table["value"].head(12)]
    assert [label.split("\n")[1] for label in shown["least"]] == [f"{value:.3g}" for value in table["value"][::-1][:6]]
    wrong = (table["label"] != table["prediction"]).head(12).tolist()
    assert [label.startswith("✗") for label in shown["most"]] == wrong


def test_images_ranked_by_relevance_come_in_the_order_of_the_library(visit, tiny_store, tiny_run):
    engine = open_engine(tiny_store, tiny_run)
    expected = relevance(engine, "relu3")[:, 5].sort(descending=True, stable=True).values[:3].tolist()
    page = visit(tiny_store, "unit", layer="relu3", unit="5", by="relevance")
    labels = [page.button(key=f"tile-most-{rank}").label for rank in range(3)]
    assert [label.split("\n")[1] for label in labels] == [f"{value:.3g}" for value in expected]


def test_a_unit_of_a_run_without_weights_still_shows_its_images_and_numbers(visit, own_store, tiny_run):
    (own_store.run_path(tiny_run) / "weights.safetensors").unlink()
    page = visit(own_store, "unit", layer="relu3", unit="5")
    assert not page.exception
    assert page.button(key="tile-most-0").label
    assert text(page).count("weights.safetensors is missing") == 1
    assert "Spread of its activations" in text(page)
    page = visit(own_store, "unit", layer="relu3", unit="5", meaning="answers", evidence="pixels")
    assert not page.exception
    assert text(page).count("weights.safetensors is missing") == 1


def test_where_images_are_many_the_unit_page_computes_on_the_first_and_says_so(
    visit, tiny_store, tiny_run, monkeypatch
):
    monkeypatch.setattr(ablation, "MAX_UNIT_PAGE_IMAGES", 60)
    page = visit(tiny_store, "unit", layer="relu3", unit="5", meaning="answers")
    assert not page.exception and not page.error
    engine = open_engine(tiny_store, tiny_run, most=60)
    found = run_ablation(tiny_store, tiny_run, {"relu3": [5]}, draws=0, engine=engine)
    engine.close()
    assert found["images"] == 60
    assert f"Accuracy goes from {100 * found['accuracy_before']:.1f} %" in text(page) and "(60 images)" in text(page)
    assert text(page).count("the first 60, nearly as many of each class") == 2


def test_the_most_similar_unit_is_that_of_the_correlations(visit, tiny_store, tiny_run):
    table = np.corrcoef(tiny_store.matrix(tiny_run, "relu4").T)[7]
    table[7] = -2
    page = visit(tiny_store, "unit", layer="relu4", unit="7", meaning="alike")
    best = int(np.nanargmax(table))
    assert f"`relu4:{best}`" in text(page) and f"r = +{table[best]:.2f}" in text(page)


def test_no_module_of_the_dashboard_hides_one_of_pythons_own():
    """Streamlit puts the folder of the entry file first on the path, so `app/profile.py` would be Python's profile."""
    assert sorted({path.stem for path in MAIN.parent.glob("*.py")} & sys.stdlib_module_names) == []


def test_a_click_on_an_image_puts_it_into_the_address(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "unit", layer="relu3", unit="5")
    page.button(key="tile-most-3").click().run()
    table = tiny_store.activations(tiny_run, "relu3", 5).sort_values(["value", "image"], ascending=[False, True])
    assert address_of(page)["image"] == str(table["image"].iloc[3])
    assert [box.value for box in page.number_input if box.label == "Image"] == [table["image"].iloc[3]]


def test_filters_narrow_the_list_of_units_and_live_in_the_address(visit, tiny_store, tiny_run):
    units = tiny_store.units(tiny_run)
    page = visit(tiny_store, "network", seen="table", si="0.10..1.00")
    page.selectbox(key="link-layer").select("relu3").run()
    wanted = units[(units["layer"] == "relu3") & (units["si"] >= 0.1)]
    assert f"{len(wanted)} units of 144" in text(page)
    assert len(page.dataframe[0].value) == len(wanted)
    assert address_of(page)["layer"] == "relu3"
    assert address_of(page)["si"] == "0.10..1.00"


def test_filters_that_nothing_fits_offer_the_way_back(visit, tiny_store):
    page = visit(tiny_store, "network", layer="relu1", si="0.99..1.00")
    assert "No unit fits these filters." in text(page)
    next(button for button in page.button if button.label == "Clear the filters").click().run()
    assert "144 units of 144" in text(page)


@pytest.fixture
def toy_store(tmp_path):
    """A store whose one run is the hand-set network of selviz/testing/toy.py."""
    with toy_known() as config:
        store = Store(tmp_path / "toy")
        train_run(store, config)
        yield store


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_runs_on_the_hand_set_network(visit, toy_store, view):
    page = visit(toy_store, view)
    assert not page.exception and not page.error


def test_pages_show_the_numbers_worked_out_on_paper(visit, toy_store):
    """Unit 1 fires on class b alone, unit 2 never; without unit 1 every image of class b is lost."""
    shown = metrics(visit(toy_store, "unit", layer="relu", unit="1"))
    assert (shown["SI"][0], shown["Preferred class"][0]) == ("1.00", "b")
    dead = visit(toy_store, "unit", layer="relu", unit="2")
    assert metrics(dead)["SI"][0] == "0.00" and "dead" in text(dead)
    dense = metrics(visit(toy_store, "unit", layer="relu_1", unit="2"))
    assert (dense["SI"][0], dense["Preferred class"][0]) == ("1.00", "c")
    shown = metrics(visit(toy_store, "silence", silence="relu:1"))
    assert (shown["Accuracy before"][0], shown["Accuracy after"][0]) == ("100.0 %", "66.7 %")


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_store_says_which_command_fills_it_and_trains_nothing_where_it_must_not(visit, tmp_path, view):
    page = visit(tmp_path, view)
    assert not page.exception
    assert "There is no run in this store yet" in text(page)
    assert "selviz demo" in text(page)
    assert not [button for button in page.button if "demo" in button.label]
    assert list(tmp_path.iterdir()) == []


def test_a_process_spawned_from_the_dashboard_neither_draws_nor_starts_the_demo(tmp_path):
    program = f"import runpy; runpy.run_path({str(MAIN)!r}, run_name='__mp_main__')"
    settings = {**os.environ, "SELVIZ_DATA": str(tmp_path), "SELVIZ_NO_DEMO": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_listed_with_the_command_that_resumes_it(visit, own_store, tiny_run):
    cut_off = own_store.run_path("digits-cnn-cut-off")
    cut_off.mkdir()
    shutil.copy(own_store.run_path(tiny_run) / "config.json", cut_off)
    page = visit(own_store)
    assert "`digits-cnn-cut-off` is unfinished. Go on with:" in text(page)
    assert "selviz train --dataset digits --model cnn --alpha=-1" in text(page)


def test_a_link_to_an_unfinished_run_shows_another_one_and_how_to_resume(visit, own_store, tiny_run):
    cut_off = own_store.run_path("digits-cnn-cut-off")
    cut_off.mkdir()
    shutil.copy(own_store.run_path(tiny_run) / "config.json", cut_off)
    page = visit(own_store, "network", run="digits-cnn-cut-off")
    assert "`digits-cnn-cut-off` is unfinished" in page.warning[0].value
    assert "selviz train --dataset digits" in text(page)
    assert "144 units of 144" in text(page)


def test_runs_with_equal_settings_stay_apart_in_the_picker(visit, own_store, tiny_run):
    shutil.copytree(own_store.run_path(tiny_run), own_store.run_path("digits-cnn-copy"))
    page = visit(own_store, "network", run=tiny_run)
    assert (address_of(page)["run"], page.session_state["run"]) == (tiny_run, tiny_run)
    assert len(set(page.sidebar.selectbox[0].options)) == 2


def test_an_untrained_control_is_called_so_and_is_not_the_first_choice(visit, own_store, tiny_run):
    untrained = train_run(own_store, RunConfig("digits", "cnn", alpha=0, epochs=0))["run"]
    page = visit(own_store)
    assert page.session_state["run"] == tiny_run
    assert any("untrained" in option for option in page.sidebar.selectbox[0].options)
    assert "untrained control" in text(visit(own_store, "network", run=untrained))


def test_an_empty_store_shows_the_command_on_every_page(visit, store):
    store.path.mkdir()
    for view in OF_RUNS:
        page = visit(store, view)
        assert not page.exception
        assert "There is no run in this store yet" in text(page) and "selviz demo" in text(page), view
    assert "No sweep was started in this store yet." in text(visit(store, "train"))


def test_a_run_whose_units_are_gone_is_told_in_words_on_every_page(visit, own_store, tiny_run):
    broken = own_store.run_path("digits-cnn-broken")
    shutil.copytree(own_store.run_path(tiny_run), broken)
    (broken / "capture.duckdb").write_bytes(b"")
    for view in OF_RUNS:
        page = visit(own_store, view, run="digits-cnn-broken")
        assert not page.exception, view
        if view not in OF_OTHER_FILES:
            assert "selviz capture digits-cnn-broken" in text(page), view
    assert "This could not be shown" not in text(visit(own_store, "unit", run=tiny_run))


def test_a_damaged_file_is_named_with_its_remedy_and_the_other_runs_still_show(visit, own_store, tiny_run):
    broken = own_store.run_path("digits-cnn-broken")
    shutil.copytree(own_store.run_path(tiny_run), broken)
    file = broken / "metrics.duckdb"
    file.write_bytes(file.read_bytes()[:5000])
    page = visit(own_store, "network", run="digits-cnn-broken")
    assert not page.exception
    assert str(file) in text(page)
    assert "selviz capture digits-cnn-broken" in text(page)
    assert "144 units of 144" in text(visit(own_store, "network", run=tiny_run))
    assert "All runs" in text(visit(own_store, "alpha"))
