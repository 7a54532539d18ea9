"""The lesson by keyboard alone, on a desk and on a phone; opened at any step; its numbers are those of the pages."""

import re

import pytest

from app.views.lesson import steps
from tests.helpers.browser import PATIENCE, TITLES, address_holds

pytestmark = pytest.mark.browser
ASKING = [number for number, step in enumerate(steps.STEPS, 1) if step.ask is not None]
# What has the focus, and whether it is in the page's main part and can be seen.
FOCUS = """(() => {
  const one = document.activeElement, box = (one.closest('label') ?? one).getBoundingClientRect();
  const what = one.matches('input') ? `input ${one.type}` : one.tagName.toLowerCase();
  const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  return [`${what}: ${one.innerText || one.getAttribute('aria-label') || ''}`.trim(),
          !!one.closest('[data-testid=stMain]') && seen];
})()"""


def tab_to(visitor, wanted: str) -> None:
    """Press Tab until what has the focus is wanted, a regular expression."""
    for _ in range(70):
        visitor.tab.keyboard.press("Tab")
        name, seen = visitor.tab.evaluate(FOCUS)
        if seen and re.search(wanted, name, re.DOTALL):
            return
    raise AssertionError(f"no Tab leads to {wanted!r}")


def guess_by_keyboard(visitor, number: int) -> None:
    """Make and commit a guess of a step that is on screen, and see what was measured."""
    main = visitor.tab.get_by_test_id("stMain")
    main.get_by_role("button", name="Commit").wait_for()
    visitor.settle()
    assert main.get_by_test_id("stMetric").count() == 0, "nothing is told before a guess"
    tab_to(visitor, r"^input (radio|number|text)")
    name, _ = visitor.tab.evaluate(FOCUS)
    visitor.tab.keyboard.press("Space") if "radio" in name else visitor.tab.keyboard.type("3")
    tab_to(visitor, r"^button: .*Commit")
    visitor.tab.keyboard.press("Enter")
    visitor.tab.wait_for_function(f"/[=;]{number}:/.test(decodeURIComponent(location.search))")
    visitor.sees("Measured").settle()


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_the_lesson_is_walked_by_keyboard_alone_from_its_first_step_to_its_last(visit, address, width):
    visitor = visit(width=width).open(f"{address}/lesson")
    for number, step in enumerate(steps.STEPS, 1):
        visitor.sees(step.title)
        if step.ask is not None:
            guess_by_keyboard(visitor, number)
        if number < len(steps.STEPS):
            visitor.tab.keyboard.press("ArrowRight")
            address_holds(visitor, f"step={number + 1}")
    visitor.sees("Limits of what you saw.").settle().is_well()
    assert visitor.tab.get_by_test_id("stTable").get_by_text("guess first").count() == 0


@pytest.mark.slow  # without a browser in tests/views/test_lesson.py
def test_each_step_can_be_opened_directly_and_asks_before_it_shows(visit, address):
    visitor = visit(width=390)
    for number in ASKING:
        visitor.open(f"{address}/lesson?step={number}").sees(steps.STEPS[number - 1].title)
        guess_by_keyboard(visitor, number)
    visitor.is_well()


def test_the_presenters_view_ends_the_vote_and_shows_what_was_measured(visit, address):
    learner = visit(width=390).open(f"{address}/lesson?step=1")
    guess_by_keyboard(learner, 1)
    presenter = visit().open(f"{address}/lesson?step=1&present=1")
    presenter.sees(" vote")
    assert presenter.tab.get_by_test_id("stMetric").count() == 0
    presenter.tab.get_by_role("button", name="End the vote and show").click()
    presenter.sees("Measured").settle().is_well()
    assert presenter.tab.get_by_role("button", name="End the vote and show").count() == 0


def test_the_numbers_of_a_step_are_those_of_the_page_that_it_leads_to(visit, address):
    visitor = visit().open(f"{address}/lesson?step=3&answers=3:7")
    without = re.search(r"without it ([\d.]+) of 100", visitor.sees("without it").text())[1]
    visitor.tab.get_by_role("link", name="Open this on the page Silence").click()
    visitor.sees(TITLES["silence"]).sees("Accuracy after").settle()
    after = visitor.tab.get_by_test_id("stMetric").filter(has_text="Accuracy after").inner_text()
    assert f"{float(without):.1f} %" in after

    visitor.open(f"{address}/lesson?step=5&answers=5:50")
    said = visitor.sees("Of 100 images of class").tab.locator("h4", has_text="Of 100 images").inner_text()
    name, before, left = re.search(r"class (\S+) the whole network recognizes (\d+)\. .* best: (\d+)\.", said).groups()
    visitor.tab.get_by_role("link", name="Open this on the page Silence").click()
    visitor.sees(TITLES["silence"]).settle()
    row = visitor.tab.locator(".board-row", has=visitor.tab.locator(".board-class", has_text=name))
    visitor.tab.locator(".board-accuracy", has_text="was").wait_for(timeout=PATIENCE)
    value = float(row.locator(".board-value").inner_text().split()[0])
    assert round(value) == int(left) or abs(value - int(left)) <= 0.5
    assert int(before) >= 0
    visitor.is_well()
