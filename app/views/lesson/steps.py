"""The eight steps of the lesson: `STEPS[0].answer(lesson)`; what the learner guesses is measured, not told.

Each step states one thing, asks for one thing, measures it on the networks of this store, and says what was found in
one sentence without a term of statistics. The texts follow what was measured; nothing in them presumes an outcome.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import streamlit as st

from selviz.text import numbers, safe_text

from . import measures
from . import panels as views
from .measures import AS_GOOD, BETTER, BREAKS, NONE, WORSE, Lesson, of_hundred, size


class Step(NamedTuple):
    """One screen.

    `before` is drawn above the question. `ask` draws the question's widget and gives the guess; `measure` gives the
    answer in the same form, None where it cannot be measured here; `near` is how far a guess may be off to count as
    right. `answer` is the sentence that says what was measured, `picture` shows it, `experts` draws what it rests on.
    """

    title: str
    statement: Callable[[Lesson], str]
    question: Callable[[Lesson], str] | None = None
    ask: Callable[[Lesson], object] | None = None
    measure: Callable[[Lesson], object] | None = None
    told: Callable[[object], str] = str
    near: float = 0.0
    before: Callable[[Lesson], None] = lambda lesson: None
    answer: Callable[[Lesson], str] = lambda lesson: ""
    picture: Callable[[Lesson], None] = lambda lesson: None
    experts: Callable[[Lesson], None] | None = None
    link: Callable[[Lesson], tuple[str, dict, str]] | None = None
    short: bool = True  # whether it belongs to the version of 20 minutes


# -------------------------------------------------------------------------------------------------------- the questions


def _one_of(lesson: Lesson, options: Callable[[Lesson], list[str]]) -> str | None:
    more = {"horizontal": True, "index": None, "label_visibility": "collapsed", "format_func": safe_text.plain}
    return st.radio("Your guess", options(lesson), **more)


def _number(lesson: Lesson, most: Callable[[Lesson], float], unit: str, step: float) -> float | None:
    return st.number_input(unit, 0.0, float(most(lesson)), value=None, step=step, placeholder="your guess", width=240)


def _class(lesson: Lesson) -> str:
    return safe_text.plain(lesson.unit["preferred_class"])


def _layer(lesson: Lesson) -> str:
    return safe_text.plain(lesson.layer)


# ---------------------------------------------------------------------------------------------------------- the answers


def _likes(lesson: Lesson) -> str:
    times = measures.strength(lesson)
    if times is None:
        return f"It answers to **{_class(lesson)}** and to nothing else."
    return (
        f"It likes **{_class(lesson)}** best: it answers {times:.1f} times as strongly as to the average other class."
    )


def _count(lesson: Lesson) -> str:
    count, every = measures.selective(lesson), len(lesson.units)
    return (
        f"**{count} of {every} units** are selective, {of_hundred(count / every)}. Nobody asked for that: training "
        "alone brought it about."
    )


def _one_silent(lesson: Lesson) -> str:
    change = measures.drop(lesson)
    found = measures.ablation.ablate(lesson.request)
    worse, every = measures.random_units_that_hurt_more(lesson)
    others = {0: "none", every: "all"}.get(worse, str(worse))
    how = "the same" if change == 0 else f"{abs(change):g} {'fewer' if change > 0 else 'more'}"
    return (
        f"With the unit the network gets {of_hundred(found['accuracy_before'])} images right, without it "
        f"{of_hundred(found['accuracy_after'])}: **{how}**. Of {every} random units of this layer, **{others}** hurt "
        "more."
    )


def _many_silent(lesson: Lesson) -> str:
    found = measures.ablation.ablate(measures.many(lesson))
    return (
        f"On the half of the images that is kept for judging, the whole network gets "
        f"{of_hundred(found['accuracy_before'])} right; without the {size(lesson)} most selective units "
        f"{of_hundred(found['accuracy_after'])}, without {size(lesson)} random ones "
        f"{of_hundred(measures.random_many(lesson))}."
    )


def _class_silent(lesson: Lesson) -> str:
    found = measures.class_silenced(lesson)
    return (
        f"Of 100 images of class {safe_text.plain(found.name)} the whole network recognizes {100 * found.before:.0f}. "
        f"Without the {numbers.counted(found.units, 'unit')} that like it best: **{100 * found.after:.0f}**. Without "
        f"{numbers.counted(found.units, 'random unit')}: {100 * found.random:.0f}."
    )


def _suppressed(lesson: Lesson) -> str:
    run = measures.suppressed(lesson)
    if run is None:
        return "There is no network here in which selectivity was pushed down."
    own = lesson.others.loc[lesson.others["run"] == lesson.run]
    base = own.iloc[0] if len(own) else run
    share = run["mean_si_live"] / base["mean_si_live"] if base["mean_si_live"] else 1.0
    end = {
        AS_GOOD: "**So were they needed?**",
        WORSE: "It pays a price. **So were they needed, or is something else missing?**",
        BETTER: "It does even better. **So were they needed?**",
    }[str(measures.without_selectivity(lesson))]
    return (
        f"With {100 * share:.0f} % of the ordinary network's selectivity it gets "
        f"{of_hundred(run['test_accuracy'])} images right; the ordinary network {of_hundred(base['test_accuracy'])}. "
        + end
    )


def _picture_and_need(lesson: Lesson) -> str:
    worst = measures.hurt(lesson)
    _, losing, agree = measures.picture_and_need(lesson)
    first = "no class clearly loses" if worst == NONE else f"class **{safe_text.plain(worst)}** loses most"
    return (
        f"Without it {first}; its pictures show {_class(lesson)}. Of the {losing} units of this layer that cost some "
        f"class an image, **{agree}** hurt the class that their pictures show. What a unit likes and what it is needed "
        "for are two questions."
    )


# ------------------------------------------------------------------------------------------------------------ the links


def _unit_link(lesson: Lesson) -> tuple[str, dict, str]:
    query = {"run": lesson.run, "layer": lesson.layer, "unit": str(int(lesson.unit["unit"]))}
    return "unit", query, "Open this unit's page"


def _silence_link(lesson: Lesson) -> tuple[str, dict, str]:
    return "silence", {"run": lesson.run, "silence": lesson.request.units}, "Open this on the page Silence"


def _class_link(lesson: Lesson) -> tuple[str, dict, str]:
    query = {"run": lesson.run, "silence": measures.lovers(lesson).units, "fold": "1"}
    return "silence", query, "Open this on the page Silence"


STEPS = (
    Step(
        "One unit and its pictures",
        lambda lesson: (
            "A network that recognizes images is made of many small parts, called **units**. Each unit gets excited by "
            "some kind of picture. These nine excite one of its units most."
        ),
        lambda lesson: "Which class does this unit like best?",
        partial(_one_of, options=lambda lesson: lesson.names),
        lambda lesson: lesson.unit["preferred_class"],
        before=views.pictures,
        answer=_likes,
        picture=views.tuning,
        experts=views.index,
        link=_unit_link,
    ),
    Step(
        "How many are like that?",
        lambda lesson: (
            "We call a unit **selective** if it answers to one class more than three times as strongly as to the "
            f"average other class. We searched for the one you saw. This network has {len(lesson.units)} units."
        ),
        lambda lesson: f"How many of the {len(lesson.units)} units are selective?",
        partial(_number, most=lambda lesson: len(lesson.units), unit="units", step=1.0),
        measures.selective,
        told=lambda value: f"{float(value):g} units",
        near=10,
        answer=_count,
        picture=views.waffle,
        experts=views.histogram,
        link=lambda lesson: ("network", {"run": lesson.run}, "Browse all units"),
        short=False,
    ),
    Step(
        "Switch it off",
        lambda lesson: (
            f"If the network needs the unit that likes {_class(lesson)}, switching it off should hurt. We **silence** "
            "it: it stays dark, whatever the picture shows. Say a number before you see it."
        ),
        lambda lesson: "Of 100 images, how many more will the network get wrong?",
        partial(_number, most=lambda lesson: 100, unit="of 100 images", step=1.0),
        measures.drop,
        told=lambda value: f"{float(value):g} of 100",
        near=1,
        before=views.pictures,
        answer=_one_silent,
        picture=views.unit_dark,
        experts=views.one_beside_random,
        link=_silence_link,
    ),
    Step(
        "Many at once",
        lambda lesson: (
            f"Perhaps the other units stand in for it. So silence the {size(lesson)} most selective units of the last "
            f"layer together, and for comparison {size(lesson)} units that were drawn at random."
        ),
        lambda lesson: "Without the most selective units, what breaks compared with random ones is ...",
        partial(_one_of, options=lambda lesson: list(BREAKS)),
        measures.verdict,
        answer=_many_silent,
        picture=views.many_dark,
        experts=views.many_beside_random,
        link=lambda lesson: (
            "silence",
            {"run": lesson.run, "rule": "top", "layers": lesson.layer, "k": str(size(lesson)), "draws": "100"},
            "Open this on the page Silence",
        ),
        short=False,
    ),
    Step(
        "All units of one class",
        lambda lesson: f"Now all units of the last layer that like **{_class(lesson)}** best go dark at once.",
        lambda lesson: f"Of 100 images of class {_class(lesson)}, how many will the network still recognize?",
        partial(_number, most=lambda lesson: 100, unit="of 100 images", step=1.0),
        measures.still_right,
        told=lambda value: f"{float(value):g} of 100",
        near=10,
        answer=_class_silent,
        picture=views.class_dark,
        experts=views.class_by_class,
        link=_class_link,
    ),
    Step(
        "A network without such units",
        lambda lesson: (
            "A network can be trained to have less selective units: one number, **alpha**, pushes selectivity down "
            "(below 0) or up (above 0). Everything else stays the same."
        ),
        lambda lesson: "Compared with the ordinary network, one with selectivity pushed down is ...",
        partial(_one_of, options=lambda lesson: [WORSE, AS_GOOD, BETTER]),
        measures.without_selectivity,
        answer=_suppressed,
        picture=views.knob,
        experts=views.told_apart,
        link=lambda lesson: ("alpha", {"run": lesson.run}, "Open the page Alpha"),
    ),
    Step(
        "Can you trust the picture?",
        lambda lesson: (
            f"The pictures of our unit tell a clear story: it likes {_class(lesson)}. It is tempting to think that "
            "this is what the network needs it for."
        ),
        lambda lesson: "Which class loses most when the unit is silent?",
        partial(_one_of, options=lambda lesson: [*lesson.names, NONE]),
        measures.hurt,
        before=views.pictures,
        answer=_picture_and_need,
        picture=views.unit_and_classes,
        experts=views.trust,
        link=_silence_link,
        short=False,
    ),
    Step(
        "Your own claim, and the evidence",
        lambda lesson: (
            "What you guessed, next to what was measured. Then make a claim that could turn out wrong, and read what "
            "research says, on both sides."
        ),
        picture=views.summary,
    ),
)
