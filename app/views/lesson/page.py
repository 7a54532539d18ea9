"""Do networks need selective units?"""

import re

import pandas as pd
import streamlit as st

from app.page import frame, run_picker, tables
from app.state import address
from app.state.navigation import page_at
from app.views.lesson import measures, steps
from selviz.text import safe_text


def told(one: steps.Step, value) -> str:
    try:
        return one.told(value)
    except ValueError:  # a link may hold anything
        return str(value)


def safe(one: steps.Step, value) -> str:
    """The same where Markdown is read: a guess comes from a link, and a class name from anywhere."""
    text = told(one, value)
    return text if re.fullmatch(r"[-−]?[^\W_]([^\W_]|[ .−-])*", text) else safe_text.code(text)


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    if name := measures.baseline(run):
        address.put(run=name)
        address.again()
    taught = measures.start(run)
    last = len(steps.STEPS)
    number = address.integer("step", 1, last, 1)
    step = steps.STEPS[number - 1]
    frame.page(
        "Do networks need selective units?",
        "Eight steps. In each: something is stated, you commit to a guess, it is measured here and now, and you read what "
        "it means. Your guesses are in the address, so a link keeps them.",
    )

    def guesses() -> dict[int, str]:
        """What the learner has committed to, by step."""
        made = re.findall(r"(\d{1,2}):([^;]{1,40})", address.get("guesses", ""))
        return {int(at): told for at, told in made if 1 <= int(at) <= last}

    def commit(at: int, guess) -> None:
        told = f"{guess:g}" if isinstance(guess, float) else str(guess)
        made = {**guesses(), at: re.sub(r"[;:]", " ", told)}
        address.put(guesses=";".join(f"{step}:{told}" for step, told in sorted(made.items())))

    def result_table() -> pd.DataFrame:
        """Every guess beside what was measured."""
        made, rows = guesses(), []
        for at, one in enumerate(steps.STEPS, 1):
            if one.measure is None:
                continue
            rows.append(
                {
                    "step": at,
                    "question": one.question(taught),
                    "your guess": told(one, made[at]) if at in made else "–",
                    "measured": told(one, one.measure(taught)) if at in made else "guess first",
                }
            )
        return pd.DataFrame(rows)

    side, main = st.columns([1, 3], gap="large")
    with side:
        st.progress(number / last, text=f"Step {number} of {last}")
        for at, one in enumerate(steps.STEPS, 1):
            st.button(
                f"{at}. {one.title}",
                key=f"lesson-{at}",
                type="primary" if at == number else "tertiary",
                icon=":material/check_circle:" if at in guesses() else None,
                on_click=address.put,
                kwargs={"step": at},
            )
        st.button("Forget my guesses", type="tertiary", icon=":material/restart_alt:", on_click=address.put,
                  kwargs={"guesses": None, "step": None})  # fmt: skip
    with main:
        st.header(f"{number}. {step.title}", anchor=False)
        st.markdown(step.statement(taught))
        step.before(taught)
        guess = guesses().get(number)
        if step.ask is None:
            found = result_table()
            widths = {"step": 50, "question": 400, "your guess": 90, "measured": 90}
            widths = {name: st.column_config.Column(width=width) for name, width in widths.items()}
            tables.table(found, height="content", row_height=56, column_config=widths)
            tables.downloads("lesson", found)
            step.show(taught, None)
        elif guess is None:
            with st.form(f"guess-{number}", border=True):
                st.markdown(f"**{step.question(taught)}**")
                value = step.ask(taught)
                if st.form_submit_button("Commit", type="primary", icon=":material/lock:"):
                    if value is None:
                        st.warning("Commit to a guess first; a wrong one teaches as much.")
                    else:
                        commit(number, value)
                        address.again()
        else:
            st.markdown(f"**{step.question(taught)}**")
            if step.show is not steps.STEPS[2].show:
                yours, found = st.columns(2)
                yours.metric("Your guess", safe(step, guess))
                found.metric("Measured", safe(step, step.measure(taught)))
            step.show(taught, guess)
            if step is steps.STEPS[3] and 3 in guesses():
                before = steps.STEPS[2]
                st.markdown(f"Your guess for the selective unit was {safe(before, guesses()[3])}; measured: "
                            f"{safe(before, before.measure(taught))}.")  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Back", icon=":material/arrow_back:", shortcut="Left", disabled=number == 1, on_click=address.put,
                      kwargs={"step": number - 1})  # fmt: skip
            st.button("Next", icon=":material/arrow_forward:", shortcut="Right", disabled=number == last,
                      type="primary" if guess is not None or step.ask is None else "secondary", on_click=address.put,
                      kwargs={"step": number + 1})  # fmt: skip
            if step.link and (guess is not None or step.ask is None):
                view, query, label = step.link(taught)
                st.page_link(page_at(view), label=label, icon=":material/open_in_new:", query_params=query)
