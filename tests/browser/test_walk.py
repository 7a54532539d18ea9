"""Walks in a real browser: the lesson; from the start to a silenced unit; the same without a mouse."""

import re

import pytest

from app.views.lesson import steps
from selviz.studies.ablation import run_ablation
from tests.helpers.browser import TITLES, address_holds

pytestmark = pytest.mark.browser

# What has the focus, and whether a link or button shows it by an outline or a ring (a field has a frame and a caret).
FOCUS = """(() => {
  let one = document.activeElement;
  while (one.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
  const kind = one.tagName.toLowerCase(), looks = getComputedStyle(one);
  const name = one.getAttribute('aria-label') || one.innerText || one.title || '';
  return [`${kind}: ${name}`, looks.boxShadow != 'none' || looks.outlineStyle != 'none' || !/^(a|button)$/.test(kind)];
})()"""


@pytest.mark.slow  # test_lesson.py walks it by keyboard
def test_the_lesson_is_walked_from_its_first_step_to_its_last_with_a_guess_in_each(visit, address):
    visitor = visit().open(f"{address}/lesson")
    main = visitor.tab.get_by_test_id("stMain")
    for number, step in enumerate(steps.STEPS, 1):
        visitor.sees(step.title)
        if step.ask is not None:
            radio = main.get_by_test_id("stRadio").get_by_role("radiogroup")
            box = main.get_by_role("spinbutton")
            main.get_by_role("button", name="Commit").wait_for()
            if radio.count():
                radio.locator("label").first.click()
            else:
                box.first.fill("3")
                box.first.press("Tab")
            main.get_by_role("button", name="Commit").click()
            visitor.tab.wait_for_function(f"decodeURIComponent(location.href).includes('{number}:')")
        if number < len(steps.STEPS):
            visitor.settle().tab.get_by_role("button", name="Next").click()
            address_holds(visitor, f"step={number + 1}")
    visitor.sees("Limits of what you saw.").settle().is_well()


def test_from_the_start_to_a_silenced_unit_whose_link_shows_another_reader_the_same(
    visit,
    address,
    tiny_store,
    tiny_run,
):
    visitor = visit().open(f"{address}/")
    visitor.tab.get_by_role("link", name="Network", exact=True).click()
    visitor.sees(TITLES["network"]).settle()
    visitor.tab.get_by_role("button", name="live", exact=True).or_(
        visitor.tab.get_by_role("radio", name="live", exact=True)
    ).first.click()
    address_holds(visitor, "dead=live")
    visitor.settle().tab.locator(".card").first.click()
    address_holds(visitor, "/unit?")
    visitor.sees("Without it:").settle()
    visitor.tab.get_by_role("link", name="Silence it, and random units to compare").click()
    address_holds(visitor, "/silence?", "silence=")
    visitor.sees("Accuracy after").settle()
    live = tiny_store.units(tiny_run).query("not dead").sort_values("si", ascending=False, kind="stable").iloc[0]
    expected = run_ablation(tiny_store, tiny_run, {live["layer"]: [int(live["unit"])]}, draws=0)
    number = f"{100 * expected['accuracy_after']:.1f} %"
    visitor.tab.get_by_role("button", name="Share").click()
    link = visitor.tab.locator("[data-testid=stCode]").filter(has_text="http://").first
    link.wait_for()
    reader = visit().open(link.inner_text().strip())
    for one in (visitor, reader):
        shown = one.settle().tab.get_by_test_id("stMetric").filter(has_text="Accuracy after").inner_text()
        assert number in shown
    assert f"{live['layer']}:{live['unit']}" in reader.is_well().text()
    visitor.is_well()


def test_units_are_found_opened_silenced_and_their_link_copied_without_a_mouse(visit, address, tiny_store, tiny_run):
    visitor = visit()
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    keyboard = visitor.open(f"{address}/").tab.keyboard

    def tab_to(wanted):
        """Tab as often as it takes; wherever the focus comes by, a person must see it."""
        for _ in range(60):
            keyboard.press("Tab")
            name, seen = visitor.tab.evaluate(FOCUS)
            assert seen, f"the focus on {name!r} cannot be seen"
            if wanted in name:
                return
        raise AssertionError(f"no Tab leads to {wanted!r}")

    tab_to("Network")
    keyboard.press("Enter")
    visitor.sees(TITLES["network"]).settle()
    tab_to("input: Find")
    keyboard.type("relu3")
    keyboard.press("Enter")
    visitor.sees("32 units of 144").settle()
    tab_to("a: relu3:")  # the first card
    keyboard.press("Tab")
    keyboard.press("Enter")
    address_holds(visitor, "/unit?", "layer=relu3", "unit=")
    opened = int(re.search(r"[?&]unit=(\d+)", visitor.tab.url)[1])
    order = tiny_store.units(tiny_run, "relu3").sort_values("si", ascending=False, kind="stable")["unit"]
    assert opened == order.iloc[1], "the focus begins at the first row"
    visitor.sees(f"Unit {opened} of layer").settle()
    keyboard.press("ArrowRight")
    visitor.sees(f"Unit {opened + 1 if opened < 31 else 0} of layer").settle()
    tab_to("Silence it, and random units to compare")
    keyboard.press("Enter")
    address_holds(visitor, "/silence?", "silence=")
    visitor.sees("Accuracy after").settle()
    tab_to("Share")
    keyboard.press("Enter")
    visitor.tab.wait_for_function("document.activeElement.closest('[data-testid=stPopoverBody]')")
    keyboard.press("Enter")
    link = visitor.tab.locator("[data-testid=stPopoverBody] code").first.inner_text().strip()
    visitor.tab.wait_for_function(f"navigator.clipboard.readText().then(text => text == {link!r})")
    assert "/silence?" in link and "silence=relu3:" in link
    visitor.is_well()
