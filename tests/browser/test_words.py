"""Words that carry a meaning stand there whole, at every width: names of classes, the first column of a report."""

import numpy as np
import pytest

from app.look import theme
from app.page.ablation_result import in_rows, tile
from app.page.claims import facts_table
from selviz.hypotheses.report import html_page

pytestmark = pytest.mark.browser
# Words of elements that stand on more than one line, and text that its box cuts off.
BROKEN = """selector => [...document.querySelectorAll(selector)].flatMap(element => {
  const cut = element.scrollWidth > element.clientWidth + 1 ? [`${element.innerText} is cut`] : [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), broken = [];
  while (walker.nextNode()) for (const {0: word, index} of walker.currentNode.data.matchAll(/\\S+/g)) {
    const range = document.createRange();
    range.setStart(walker.currentNode, index);
    range.setEnd(walker.currentNode, index + word.length);
    if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(`${word} is broken`);
  }
  return [...cut, ...broken];
})"""
ROWS = [("measured", "the share of the images " * 9), ("would refute it", "an interval"), ("confirmatory", "x" * 90)]
LONG = ["automobile", "airplane", "Staffordshire bullterrier"]


def broken(visit, page, selector, width):
    visitor = visit(width=width)
    visitor.tab.set_content(page)
    assert visitor.tab.locator(selector).count() > 1
    return visitor.tab.evaluate(BROKEN, selector)


@pytest.mark.parametrize("width", [390, 1280])
def test_under_an_image_that_changed_sides_the_classes_are_not_cut(visit, width):
    pixels = np.zeros((32, 32, 3), np.uint8)
    tiles = [tile(pixels, number, LONG[0], LONG[0], name) for number, name in enumerate(LONG[1:])]
    page = f"{theme.STYLE}<div style='width: 62%'>{in_rows(tiles, LONG)}</div>"
    assert broken(visit, page, "figcaption", width) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_first_column_of_a_claim_and_of_its_report_breaks_between_words_alone(visit, width):
    assert broken(visit, theme.STYLE + facts_table(ROWS), "th", width) == []
    page = html_page("a claim", [("table", (), ROWS)])
    assert broken(visit, page, "td:first-child", width) == []
