"""What a chart gives away stands in sight, a long one shows that there is more, and an old answer makes way at once."""

import pytest

pytestmark = pytest.mark.browser


def test_table_and_figure_begins_with_svg_png_and_html(visit, address):
    visitor = visit().open(f"{address}/alpha")
    visitor.tab.get_by_role("button", name="Table and figure").first.click()
    box = visitor.tab.get_by_test_id("stPopoverBody")
    box.get_by_text("CSV", exact=True).wait_for()
    visitor.settle()
    words = box.inner_text()
    for name in ("SVG", "PNG", "HTML", "CSV", "Parquet"):
        assert box.get_by_text(name, exact=True).count() or name in words, name
    visitor.is_well()


def test_a_chart_of_many_layers_scrolls_with_its_page_and_in_no_box_of_its_own(visit, address):
    visitor = visit().open(f"{address}/network?seen=histogram")
    visitor.tab.locator(".js-plotly-plot").first.wait_for()
    visitor.settle()
    inner = """[...document.querySelectorAll('[data-testid=stMain] *')]
      .filter(one => one.querySelector('.js-plotly-plot')
      && /auto|scroll/.test(getComputedStyle(one).overflowY) && one.scrollHeight > one.clientHeight + 2).length"""
    assert visitor.tab.evaluate(inner) == 0
    visitor.is_well()


def test_an_answer_takes_the_place_of_the_error_before_it(visit, address):
    visitor = visit().open(f"{address}/data?query=select%20nothing%20from%20units")
    visitor.sees("This question has no answer").settle()
    visitor.tab.get_by_role("button", name="Mean SI by layer").click()
    visitor.sees(" rows").settle()
    assert visitor.tab.get_by_text("This question has no answer").count() == 0
    visitor.is_well()
