"""Back and forward in a real browser: one entry a view, no parameters of another page; keys; the menu on a phone."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.helpers.browser import TITLES, address_holds

pytestmark = pytest.mark.browser
WALK = ("Network", "Compare", "Data", "Silence", "Unit")
ADDRESSES = {"Network": "network", "Compare": "compare", "Data": "data", "Silence": "silence", "Unit": "unit"}
OF_PAGES = {"/data": {"query"}, "/compare": {"runs", "baseline"}}  # parameters that a page fills in beside the run


def entries(visitor) -> int:
    return visitor.tab.evaluate("history.length")


def test_a_page_is_one_entry_of_the_history_and_brings_no_parameters_of_another(visit, address):
    visitor = visit()
    visitor.tab.goto("about:blank")
    visitor.open(f"{address}/unit")
    address_holds(visitor, "run=")
    assert entries(visitor) == 2
    for number, name in enumerate(WALK, 3):
        visitor.tab.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
        visitor.sees(TITLES[ADDRESSES[name]]).settle()
        address_holds(visitor, f"/{ADDRESSES[name]}")
        assert entries(visitor) == number
    for name in (*reversed(WALK[:-1]), "Unit"):
        visitor.tab.go_back()
        visitor.sees(TITLES[ADDRESSES[name]]).settle()
        where = urlsplit(visitor.tab.url)
        assert where.path == f"/{ADDRESSES[name]}"
        assert set(parse_qs(where.query)) - {"run"} <= OF_PAGES.get(where.path, set())
    visitor.is_well()


def test_an_old_address_is_no_trap_on_the_way_back(visit, address):
    visitor = visit().open(f"{address}/lesson").open(f"{address}/units?layer=relu3")
    address_holds(visitor, "/network?", "layer=relu3")
    for _ in range(3):
        visitor.tab.go_back()
        visitor.settle()
        if "/lesson" in visitor.tab.url:
            break
    visitor.sees(TITLES["lesson"]).is_well()


@pytest.mark.xfail(reason="the browser does not send every press while the page is drawn again", strict=False)
def test_eight_quick_presses_of_an_arrow_key_move_eight_units(visit, address):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=3")
    for _ in range(8):
        visitor.tab.keyboard.press("ArrowRight")
        visitor.tab.wait_for_timeout(60)
    address_holds(visitor, "unit=11")
    visitor.settle().is_well()


def test_on_a_phone_the_menu_closes_when_a_page_is_chosen(visit, address):
    visitor = visit(width=390).open(f"{address}/")
    visitor.tab.get_by_test_id("stExpandSidebarButton").click()
    visitor.tab.get_by_role("link", name="Alpha", exact=True).click()
    visitor.sees(TITLES["alpha"]).settle()
    visitor.tab.wait_for_function(
        "document.querySelector('[data-testid=stSidebar]').getBoundingClientRect().right <= 0"
    )
    visitor.is_well()
