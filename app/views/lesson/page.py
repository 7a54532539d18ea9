"""Do networks need selective units?"""

from pathlib import Path

import streamlit as st

from selviz.text import safe_text

from ...look import keyboard
from ...page import frame, run_picker, tables
from ...state import address
from ...state.navigation import page_at
from . import guesses, measures, steps, votes
from .measures import Lesson

MINUTES = {"60": "60 minutes", "20": "20 minutes"}
DOCS = Path(__file__).resolve().parents[3] / "docs"
ICONS = {
    guesses.RIGHT: ":material/check_circle:",
    guesses.CLOSE: ":material/target:",
    guesses.WRONG: ":material/lightbulb:",
}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    presenting = address.get("present") == "1"
    lesson = measures.start(measures.baseline(run))
    minutes = address.choose("minutes", list(MINUTES), "60")
    listed = [number for number, step in enumerate(steps.STEPS, 1) if step.short or minutes == "60"]
    frame.page("Do networks need selective units?", "", share=not presenting)
    number = address.integer("step", 1, len(steps.STEPS), 1)
    listed = sorted({*listed, number})
    steps_bar(lesson, number, listed)
    one_step(lesson, number, presenting)
    foot(lesson, presenting, minutes)


def steps_bar(lesson: Lesson, number: int, listed: list[int]) -> None:
    """Draw back, which step of how many this is, on, and the list of all steps."""
    at = listed.index(number)
    done = steps.STEPS[number - 1].ask is None or number in guesses.made()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="lesson-bar"):
        st.button(
            "Back",
            shortcut="Left",
            disabled=at == 0,
            key="lesson-back",
            on_click=turn,
            args=(listed, number, -1, "lesson-back"),
        )
        st.markdown(f"**{at + 1} of {len(listed)}**", width="content")
        st.button(
            "Next",
            shortcut="Right",
            disabled=at == len(listed) - 1,
            type="primary" if done else "secondary",
            key="lesson-next",
            on_click=turn,
            args=(listed, number, 1, "lesson-next"),
        )
        keyboard.step_keys("lesson", lambda by: turn(listed, number, by))
        with frame.popover("Steps", ":material/list:", "lesson-steps") as opened:
            if opened:
                step_list(number, listed)


def turn(listed: list[int], drawn: int, by: int, key: str = "") -> None:
    """Go `by` steps on from the one in the address, for each press of the button `key`, to the first or last at most.

    `drawn` is the step that the page shows, which an address without a step, or with one that is not there, leads to.
    """
    at = address.get("step", str(drawn))
    now = listed.index(int(at) if at.isdecimal() and int(at) in listed else drawn)
    by *= address.presses(key) if key else 1
    address.update(step=listed[min(max(now + by, 0), len(listed) - 1)])


def step_list(number: int, listed: list[int]) -> None:
    """Draw the titles of all steps, those that are answered with a mark."""
    made = guesses.made()
    for at, each in enumerate(listed, 1):
        st.button(
            f"{at}. {steps.STEPS[each - 1].title}",
            key=f"lesson-{each}",
            type="primary" if each == number else "tertiary",
            icon=":material/check_circle:" if each in made else None,
            on_click=address.update,
            kwargs={"step": each},
        )
    st.button(
        "Forget my guesses",
        type="tertiary",
        icon=":material/restart_alt:",
        on_click=address.update,
        kwargs={"answers": None, "guesses": None, "step": None},
    )


def one_step(lesson: Lesson, number: int, presenting: bool) -> None:
    """Draw a step: its statement, then its question, or once that is answered what was measured."""
    step, guess = steps.STEPS[number - 1], guesses.made().get(number)
    st.header(step.title, anchor=False)
    st.markdown(step.statement(lesson))
    if step.ask is None:
        results_table(lesson)
        step.picture(lesson)
        return
    step.before(lesson)
    if presenting and guess is None:
        asked, voted = st.columns([3, 2], gap="large")
        with asked:
            question(lesson, number)
        with voted:
            st.fragment(vote, run_every=2.0)(lesson, number)
    elif guess is None:
        question(lesson, number)
    else:
        with frame.show_errors():
            answer(lesson, number, guess)
        if presenting:
            votes.histogram(lesson, number)


def vote(lesson: Lesson, number: int) -> None:
    """Draw the votes so far, and the way to end the vote."""
    votes.histogram(lesson, number)
    guess = votes.of_the_class(votes.counts(lesson.run, number))
    with st.container(horizontal=True):
        ended = st.button(
            "End the vote and show",
            icon=":material/visibility:",
            key="lesson-reveal",
            disabled=guess is None,
            on_click=guesses.commit,
            args=(number, guess),
            help="The guess of the class is the middle of its numbers, else the most frequent answer.",
        )
        st.button("Vote again", key="lesson-again", type="tertiary", on_click=votes.clear, args=(lesson.run, number))
    if ended:
        address.rerun()  # the press draws the votes alone, and the answer stands outside of them


def results_table(lesson: Lesson) -> None:
    """Draw every guess next to what was measured."""
    table = guesses.results(lesson)
    shown = table.astype({"step": str})
    for name in ("your guess", "measured"):
        shown[name] = [guesses.as_markdown(words) for words in table[name]]
    with st.container(key="lesson-results"):
        st.table(shown, hide_index=True)
    tables.saving("lesson", table)


def question(lesson: Lesson, number: int) -> None:
    """Draw the form in which a learner commits to a guess."""
    step = steps.STEPS[number - 1]
    with st.form(f"guess-{number}", border=True):
        st.markdown(f"**{step.question(lesson)}**")
        value = step.ask(lesson)
        if st.form_submit_button("Commit", type="primary", icon=":material/lock:"):
            if value is None:
                st.warning("Make a guess first; a wrong one teaches as much.")
            else:
                votes.cast(lesson.run, number, guesses.as_text(value))
                guesses.commit(number, value)
                address.rerun()


def answer(lesson: Lesson, number: int, guess: str) -> None:
    """Draw the guess next to what was measured, whether it was right, and what the measurement says."""
    step = steps.STEPS[number - 1]
    st.markdown(f"**{step.question(lesson)}**")
    measured = step.measure(lesson)
    if measured is None:
        st.info("This cannot be measured here yet: " + step.answer(lesson), icon=":material/hourglass_empty:")
        return
    was = guesses.feedback(step, guess, measured)
    with st.container(horizontal=True, gap="large", vertical_alignment="center", key="lesson-answer"):
        st.metric("Your guess", guesses.markdown(step, guess), width="content")
        st.metric("Measured", guesses.markdown(step, measured), width="content")
        st.badge(was, icon=ICONS[was], color={guesses.RIGHT: "green", guesses.CLOSE: "blue"}.get(was, "orange"))
    st.markdown(f"#### {step.answer(lesson)}")
    step.picture(lesson)
    with st.container(horizontal=True, vertical_alignment="center"):
        if step.link:
            page, query, label = step.link(lesson)
            st.page_link(page_at(page), label=label, icon=":material/open_in_new:", query_params=query)
    if step.experts is not None:
        with st.expander("For experts", icon=":material/science:", key=f"experts-{number}", on_change="rerun") as box:
            if box.open:
                with frame.show_errors():
                    step.experts(lesson)


def foot(lesson: Lesson, presenting: bool, minutes: str) -> None:
    """Draw how long the lesson is, the presenter's view, and what a teacher takes along."""
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="lesson-foot"):
        address.widget(
            st.segmented_control, "How long", list(MINUTES), name="minutes", value=minutes, default="60",
            format_func=MINUTES.get, required=True, label_visibility="collapsed",
        )  # fmt: skip
        st.button(
            "End presenting" if presenting else "Present",
            icon=":material/cast:",
            shortcut="P",
            on_click=address.update,
            kwargs={"present": None if presenting else 1},
            help="Larger, without the menu, and with the votes of the class. Arrow keys turn the steps.",
        )
        for label, name, mime in (
            ("Worksheet", "worksheet.html", "text/html"),
            ("Notes for teachers", "teaching.md", "text/markdown"),
        ):
            if (file := DOCS / name).exists():
                st.download_button(
                    label, file.read_bytes, name, mime, icon=":material/description:", on_click="ignore",
                    type="tertiary", key=f"lesson-{name}",
                )  # fmt: skip
    st.caption(f"Taught on {safe_text.code(lesson.run)}. Your guesses are in the address: a link keeps them.")
