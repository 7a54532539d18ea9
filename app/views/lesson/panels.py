"""What the steps of the lesson draw, and what they say of it: `pictures(lesson)`, `tuning(lesson, guess)`, ..."""

import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.hypotheses import registry
from selviz.text import numbers, safe_text

from ...compute import ablation
from ...look import theme
from ...page import ablation_result, claims, gallery, job_panels, silencing, tables
from ...state import address, reads
from ...state.navigation import page_at
from .measures import DRAWS, HIGH, Lesson, many, selective, size, told_apart, worst_classes

# -------------------------------------------------------------------------------------------------- 1: a selective unit


def pictures(lesson: Lesson) -> None:
    unit = int(lesson.unit["unit"])
    activations = reads.store().activations(lesson.run, lesson.layer, unit)
    top_images = activations.sort_values(["value", "image"], ascending=[False, True])["image"].head(9)
    st.html(gallery.strip(lesson.run, top_images.tolist()))
    st.caption(f"The nine images that drive unit {unit} of {safe_text.plain(lesson.layer)} most, strongest first.")


def tuning(lesson: Lesson, guess: str | None) -> None:
    means = reads.store().class_means(lesson.run, lesson.layer, int(lesson.unit["unit"]))
    means = figures.with_mean_interval(means)
    tables.chart(
        "Its response to each class",
        figures.unit.tuning(means, int(lesson.unit["preferred_index"]), theme.dark()),
        "A bar is the unit's mean activation over the images of a class, with the 95 % interval (t) of that mean.",
        means[["class", "mean", "low", "high", "images"]],
        "lesson-tuning",
    )
    st.markdown(
        f"Its **class selectivity index** compares the largest bar with the mean of the others: "
        f"SI {numbers.si(lesson.unit['si'])}, where 0 is no preference and 1 means that it answers to one class alone. "
        f"Even with shuffled labels a unit reaches some SI by luck: here {numbers.si(lesson.unit['null_mean'])} on "
        f"average, {numbers.si(lesson.unit['null_p95'])} once in twenty."
    )


# -------------------------------------------------------------------------------------------------- 2: how many of them


def histogram(lesson: Lesson, guess: str | None) -> None:
    silencing.board_of(lesson.asked, "lesson", silent=False, classes=False)
    tables.chart(
        "Every unit at its SI",
        figures.units.si_histograms(lesson.units, lesson.names, theme.dark()),
        "A dot is a unit, coloured by the class it prefers, hollow if dead. Grey band: shuffled labels.",
        lesson.units,
        "lesson-histogram",
    )
    by_layer = lesson.units.groupby("layer", sort=False)["si"].mean()
    st.markdown(
        f"{selective(lesson)} of {len(lesson.units)} units have an SI over {HIGH}. By layer, first to last, the mean "
        "is "
        + ", ".join(numbers.si(value) for value in by_layer)
        + ". Nobody asked for selectivity in this network (alpha 0): training alone brought it about."
    )


# ----------------------------------------------------------------------------------------- 3 and 4: silence one of them


def patience(lesson: Lesson, guess: str | None) -> None:
    st.markdown("Your number is noted. The next step silences the unit.")


def silenced(lesson: Lesson) -> None:
    silencing.board_of(lesson.asked, "lesson", classes=False)
    ablation_result.tests(ablation_result.overall(lesson.asked))


def beside_random(lesson: Lesson, guess: str | None) -> None:
    ablation_result.against_controls(lesson.asked, ablation.ablate(lesson.asked), DRAWS)


# ---------------------------------------------------------------------------------------------------- 5: the knob alpha


def knob(lesson: Lesson, guess: str | None) -> None:
    runs = lesson.others
    runs = figures.runs.with_intervals(runs).assign(told=[numbers.run(row) for row in runs.to_dict("records")])
    tables.chart(
        "Accuracy against selectivity",
        figures.runs.accuracy_against_si(runs, figures.runs.LIVE_UNITS, theme.dark()),
        "A point is one network, its whiskers the 95 % Wilson interval of its accuracy. Blue: selectivity suppressed, "
        "orange: encouraged. Bars at the foot: what shuffled labels give.",
        runs[["run", "alpha", "seed", "test_accuracy", "low_share", "high_share", "mean_si_live"]],
        "lesson-knob",
    )
    best = runs.loc[runs["test_accuracy"].idxmax()]
    apart, tested = told_apart(lesson)
    most_selective = runs.loc[runs["mean_si_live"].idxmax()]
    st.markdown(
        f"The best single result is {numbers.share(best['test_accuracy'], best['images'])} at alpha "
        f"{numbers.alpha(best['alpha'])}. Tested on the same images (McNemar's exact test, Holm-corrected for "
        f"{tested}), it is told from "
        + (", ".join(f"alpha {numbers.alpha(alpha)}" for alpha in apart) if apart else "no other network")
        + "; networks that are not told apart need not be equally good, and overlapping intervals are no "
        "test. The most "
        f"selective network (alpha "
        f"{numbers.alpha(most_selective['alpha'])}, mean SI {numbers.si(most_selective['mean_si_live'])}) has "
        f"{numbers.share(most_selective['test_accuracy'], most_selective['images'])}. One network a "
        "setting is an illustration, not "
        "evidence: the published study trained about twenty."
        if len(runs) > 1
        else "There is only one network of this kind in the store; train others with: `selviz demo`."
    )


# ------------------------------------------------------------------------------------------------------ 6: many at once


def many_shown(lesson: Lesson, guess: str | None) -> None:
    effect = many(lesson)
    silencing.board_of(effect, "lesson")
    result = ablation.ablate(effect)
    ablation_result.against_controls(effect, result, DRAWS)
    st.markdown(
        f"The units were chosen on one half of the images and judged on the other ({result['images']} images). The "
        "verdict says *not told apart* unless the rank test against random sets has p at most 0.05, which does "
        "not mean "
        "that as much breaks; the matched sets ask whether selectivity matters beyond how active a unit is and "
        "how it is "
        "wired. Within a layer, selectivity has been found to go "
        "with importance; comparing units of different layers misleads (Amjad et al. 2022)."
    )


# --------------------------------------------------------------------------------------------- 7: is the picture right?


def trust(lesson: Lesson, guess: str | None) -> None:
    silencing.board_of(lesson.asked, "lesson")
    ablation_result.by_class(ablation.ablate(lesson.asked))
    worst = worst_classes(lesson.run, lesson.layer)
    live = lesson.units[(lesson.units["layer"] == lesson.layer) & ~lesson.units["dead"]]
    table = live.merge(worst, on="unit")
    losing = table[table["change"] < 0]
    agree = int((losing["worst"] == losing["preferred_index"]).sum())
    st.markdown(
        f"Of the {len(table)} live units of {safe_text.plain(lesson.layer)}, {len(losing)} cost some class at least "
        f"one image when they are silent alone. In {agree} of those the class that loses most is the class that the "
        f"unit's pictures show ({100 * agree / max(len(losing), 1):.0f} %; one class drawn at random would "
        f"agree in about {100 / len(lesson.names):.0f} %). Units of one network are no independent draws, so no "
        "interval "
        "is given. What a unit responds to and what it is needed for are two "
        "questions; a single unit rarely moves the whole but can damage particular classes (Zhou et al. 2018)."
    )


# ------------------------------------------------------------------------------------------------------ 8: the evidence

EVIDENCE = """
**For "less than everyone thinks".** Leavitt and Morcos (2020, arXiv 2003.01262) trained networks with one extra term in
the loss. On CIFAR-10 a ResNet20 kept its test accuracy with its mean selectivity cut 2.5-fold, and lost about 2 points
with it cut nearly to zero; raising selectivity lowered accuracy in every model and data set. In ResNet18 on Tiny
ImageNet, less selectivity even gained over 2 points. In a follow-up (2007.04440), less selective networks
were more robust to natural corruptions and less robust to white-box attacks, which a masked gradient can also bring
about.

**Against.** Badola et al. (2023) dispute this: the conclusions move with the definition of selectivity. Amjad et al.
(2022, 1804.06679) find that within a layer selectivity goes with importance. Ranadive et al. (2023, 2305.17409) find
that selective units appear in the first epochs, and that their early presence matters more than their later one.

**On method.** Leavitt and Morcos (2020, 2010.12016) warn of "illusory progress" from intuition, and ask for clear,
falsifiable hypotheses. Gale et al. (2020, 2007.01062) show that some measures give "misleadingly high estimates" of
selectivity.

**Further.** Try robustness and dimensionality on the pages of these names; 2010.07693 links the two to selectivity.

**Limits of what you saw.** Small networks, small images, one seed a setting, and settings that were chosen to show the
effect in about a minute: the demo illustrates a question, it does not answer it.
"""


def _claims(lesson: Lesson) -> dict[str, tuple[str, dict]]:
    """Return what a learner may claim: in words, and as a template with what it asks."""
    layer, unit = safe_text.plain(lesson.layer), int(lesson.unit["unit"])
    inside = {"run": lesson.run, "layer": lesson.layer}
    return {
        f"The {size(lesson)} most selective units of {layer} matter more than random ones": (
            "selective",
            {**inside, "k": size(lesson)},
        ),
        f"In {layer}, the more selective a unit, the more it matters": ("predicts", inside),
        f"Unit {unit} of {layer} is necessary for class {safe_text.plain(lesson.unit['preferred_class'])}": (
            "necessary",
            {"run": lesson.run, "unit": f"{lesson.layer}:{unit}", "class": lesson.unit["preferred_class"]},
        ),
    }


def _claim(lesson: Lesson) -> None:
    """Show the learner's own claim: chosen, registered, tested."""
    st.subheader("Your turn: make a claim that can fail", anchor=False)
    key = address.get("claim")
    if key:
        try:
            claim = registry.find(reads.store(), key)[0]
        except SelvizError:
            address.not_found("hypothesis", key, "the claims to choose from")
        else:
            st.markdown(f"You registered: *{claims.sentence(claim['statement'])}*")
            claims.verdict(claim["hypothesis"])
            query = {"hypothesis": claim["hypothesis"], "run": lesson.run}
            st.page_link(page_at("hypotheses"), label="Open your claim", icon=":material/gavel:", query_params=query)
            return
    options = _claims(lesson)
    chosen = st.radio("Your claim", list(options), index=None, label_visibility="collapsed")
    st.markdown(
        "A registered claim says beforehand what is measured and what would refute it, and cannot be changed. Whatever "
        "comes out stays in the ledger."
    )
    st.button("Register it", type="primary", icon=":material/lock:", on_click=_registered,
              args=options.get(chosen, ("", {})), **job_panels.writing_control(chosen is None))  # fmt: skip
    if failed := st.session_state.pop("not registered", None):
        st.error("It was not registered.", icon=":material/error:")
        st.code(failed, language=None, wrap_lines=True)


def _registered(template: str, requested: dict) -> None:
    try:
        record = registry.register(reads.store(), template, requested)
    except SelvizError as error:
        st.session_state["not registered"] = str(error)
    else:
        address.update(claim=record["hypothesis"])


def summary(lesson: Lesson, guess: str | None) -> None:
    _claim(lesson)
    st.markdown(EVIDENCE)
