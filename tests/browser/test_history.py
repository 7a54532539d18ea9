"""Back and forward in a real browser: one entry a view, no parameters of another page; keys; the menu on a phone."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.helpers.browser import TITLES, address_holds

pytestmark = pytest.mark.browser
WALK = ("Network", "Compare", "Data", "Unit")
ADDRESSES = {"Network": "network", "Compare": "compare", "Data": "data", "Unit": "unit"}
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


def test_two_steps_back_on_a_slow_server_lead_to_the_view_before_the_one_before(visit, address):
    visitor, held, holding, browsers_end = visit(), [], [], []

    def pass_on(end):
        browsers_end.append(end)
        end.connect_to_server().on_message(lambda message: (held.append if holding else end.send)(message))

    visitor.context.route_web_socket(re.compile("_stcore/stream"), pass_on)
    visitor.open(f"{address}/train")
    for page in ("alpha", "data", "claims"):
        visitor.tab.get_by_test_id("stSidebar").locator(f"[data-testid=stSidebarNavLink][href$='/{page}']").click()
        visitor.sees(TITLES[page]).settle()
    holding.append(True)
    for page in ("data", "alpha"):
        visitor.tab.go_back()
        address_holds(visitor, f"/{page}")
    holding.clear()
    for message in held:
        browsers_end[0].send(message)
    visitor.sees(TITLES["alpha"]).settle()
    visitor.tab.go_back()
    visitor.sees(TITLES["train"]).settle().is_well()
    assert urlsplit(visitor.tab.url).path == "/train"


def test_an_old_address_is_no_trap_on_the_way_back(visit, address):
    visitor = visit().open(f"{address}/lesson").open(f"{address}/units?layer=relu3")
    address_holds(visitor, "/network?", "layer=relu3")
    for _ in range(3):
        visitor.tab.go_back()
        visitor.settle()
        if "/lesson" in visitor.tab.url:
            break
    visitor.sees(TITLES["lesson"]).is_well()


def press_quickly(visitor, key, times):
    for _ in range(times):
        visitor.tab.keyboard.press(key)
        visitor.tab.wait_for_timeout(60)


def test_eight_quick_presses_of_an_arrow_key_move_eight_units(visit, address):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=3")
    press_quickly(visitor, "ArrowRight", 8)
    address_holds(visitor, "unit=11")
    visitor.sees("Unit 11 of layer").settle()
    press_quickly(visitor, "ArrowLeft", 8)
    address_holds(visitor, "unit=3")
    visitor.sees("Unit 3 of layer").settle().is_well()


def test_quick_presses_turn_as_many_steps_of_the_lesson_and_end_at_its_ends(visit, address):
    visitor = visit().open(f"{address}/lesson?step=2")
    press_quickly(visitor, "ArrowRight", 4)
    address_holds(visitor, "step=6")
    visitor.sees("6 of 8").settle()
    press_quickly(visitor, "ArrowRight", 5)
    address_holds(visitor, "step=8")
    visitor.sees("8 of 8").settle()
    press_quickly(visitor, "ArrowLeft", 3)
    address_holds(visitor, "step=5")
    visitor.settle().is_well()


def test_an_arrow_key_in_a_choice_or_a_field_is_its_own(visit, address):
    visitor = visit().open(f"{address}/unit?layer=relu2&unit=3")
    visitor.tab.get_by_role("spinbutton").first.focus()
    visitor.tab.keyboard.press("ArrowRight")
    visitor.tab.get_by_role("button", name="Next").focus()
    visitor.tab.keyboard.press("ArrowRight")
    address_holds(visitor, "unit=4")
    visitor.sees("Unit 4 of layer").settle().is_well()


def test_quick_presses_take_back_as_many_choices(visit, address):
    visitor = visit().open(f"{address}/silence?rule=top&k=3&layers=relu3")
    for label, rule in (("All units of a class", "class"), ("Pick on the board", "hand")):
        visitor.tab.get_by_test_id("stMain").get_by_text(label, exact=True).first.click()
        address_holds(visitor, f"rule={rule}")
        visitor.settle()
    press_quickly(visitor, "z", 2)
    address_holds(visitor, "rule=top")
    visitor.settle()
    press_quickly(visitor, "y", 2)
    address_holds(visitor, "rule=hand")
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
