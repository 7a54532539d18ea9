"""The order of pages, and addresses of earlier versions, which lead to the page that has their view now."""

import pytest

from app import main
from app.state import navigation
from tests.helpers.pages import address_of

TITLES = {  # address of an earlier version -> title of the page
    "overview": "What does turning selectivity up or down do?",
    "units": "Which units are there, and what are they like?",
    "ablation": "What breaks when these units are silent?",
    "hypotheses": "Is my claim true?",
    "basis": "Is the selectivity gone, or hidden?",
    "dimensionality": "Is the selectivity gone, or hidden?",
}


def test_pages_stand_in_the_order_learn_explore_test_make():
    assert {group: [title for _, title, *_ in pages] for group, pages in main.PAGES.items()} == {
        "": ["Start"],
        "Learn": ["Lesson", "Alpha"],
        "Explore": ["Network", "Unit", "Silence", "Compare"],
        "Test": ["Claims", "Robustness", "Hidden structure", "Early training"],
        "Make": ["Train and import", "Data"],
    }


@pytest.mark.parametrize("old", navigation.MOVED)
def test_an_address_of_an_earlier_version_leads_to_its_page_with_all_that_it_says(visit, tiny_store, tiny_run, old):
    page = visit(tiny_store, old, run=tiny_run, layer="relu2", silence="relu2:1", kept="this, too")
    assert not page.exception and not page.error
    assert page.title[0].value == TITLES[old]
    assert address_of(page) | {"run": tiny_run, "layer": "relu2", "kept": "this, too"} == address_of(page)


def test_the_old_page_of_dimensionality_opens_the_part_that_counts_directions(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "dimensionality", run=tiny_run)
    assert address_of(page)["part"] == "dimensionality"
    assert f"selviz dimensionality {tiny_run}" in "\n".join(code.value for code in page.code)
