"""On a phone: images three in a row by rank, the lesson's steps are counted; test_every_page.py walks all pages."""

import pytest

pytestmark = pytest.mark.browser
TALLEST = 8_000  # pixels of the page of a unit; it was 14,032 with its images one a row


def test_images_of_a_unit_stand_three_in_a_row_in_rank_order(visit, address):
    visitor = visit(width=390).open(f"{address}/unit?layer=relu3&unit=5")
    tiles = visitor.tab.locator("[class*=st-key-tile-most-]")
    tiles.nth(11).wait_for()
    visitor.settle()
    places = []
    for rank in range(12):
        box = visitor.tab.locator(f".st-key-tile-most-{rank}").bounding_box()
        places.append((round(box["y"] / 10), box["x"]))
    assert places == sorted(places), "rank order is reading order"
    rows = [row for row, _ in places]
    assert [rows.count(row) for row in dict.fromkeys(rows)] == [3, 3, 3, 3]
    assert visitor.tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") < TALLEST


def test_the_lesson_says_which_step_of_how_many_and_its_question_is_near(visit, address):
    visitor = visit(width=390).open(f"{address}/lesson?step=2")
    visitor.sees("2 of 8")
    assert visitor.tab.get_by_role("button", name="Commit").bounding_box()["y"] < 900
