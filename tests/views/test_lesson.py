"""The lesson: nothing is told before the guess, what is told is what the library measures, guesses live in links."""

import numpy as np
import pytest

from app.views.lesson import guesses, measures, steps, votes
from selviz.hypotheses import registry
from selviz.studies.ablation import run_ablation
from selviz.text.unit_lists import parse_units
from tests.helpers.pages import address_of, board, text


def star(store, run):
    """The most selective live unit of the last layer."""
    units = store.units(run, "relu4")
    return units[~units["dead"]].sort_values("si", ascending=False, kind="stable").iloc[0]


def measured(page) -> dict:
    return {metric.label: metric.value for metric in page.metric}


def press(page, label):
    return next(button for button in page.button if button.label == label).click().run()


def test_every_step_opens_and_keeps_its_answer_until_the_learner_commits(visit, tiny_store):
    for number, step in enumerate(steps.STEPS, 1):
        page = visit(tiny_store, "lesson", step=str(number))
        assert not page.exception and not page.error
        assert step.title in [header.value for header in page.header]
        assert "Measured" not in measured(page)
        assert f"**{number} of 8**" in text(page)
        if step.ask is not None:
            assert not page.get("plotly_chart"), "nothing is shown before the guess but the unit's pictures"


def test_a_guess_is_kept_in_the_address_and_compared_with_what_is_measured(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="1")
    page.radio[0].set_value("3")
    page = press(page, "Commit")
    preferred = star(tiny_store, tiny_run)["preferred_class"]
    assert address_of(page)["answers"] == "1:3"
    assert measured(page) == {"Your guess": "3", "Measured": preferred}
    told = guesses.RIGHT if preferred == "3" else guesses.WRONG
    assert told in text(page)
    assert votes.Votes().counts(("", tiny_run, 1)) == {}


def test_committing_to_nothing_asks_again(visit, tiny_store):
    page = press(visit(tiny_store, "lesson", step="2"), "Commit")
    assert "Make a guess first" in page.warning[0].value
    assert "answers" not in address_of(page)


def test_the_count_of_selective_units_is_that_of_the_store(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="2", answers="2:20")
    count = int((tiny_store.units(tiny_run)["si"] > measures.HIGH).sum())
    assert measured(page) == {"Your guess": "20 units", "Measured": f"{count} units"}
    assert f"**{count} of 144 units** are selective" in text(page)


def test_one_silent_unit_and_the_random_ones_are_those_of_the_library_and_the_step_measures_what_it_asks(
    visit, tiny_store, tiny_run
):
    unit = int(star(tiny_store, tiny_run)["unit"])
    result = run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=measures.FEW)
    page = visit(tiny_store, "lesson", step="3", answers="3:7")
    drop = round(-100 * result["change"], 1)
    assert measured(page)["Measured"] == f"{drop:g} of 100"
    worse = sum(accuracy < result["accuracy_after"] for accuracy in result["control"]["accuracies"])
    others = {0: "none", measures.FEW: "all"}.get(worse, str(worse))
    assert f"Of {measures.FEW} random units of this layer, **{others}** hurt more." in text(page)


def test_the_verdict_on_many_units_follows_the_rank_test(visit, tiny_store, tiny_run, monkeypatch):
    page = visit(tiny_store, "lesson", step="4", answers="4:more")
    lesson = measures.start({"name": tiny_run, **tiny_store.run(tiny_run)})
    units = parse_units([measures.many(lesson).units])
    control = run_ablation(tiny_store, tiny_run, units, draws=measures.DRAWS, fold=1)["control"]
    assert (measured(page)["Measured"] == measures.SAME) == (control["p"] > 0.05)
    assert measures.of_hundred(float(np.median(control["accuracies"]))) in text(page)


def test_the_climax_counts_the_images_of_a_class_without_all_units_that_prefer_it(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="5", answers="5:50")
    lesson = measures.start({"name": tiny_run, **tiny_store.run(tiny_run)})
    units = parse_units([measures.lovers(lesson).units])
    found = run_ablation(tiny_store, tiny_run, units, draws=0, fold=1)
    row = found["per_class"][int(lesson.unit["preferred_index"])]
    assert measured(page)["Measured"] == f"{round(100 * row['after'], 0):g} of 100"
    assert f"the {len(units['relu4'])} unit" in text(page) and f"recognizes {100 * row['before']:.0f}" in text(page)


def test_the_suppressed_network_is_held_against_the_baseline_on_the_same_images(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="6", answers="6:about as good")
    assert not page.exception and not page.error
    assert measured(page)["Measured"] == measures.AS_GOOD  # its only network is compared with itself
    assert "So were they needed?" in text(page)


def test_where_no_class_clearly_loses_no_class_is_called_the_one_that_does(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "lesson", step="7", answers="7:8")
    unit = int(star(tiny_store, tiny_run)["unit"])
    rows = run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=0)["per_class"]
    clear = [row["class"] for row in rows if row["mcnemar_p_holm"] <= 0.05 and row["change"] < 0]
    assert (measured(page)["Measured"] == measures.NONE) == (not clear)


def test_the_last_step_shows_every_guess_beside_its_measurement_and_both_sides(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="8", answers="1:3;2:20;4:more")
    table = page.table[0].value.set_index("step")
    assert table.loc["2", "your guess"] == "20 units"
    assert table.loc["5", "measured"] == "guess first"
    assert "Badola" in text(page) and "Limits of what you saw" in text(page)


def test_guesses_of_old_links_are_those_of_the_steps_that_ask_the_same_now(visit, tiny_store):
    page = visit(tiny_store, "lesson", step="8", guesses="1:3;3:7;4:2;5:-1;6:not told apart;7:8")
    table = page.table[0].value.set_index("step")["your guess"]
    assert table.tolist() == ["3", "–", "7 of 100", "about as much", "–", "–", "8"]


def test_the_short_version_leaves_out_three_steps_and_opens_each_that_a_link_names(visit, tiny_store):
    page = visit(tiny_store, "lesson", minutes="20")
    assert "**1 of 5**" in text(page)
    page = press(press(page, "Next"), "Next")
    assert address_of(page)["step"] == "5" and "**3 of 5**" in text(page)
    assert "**2 of 6**" in text(visit(tiny_store, "lesson", minutes="20", step="2"))


def test_the_presenter_sees_the_votes_and_the_answer_only_when_the_vote_is_ended(visit, tiny_store, tiny_run):
    for guess in (2.0, 4.0, 9.0):
        learner = visit(tiny_store, "lesson", step="2")
        learner.number_input[0].set_value(guess)
        press(learner, "Commit")
    page = visit(tiny_store, "lesson", step="2", present="1")
    assert "**3 votes**" in text(page) and "Measured" not in measured(page)
    page = press(page, "End the vote and show")
    assert address_of(page)["answers"] == "2:4" and "Measured" in measured(page)


def test_a_second_guess_of_a_tab_takes_the_place_of_its_first():
    kept = votes.Votes()
    kept.cast(("store", "run", 1), "3", None)
    kept.cast(("store", "run", 1), "8", "3")
    kept.cast(("store", "run", 1), "8", None)
    assert kept.counts(("store", "run", 1)) == {"8": 2}
    assert votes.of_the_class(kept.counts(("store", "run", 1))) == "8"


@pytest.mark.parametrize(
    ("guess", "value", "said"),
    [("3", "8", "Not this time"), ("8", "8", "Right"), ("4", 4.2, "Right"), ("5", 4.2, "Close"),
     ("9", 4.2, "Not this time"), ("x", 4.2, "Not this time")],
)  # fmt: skip
def test_feedback_says_right_close_or_not(guess, value, said):
    assert guesses.feedback(steps.STEPS[2], guess, value) == said


def test_the_last_step_registers_a_claim_and_shows_its_verdict(visit, own_store):
    page = visit(own_store, "lesson", step="8")
    page.radio[0].set_value(page.radio[0].options[0]).run()
    page = press(page, "Register it")
    key = address_of(page)["claim"]
    assert own_store.hypotheses()["hypothesis"].tolist() == [key]
    assert f"selviz hypothesis test {key}" in text(page)
    verdict = registry.run_test(own_store, key)["verdict"]
    page = visit(own_store, "lesson", step="8", claim=key)
    assert not page.exception
    assert [*page.success, *page.error, *page.info][0].value.startswith(f"**{verdict.capitalize()}**")
    gone = visit(own_store, "lesson", step="8", claim="<b>x")
    assert not gone.exception and "is not here" in gone.warning[0].value


@pytest.mark.parametrize("answers", ["99:1;x;;1:<b>x</b>;2:lots", "2:", "2:nan"])
def test_what_a_link_calls_a_guess_breaks_nothing(visit, tiny_store, answers):
    for step in ("2", "8"):
        page = visit(tiny_store, "lesson", step=step, answers=answers)
        assert not page.exception and not page.error


def test_the_unit_goes_dark_on_the_board_and_no_class_is_told_before_it_is_asked_for(visit, tiny_store, tiny_run):
    unit = int(star(tiny_store, tiny_run)["unit"])
    sent = board(visit(tiny_store, "lesson", step="3", answers="3:1"), "lesson")
    assert sent["silent"] == f"relu4:{unit}" and "before" not in sent
    sent = board(visit(tiny_store, "lesson", step="7", answers="7:3"), "lesson")
    result = run_ablation(tiny_store, tiny_run, {"relu4": [unit]}, draws=0)
    assert sent["after"] == [row["after"] for row in result["per_class"]]
    sent = board(visit(tiny_store, "lesson", step="2", answers="2:3"), "lesson")
    assert sent["silent"] == "" and sent["selected"] == f"relu4:{unit}"
