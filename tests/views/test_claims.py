"""The page of hypotheses: a claim is shown with its power, registered and tested; the ledger, hostile links."""

import re
from urllib.parse import parse_qsl

import pytest

from selviz.hypotheses import registry
from tests.helpers.pages import address_of, text


def press(page, label):
    return next(button for button in page.button if label in button.label).click().run()


def test_a_claim_is_shown_with_its_power_registered_tested_and_found_in_the_ledger(visit, own_store, tiny_run):
    page = visit(own_store, "claims")
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
    page = visit(own_store, "claims", hypothesis=key)
    assert not page.exception
    shown = [*page.success, *page.error, *page.info][0].value
    assert shown.startswith(f"**{result['verdict'].capitalize()}**")
    assert f"{100 * result['parts'][0]['effect']:+.1f} points".replace("-", "−") in shown
    assert len(page.get("plotly_chart")) == 3 and len(page.get("download_button")) == 2

    page = visit(own_store, "claims")
    table = page.dataframe[0].value
    assert table["verdict"].tolist() == [result["verdict"]] and table["p"].tolist() == [result["p"]]
    assert "1 registered claim" in text(page)


def test_a_link_to_a_hypothesis_that_is_not_there_shows_the_ledger(visit, tiny_store):
    for key in ("ffffffffff", "<b>x</b>", "../../etc"):
        page = visit(tiny_store, "claims", hypothesis=key, do="one")
        assert not page.exception and not page.error
        assert "is not here" in page.warning[0].value and "No hypothesis is registered" in text(page)


def link_of(page, label):
    """Where a link leads: the query of its address."""
    (link,) = [link.proto for link in page.get("page_link") if label in link.proto.label]
    return dict(parse_qsl(link.query_string))


@pytest.mark.parametrize(
    ("view", "address", "template", "units"),
    [
        ("unit", {"layer": "relu4", "unit": "3"}, "necessary", {"unit": 3}),
        ("ablation", {"silence": "relu4:3,5-7"}, "necessary_units", {"units": [3, 5, 6, 7]}),
    ],
)
def test_make_this_a_claim_leads_to_a_registered_claim_about_what_was_on_screen(
    visit, own_store, tiny_run, view, address, template, units
):
    query = link_of(visit(own_store, view, run=tiny_run, **address), "Make this a claim")
    assert query["template"] == template and query["run"] == tiny_run
    page = visit(own_store, "claims", **query)
    page = press(page, "Show what would be registered")
    assert not page.exception and not page.error, [error.value for error in page.error]
    page = press(page, "Register it")
    key = address_of(page)["hypothesis"]
    registered, result = registry.find(own_store, key)
    assert result is None and registered["template"] == template and registered["confirmatory"]
    settings = registered["settings"]
    assert {name: settings[name] for name in units} == units and settings["layer"] == "relu4"
    if view == "unit":  # the class that the unit prefers, as the page says
        assert settings["class"] == own_store.unit(tiny_run, "relu4", 3)["preferred_class"]
    assert settings["class"] in registered["statement"]


def test_an_image_made_for_a_unit_leads_to_a_claim_about_other_images_made_for_it(visit, tiny_store, tiny_run):
    query = link_of(
        visit(tiny_store, "unit", run=tiny_run, layer="relu4", unit="3", evidence="made"), "Make it a claim"
    )
    assert (query["template"], query["fill"]) == ("made_image", "unit=relu4:3")
    found = registry.preview(tiny_store, query["template"], {"run": query["run"], "unit": "relu4:3"})
    assert found["confirmatory"] and found["why"] == "its outcome was not in the store when it was registered"
    assert found["settings"]["others"] == [] and found["power"]["effect"] == 0.2


def test_units_of_a_class_in_several_layers_are_a_claim_of_each_layer_about_that_class(visit, tiny_store, tiny_run):
    address = {"rule": "class", "prefers": "8", "layers": "relu3,relu4"}
    page = visit(tiny_store, "silence", run=tiny_run, **address)
    links = [link.proto for link in page.get("page_link") if "Make this a claim" in link.proto.label]
    assert ["relu3" in links[0].label, "relu4" in links[1].label] == [True, True] and len(links) == 2
    assert all("necessary for class 8, which they prefer" in link.label for link in links)
    for layer, link in zip(("relu3", "relu4"), links):
        page = press(visit(tiny_store, "claims", **dict(parse_qsl(link.query_string))), "Show what would be registered")
        assert not page.error and re.search(
            rf"units? of {layer} in .* necessary for class 8", text(page).replace("\\", "")
        )


@pytest.mark.parametrize("template", ["necessary", "necessary_units", "sufficient", "replicates", "single", "map"])
def test_what_the_form_begins_with_agrees_with_itself(visit, own_store, tiny_run, template):
    page = visit(own_store, "claims", do="register", template=template)
    boxes = {box.label: box.value for box in [*page.selectbox, *page.text_input]}
    units = own_store.units(tiny_run, "relu4")
    best = units.nlargest(1, "si").iloc[0]
    assert boxes["Class"] == best["preferred_class"]
    if "Unit" in boxes:
        assert boxes["Unit"] == f"relu4:{int(best['unit'])}"
    else:
        assert boxes["Layer"] == "relu4"


def test_a_class_with_a_sign_of_the_address_in_its_name_fills_the_form_whole(monkeypatch):
    from app.page import claims

    drawn = {}
    monkeypatch.setattr(claims.st, "page_link", lambda page, **options: drawn.update(options["query_params"]))
    monkeypatch.setattr(claims, "page_at", lambda name: name)
    claims.fill_link("x", "necessary", "run", unit="relu:3", **{"class": "a;b=c &é"})
    monkeypatch.setattr(claims.address, "get", lambda name: drawn[name])
    assert claims._filled() == {"unit": "relu:3", "class": "a;b=c &é"}
