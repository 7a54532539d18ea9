"""Keep what the learner committed to in the address: `made()` by step, `commit(3, 4.0)`, `results(lesson)`."""

import re
from typing import Any

import pandas as pd

from selviz.text import safe_text

from ...state import address
from . import steps
from .measures import Lesson


def made() -> dict[int, str]:
    """Return what the learner has committed to, by step."""
    pairs = re.findall(r"(\d{1,2}):([^;]{1,40})", address.get("guesses"))
    return {int(number): guess for number, guess in pairs if 1 <= int(number) <= len(steps.STEPS)}


def commit(number: int, guess: Any) -> None:
    """Write a guess to the address."""
    text = f"{guess:g}" if isinstance(guess, float) else str(guess)
    guesses = {**made(), number: re.sub(r"[;:]", " ", text)}
    address.update(guesses=";".join(f"{step}:{guess}" for step, guess in sorted(guesses.items())))


def text(step: steps.Step, value: object) -> str:
    """Return a guess or a measured value in words."""
    try:
        return step.told(value)
    except ValueError:  # a link may hold anything
        return str(value)


def markdown(step: steps.Step, value: object) -> str:
    """Return `text` for Markdown: a guess comes from a link, and a class name from anywhere."""
    words = text(step, value)
    return words if re.fullmatch(r"[-−]?[^\W_]([^\W_]|[ .−-])*", words) else safe_text.code(words)


def results(lesson: Lesson) -> pd.DataFrame:
    """Return every guess next to what was measured, one row per step that asks for one."""
    guesses, rows = made(), []
    for number, step in enumerate(steps.STEPS, 1):
        if step.measure is None or step.question is None:
            continue
        rows.append(
            {
                "step": number,
                "question": step.question(lesson),
                "your guess": text(step, guesses[number]) if number in guesses else "–",
                "measured": text(step, step.measure(lesson)) if number in guesses else "guess first",
            }
        )
    return pd.DataFrame(rows)
