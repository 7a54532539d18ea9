"""The eight steps of the lesson: `STEPS[0].show(lesson, guess)`; what the learner guesses is measured, not told.

Each step states something, asks for one thing, measures it on the networks of this store, and says what was found. The
texts follow what was measured; nothing in them presumes an outcome.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from selviz.text import safe_text

from . import measures
from . import panels as views
from .measures import BREAKS, DRAWS, HIGH, Lesson, size


class Step(NamedTuple):
    """One screen. `ask` draws the question's widget and gives the guess; `measure` gives the answer in the same form;
    `show` draws what it rests on and says what it means. `before` is drawn above the question."""

    title: str
    statement: Callable[[Lesson], str]
    question: Callable[[Lesson], str] | None = None
    ask: Callable[[Lesson], object] | None = None
    measure: Callable[[Lesson], object] | None = None
    told: Callable[[object], str] = str
    before: Callable[[Lesson], None] = lambda lesson: None
    show: Callable[[Lesson, str | None], None] = lambda lesson, guess: None
    link: Callable[[Lesson], tuple[str, dict, str]] | None = None


# -------------------------------------------------------------------------------------------------------- the questions


def _one_class(lesson: Lesson) -> str | None:
    options = {"horizontal": True, "index": None, "label_visibility": "collapsed"}
    return st.radio("Your guess", lesson.names, format_func=safe_text.plain, **options)


def _number(lesson: Lesson, max_value: Callable[[Lesson], float], unit: str, step: float) -> float | None:
    return st.number_input(
        unit, 0.0, float(max_value(lesson)), value=None, step=step, placeholder="your guess", width=240
    )


def _one_of(lesson: Lesson, options: Callable[[Lesson], list[str]]) -> str | None:
    return st.radio("Your guess", options(lesson), horizontal=True, index=None, label_visibility="collapsed")


# ------------------------------------------------------------------------------------------------------------ the steps


def _unit_link(lesson: Lesson) -> tuple[str, dict, str]:
    query = {"run": lesson.run, "layer": lesson.layer, "unit": str(int(lesson.unit["unit"]))}
    return "unit", query, "Open this unit's page"


def _ablation_link(lesson: Lesson) -> tuple[str, dict, str]:
    return "ablation", {"run": lesson.run, "silence": lesson.asked.units}, "Open this on the Ablation page"


def _points(value: Any) -> str:
    return f"{float(value):g} points"


STEPS = (
    Step(
        "What is a selective unit?",
        lambda lesson: (
            "An image classifier is layers of *units*; each looks for some pattern. A unit is **class-selective** if "
            "it responds to one class more than to the others. Below is one unit's view of the world."
        ),
        lambda lesson: "Look at the images. Which class does this unit prefer?",
        _one_class,
        lambda lesson: lesson.unit["preferred_class"],
        before=views.pictures,
        show=views.tuning,
        link=_unit_link,
    ),
    Step(
        "How many of them are there?",
        lambda lesson: (
            "One such unit is easily found, and it makes a good picture. Is it typical? This "
            f"network has {len(lesson.units)} units, and nothing in its training asked for selectivity."
        ),
        lambda lesson: f"How many of the {len(lesson.units)} units have an SI over {HIGH}?",
        partial(_number, max_value=lambda lesson: len(lesson.units), unit="units", step=1.0),
        measures.selective,
        told=lambda value: f"{float(value):g} units",
        show=views.histogram,
        link=lambda lesson: ("units", {"run": lesson.run}, "Browse all units"),
    ),
    Step(
        "What happens without it?",
        lambda lesson: (
            f"Back to unit {int(lesson.unit['unit'])} of {safe_text.plain(lesson.layer)}, the most selective of its "
            f"layer: it prefers class {safe_text.plain(lesson.unit['preferred_class'])}. If the network needs it, "
            "silencing it should hurt. Commit to a number before you see it."
        ),
        lambda lesson: "By how many points does the accuracy fall when this unit is silent?",
        partial(_number, max_value=lambda lesson: 100, unit="points", step=0.5),
        measures.drop,
        told=_points,
        before=views.pictures,
        show=views.patience,
    ),
    Step(
        "Silence it, then a random one",
        lambda lesson: (
            "Here is the network without the unit: every evaluation image is classified again, exactly. Whether that "
            "is much can only be said beside other units."
        ),
        lambda lesson: (
            "A random unit of the same layer: by how many points does the accuracy fall (median of 100 draws)?"
        ),
        partial(_number, max_value=lambda lesson: 100, unit="points", step=0.5),
        measures.random_drop,
        told=_points,
        before=views.silenced,
        show=views.beside_random,
        link=_ablation_link,
    ),
    Step(
        "Turn the knob",
        lambda lesson: (
            "One number, alpha, in the training loss suppresses selectivity in every unit (below 0) or encourages it "
            "(above 0). If networks need selective units, suppressing them should cost accuracy."
        ),
        lambda lesson: "Which alpha gives the highest test accuracy?",
        partial(_one_of, options=measures.alphas),
        measures.best,
        told=lambda value: f"alpha {value}",
        show=views.knob,
        link=lambda lesson: ("overview", {"run": lesson.run}, "Open the Overview"),
    ),
    Step(
        "Many at once",
        lambda lesson: (
            f"One unit among many may be spared because others stand in for it. So silence the {size(lesson)} most "
            f"selective units of {safe_text.plain(lesson.layer)} together, and compare with {DRAWS} random sets of as "
            "many."
        ),
        lambda lesson: "Without the most selective units, what breaks beside random ones is ...",
        partial(_one_of, options=lambda lesson: list(BREAKS.values())),
        measures.verdict,
        show=views.many_shown,
        link=lambda lesson: (
            "ablation",
            {"run": lesson.run, "rule": "top", "layers": lesson.layer, "k": str(size(lesson)), "draws": str(DRAWS)},
            "Open this on the Ablation page",
        ),
    ),
    Step(
        "Is the picture to be trusted?",
        lambda lesson: (
            f"Unit {int(lesson.unit['unit'])}'s pictures tell a clear story: it likes class "
            f"{safe_text.plain(lesson.unit['preferred_class'])}. It is tempting to think that this is what it is for."
        ),
        lambda lesson: "Which class loses most accuracy when the unit is silent?",
        _one_class,
        measures.hurt,
        before=views.pictures,
        show=views.trust,
        link=_ablation_link,
    ),
    Step(
        "A claim of your own, and the evidence",
        lambda lesson: (
            "What you guessed beside what was measured; then a claim that you register before it is tested; and what "
            "the literature says, on both sides."
        ),
        show=views.summary,
    ),
)
