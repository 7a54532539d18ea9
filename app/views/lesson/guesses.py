"""Keep what the learner committed to in the address: `made()` by step, `commit(3, 4.0)`, `results(lesson)`."""

import re
from typing import Any

import pandas as pd

from selviz.text import safe_text

from ...state import address
from . import measures, steps
from .measures import Lesson

OLD_STEPS = {1: 1, 2: 2, 3: 3, 6: 4, 7: 7}  # of links of earlier versions (`guesses`): their number -> the one now
OLD_GUESSES = {"not told apart": measures.SAME}
RIGHT, CLOSE, WRONG = "Right", "Close", "Not this time"


def made() -> dict[int, str]:
    """Return what the learner has committed to, by step."""
    found = {OLD_STEPS[number]: guess for number, guess in _pairs("guesses") if number in OLD_STEPS}
    found |= {number: guess for number, guess in _pairs("answers") if 1 <= number <= len(steps.STEPS)}
    return {number: OLD_GUESSES.get(guess, guess) for number, guess in found.items()}


def _pairs(name: str) -> list[tuple[int, str]]:
    pairs = re.findall(r"(\d{1,2}):([^;]{1,40})", address.get(name))
    return [(int(number), guess) for number, guess in pairs]


def commit(number: int, guess: Any) -> None:
    """Write a guess to the address."""
    guesses = {**made(), number: as_text(guess)}
    address.update(answers=";".join(f"{step}:{guess}" for step, guess in sorted(guesses.items())), guesses=None)


def as_text(guess: Any) -> str:
    """Return a guess as the address holds it."""
    return re.sub(r"[;:]", " ", f"{guess:g}" if isinstance(guess, float) else str(guess))


def text(step: steps.Step, value: object) -> str:
    """Return a guess or a measured value in words."""
    try:
        return step.told(value)
    except ValueError:  # a link may hold anything
        return str(value)


def markdown(step: steps.Step, value: object) -> str:
    """Return `text` for Markdown: a guess comes from a link, and a class name from anywhere."""
    return as_markdown(text(step, value))


def as_markdown(words: str) -> str:
    """Return words as they are where they are letters, digits and the like, else as code."""
    return words if re.fullmatch(r"–|[-−]?[^\W_]([^\W_]|[ .−-])*", words) else safe_text.code(words)


def feedback(step: steps.Step, guess: str, measured: object) -> str:
    """Return RIGHT, CLOSE or WRONG: a number is right within half a unit, and close within `step.near`."""
    if isinstance(measured, str):
        return RIGHT if guess == as_text(measured) else WRONG
    try:
        off = abs(float(guess) - float(measured))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return WRONG
    return RIGHT if off <= 0.5 else CLOSE if off <= step.near else WRONG


def results(lesson: Lesson) -> pd.DataFrame:
    """Return every guess next to what was measured, one row per step that asks for one."""
    guesses, rows = made(), []
    for number, step in enumerate(steps.STEPS, 1):
        if step.measure is None or step.question is None:
            continue
        measured = step.measure(lesson) if number in guesses else None
        rows.append(
            {
                "step": number,
                "question": step.question(lesson),
                "your guess": text(step, guesses[number]) if number in guesses else "–",
                "measured": text(step, measured) if number in guesses else "guess first",
                "": feedback(step, guesses[number], measured) if number in guesses else "",
            }
        )
    return pd.DataFrame(rows)
