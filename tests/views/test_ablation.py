"""The Ablation page: what is chosen, what is answered, what it is compared with, what a link or a call brings back."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

import selviz
from app.compute import ablation
from app.state import address
from selviz.cli import main
from selviz.errors import SelvizError
from selviz.store import list_groups, read_group, write_group
from selviz.studies.ablation import run_ablation, run_atlas, run_curves
from selviz.text import unit_lists
from tests.helpers.pages import address_of, board, metrics, text


def silent(page) -> str:
    """The units that the page says are silent, as in an address."""
    line = next(element.value for element in page.markdown if "silent" in element.value and element.value[:2] == "**")
    return line.split("`")[1]


def click(page, label: str):
    return next(button for button in page.button if button.label == label).click().run()


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:.1f} %"


def fold_0(store, run, layer):
    """Activations [n, U] of a layer on the images of fold 0, and their labels."""
    images, values = store.images(run), store.matrix(run, layer).astype(float)
    here = (images["fold"] == 0).to_numpy()
    return values[here], images["label_index"].to_numpy()[here]


def rank_in_words(name, control, after):
    """What the page says of one kind of control set, or why there is none."""
    accuracies = control["accuracies"]
    if not accuracies:
        return f"No {name} sets: {control['reason']}"
    lower = sum(accuracy < after for accuracy in accuracies)
    equal = sum(accuracy == after for accuracy in accuracies)
    return f"{lower} of {len(accuracies)} {name} sets break more, {equal} as much: quantile {control['quantile']:.2f}"


def test_units_silenced_by_the_address_give_the_librarys_numbers(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", silence="relu2:3,5;relu4:0")
    result = run_ablation(tiny_store, tiny_run, {"relu2": [3, 5], "relu4": [0]}, draws=100)
    shown = metrics(page)
    assert shown["Accuracy before"][0] == percent(result["accuracy_before"])
    assert shown["Accuracy after"][0] == percent(result["accuracy_after"])
    assert f"({result['images']:,} images)" in shown["Accuracy after"][1]
    for kind, name in (("control", "random"), ("matched", "matched")):
        assert rank_in_words(name, result[kind], result["accuracy_after"]) in text(page)
    assert "the smallest p that 100 draws can give is 0.020" in text(page)
    assert "judged on images that it has seen" in text(page)


@pytest.mark.parametrize("rule", ["top", "bottom"])
def test_the_extremes_of_a_metric_are_chosen_on_fold_0_and_reported_on_fold_1(visit, tiny_store, tiny_run, rule):
    page = visit(tiny_store, "silence", rule=rule, layers="relu3", k="4")
    values, labels = fold_0(tiny_store, tiny_run, "relu3")
    means = np.array([values[labels == c].mean(axis=0) for c in range(10)])
    rest = (means.sum(axis=0) - means.max(axis=0)) / 9
    si = (means.max(axis=0) - rest) / (means.max(axis=0) + rest + 1e-7)
    wanted = sorted(np.argsort(-si if rule == "top" else si, kind="stable")[:4].tolist())
    result = run_ablation(tiny_store, tiny_run, {"relu3": wanted}, fold=1, draws=0)
    assert silent(page) == unit_lists.format_units({"relu3": wanted})
    assert metrics(page)["Accuracy after"][0] == percent(result["accuracy_after"])
    assert f"Exact on {result['images']} images" in text(page)
    other = visit(tiny_store, "silence", rule=rule, layers="relu3", k="4", metric="mean_activation")
    order = values.mean(axis=0).argsort(kind="stable")
    assert silent(other) == unit_lists.format_units({"relu3": order[-4:] if rule == "top" else order[:4]})


def test_the_units_of_a_class_are_those_that_prefer_it_on_fold_0(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", rule="class", layers="relu3,relu4", prefers="7")
    wanted = {}
    for layer in ("relu3", "relu4"):
        values, labels = fold_0(tiny_store, tiny_run, layer)
        means = np.array([values[labels == c].mean(axis=0) for c in range(10)])
        wanted[layer] = np.flatnonzero((means.argmax(axis=0) == 7) & (values != 0).any(axis=0))
    assert silent(page) == unit_lists.format_units(wanted)


def test_a_random_choice_is_kept_by_its_address(visit, tiny_store):
    asked = {"rule": "random", "layers": "relu1,relu2", "k": "3"}
    chosen = [silent(visit(tiny_store, "silence", **asked, seed=seed)) for seed in ("5", "5", "6")]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_rule_that_finds_no_unit_says_so_and_offers_one_that_does(visit, tiny_store):
    page = visit(tiny_store, "silence", rule="dead", layers="relu1")
    if silent(page) == "none":
        page = click(page, "Silence the five most selective units of the last layer")
        assert silent(page).startswith("relu4:")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"silence": "relu2:3;relu2:99"}, "`relu2:99`, which is not here. Shown instead: `relu2:3`"),
        ({"silence": "relu9:1;relu2:3"}, "`relu9:1`, which is not here. Shown instead: `relu2:3`"),
        ({"silence": "relu2:3", "mode": "scale", "factor": "-1"}, "`-1`, which is not here. Shown instead: `0 ("),
        ({"silence": "relu2:3", "mode": "scale", "factor": "nan"}, "`nan`, which is not here. Shown instead: `0.5 ("),
        ({"silence": "relu2:3", "mode": "scale", "factor": "many"}, "`many`, which is not here"),
        ({"silence": "relu2:3", "mode": "melt"}, "`melt`, which is not here. Shown instead: `zero`"),
        ({"silence": "relu2:3", "fold": "2"}, "`2`, which is not here"),
        ({"group": "0123456789ab"}, "`0123456789ab`, which is not here. Shown instead: `no unit`"),
        ({"group": "../../etc/passwd"}, "`../../etc/passwd`, which is not here"),
    ],
)
def test_what_a_wrong_link_names_is_told_and_the_rest_is_answered(visit, tiny_store, asked, told):
    page = visit(tiny_store, "silence", **asked)
    assert not page.exception
    assert told in "\n".join(warning.value for warning in page.warning)
    assert "group" in asked or silent(page) == "relu2:3"


def test_a_unit_named_twice_is_silenced_once(visit, tiny_store):
    assert silent(visit(tiny_store, "silence", silence="relu2:3,3;relu2:3-4")) == "relu2:3-4"


def test_every_unit_of_a_layer_can_be_silenced_and_no_matched_set_is_made_up(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", silence="relu4:0-63")
    result = run_ablation(tiny_store, tiny_run, {"relu4": range(64)}, draws=1)
    assert metrics(page)["Accuracy after"][0] == percent(result["accuracy_after"])
    assert f"No matched sets: {result['matched']['reason']}" in text(page)


def test_keeping_every_unit_is_refused_in_words_and_the_choice_stays(visit, tiny_store):
    page = visit(tiny_store, "silence", silence="relu4:0-63", keep="on")
    assert not page.exception
    assert "keep fewer" in text(page)
    assert address_of(page)["silence"] == "relu4:0-63"


@pytest.mark.parametrize(
    "asked",
    [
        {"mode": "mean"},
        {"mode": "shuffle", "fold": "0"},
        {"mode": "noise", "factor": "2"},
        {"mode": "scale", "factor": "1.5"},
        {"keep": "on"},
        {"keep": "on", "mode": "mean", "fold": "1"},
    ],
)
def test_each_mode_gives_the_librarys_numbers(visit, tiny_store, tiny_run, asked):
    page = visit(tiny_store, "silence", silence="relu3:1,4,9;relu4:2", **asked)
    how = {"mode": asked.get("mode", "zero"), "keep": "keep" in asked}
    how["factor"] = float(asked["factor"]) if "factor" in asked else None
    how["fold"] = int(asked["fold"]) if "fold" in asked else None
    result = run_ablation(tiny_store, tiny_run, {"relu3": [1, 4, 9], "relu4": [2]}, draws=100, **how)
    shown = metrics(page)
    assert shown["Accuracy before"][0] == percent(result["accuracy_before"])
    assert shown["Accuracy after"][0] == percent(result["accuracy_after"])
    assert f"{result['lost']} image" in text(page)
    for kind, name in (("control", "random"), ("matched", "matched")):
        assert rank_in_words(name, result[kind], result["accuracy_after"]) in text(page)


@pytest.mark.parametrize(
    "how",
    [{}, {"mode": "noise", "factor": 0.7, "fold": 1}, {"mode": "scale", "factor": 0.35, "keep": True, "fold": 0}],
)
def test_the_copied_python_and_command_give_what_is_on_screen(tiny_store, tiny_run, capsys, monkeypatch, how):
    units = {"relu3": [1, 4, 9], "relu4": [2]}
    asked = ablation.AblationRequest(tiny_run, unit_lists.format_units(units), **how)
    expected = run_ablation(tiny_store, tiny_run, units, draws=20, seed=ablation.SEED, **how)
    names = {"store": selviz.open(str(tiny_store.path))}
    exec(ablation.python_call(asked, units, 20), names)
    assert names["result"] == expected
    monkeypatch.setenv("SELVIZ_DATA", str(tiny_store.path))
    assert main([*shlex.split(ablation.shell_command(asked, units, 20))[1:], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for kind in ("control", "matched"):
        assert told[kind]["accuracies"] == expected[kind]["accuracies"]
    assert told["per_class"] == json.loads(json.dumps(expected["per_class"]))


def test_more_draws_go_on_where_fewer_ended(visit, tiny_store, tiny_run):
    visit(tiny_store, "silence", silence="relu4:3")
    page = visit(tiny_store, "silence", silence="relu4:3", draws="100")
    result = run_ablation(tiny_store, tiny_run, {"relu4": [3]}, draws=100)
    assert f"quantile {result['control']['quantile']:.2f}" in text(page)
    assert "the smallest p that 100 draws can give is 0.020" in text(page)


def test_undo_and_redo_walk_through_the_choices(visit, tiny_store):
    page = visit(tiny_store, "silence", silence="relu4:1")
    page.multiselect(key="picked").select(7).run()
    assert silent(page) == "relu4:1,7"
    page = click(page, "Clear")
    assert silent(page) == "none"
    page = click(page, "Undo")
    assert silent(page) == "relu4:1,7"
    page = click(page, "Undo")
    assert silent(page) == "relu4:1"
    page = click(page, "Redo")
    assert silent(page) == "relu4:1,7"
    assert address_of(page)["silence"] == "relu4:1,7"


def test_typed_units_are_read_and_what_is_not_there_is_told(visit, tiny_store):
    page = visit(tiny_store, "silence", by="text")
    page.text_area(key="typed").input("relu1:0-2;relu4:70").run()
    assert silent(page) == "relu1:0-2"
    assert "`relu4:70`" in page.warning[0].value


def test_rows_of_the_table_are_silenced_alone_or_added(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", by="table", layer="relu4", silence="relu1:0")
    order = tiny_store.units(tiny_run, "relu4").sort_values("si", ascending=False, kind="stable")["unit"].tolist()
    page.session_state["pick-table"] = {"selection": {"rows": [0, 2], "columns": [], "cells": []}}
    page.run()
    picked = unit_lists.format_units({"relu4": [order[0], order[2]]})
    added = click(page, "Add them")
    assert silent(added) == f"relu1:0;{picked}"


def test_a_choice_too_long_for_a_link_lives_in_a_group_that_the_link_names(visit, own_store, monkeypatch):
    monkeypatch.setattr(address, "MAX_LINK_LENGTH", 20)
    page = visit(own_store, "silence", silence="relu4:1,3,5,7,9,11")
    page.multiselect(key="picked").select(13).run()
    assert silent(page) == "relu4:1,3,5,7,9,11,13"
    assert "silence" not in address_of(page)
    assert read_group(own_store.path, address_of(page)["group"])["units"] == {"relu4": [1, 3, 5, 7, 9, 11, 13]}


def test_a_saved_group_is_silenced_by_its_link(visit, own_store, tiny_run):
    key = write_group(own_store.path, {"relu2": [4], "relu9": [1]}, "my <b>group</b>", tiny_run)
    assert silent(visit(own_store, "silence", group=key)) == "relu2:4"


def groups(page):
    """The page with its box of groups open."""
    page.session_state["groups"] = True
    return page.run()


def test_a_group_is_renamed_and_its_old_link_opens_the_same_units(visit, own_store, tiny_run):
    key = write_group(own_store.path, {"relu4": [1, 2]}, "cats", tiny_run)
    page = groups(visit(own_store, "silence", group=key))
    page = page.button(key=f"Rename-{key}").click().run()
    next(box for box in page.text_input if box.label.startswith("Its new name")).set_value("<b>dogs</b>")
    next(button for button in page.button if button.label == "Rename it").click().run()
    (new,) = list_groups(own_store.path)["group"]
    assert read_group(own_store.path, new)["name"] == "<b>dogs</b>" and address_of(page)["group"] == new
    assert not page.exception
    assert silent(visit(own_store, "silence", group=key)) == "relu4:1-2"


def test_a_deleted_groups_units_stay_chosen_and_its_link_says_that_it_is_gone(visit, own_store, tiny_run):
    key = write_group(own_store.path, {"relu4": [1, 2]}, "cats", tiny_run)
    page = groups(visit(own_store, "silence", group=key))
    page = page.button(key=f"Delete-{key}").click().run()
    assert not list_groups(own_store.path).empty  # it asks first
    page = page.button(key="delete-group").click().run()
    assert list_groups(own_store.path).empty and not page.exception
    assert address_of(page)["silence"] == "relu4:1-2" and "group" not in address_of(page)
    gone = visit(own_store, "silence", group=key)
    assert key in gone.warning[0].value and "not here" in gone.warning[0].value


def test_images_that_changed_sides_are_all_counted_and_shown_with_both_answers(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", silence="relu4:0-20")
    result = run_ablation(tiny_store, tiny_run, {"relu4": range(21)}, draws=0)
    heads = [element.value for element in page.subheader]
    for title, count in (("Became wrong", result["lost"]), ("Became right", result["gained"])):
        assert f"{title}: {count} image" + ("" if count == 1 else "s") in heads
    first = next(flip for flip in result["flips"] if flip["lost"])
    tiles = "".join(element.proto.body for element in page.get("html"))
    assert f"{first['label']}: {first['before']} → {first['after']}" in tiles


def test_the_confusion_of_classes_is_that_of_the_predictions(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", silence="relu4:0-20", show="confusion")
    assert not page.exception
    result = run_ablation(tiny_store, tiny_run, {"relu4": range(21)}, draws=0)
    counts = pd.DataFrame(result["confusion"]["after"])
    assert counts.to_numpy().trace() == round(result["accuracy_after"] * result["images"])


def test_a_run_without_curves_or_atlas_says_how_to_get_them(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "silence", silence="relu4:1", show="curves")
    assert f"selviz curves {tiny_run}" in text(page)
    page = visit(tiny_store, "silence", show="atlas")
    assert f"selviz atlas {tiny_run}" in text(page)
    assert "**Estimate.**" in text(page)


def test_the_stored_curves_and_the_atlas_are_shown_with_their_ranks(visit, own_store, tiny_run):
    areas = run_curves(own_store, tiny_run, layers=["relu4"], steps=4)
    page = visit(own_store, "silence", show="curves")
    found = areas[areas["direction"] == "descending"]["area"].iloc[0]
    assert f"largest first: area under the curve {found:.3f}" in text(page)
    assert "at least 0.182 with so few orders" in text(page)
    run_atlas(own_store, tiny_run)
    page = visit(own_store, "silence", show="atlas", atlas="relu2")
    table = own_store.atlas_classes(tiny_run, "relu2")
    own = own_store.units(tiny_run, "relu2").merge(
        table, left_on=["unit", "preferred_index"], right_on=["unit", "class_index"]
    )
    own = own[~own["dead"]]
    rho = own["si"].corr(-own["change"], method="spearman")
    assert f"Spearman's ρ = {'+' if rho > 0 else '−'}{abs(rho):.2f} between SI and that loss" in text(page)
    assert "**Estimate.**" not in text(page)


def test_a_played_curve_is_the_stored_one_step_by_step_beside_the_first_random_order(visit, own_store, tiny_run):
    run_curves(own_store, tiny_run, layers=["relu4"])
    page = visit(own_store, "ablation", show="curves", play="on", first="ascending")
    assert not page.exception and not page.error
    stored = own_store.curves(tiny_run)
    for key, direction in (("play-order", "ascending"), ("play-random", "random")):
        curve = stored[(stored["direction"] == direction) & (stored["draw"] == 0)].sort_values("step")
        frames = board(page, key)["frames"]
        assert [frame["accuracy"] for frame in frames] == curve["accuracy"].tolist()
        counts = [
            sum(map(len, unit_lists.parse_units(frame["silent"]).values())) for frame in frames if frame["silent"]
        ]
        assert counts == curve["removed"].tolist()[1:]
    assert board(page, "play-order")["peer"] == board(page, "play-random")["name"]


def test_a_run_without_weights_says_what_is_missing_and_how_to_get_it(visit, own_store, tiny_run):
    (own_store.run_path(tiny_run) / "weights.safetensors").unlink()
    page = visit(own_store, "silence", silence="relu4:1")
    assert not page.exception
    assert "weights.safetensors is missing; train or import the run again" in text(page)


def test_a_budget_of_nothing_still_answers_and_says_what_it_costs(visit, own_store, tiny_run, monkeypatch):
    monkeypatch.setenv("SELVIZ_CACHE_GB", "0")
    ablation._boundary_cache.clear()
    try:
        page = visit(own_store, "silence", silence="relu4:1")
        result = run_ablation(own_store, tiny_run, {"relu4": [1]}, draws=0)
        assert metrics(page)["Accuracy after"][0] == percent(result["accuracy_after"])
        assert "take more memory than the budget" in text(page)
    finally:
        ablation._boundary_cache.clear()


def test_a_budget_that_is_no_number_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("SELVIZ_CACHE_GB", "lots")
    with pytest.raises(SelvizError, match="give a number of gigabytes"):
        ablation.budget()


def test_two_visitors_silence_different_units_and_each_gets_its_own_answer(visit, tiny_store, tiny_run):
    units = [{"relu4": [unit]} for unit in (1, 2, 3)]
    expected = [f"{100 * run_ablation(tiny_store, tiny_run, one, draws=0)['accuracy_after']:.1f} %" for one in units]
    pages = [visit(tiny_store, "silence", silence=f"relu4:{one['relu4'][0]}") for one in units]
    assert [metrics(page.run())["Accuracy after"][0] for page in reversed(pages)] == expected[::-1]


def test_a_click_counts_although_the_next_one_comes_with_the_address_of_before_it(visit, tiny_store):
    """A browser learns of its new address after it has been clicked again."""
    page = visit(tiny_store, "silence", silence="relu2:7")
    before = dict(page.query_params)
    page.button_group(key="link-mode").set_value("mean").run()
    assert page.query_params["mode"] == "mean"
    page.query_params.clear()
    page.query_params.update(before)
    page.button_group(key="link-show").set_value("confusion").run()
    told = dict(page.query_params)
    assert (told["silence"], told["mode"], told["show"]) == ("relu2:7", "mean", "confusion")


def test_an_address_that_its_visitor_goes_to_counts_although_an_older_one_is_still_on_its_way():
    from app.state.address import View

    view = View()
    assert not view.receive("page", {}, False)
    first, second = {"mode": "mean"}, {"mode": "noise"}
    view.now, view.sent = first, [*view.sent, first]
    assert view.receive("page", second, False), "the browser may yet be told the first one"
    assert view.now == second
    assert view.receive("page", first, False), "it was"
    assert view.now == second
    view.receive("page", first, True)
    assert view.now == first, "its visitor went there"
    view.receive("page", first, False)
    assert not view.receive("another page", {}, False)
    assert (view.now, view.sent) == ({}, [{}])
