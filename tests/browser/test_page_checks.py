"""What the checks of every page find: each fault in a page that has it, and none in a page that does not."""

import pytest

from tests.helpers.page_checks import faults, watch_layout

pytestmark = pytest.mark.browser
PAGE = (
    """<html lang=en><title>a page</title><main data-testid=stMain style="background: #fff"><h1>A page</h1>%s</main>"""
)
WELL = (
    "<p style='color: #333'>All is well.</p><svg class=main-svg width=200 height=40><text x=9 y=20>label</text></svg>"
)
WRONG = {
    "overlap": "<p style='margin: 0'>one</p><p style='margin: -12px 0 0'>two</p>",
    "clipped": "<p style='width: 30px; overflow: hidden; white-space: nowrap'>a long label</p>",
    "clipped: label (in a chart)": "<svg class=main-svg width=200 height=40><text x=180 y=20>label</text></svg>",
    "'a point' lies over": "<svg width=99 height=40><g class=scatterlayer><path class=point d='M0,0h30v30h-30Z'/>"
    "<g class=textpoint><text x=9 y=20>near</text></g></g></svg>",
    "axe: color-contrast": "<p style='color: #999; background: #fff'>pale</p>",
    "scrolls sideways": "<div style='width: 3000px; height: 9px'></div>",
    "exception": "<p data-testid=stException>broken</p>",
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_found(visit, fault):
    visitor = visit()
    visitor.tab.set_content(PAGE % WRONG[fault])
    assert any(fault in words for words in faults(visitor)), faults(visitor)


def test_a_page_that_is_well_has_none(visit):
    visitor = visit()
    visitor.tab.set_content(PAGE % WELL)
    assert faults(visitor) == []


def test_a_layout_that_moves_is_found(visit, tmp_path):
    visitor = visit()
    watch_layout(visitor.context)
    late = "<script>setTimeout(() => document.querySelector('h1').style.marginTop = '500px', 300)</script>"
    (tmp_path / "page.html").write_text(PAGE % f"<div style='height: 600px; background: #ccc'></div>{late}")
    visitor.tab.goto((tmp_path / "page.html").as_uri())
    visitor.tab.wait_for_function("window.shifted > 0.1")
    assert any(words.startswith("layout shift") for words in faults(visitor))
