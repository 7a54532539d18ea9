"""The start page: its numbers are the library's, its links hold what is silent, nothing missing breaks it."""

import pytest

from selviz.studies.ablation import run_ablation
from selviz.text import unit_lists
from tests.helpers.pages import address_of, answered, board, text


def lovers(store, run, class_name):
    """The live units of the last layer that prefer a class."""
    units = store.units(run)
    inside = units[(units["layer"] == units["layer"].iloc[-1]) & ~units["dead"]]
    return inside["layer"].iloc[0], inside.loc[inside["preferred_class"] == class_name, "unit"].astype(int).tolist()


def test_it_opens_with_the_whole_network_and_its_stored_accuracy(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "start")
    assert not page.exception and not page.error
    sent, images = board(page), tiny_store.images(tiny_run)
    assert sent["silent"] == "" and "after" not in sent
    assert sent["accuracy_before"] == (images["label"] == images["prediction"]).mean()
    of_three = images[images["label"] == "3"]
    assert sent["before"][3] == pytest.approx((of_three["label"] == of_three["prediction"]).mean(), abs=1e-12)


def test_one_click_silences_the_units_of_a_class_with_the_numbers_of_selviz_ablate(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "start", **{"class": "7"})
    page = page.button(key="start-class").click().run()
    layer, units = lovers(tiny_store, tiny_run, "7")
    result = run_ablation(tiny_store, tiny_run, {layer: units}, draws=0)
    sent = board(page)
    assert sent["silent"] == unit_lists.format_units({layer: units})
    assert sent["accuracy_after"] == result["accuracy_after"]
    assert sent["after"] == [row["after"] for row in result["per_class"]]
    assert f"**{100 * result['accuracy_after']:.1f} %**" in text(page)
    assert address_of(page)["do"] == "class"
    ahead = answered(page)  # of the page, to the board alone
    assert ahead["accuracy_after"] == result["accuracy_after"] and ahead["after"] == sent["after"]
    assert ahead["silent"] == sent["silent"] and ahead["before"] == sent["before"] and ahead["estimate"] == ""
    assert answered(page.run()) is None, "the next drawing has nothing to answer"


def test_as_many_at_random_are_drawn_anew_at_each_click_and_kept_by_the_link(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "start", **{"class": "7"})
    page = page.button(key="start-random").click().run()
    first = board(page)["silent"]
    _, units = lovers(tiny_store, tiny_run, "7")
    assert first.startswith("relu4:") and len(unit_lists.parse_units(first)["relu4"]) == len(units)
    page = page.button(key="start-random").click().run()
    second = board(page)["silent"]
    assert second != first
    linked = visit(tiny_store, "start", **{name: v for name, v in address_of(page).items() if name != "run"})
    assert board(linked)["silent"] == second


def test_put_them_back_puts_all_back(visit, tiny_store):
    page = visit(tiny_store, "start", do="hand", silence="relu2:3")
    assert board(page)["silent"] == "relu2:3"
    page = page.button(key="start-back").click().run()
    assert board(page)["silent"] == "" and "silence" not in address_of(page)


def test_ten_images_show_what_they_are_taken_for_now(visit, tiny_store, tiny_run):
    layer, units = lovers(tiny_store, tiny_run, "7")
    page = visit(tiny_store, "start", do="class", **{"class": "7"})
    flips = {flip["image"]: flip for flip in run_ablation(tiny_store, tiny_run, {layer: units}, draws=0)["flips"]}
    images = tiny_store.images(tiny_run)
    right = images[images["label"] == images["prediction"]].drop_duplicates("label")
    tiles = "".join(element.proto.body for element in page.get("html"))
    for row in right.to_dict("records"):
        now = flips[row["image"]]["after"] if row["image"] in flips else row["label"]
        assert f"image {row['image']}, class {row['label']}, taken for {now}" in tiles


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"do": "hand", "silence": "relu2:3;relu9:1"}, "`relu9:1`, which is not here"),
        ({"class": "<b>"}, "which is not here"),
        ({"do": "melt"}, ""),
        ({"do": "random", "seed": "-4"}, "`-4`, which is not here"),
    ],
)
def test_a_wrong_link_is_told_and_the_page_is_there(visit, tiny_store, asked, told):
    page = visit(tiny_store, "start", **asked)
    assert not page.exception
    assert told in "\n".join(warning.value for warning in page.warning)
    assert board(page)["before"]


def test_without_weights_the_board_is_looked_at_and_says_why_nothing_can_be_silenced(visit, own_store, tiny_run):
    (own_store.run_path(tiny_run) / "weights.safetensors").unlink()
    page = visit(own_store, "start", do="class")
    assert not page.exception and not page.error
    assert board(page)["silencing"] is False
    assert "weights of this network are not here" in text(page)
    assert page.button(key="start-class").disabled


def test_an_old_link_of_the_overview_still_opens_it(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "start", run=tiny_run, units="all")
    assert "What does turning selectivity up or down do?" in text(page)
