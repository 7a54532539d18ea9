"""A published site in a real browser, opened from a disk: it answers, it escapes names, it asks for nothing else."""

import shutil

import pytest

from selviz.publishing.site import publish
from selviz.store import Store, image_folder, read_json, write_images, write_json
from selviz.studies.ablation import run_ablation, run_atlas
from selviz.text.numbers import percent, points

pytestmark = pytest.mark.browser
HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "a & b", "\"quoted'", "{{title}}"]


@pytest.fixture(scope="module")
def site(tiny_store, tiny_run, tmp_path_factory):
    """The tiny run under hostile class names, and its site."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(tiny_store.path, folder / "store")
    store = Store(folder / "store")
    run = store.run(tiny_run)
    pictures = store.thumbnails(tiny_run, range(run["images"]))
    labels = store.images(tiny_run)["label_index"]
    shutil.rmtree(image_folder(store.path, run["fingerprint"]))
    names = [*HOSTILE, *"56789"]
    write_images(store.path, run["fingerprint"], list(pictures.values()), labels, names)
    summary = store.run_path(tiny_run) / "summary.json"
    write_json(summary, {**read_json(summary), "classes": names})
    run_atlas(store, tiny_run)
    publish(store, tiny_run, folder / "site")
    return store, folder / "site"


@pytest.fixture
def tab(browser, site):
    """The site's first page without a network, and everything it complained of or asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((site[1] / "index.html").as_uri())
    yield page
    assert page.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in page.asked)
    context.close()


def click(page, unit):
    x, y = page.evaluate(
        """unit => { const frame = board.top.getBoundingClientRect(), {x, y, tile} = board.box(board.indices(unit)[0]);
          return [frame.x + x + tile / 2, frame.y + y + tile / 2]; }""",
        unit,
    )
    page.mouse.click(x, y)


@pytest.mark.parametrize(("layer", "unit"), [("relu1", 3), ("relu2", 30), ("relu4", 17)])
def test_silencing_a_unit_shows_the_numbers_of_selviz_ablate(tab, site, tiny_run, layer, unit):
    result = run_ablation(site[0], tiny_run, {layer: [unit]}, draws=0)
    click(tab, f"{layer}:{unit}")
    assert tab.locator(".board-accuracy b").inner_text() == percent(result["accuracy_after"])
    assert tab.locator(".board-value").all_inner_texts() == [percent(row["after"]) for row in result["per_class"]]
    told = tab.locator("#told").inner_text()
    assert f"{percent(result['accuracy_before'])} → {percent(result['accuracy_after'])}" in told
    assert f"({points(result['change'])})" in told
    click(tab, f"{layer}:{unit}")
    assert tab.locator("#told").inner_text() == "All units are back."
    assert tab.locator(".board-accuracy b").inner_text() == percent(result["accuracy_before"])


def test_names_are_text_everywhere_and_a_unit_opens_by_its_key(tab):
    assert tab.locator(".board-class").all_inner_texts()[:5] == HOSTILE
    tab.locator(".board-top").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/units/relu1-1.html")
    assert tab.locator("h1").inner_text() == "Unit 1 of relu1"
    assert tab.locator(".bar > span:first-child").all_inner_texts()[:5] == HOSTILE
    assert tab.locator("img[src=x]").count() == 0
    for picture in tab.locator("img").all():
        picture.scroll_into_view_if_needed()
        tab.wait_for_function("picture => picture.naturalWidth > 0", arg=picture.element_handle())
