"""Do networks need selective units?"""

import streamlit as st

from ...page import frame, run_picker, tables
from ...state import address
from ...state.navigation import page_at
from . import guesses, measures, steps
from .measures import Lesson

NO_MEASURE, BESIDE_RANDOM = steps.STEPS[2], steps.STEPS[3]  # the third step's number is measured in the fourth


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    if baseline := measures.baseline(run):
        address.update(run=baseline)
        address.rerun()
    frame.page(
        "Do networks need selective units?",
        "Eight steps. In each: something is stated, you commit to a guess, it is measured here and now, and you read "
        "what it means. Your guesses are in the address, so a link keeps them.",
    )
    lesson = measures.start(run)
    number = address.integer("step", 1, len(steps.STEPS), 1)
    list_column, step_column = st.columns([1, 3], gap="large")
    with list_column:
        step_list(number)
    with step_column:
        one_step(lesson, number)
        step_buttons(lesson, number)


def step_list(number: int) -> None:
    """Draw the titles of all steps and how far the learner is."""
    made = guesses.made()
    st.progress(number / len(steps.STEPS), text=f"Step {number} of {len(steps.STEPS)}")
    for at, step in enumerate(steps.STEPS, 1):
        st.button(
            f"{at}. {step.title}",
            key=f"lesson-{at}",
            type="primary" if at == number else "tertiary",
            icon=":material/check_circle:" if at in made else None,
            on_click=address.update,
            kwargs={"step": at},
        )
    st.button(
        "Forget my guesses",
        type="tertiary",
        icon=":material/restart_alt:",
        on_click=address.update,
        kwargs={"guesses": None, "step": None},
    )


def one_step(lesson: Lesson, number: int) -> None:
    """Draw a step: its statement, then its question, or once that is answered what was measured."""
    step, guess = steps.STEPS[number - 1], guesses.made().get(number)
    st.header(f"{number}. {step.title}", anchor=False)
    st.markdown(step.statement(lesson))
    step.before(lesson)
    if step.ask is None:
        results_table(lesson)
        step.show(lesson, None)
    elif guess is None:
        question(lesson, number)
    else:
        answer(lesson, number, guess)


def results_table(lesson: Lesson) -> None:
    """Draw every guess next to what was measured."""
    table = guesses.results(lesson)
    widths = {"step": 50, "question": 400, "your guess": 90, "measured": 90}
    columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
    tables.table(table, height="content", row_height=56, column_config=columns)
    tables.downloads("lesson", table)


def question(lesson: Lesson, number: int) -> None:
    """Draw the form in which a learner commits to a guess."""
    step = steps.STEPS[number - 1]
    with st.form(f"guess-{number}", border=True):
        st.markdown(f"**{step.question(lesson)}**")
        value = step.ask(lesson)
        if st.form_submit_button("Commit", type="primary", icon=":material/lock:"):
            if value is None:
                st.warning("Commit to a guess first; a wrong one teaches as much.")
            else:
                guesses.commit(number, value)
                address.rerun()


def answer(lesson: Lesson, number: int, guess: str) -> None:
    """Draw the guess next to what was measured, and what that rests on."""
    step = steps.STEPS[number - 1]
    st.markdown(f"**{step.question(lesson)}**")
    if step is not NO_MEASURE:
        yours, measured = st.columns(2)
        yours.metric("Your guess", guesses.markdown(step, guess))
        measured.metric("Measured", guesses.markdown(step, step.measure(lesson)))
    step.show(lesson, guess)
    if step is BESIDE_RANDOM and (earlier := guesses.made().get(number - 1)):
        st.markdown(
            f"Your guess for the selective unit was {guesses.markdown(NO_MEASURE, earlier)}; measured: "
            f"{guesses.markdown(NO_MEASURE, NO_MEASURE.measure(lesson))}."
        )


def step_buttons(lesson: Lesson, number: int) -> None:
    """Draw the way back, on, and to the page that shows more of this step."""
    step, last = steps.STEPS[number - 1], len(steps.STEPS)
    done = step.ask is None or number in guesses.made()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Back",
            icon=":material/arrow_back:",
            shortcut="Left",
            disabled=number == 1,
            on_click=address.update,
            kwargs={"step": number - 1},
        )
        st.button(
            "Next",
            icon=":material/arrow_forward:",
            shortcut="Right",
            disabled=number == last,
            type="primary" if done else "secondary",
            on_click=address.update,
            kwargs={"step": number + 1},
        )
        if step.link and done:
            page, query, label = step.link(lesson)
            st.page_link(page_at(page), label=label, icon=":material/open_in_new:", query_params=query)
