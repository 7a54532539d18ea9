"""The lesson: nothing is told before the guess, what is told is what the library measures, guesses live in links."""

import numpy as np
import pytest

from app.views.lesson import measures, steps
from selviz.hypotheses import registry
from selviz.studies.ablation import run_ablation
from tests.helpers.pages import address_of, board, text


def star(store, run):
    """The most selective live unit of the last layer."""
    units = store.units(run, "relu4")
    return units[~units["dead"]].sort_values("si", ascending=False, kind="stable").iloc[0]


def measured(page) -> dict:
    return {metric.label: metric.value for metric in page.metric}


def test_every_step_opens_and_keeps_its_answer_until_the_learner_commits(visit, tiny_store):
    for number, step in enumerate(steps.STEPS, 1):
        page = visit(tiny_store, "lesson", step=str(number))
        assert not page.exception and not page.error
        assert f"{number}. {step.title}" in [header.value for header in page.header]
        assert "Measured" not in measured(page)


def test_a_guess_is_kept_in_the_address_and_compared_with_what_is_measured(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="1")
    page.radio[0].set_value("3")
    page = next(button for button in page.button if button.label == "Commit").click().run()
    assert address_of(page)["guesses"] == "1:3"
    assert measured(page) == {"Your guess": "3", "Measured": star(tiny_store, tiny_run)["preferred_class"]}


def test_committing_to_nothing_asks_again(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="2")
    page = next(button for button in page.button if button.label == "Commit").click().run()
    assert "Commit to a guess first" in page.warning[0].value
    assert "guesses" not in address_of(page)


def test_the_count_of_selective_units_is_that_of_the_store(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="2", guesses="2:20")
    count = int((tiny_store.units(tiny_run)["si"] > measures.HIGH).sum())
    assert measured(page) == {"Your guess": "20 units", "Measured": f"{count} units"}


def test_the_drops_are_those_of_the_library(visit, tiny_store, tiny_run):
    unit = int(star(tiny_store, tiny_run)["unit"])
    result = run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=20)
    page = visit(tiny_store, "lesson", step="4", guesses="3:7.5;4:2")
    random = round(100 * (result["accuracy_before"] - np.median(result["control"]["accuracies"])), 1)
    assert measured(page)["Measured"] == f"{random:g} points"
    assert f"7.5 points; measured: {round(-100 * result['change'], 1):g} points" in text(page)


def test_the_third_step_keeps_its_answer_for_the_fourth(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="3", guesses="3:7.5")
    assert "Measured" not in measured(page)
    assert "The next step silences the unit." in text(page)


def test_the_verdict_on_many_units_follows_the_rank_test(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="6", guesses="6:more")
    shown = text(page)
    at = shown.index("Rank test, two-sided, that it is one more of the random sets: p ")
    p = float(shown[at:].split("p = ")[1].split(" ")[0].strip(".;(") if "p = " in shown[at : at + 90] else 0)
    assert (measured(page)["Measured"] == "not told apart") == (p > 0.05)


def test_the_last_step_shows_every_guess_beside_its_measurement_and_both_sides(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="8", guesses="1:3;2:20;4:1")
    table = page.dataframe[0].value.set_index("step")
    assert table.loc[2, "your guess"] == "20 units"
    assert table.loc[5, "measured"] == "guess first"
    assert "Badola" in text(page) and "Limits of what you saw" in text(page)


def test_the_last_step_registers_a_claim_and_shows_its_verdict(visit, own_store):
    page = visit(own_store, "lesson", step="8")
    page.radio[0].set_value(page.radio[0].options[0]).run()
    page = next(button for button in page.button if button.label == "Register it").click().run()
    key = address_of(page)["claim"]
    assert own_store.hypotheses()["hypothesis"].tolist() == [key]
    assert f"selviz hypothesis test {key}" in text(page)
    verdict = registry.run_test(own_store, key)["verdict"]
    page = visit(own_store, "lesson", step="8", claim=key)
    assert not page.exception
    assert [*page.success, *page.error, *page.info][0].value.startswith(f"**{verdict.capitalize()}**")
    gone = visit(own_store, "lesson", step="8", claim="<b>x")
    assert not gone.exception and "is not here" in gone.warning[0].value


@pytest.mark.parametrize("guesses", ["99:1;x;;1:<b>x</b>;2:lots", "2:", "2:nan"])
def test_what_a_link_calls_a_guess_breaks_nothing(visit, tiny_store, guesses):
    for step in ("2", "8"):
        page = visit(tiny_store, "lesson", step=step, guesses=guesses)
        assert not page.exception and not page.error


def test_the_unit_goes_dark_on_the_board_and_no_class_is_told_before_it_is_asked_for(visit, tiny_store, tiny_run):
    unit = int(star(tiny_store, tiny_run)["unit"])
    sent = board(visit(tiny_store, "lesson", step="4"), "lesson")
    assert sent["silent"] == f"relu4:{unit}" and "before" not in sent
    sent = board(visit(tiny_store, "lesson", step="7", guesses="7:3"), "lesson")
    result = run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=0)
    assert sent["after"] == [row["after"] for row in result["per_class"]]
    sent = board(visit(tiny_store, "lesson", step="2", guesses="2:3"), "lesson")
    assert sent["silent"] == "" and sent["selected"] == f"relu4:{unit}"
