"""The page of hypotheses: a claim is shown with its power, registered and tested; the ledger, hostile links."""

import re

from selviz.hypotheses import registry
from tests.helpers.pages import address_of, text


def press(page, label):
    return next(button for button in page.button if label in button.label).click().run()


def test_a_claim_is_shown_with_its_power_registered_tested_and_found_in_the_ledger(visit, own_store, tiny_run):
    page = visit(own_store, "hypotheses")
    assert "No hypothesis is registered in this store yet" in text(page)
    page = press(page, "Register one")
    assert address_of(page)["do"] == "register"
    page.selectbox(key="link-template").select("sufficient").run()
    next(box for box in page.text_input if box.label == "K").set_value("99")
    page = press(page, "Show what would be registered")
    assert "k is 99, and relu4 allows at most 64" in text(page)
    next(box for box in page.text_input if box.label == "K").set_value("8")
    page = press(page, "Show what would be registered")
    assert not page.exception and not page.error
    assert re.search(r"supported in \d+ % of 200 simulated tests", text(page).replace("\\", ""))
    assert own_store.hypotheses().empty  # shown is not registered
    page = press(page, "Register it")
    key = address_of(page)["hypothesis"]
    assert own_store.hypotheses()["hypothesis"].tolist() == [key]
    assert "not tested yet" in text(page) and f"selviz hypothesis test {key}" in text(page)

    result = registry.run_test(own_store, key)
    page = visit(own_store, "hypotheses", hypothesis=key)
    assert not page.exception
    shown = [*page.success, *page.error, *page.info][0].value
    assert shown.startswith(f"**{result['verdict'].capitalize()}**")
    assert f"{100 * result['parts'][0]['effect']:+.1f} points".replace("-", "−") in shown
    assert len(page.get("plotly_chart")) == 3 and len(page.get("download_button")) == 2

    page = visit(own_store, "hypotheses")
    table = page.dataframe[0].value
    assert table["verdict"].tolist() == [result["verdict"]] and table["p"].tolist() == [result["p"]]
    assert "1 registered claim" in text(page)


def test_a_link_to_a_hypothesis_that_is_not_there_shows_the_ledger(visit, tiny_store):
    for key in ("ffffffffff", "<b>x</b>", "../../etc"):
        page = visit(tiny_store, "hypotheses", hypothesis=key, do="one")
        assert not page.exception and not page.error
        assert "is not here" in page.warning[0].value and "No hypothesis is registered" in text(page)
