"""What the steps of the lesson draw: `pictures(lesson)`, `tuning(lesson)`, ..., and for experts `index(lesson)`, ..."""

import html
from functools import partial

import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.figures import colors
from selviz.hypotheses import registry
from selviz.text import numbers, safe_text

from ...compute import ablation
from ...look import theme
from ...page import ablation_result, claims, gallery, job_panels, silencing, tables
from ...state import address, reads
from ...state.navigation import page_at
from . import measures
from .measures import DRAWS, HIGH, Lesson, many, size

# ------------------------------------------------------------------------------------------------ 1: one unit, pictures


def pictures(lesson: Lesson) -> None:
    """Draw the nine images that excite the unit most."""
    unit = int(lesson.unit["unit"])
    activations = reads.store().activations(lesson.run, lesson.layer, unit)
    most = activations.sort_values(["value", "image"], ascending=[False, True])["image"].head(9)
    st.container(key="lesson-pictures").html(gallery.strip(lesson.run, most.tolist()))
    st.caption(f"Unit {unit} of the last layer, {safe_text.plain(lesson.layer)}; strongest first.")


def tuning(lesson: Lesson) -> None:
    """Draw how strongly the unit answers to each class."""
    means = reads.store().class_means(lesson.run, lesson.layer, int(lesson.unit["unit"]))
    means = figures.with_mean_interval(means)
    tables.chart(
        "How strongly it answers to each class",
        partial(figures.unit.tuning, means, int(lesson.unit["preferred_index"]), theme.dark()),
        "A bar is the unit's mean answer to the images of a class; the line on it shows how sure that mean is.",
        means[["class", "mean", "low", "high", "images"]],
        "lesson-tuning",
    )


def index(lesson: Lesson) -> None:
    """Say what its class selectivity index is, and what shuffled labels give."""
    st.markdown(
        f"Its *class selectivity index* compares the largest bar with the mean of the others: "
        f"SI {numbers.si(lesson.unit['si'])}, where 0 is no preference and 1 means that it answers to one class alone. "
        f"Even with shuffled labels a unit reaches some SI by luck: here {numbers.si(lesson.unit['null_mean'])} on "
        f"average, {numbers.si(lesson.unit['null_p95'])} once in twenty. Lines on bars: 95 % intervals (t)."
    )


# -------------------------------------------------------------------------------------------------- 2: how many of them


def waffle(lesson: Lesson) -> None:
    """Draw a small square per unit, those that are selective in color."""
    count, every = measures.selective(lesson), len(lesson.units)
    shown = min(every, 400)
    marked = round(count / every * shown)
    hue, rest = colors.classes(10, theme.dark())[0], colors.OTHER[theme.dark()]
    looks = [f"background:{hue};border-color:{hue}"] * marked + [f"border-color:{rest}"] * (shown - marked)
    squares = "".join(f'<i style="{look}"></i>' for look in looks)
    told = html.escape(f"{count} of {every} units are selective")
    st.html(f'<div class="selviz-waffle" role="img" aria-label="{told}">{squares}</div>')
    silencing.board_of(lesson.request, "lesson", silent=False, classes=False)


def histogram(lesson: Lesson) -> None:
    """Draw every unit at its SI."""
    tables.chart(
        "Every unit at its SI",
        partial(figures.units.si_histograms, lesson.units, lesson.names, theme.dark()),
        f"A dot is a unit, colored by the class it prefers, hollow if dead. Selective here: SI over {HIGH}. Gray "
        "band: shuffled labels.",
        lesson.units,
        "lesson-histogram",
    )
    by_layer = lesson.units.groupby("layer", sort=False)["si"].mean()
    means = ", ".join(numbers.si(value) for value in by_layer)
    st.markdown(f"By layer, first to last, the mean SI is {means}.")


# -------------------------------------------------------------------------------------------------- 3, 4, 5: silence


def unit_dark(lesson: Lesson) -> None:
    """Draw the network with the unit silent; nothing is told of which class suffers."""
    silencing.board_of(lesson.request, "lesson", classes=False)


def unit_and_classes(lesson: Lesson) -> None:
    """Draw the network with the unit silent, and the classes before and after."""
    silencing.board_of(lesson.request, "lesson")


def many_dark(lesson: Lesson) -> None:
    """Draw the network with the most selective units silent."""
    silencing.board_of(many(lesson), "lesson")


def one_beside_random(lesson: Lesson) -> None:
    """Draw what silencing the unit does, with tests, and random and matched units beside it."""
    ablation_result.tests(ablation_result.overall(lesson.request))
    ablation_result.against_controls(lesson.request, ablation.ablate(lesson.request), DRAWS)


def many_beside_random(lesson: Lesson) -> None:
    """Draw what silencing the most selective units does, beside random and matched sets."""
    request = many(lesson)
    result = ablation.ablate(request)
    ablation_result.against_controls(request, result, DRAWS)
    st.markdown(
        f"The units were chosen on fold 0 and judged on fold 1 ({result['images']} images). *About as much* means that "
        "the rank test among random sets has p over 0.05, which does not mean that the same breaks; the matched sets "
        "ask whether selectivity matters beyond how active a unit is and how it is wired. Within a layer, selectivity "
        "has been found to go with importance; comparing units of different layers misleads (Amjad et al. 2022)."
    )


def class_dark(lesson: Lesson) -> None:
    """Draw the network with all units that prefer one class silent, and the classes before and after."""
    silencing.board_of(measures.lovers(lesson), "lesson")


def class_by_class(lesson: Lesson) -> None:
    """Say which classes change, with tests, and where the set ranks among random ones."""
    request = measures.lovers(lesson)
    result = ablation.ablate(request)
    st.markdown(ablation_result.class_tests(result))
    ablation_result.against_controls(request, result, DRAWS)
    st.markdown(f"The units were chosen on fold 0 and judged on fold 1 ({result['images']} images).")


# ------------------------------------------------------------------------------------- 6: a network without such units


def knob(lesson: Lesson) -> None:
    """Draw accuracy against mean SI of all networks of the kind."""
    if len(lesson.others) < 2:
        st.markdown("There is only one network of this kind in the store; train others with: `selviz demo`.")
        return
    runs = lesson.others
    runs = figures.runs.with_intervals(runs).assign(told=[numbers.run(row) for row in runs.to_dict("records")])
    tables.chart(
        "Right answers against selectivity",
        partial(figures.runs.accuracy_against_si, runs, figures.runs.LIVE_UNITS, theme.dark(), lesson.run),
        "A point is one network; blue: selectivity pushed down, orange: pushed up. The line on it shows how sure its "
        "height is.",
        runs[["run", "alpha", "seed", "test_accuracy", "low_share", "high_share", "mean_si_live"]],
        "lesson-knob",
    )


def told_apart(lesson: Lesson) -> None:
    """Say which networks a test tells apart."""
    runs = lesson.others
    if len(runs) < 2:
        return
    best, most = runs.loc[runs["test_accuracy"].idxmax()], runs.loc[runs["mean_si_live"].idxmax()]
    apart, tested = measures.told_apart(lesson)
    st.markdown(
        f"The best single result is {numbers.share(best['test_accuracy'], best['images'])} at alpha "
        f"{numbers.alpha(best['alpha'])}. Tested on the same images (McNemar's exact test, Holm-corrected for "
        f"{tested}), it is told from "
        + (", ".join(f"alpha {numbers.alpha(alpha)}" for alpha in apart) if apart else "no other network")
        + "; networks that are not told apart need not be equally good, and overlapping intervals are no test. The "
        f"most selective network (alpha {numbers.alpha(most['alpha'])}, mean SI {numbers.si(most['mean_si_live'])}) "
        f"has {numbers.share(most['test_accuracy'], most['images'])}. *About as good* means that McNemar's test of the "
        "two networks has p over 0.05. One network a setting is an illustration, not evidence: the published study "
        "trained about twenty."
    )


# --------------------------------------------------------------------------------------------- 7: is the picture right?


def trust(lesson: Lesson) -> None:
    """Draw what each class loses without the unit, and in how many units picture and need agree."""
    ablation_result.by_class(ablation.ablate(lesson.request))
    units, losing, agree = measures.picture_and_need(lesson)
    st.markdown(
        f"Of the {units} live units of {safe_text.plain(lesson.layer)}, {losing} cost some class at least one image "
        f"when they are silent alone. In {agree} of those the class that loses most is the class that the unit's "
        f"pictures show ({100 * agree / max(losing, 1):.0f} %; one class drawn at random would agree in about "
        f"{100 / len(lesson.names):.0f} %). Units of one network are no independent draws, so no interval is given. A "
        "single unit rarely moves the whole but can damage particular classes (Zhou et al. 2018)."
    )


# ------------------------------------------------------------------------------------------------------ 8: the evidence

EVIDENCE = """
**For "less than everyone thinks".** [Leavitt and Morcos 2020](https://arxiv.org/abs/2003.01262) trained networks with
one extra term in the loss. On CIFAR-10 a ResNet20 kept its accuracy with its mean selectivity cut 2.5-fold, and lost
about 2 points with it cut nearly to zero; raising selectivity lowered accuracy in every model and data set. In
ResNet18 on Tiny ImageNet, less selectivity even gained over 2 points. In a
[follow-up](https://arxiv.org/abs/2007.04440), less selective networks were more robust to natural corruptions and
less robust to attacks that know the network.

**Against.** [Badola and others 2023](https://openreview.net/forum?id=oEIcMi1ICm) dispute this: the conclusions move
with the definition of selectivity. [Amjad and others 2022](https://arxiv.org/abs/1804.06679) find that within a layer
selectivity goes with importance. [Ranadive and others 2023](https://arxiv.org/abs/2305.17409) find that selective
units appear in the first epochs, and that their early presence matters more than their later one.

**On method.** [Leavitt and Morcos 2020](https://arxiv.org/abs/2010.12016) warn of "illusory progress" from intuition,
and ask for clear claims that can fail. [Gale and others 2020](https://arxiv.org/abs/2007.01062) show that some
measures give "misleadingly high estimates" of selectivity.

**Limits of what you saw.** Small networks, small images, one network a setting, and settings that were chosen to show
the effect in about a minute: the demo illustrates a question, it does not answer it.
"""


def _claims(lesson: Lesson) -> dict[str, tuple[str, dict]]:
    """What a learner may claim: in words, and as a template with what it asks."""
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
    """The learner's own claim: chosen, registered, tested."""
    st.subheader("Your turn: make a claim that can fail", anchor=False)
    key = address.get("claim")
    if key:
        try:
            found = registry.find(reads.store(), key)[0]
        except SelvizError:
            address.not_found("hypothesis", key, "the claims to choose from")
        else:
            st.markdown(f"You registered: *{claims.sentence(found['statement'])}*")
            claims.verdict(found["hypothesis"])
            query = {"hypothesis": found["hypothesis"], "run": lesson.run}
            st.page_link(page_at("claims"), label="Open your claim", icon=":material/gavel:", query_params=query)
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


def _registered(template: str, asked: dict) -> None:
    try:
        record = registry.register(reads.store(), template, asked)
    except SelvizError as error:
        st.session_state["not registered"] = str(error)
    else:
        address.update(claim=record["hypothesis"])


def summary(lesson: Lesson) -> None:
    """Draw the learner's own claim, and the evidence on both sides."""
    _claim(lesson)
    st.markdown(EVIDENCE)
