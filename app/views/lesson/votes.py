"""Gather a class's guesses: `cast(run, 3, "2")` when a learner commits, `counts(run, 3)` for the presenter's view.

Only how often each guess was made is kept, in the server's memory, as long as it runs; nothing of who made it.
"""

import html
import threading
from collections import Counter

import numpy as np
import streamlit as st

from ...state import reads
from . import guesses, steps
from .measures import Lesson

MAX_BARS = 12
MAX_BALLOTS = 1000  # questions whose votes are kept

Ballot = tuple[str, str, int]  # store, run, step


class Votes:
    """How often each guess was made, by ballot; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Ballot, Counter[str]] = {}

    def cast(self, ballot: Ballot, guess: str, instead_of: str | None) -> None:
        """Count a guess; `instead_of` is what the same tab had guessed before."""
        with self._lock:
            if ballot not in self._counts and len(self._counts) >= MAX_BALLOTS:
                self._counts.pop(next(iter(self._counts)))
            counts = self._counts.setdefault(ballot, Counter())
            if instead_of is not None and counts[instead_of] > 0:
                counts[instead_of] -= 1
            counts[guess] += 1

    def counts(self, ballot: Ballot) -> Counter[str]:
        """Return how often each guess was made."""
        with self._lock:
            return Counter({guess: count for guess, count in self._counts.get(ballot, Counter()).items() if count > 0})

    def clear(self, ballot: Ballot) -> None:
        """Forget the votes of a ballot."""
        with self._lock:
            self._counts.pop(ballot, None)


@st.cache_resource
def _votes() -> Votes:
    return Votes()


def cast(run: str, step: int, guess: str) -> None:
    """Count this tab's guess, once: a second one takes the place of the first."""
    ballot = (reads.data(), run, step)
    own = st.session_state.setdefault("votes", {})
    _votes().cast(ballot, guess, own.get(ballot))
    own[ballot] = guess


def counts(run: str, step: int) -> Counter[str]:
    """Return how often each guess was made in a step."""
    return _votes().counts((reads.data(), run, step))


def clear(run: str, step: int) -> None:
    """Begin the vote of a step again."""
    _votes().clear((reads.data(), run, step))


def of_the_class(found: Counter[str]) -> str | None:
    """Return the guess that stands for the class: the median of numbers, else the most frequent one."""
    if not found:
        return None
    try:
        return f"{float(np.median([float(guess) for guess in found.elements()])):g}"
    except ValueError:
        return found.most_common(1)[0][0]


def histogram(lesson: Lesson, number: int) -> None:
    """Draw the votes of a step as bars, in order of the numbers or by how many there are."""
    found, step = counts(lesson.run, number), steps.STEPS[number - 1]
    every = sum(found.values())
    st.markdown(f"**{every} {'vote' if every == 1 else 'votes'}**")
    if not every:
        st.caption("Guesses that are committed on this dashboard are counted here; nothing of who made them is kept.")
        return
    try:
        order = sorted(found, key=float)
    except ValueError:
        order = [guess for guess, _ in found.most_common()]
    most = max(found.values())
    bars = "".join(
        f"<div>{html.escape(guesses.text(step, guess))}</div>"
        f'<div><i style="width:{100 * found[guess] / most:.0f}%"></i><b>{found[guess]}</b></div>'
        for guess in order[:MAX_BARS]
    )
    told = html.escape("; ".join(f"{guess}: {found[guess]}" for guess in order))
    st.html(f'<div class="selviz-votes" role="img" aria-label="{told}">{bars}</div>')
    if len(order) > MAX_BARS:
        st.caption(f"and {len(order) - MAX_BARS} other guesses")
