"""Every page, over four stores, at three widths, in light and dark: nothing is wrong with it, and Back leads back.

The quick form is what CI runs; the whole of it: `pytest -m slow tests/browser/test_every_page.py`.
"""

import itertools
import re
import shutil
from urllib.parse import parse_qs, urlsplit

import pytest
import torch

from selviz.cli import main
from selviz.config import RunConfig
from selviz.networks import models
from selviz.runs.importing import import_run
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.testing.dashboard import serving
from tests.helpers.browser import TITLES, address_holds
from tests.helpers.page_checks import faults, watch_layout

pytestmark = pytest.mark.browser
WIDTHS, SCHEMES = (1280, 390, 1920), ("light", "dark")
QUICK = {("demo", 390, "dark")}
STUDIES = ("metrics", "atlas", "curves", "dimensionality", "map")
# Views of pages beside those that they open with.
VIEWS = (
    "network?seen=table", "network?seen=histogram", "network?seen=scatter", "network?seen=tuning",
    "network?seen=agreement", "unit?evidence=pixels", "unit?evidence=own", "unit?meaning=alike", "silence?rule=class",
    "silence?rule=top&k=3&show=curves", "hidden?part=dimensionality", "lesson?step=2&answers=2:10",
    "lesson?step=5&answers=5:10", "lesson?step=6&answers=6:worse", "lesson?step=7", "lesson?step=8",
    "lesson?present=1&step=2", "train?way=import", "claims?new=necessary", "data?side=tables",
)  # fmt: skip
EMPTY = "There is no run in this store yet"
BESIDE = re.compile(r"\b(on the (left|right)|to the (left|right))\b")

# What answers each page's question at a glance: of a trained network it begins on a phone's first screen.
RESULTS = {
    "": ".board-host",
    "alpha": ".js-plotly-plot",
    "network": ".board-host",
    "unit": ".board-host",
    "silence": ".board-host",
    "lesson": "img.selviz-picture",
    "robustness": ".selviz-strip img",
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores by name, each with the run that is looked at: trained networks with their studies, as the demo has them;
    the same with an imported network beside them; one network that no alpha was given; nothing.
    """
    folder = tmp_path_factory.mktemp("stores")
    demo = Store(folder / "demo")
    sweep = ["sweep", "--model", "cnn", "--dataset", "digits", "--alphas=-1,0,1", "--epochs", "1", "--workers", "1"]
    assert main([*sweep, "--data", str(demo.path)]) in (None, 0)
    baseline = next(name for name in demo.names() if "-a0-" in name)
    train_run(demo, RunConfig("digits", "cnn", epochs=1, snapshots=2))
    for study in STUDIES:
        assert main([study, baseline, "--data", str(demo.path)]) in (None, 0)
    imported = Store(folder / "imported")
    shutil.copytree(demo.path, imported.path)
    alone, empty = Store(folder / "alone"), Store(folder / "empty")
    for store in (imported, alone):
        torch.manual_seed(0)
        weights = folder / "brought.pt"
        torch.save(models.build("cnn", 10, 1).state_dict(), weights)
        import_run(store, "brought", "cnn", {"dataset": "digits"}, checkpoint=weights)
    empty.path.mkdir()
    return {"demo": (demo, baseline), "imported": (imported, "brought"), "alone": (alone, "brought"),
            "empty": (empty, "")}  # fmt: skip


@pytest.fixture(scope="module")
def dashboards(stores):
    """Return the address of a dashboard over a store, started when it is first wanted."""
    running = {}

    def of(name: str) -> str:
        if name not in running:
            server = serving(stores[name][0].path, script="serve.py")
            running[name] = server, server.__enter__()
        return running[name][1]

    yield of
    for server, _ in running.values():
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
        for case in itertools.product(("demo", "imported", "alone", "empty"), WIDTHS, SCHEMES)
    ],
)
def test_nothing_is_wrong_with_any_page(visit, stores, dashboards, name, width, scheme):
    run = stores[name][1]
    pages = {f"{page}{f'?run={run}' if run else ''}": title for page, title in TITLES.items()}
    assert wrong_with(visit(scheme, width, forgiving=False), dashboards(name), pages, empty=not run) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), list(itertools.product(WIDTHS, SCHEMES)))
def test_nothing_is_wrong_with_what_pages_show_on_request(visit, stores, dashboards, width, scheme):
    run = stores["demo"][1]
    views = {f"{view}&run={run}": TITLES[view.partition("?")[0]] for view in VIEWS}
    assert wrong_with(visit(scheme, width, forgiving=False), dashboards("demo"), views) == {}


def wrong_on_a_phone(visitor, words: str, result: str | None) -> list[str]:
    wrong = [f"nothing stands {side[0]} on a phone"] if (side := BESIDE.search(words)) else []
    if result is not None:
        first = visitor.tab.locator(result).first
        first.wait_for(state="attached")
        visitor.settle()
        if first.bounding_box()["y"] >= 800:
            wrong.append("its result begins below the first screen")
    return wrong


def wrong_with(visitor, dashboard: str, pages: dict[str, str], empty: bool = False) -> dict[str, list[str]]:
    """Return what is wrong with each page of a dashboard, given as path and query -> title."""
    watch_layout(visitor.context)
    wrong = {}
    for page, title in pages.items():
        for _ in range(2):  # a busy machine may draw a part of a page seconds late, and so move what stands below it
            visitor.open(f"{dashboard}/{page}")
            words = visitor.text()
            lacking = [] if title in words or (empty and EMPTY in words) else [f"says nothing of {title!r}"]
            if visitor.tab.viewport_size["width"] == 390:
                path, _, query = page.partition("?")
                lacking += wrong_on_a_phone(
                    visitor, words, RESULTS.get(path) if query.startswith("run=digits") else None
                )
            found = faults(visitor) + lacking
            if not found or not all(fault.startswith("layout shift") for fault in found):
                break
        if found:
            wrong[page or "start"] = found
    return wrong


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("demo", "imported", "alone")])
def test_back_returns_to_the_view_before_from_every_page(visit, stores, dashboards, name):
    visitor, run = visit(), stores[name][1]
    visitor.open(f"{dashboards(name)}/unit?run={run}")
    views = []
    for page in [page for page in TITLES if page not in ("", "unit")]:
        views.append(visitor.tab.url)
        visitor.tab.get_by_test_id("stSidebar").locator(f"[data-testid=stSidebarNavLink][href$='/{page}']").click()
        visitor.sees(TITLES[page]).settle()
        address_holds(visitor, f"/{page}")
    for view in reversed(views):
        visitor.tab.go_back()
        path = urlsplit(view).path
        address_holds(visitor, path)
        visitor.sees(TITLES[path.strip("/")]).settle()
        assert parse_qs(urlsplit(visitor.tab.url).query) == parse_qs(urlsplit(view).query)
    visitor.is_well()
