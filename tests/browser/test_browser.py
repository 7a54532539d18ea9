"""The dashboard in a real browser: clicks, keys, back and forward, hostile names, demo."""

import os
import shutil
import time

import pytest
from PIL import Image

from selviz.runs import demo
from selviz.store import image_folder, read_json, write_images, write_json
from selviz.studies.ablation import run_ablation
from selviz.testing.dashboard import serving
from tests.helpers.browser import TITLES, address_holds

pytestmark = pytest.mark.browser


def test_a_click_on_a_row_opens_the_unit_and_back_and_forward_work(visit, address, tiny_store, tiny_run):
    visitor = visit().open(f"{address}/network?layer=relu3&seen=table")
    table = visitor.tab.get_by_test_id("stDataFrame").first
    table.locator(".dvn-scroller").first.click(position={"x": 200, "y": 52}, force=True)  # a cell of the first row
    units = tiny_store.units(tiny_run, "relu3").sort_values("si", ascending=False, kind="stable")
    address_holds(visitor, "/unit?", "layer=relu3", f"unit={units['unit'].iloc[0]}")
    visitor.sees(TITLES["unit"]).settle().tab.go_back()
    address_holds(visitor, "/network?", "layer=relu3")
    visitor.sees(TITLES["network"]).settle().tab.go_forward()
    address_holds(visitor, "/unit?", f"unit={units['unit'].iloc[0]}")
    visitor.sees(TITLES["unit"]).settle().is_well()


def test_a_click_on_a_dot_of_the_histogram_opens_its_unit(visit, address):
    visitor = visit().open(f"{address}/network?seen=histogram")
    visitor.tab.locator(".js-plotly-plot .point").first.click(force=True)
    address_holds(visitor, "/unit?", "layer=relu1", "unit=")
    visitor.sees(TITLES["unit"]).settle().is_well()


@pytest.mark.slow  # test_history.py presses eight
def test_the_arrow_keys_step_through_units_and_back_returns(visit, address):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=3")
    visitor.tab.keyboard.press("ArrowRight")
    address_holds(visitor, "unit=4")
    visitor.sees("Unit 4 of layer").settle().tab.keyboard.press("ArrowLeft")
    address_holds(visitor, "unit=3")
    visitor.sees("Unit 3 of layer").settle().tab.go_back()
    address_holds(visitor, "unit=4")
    visitor.sees("Unit 4 of layer").settle().is_well()


@pytest.mark.slow  # the same
def test_arrow_keys_that_are_pressed_before_the_page_is_drawn_again_count(visit, address):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=5")
    for unit in (6, 7, 8, 9):
        visitor.tab.keyboard.press("ArrowRight")
        address_holds(visitor, f"unit={unit}")
    visitor.sees("Unit 9 of layer").settle().is_well()


def test_a_click_on_a_point_of_the_overview_chooses_its_run(visit, own_store, tiny_run):
    copy = own_store.run_path("digits-cnn-copy")
    shutil.copytree(own_store.run_path(tiny_run), copy)
    summary = read_json(copy / "summary.json")
    write_json(copy / "summary.json", {**summary, "mean_si_live": summary["mean_si_live"] / 2})
    with serving(own_store.path) as address:
        visitor = visit().open(f"{address}/alpha?run=digits-cnn-copy")
        points = visitor.tab.locator(".js-plotly-plot").first.locator(".point").all()
        assert len(points) == 2
        max(points, key=lambda point: point.bounding_box()["x"]).click(force=True)
        address_holds(visitor, f"run={tiny_run}")
        visitor.settle().is_well()


@pytest.mark.slow  # test_board.py has two visitors who click
def test_two_visitors_silence_different_units_and_each_sees_its_own_answer(visit, address, tiny_store, tiny_run):
    silenced = {unit: run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=0) for unit in (0, 7)}
    visitors = {unit: visit() for unit in silenced}
    for unit, visitor in visitors.items():
        visitor.tab.goto(f"{address}/silence?silence=relu4:{unit}")
    for unit, visitor in visitors.items():
        expected = f"{100 * silenced[unit]['accuracy_after']:.1f} %"
        cell = visitor.settle().tab.get_by_test_id("stMetric").filter(has_text="Accuracy after")
        assert expected in cell.inner_text()
        assert f"relu4:{unit}" in visitor.is_well().text()


def test_names_from_data_and_links_are_shown_as_text(visit, own_store, tiny_run):
    hostile = ["<img src=x onerror=alert(1)>", "**bold** :red[x] $a$", "[a](javascript:alert(1))", ":smile:", "`a``b`"]
    run = own_store.run(tiny_run)
    folder = image_folder(own_store.path, run["fingerprint"])
    pictures = own_store.thumbnails(tiny_run, range(run["images"]))
    labels = own_store.images(tiny_run)["label_index"]
    shutil.rmtree(folder)
    names = [*hostile, *"56789"]
    write_images(own_store.path, run["fingerprint"], list(pictures.values()), labels, names)
    with serving(own_store.path) as address:
        visitor = visit()
        visitor.tab.on("dialog", lambda dialog: visitor.complaints.append(dialog.message))
        pages = ["unit?layer=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", "network", ""]
        pages += ["network?seen=scatter", "silence?silence=relu4:0&show=confusion"]
        pages += ["lesson?step=1&guesses=1:![i](x)", "lesson?step=2&guesses=2:![i](x)"]
        for query in pages:
            visitor.open(f"{address}/{query}").is_well()
            assert visitor.tab.locator("img[src='x'], a[href^='javascript'], .katex").count() == 0
            assert "😄" not in visitor.text()
            if query == pages[0]:
                visitor.sees("<img src=x onerror=alert(1)>")


def test_a_run_that_lands_while_the_dashboard_is_open_is_there_on_the_next_page(visit, own_store, tiny_run):
    with serving(own_store.path) as address:
        visitor = visit().open(f"{address}/")
        shutil.copytree(own_store.run_path(tiny_run), own_store.path / "landing")
        os.rename(own_store.path / "landing", own_store.run_path("digits-cnn-landed"))
        visitor.tab.get_by_role("link", name="Network").click()
        address_holds(visitor, "/network")
        visitor.sees(TITLES["network"]).settle().tab.get_by_role("link", name="Alpha").click()
        visitor.sees(TITLES["alpha"]).settle().tab.get_by_label("Run", exact=False).first.click()
        visitor.tab.get_by_role("option").nth(1).wait_for()
        assert visitor.tab.get_by_role("option").count() == 2
        visitor.is_well()


# Of each network that was drawn in training: its epochs, and how many of them had SI of their own.
BOARDS_IN_TRAINING = """() => {
  const runs = new Map();
  for (const [id, {si}] of window.selvizBoards?.models ?? []) {
    const [run, epoch] = id.split(" epoch ");
    if (epoch === undefined || epoch < 0) continue;
    const one = runs.get(run) ?? runs.set(run, {epochs: [], si: new Set()}).get(run);
    one.epochs.push(Number(epoch));
    one.si.add(si);
  }
  return [...runs.values()].map(({epochs, si}) => ({epochs, different: si.size}));
}"""


def test_an_empty_store_trains_the_demo_opens_with_its_first_run_and_stops_on_request(visit, tmp_path):
    with serving(tmp_path, SELVIZ_NO_DEMO="0") as address:
        visitor, other = visit().open(f"{address}/"), visit().open(f"{address}/network")
        assert "The demo is training its first network" in visitor.text()
        assert "chosen illustration" in visitor.text()
        assert (tmp_path / "demo.lock").exists()
        for page in (visitor, other):  # both open by themselves
            page.tab.get_by_text("mnist-5k-cnn-a0", exact=False).first.wait_for(timeout=240_000)
        assert len(list(tmp_path.glob("runs/*/summary.json"))) >= 1
        # A board filled meanwhile: a network from random weights on, epoch by epoch.
        filled = visitor.tab.evaluate(BOARDS_IN_TRAINING)
        assert filled[0]["epochs"][0] == 0 and len(filled[0]["epochs"]) > 1
        assert filled[0]["different"] == len(filled[0]["epochs"]), "SI changes from epoch to epoch"
        visitor.settle().tab.get_by_test_id("stSidebar").get_by_role("button", name="Stop").click()
        for _ in range(300):
            if demo.status(tmp_path)["state"] == "stopped":
                break
            time.sleep(0.2)
        assert demo.status(tmp_path)["state"] == "stopped"
        visitor.tab.get_by_role("button", name="Go on with the demo").wait_for()
        visitor.is_well()


def test_a_figure_is_saved_as_svg_png_and_as_a_page_that_needs_no_network_each_with_where_it_comes_from(
    visit, address, browser, tmp_path
):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=3")
    visitor.tab.get_by_role("button", name="Table").first.click()

    def saved(where, button):
        with where.expect_download() as saving:
            where.get_by_role("button", name=button, exact=True).click()
        assert saving.value.suggested_filename.startswith("selviz-tuning-relu2-3-digits-cnn")
        return saving.value.path()

    link, paper = f"{address}/unit?layer=relu2&unit=3", "arxiv.org/abs/2003.01262"
    drawing = saved(visitor.tab, "SVG").read_text()
    assert drawing.startswith("<svg") and link.replace("&", "&amp;") in drawing and paper in drawing
    assert drawing.count('class="point"') == 10
    picture = Image.open(saved(visitor.tab, "PNG"))
    picture.load()
    assert link in picture.text["Description"] and paper in picture.text["Description"]
    assert picture.width == 2000 and len(picture.convert("RGB").getcolors(10**7)) > 10
    shutil.copy(saved(visitor.tab, "HTML"), tmp_path / "figure.html")
    page = browser.new_context(offline=True).new_page()
    page.goto((tmp_path / "figure.html").as_uri())
    assert page.locator(".bars .point").count() == 10
    drawing = saved(page, "Save as SVG").read_text()
    assert drawing.startswith("<svg") and link.replace("&", "&amp;") in drawing and paper in drawing
    page.context.close()
    visitor.is_well()


def test_a_question_is_asked_from_the_keyboard_and_its_answer_saved(visit, address, tiny_store):
    visitor = visit().open(f"{address}/data")
    box = visitor.tab.get_by_role("textbox", name="SQL")
    box.fill("select layer, count(*) as n from units group by layer order by layer")
    box.press("Control+Enter")
    visitor.sees("4 rows").settle()  # each drawing gives the button a file of its own
    with visitor.tab.expect_download() as saving:
        visitor.tab.get_by_role("button", name="CSV", exact=True).click()
    assert saving.value.path().read_text() == "layer,n\nrelu1,16\nrelu2,32\nrelu3,32\nrelu4,64\n"
    visitor.tab.go_back()
    visitor.sees("20 rows").is_well()
