"""The Network page: filters, order, the five ways to see units, and what can be done with several of them."""

import pytest

from app.views.network import panels
from selviz.selectivity.other_measures import agreement
from selviz.store import list_groups
from selviz.studies.ablation import run_atlas
from selviz.studies.unit_measures import run_metrics, run_unit_map
from selviz.text.unit_lists import format_units
from tests.helpers.pages import address_of, text

SEEN = ("cards", "table", "histogram", "scatter", "tuning", "plane", "agreement")


@pytest.fixture
def full_store(own_store, tiny_run):
    """The tiny store with every study of its run."""
    run_metrics(own_store, tiny_run)
    run_unit_map(own_store, tiny_run)
    run_atlas(own_store, tiny_run)
    return own_store


def test_every_way_to_see_units_draws_and_without_its_study_names_the_command(visit, tiny_store, tiny_run):
    for view in SEEN:
        page = visit(tiny_store, "network", seen=view, method="tsne")
        assert not page.exception
        missing = {"plane": f"selviz map {tiny_run}", "agreement": f"selviz metrics {tiny_run}"}
        assert missing.get(view, "144 units of 144") in text(page)


def test_with_its_studies_every_measure_sorts_and_filters(visit, full_store, tiny_run):
    for view in SEEN:
        page = visit(full_store, "network", seen=view, method="tsne")
        assert not page.exception and not page.error
        assert "selviz m" not in text(page)
    table = full_store.unit_metrics(tiny_run)
    page = visit(full_store, "network", seen="table", metric="auc", auc="0.90..1.00")
    wanted = table[table["auc"] >= 0.9]
    assert f"{len(wanted)} units of 144" in text(page)
    assert page.dataframe[0].value["auc"].iloc[0] == table["auc"].max()
    smallest = visit(full_store, "network", seen="table", metric="drop", first="smallest")
    assert smallest.dataframe[0].value["drop"].iloc[0] == pytest.approx(
        -100 * full_store.atlas(tiny_run)["change"].max()
    )


def test_the_agreement_is_that_of_the_library(visit, full_store, tiny_run):
    page = visit(full_store, "network", seen="agreement", plane="relu3")
    live = int((~full_store.units(tiny_run, "relu3")["dead"]).sum())
    assert f"over the {live} live unit" in text(page)
    expected = agreement(full_store.unit_metrics(tiny_run))["relu3"]
    assert expected.loc["auc", "informedness"] > 0


def test_a_long_list_comes_in_pages(visit, tiny_store, tiny_run, monkeypatch):
    monkeypatch.setattr(panels, "PAGE", 40)
    order = tiny_store.units(tiny_run).sort_values("si", ascending=False, kind="stable")
    page = visit(tiny_store, "network", seen="table", page="4")
    rows = page.dataframe[0].value
    assert rows[["layer", "unit"]].values.tolist() == order[["layer", "unit"]].values.tolist()[120:]
    beyond = visit(tiny_store, "network", seen="table", page="7")
    assert "`7`, which is not here. Shown instead: `4 (there are 1 to 4)`" in beyond.warning[0].value


def test_a_page_of_the_tuning_map_holds_few_enough_units_to_hit_one(visit, tiny_store):
    page = visit(tiny_store, "network", seen="tuning")
    assert page.number_input(key="link-at").max == 2
    assert not visit(tiny_store, "network", seen="tuning", at="2", order="unit").exception


def test_units_are_found_by_layer_address_or_class(visit, tiny_store, tiny_run):
    units = tiny_store.units(tiny_run)
    for sought, wanted in (
        ("RELU3", units["layer"] == "relu3"),
        ("relu4:17", (units["layer"] == "relu4") & (units["unit"] == 17)),
        ("7", units["preferred_class"] == "7"),
    ):
        page = visit(tiny_store, "network", seen="table", find=sought)
        told = f"{wanted.sum()} unit" + ("" if wanted.sum() == 1 else "s")
        at_least = units[wanted]
        shown = page.dataframe[0].value
        assert set(zip(at_least["layer"], at_least["unit"])) <= set(zip(shown["layer"], shown["unit"]))
        assert sought == "7" or f"{told} of 144" in text(page)
    assert "No unit fits" in text(visit(tiny_store, "network", find=".*("))


@pytest.mark.parametrize(
    "asked",
    [{"metric": "beauty"}, {"seen": "smell"}, {"x": "y", "seen": "scatter"}, {"at": "99", "seen": "tuning"}],
)
def test_a_wrong_link_is_told_and_the_units_are_there(visit, tiny_store, asked):
    page = visit(tiny_store, "network", **asked)
    assert not page.exception
    assert "which is not here" in page.warning[0].value
    assert "144 units of 144" in text(page)


def test_units_of_several_layers_are_used_together_or_those_of_one_alone(visit, tiny_store, tiny_run):
    units = tiny_store.units(tiny_run).query("preferred_class == '8'")
    page = visit(tiny_store, "network", **{"class": "8"})
    page.session_state["use"] = True
    page.run()
    layers = units["layer"].unique()
    choice = page.selectbox(key="use-layer")
    assert choice.options[0] == f"all {len(layers)} layers: {len(units)} units" and len(layers) > 1
    page = choice.set_value("relu4").run()
    numbers = sorted(units.query("layer == 'relu4'")["unit"].astype(int))
    assert page.number_input(key=f"use-{len(numbers)}").max == len(numbers)
    assert format_units({"relu4": numbers}) in text(page)


def test_the_filters_come_off_again(visit, tiny_store):
    page = visit(tiny_store, "network", metric="zero_share", zero_share="0.999..1.000", layer="relu1", dead="live")
    if "No unit fits these filters." in text(page):
        next(button for button in page.button if button.label == "Clear the filters").click().run()
    assert list_groups(tiny_store.path).empty
    assert "units of 144" in text(page)
    assert address_of(page)["run"]
