"""The eight steps of the lesson: `STEPS[0].draw(lesson, guess)`; what the learner guesses is measured, not told.

Each step states something, asks for one thing, measures it on the networks of this store, and says what was found. The
texts follow what was measured; nothing in them presumes an outcome.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from app import charts, claims, common, gallery, heavy, links, readouts, selection, silencing, wording, work
from app.silencing import Asked
from selviz.errors import SelvizError
from selviz.hypotheses import records
from selviz.statistics import mean_interval, wilson

MANY, DRAWS = 10, 100
HIGH = 0.5


class Lesson(NamedTuple):
    """What the lesson is taught on: a baseline run, its units, and in its last layer the most selective unit."""

    run: str
    units: pd.DataFrame
    names: list[str]
    layer: str
    unit: dict
    others: pd.DataFrame  # all finished runs of the same data set and network

    @property
    def star(self) -> dict[str, list[int]]:
        return {self.layer: [int(self.unit["unit"])]}

    @property
    def asked(self) -> Asked:
        return Asked(self.run, links.units_to_text(self.star))


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


def start(run: dict) -> Lesson:
    """The lesson on a run; the run should be a baseline, which `baseline` finds."""
    units = common.read("units", run["name"])
    layer = units["layer"].iloc[-1]
    inside = units[(units["layer"] == layer) & ~units["dead"]]
    inside = inside if len(inside) else units[units["layer"] == layer]
    star = inside.sort_values(["si", "unit"], ascending=[False, True]).iloc[0].to_dict()
    table = common.runs()
    same = (table["dataset"] == run["dataset"]) & (table["model"] == run["model"]) & (table["epochs"] != 0)
    others = table[same & (table["state"] == "finished") & table["alpha"].notna()].sort_values("alpha")
    return Lesson(run["name"], units, common.class_names(run["name"]), layer, star, others)


def baseline(run: dict) -> str | None:
    """The name of the run of the same kind with alpha 0, where `run` is not one itself."""
    if run["alpha"] == 0 and run["epochs"] != 0:
        return None
    table = common.runs()
    same = (table["dataset"] == run["dataset"]) & (table["model"] == run["model"]) & (table["state"] == "finished")
    found = table[same & (table["alpha"] == 0) & (table["epochs"] != 0)]["run"]
    return found.iloc[0] if len(found) else None


# -------------------------------------------------------------------------------------------------------- the questions


def _one_class(lesson: Lesson):
    options = {"horizontal": True, "index": None, "label_visibility": "collapsed"}
    return st.radio("Your guess", lesson.names, format_func=wording.plain, **options)


def _number(lesson: Lesson, most: Callable[[Lesson], float], unit: str, step: float):
    return st.number_input(unit, 0.0, float(most(lesson)), value=None, step=step, placeholder="your guess", width=240)


def _one_of(lesson: Lesson, options: Callable[[Lesson], list[str]]):
    return st.radio("Your guess", options(lesson), horizontal=True, index=None, label_visibility="collapsed")


# -------------------------------------------------------------------------------------------------- 1: a selective unit


def _pictures(lesson: Lesson) -> None:
    unit = int(lesson.unit["unit"])
    activations = common.read("activations", lesson.run, lesson.layer, unit)
    most = activations.sort_values(["value", "image"], ascending=[False, True])["image"].head(9)
    st.html(gallery.strip(lesson.run, most.tolist()))
    st.caption(f"The nine images that drive unit {unit} of {wording.plain(lesson.layer)} most, strongest first.")


def _tuning(lesson: Lesson, guess) -> None:
    means = common.read("class_means", lesson.run, lesson.layer, int(lesson.unit["unit"]))
    low, high = mean_interval(means["mean"], means["std"], means["images"])
    means = means.assign(low=low, high=high)
    common.chart(
        "Its response to each class",
        charts.unit.tuning(means, int(lesson.unit["preferred_index"]), common.dark()),
        "A bar is the unit's mean activation over the images of a class, with the 95 % interval (t) of that mean.",
        means[["class", "mean", "low", "high", "images"]],
        "lesson-tuning",
    )
    st.markdown(
        f"Its **class selectivity index** compares the largest bar with the mean of the others: "
        f"SI {wording.si(lesson.unit['si'])}, where 0 is no preference and 1 means that it answers to one class alone. "
        f"Even with shuffled labels a unit reaches some SI by luck: here {wording.si(lesson.unit['null_mean'])} on "
        f"average, {wording.si(lesson.unit['null_p95'])} once in twenty."
    )


# -------------------------------------------------------------------------------------------------- 2: how many of them


def _selective(lesson: Lesson) -> int:
    return int((lesson.units["si"] > HIGH).sum())


def _histogram(lesson: Lesson, guess) -> None:
    common.chart(
        "Every unit at its SI",
        charts.units.si_histograms(lesson.units, lesson.names, common.dark()),
        "A dot is a unit, coloured by the class it prefers, hollow if dead. Grey band: shuffled labels.",
        lesson.units,
        "lesson-histogram",
    )
    by_layer = lesson.units.groupby("layer", sort=False)["si"].mean()
    st.markdown(
        f"{_selective(lesson)} of {len(lesson.units)} units have an SI over {HIGH}. By layer, first to last, the mean "
        "is "
        + ", ".join(wording.si(value) for value in by_layer)
        + ". Nobody asked for selectivity in this network (alpha 0): training alone brought it about."
    )


# ----------------------------------------------------------------------------------------- 3 and 4: silence one of them


def _drop(lesson: Lesson) -> float:
    return round(-100 * silencing.answer(lesson.asked)["change"], 1)


def _patience(lesson: Lesson, guess) -> None:
    st.markdown("Your number is noted. The next step silences the unit.")


def _random_drop(lesson: Lesson) -> float:
    accuracies = silencing.control(lesson.asked, "control", 20)["accuracies"]
    return round(100 * (silencing.answer(lesson.asked)["accuracy_before"] - float(np.median(accuracies))), 1)


def _silenced(lesson: Lesson) -> None:
    readouts.overall(lesson.asked)


def _beside_random(lesson: Lesson, guess) -> None:
    readouts.against_controls(lesson.asked, silencing.answer(lesson.asked), 20)


# ---------------------------------------------------------------------------------------------------- 5: the knob alpha


def _alphas(lesson: Lesson) -> list[str]:
    return [wording.alpha(alpha) for alpha in dict.fromkeys(lesson.others["alpha"])]


def _best(lesson: Lesson) -> str:
    return wording.alpha(lesson.others.groupby("alpha")["test_accuracy"].mean().idxmax())


def _knob(lesson: Lesson, guess) -> None:
    runs = lesson.others
    low, high = wilson((runs["test_accuracy"] * runs["images"]).round(), runs["images"])
    runs = runs.assign(low_share=low, high_share=high, told=[wording.run(row) for row in runs.to_dict("records")])
    common.chart(
        "Accuracy against selectivity",
        charts.runs.accuracy_against_si(runs, charts.runs.LIVE_UNITS, common.dark()),
        "A point is one network, its whiskers the 95 % Wilson interval of its accuracy. Blue: selectivity suppressed, "
        "orange: encouraged. Bars at the foot: what shuffled labels give.",
        runs[["run", "alpha", "seed", "test_accuracy", "low_share", "high_share", "mean_si_live"]],
        "lesson-knob",
    )
    best = runs.loc[runs["test_accuracy"].idxmax()]
    overlap = runs[runs["high_share"] >= best["low_share"]]["alpha"]
    most = runs.loc[runs["mean_si_live"].idxmax()]
    st.markdown(
        f"The best single result is {wording.share(best['test_accuracy'], best['images'])} at alpha "
        f"{wording.alpha(best['alpha'])}; the intervals of alpha "
        + ", ".join(wording.alpha(alpha) for alpha in overlap)
        + f" reach into its own, so these cannot be told apart here. The most selective network (alpha "
        f"{wording.alpha(most['alpha'])}, mean SI {wording.si(most['mean_si_live'])}) has "
        f"{wording.share(most['test_accuracy'], most['images'])}. One network a setting is an illustration, not "
        "evidence: the published study trained about twenty."
        if len(runs) > 1
        else "There is only one network of this kind in the store; train others with: `selviz demo`."
    )


# ------------------------------------------------------------------------------------------------------ 6: many at once


def _many(lesson: Lesson) -> Asked:
    table = selection.metrics(lesson.run)
    inside = table[table["layer"] == lesson.layer].sort_values(["si", "unit"], ascending=[False, True])
    units = {lesson.layer: sorted(inside["unit"].head(_size(lesson)).astype(int))}
    return Asked(lesson.run, links.units_to_text(units), fold=1)


def _size(lesson: Lesson) -> int:
    return max(1, min(MANY, int((lesson.units["layer"] == lesson.layer).sum()) // 2))


BREAKS = {-1: "more", 0: "about as much", 1: "less"}


def _verdict(lesson: Lesson) -> str:
    rank = silencing.control(_many(lesson), "control", DRAWS)
    return BREAKS[0 if rank["p"] > 0.05 else -1 if rank["quantile"] < 0.5 else 1]


def _many_shown(lesson: Lesson, guess) -> None:
    asked = _many(lesson)
    result = silencing.answer(asked)
    readouts.against_controls(asked, result, DRAWS)
    st.markdown(
        f"The units were chosen on one half of the images and judged on the other ({result['images']} images). The "
        "verdict says *about as much* unless the rank test against random sets has p at most 0.05; the matched sets "
        "ask whether selectivity matters beyond how active a unit is. Within a layer, selectivity has been found to go "
        "with importance; comparing units of different layers misleads (Amjad et al. 2022)."
    )


# --------------------------------------------------------------------------------------------- 7: is the picture right?


def _hurt(lesson: Lesson) -> str:
    changes = [
        row["change"] if row["change"] is not None else 0.0 for row in silencing.answer(lesson.asked)["per_class"]
    ]
    return lesson.names[int(np.argmin(changes))]


def _worst_classes(run: str, layer: str) -> pd.DataFrame:
    """Each unit's class with the largest loss when it is silent alone: unit, worst (its index), change."""
    key = ("worst classes", common.data(), common.stamp(run), run, layer)
    told = "Silencing every unit of the layer ..."
    return heavy.kept(key, partial(_silence_each, run, layer), told, long=True)


def _silence_each(run: str, layer: str) -> pd.DataFrame:
    from selviz.ablation import atlas_layer

    _, table = atlas_layer(silencing.engine(run, None), layer, len(common.class_names(run)))
    table = table.assign(change=table["after"] - table["before"])
    worst = table.loc[table.groupby("unit")["change"].idxmin()]
    return worst.rename(columns={"class": "worst"})[["unit", "worst", "change"]]


def _trust(lesson: Lesson, guess) -> None:
    readouts.by_class(silencing.answer(lesson.asked))
    worst = _worst_classes(lesson.run, lesson.layer)
    live = lesson.units[(lesson.units["layer"] == lesson.layer) & ~lesson.units["dead"]]
    table = live.merge(worst, on="unit")
    losing = table[table["change"] < 0]
    agree = int((losing["worst"] == losing["preferred_index"]).sum())
    low, high = wilson(agree, len(losing)) if len(losing) else (0.0, 1.0)
    st.markdown(
        f"Of the {len(table)} live units of {wording.plain(lesson.layer)}, {len(losing)} cost some class at least one "
        f"image when they are silent alone. In {agree} of those the class that loses most is the class that the unit's "
        f"pictures show ({100 * float(low):.0f} to {100 * float(high):.0f} %, 95 % Wilson interval; chance would be "
        f"about {100 / len(lesson.names):.0f} %). What a unit responds to and what it is needed for are two questions; "
        "a single unit rarely moves the whole but can damage particular classes (Zhou et al. 2018)."
    )


# ------------------------------------------------------------------------------------------------------ 8: the evidence

EVIDENCE = """
**For "less than everyone thinks".** Leavitt and Morcos (2020, arXiv 2003.01262) trained networks with one extra term in
the loss. On CIFAR-10 a ResNet20 kept its test accuracy with its mean selectivity cut 2.5-fold, and lost about 2 points
with it cut nearly to zero; raising selectivity lowered accuracy in every model and data set. In ResNet18 on Tiny
ImageNet, less selectivity even gained over 2 points. In follow-ups (2007.04440, 2010.07693), less selective networks
were more robust to natural corruptions and less robust to white-box attacks.

**Against.** Badola et al. (2023) dispute this: the conclusions move with the definition of selectivity. Amjad et al.
(2022, 1804.06679) find that within a layer selectivity goes with importance. Ranadive et al. (2023, 2305.17409) find
that selective units appear in the first epochs, and that their early presence matters more than their later one.

**On method.** Leavitt and Morcos (2020, 2010.12016) warn of "illusory progress" from intuition, and ask for clear,
falsifiable hypotheses. Gale et al. (2020, 2007.01062) show that some measures give "misleadingly high estimates" of
selectivity.

**Further.** Leavitt and Morcos (2020, 2007.04440) report that networks of lower selectivity survive corrupted images
better and attacks worse: try it on the pages Robustness and Dimensionality.

**Limits of what you saw.** Small networks, small images, one seed a setting, and settings that were chosen to show the
effect in about a minute: the demo illustrates a question, it does not answer it.
"""


def _claims(lesson: Lesson) -> dict[str, tuple[str, dict]]:
    """What a learner may claim: in words, and as a template with what it asks."""
    layer, unit = wording.plain(lesson.layer), int(lesson.unit["unit"])
    inside = {"run": lesson.run, "layer": lesson.layer}
    return {
        f"The {_size(lesson)} most selective units of {layer} matter more than random ones": (
            "selective",
            {**inside, "k": _size(lesson)},
        ),
        f"In {layer}, the more selective a unit, the more it matters": ("predicts", inside),
        f"Unit {unit} of {layer} is necessary for class {wording.plain(lesson.unit['preferred_class'])}": (
            "necessary",
            {"run": lesson.run, "unit": f"{lesson.layer}:{unit}", "class": lesson.unit["preferred_class"]},
        ),
    }


def _claim(lesson: Lesson) -> None:
    """The learner's own claim: chosen, registered, tested."""
    st.subheader("Your turn: make a claim that can fail", anchor=False)
    key = links.get("claim")
    if key:
        try:
            found = records.find(common.store(), key)[0]
        except SelvizError:
            links.not_found("hypothesis", key, "the claims to choose from")
        else:
            st.markdown(f"You registered: *{claims.sentence(found['statement'])}*")
            claims.verdict(found["hypothesis"])
            query = {"hypothesis": found["hypothesis"], "run": lesson.run}
            st.page_link("views/hypotheses.py", label="Open your claim", icon=":material/gavel:", query_params=query)
            return
    options = _claims(lesson)
    chosen = st.radio("Your claim", list(options), index=None, label_visibility="collapsed")
    st.markdown(
        "A registered claim says beforehand what is measured and what would refute it, and cannot be changed. Whatever "
        "comes out stays in the ledger."
    )
    st.button("Register it", type="primary", icon=":material/lock:", on_click=_registered,
              args=options.get(chosen, ("", {})), **work.control(chosen is None))  # fmt: skip
    if failed := st.session_state.pop("not registered", None):
        st.error("It was not registered.", icon=":material/error:")
        st.code(failed, language=None, wrap_lines=True)


def _registered(template: str, asked: dict) -> None:
    try:
        record = records.register(common.store(), template, asked)
    except SelvizError as error:
        st.session_state["not registered"] = str(error)
    else:
        links.put(claim=record["hypothesis"])


def _summary(lesson: Lesson, guess) -> None:
    _claim(lesson)
    st.markdown(EVIDENCE)


# ------------------------------------------------------------------------------------------------------------ the steps


def _unit_link(lesson: Lesson) -> tuple[str, dict, str]:
    query = {"run": lesson.run, "layer": lesson.layer, "unit": str(int(lesson.unit["unit"]))}
    return "unit", query, "Open this unit's page"


def _ablation_link(lesson: Lesson) -> tuple[str, dict, str]:
    return "ablation", {"run": lesson.run, "silence": lesson.asked.units}, "Open this on the Ablation page"


def _points(value) -> str:
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
        before=_pictures,
        show=_tuning,
        link=_unit_link,
    ),
    Step(
        "How many of them are there?",
        lambda lesson: (
            "One such unit is easily found, and it makes a good picture. Is it typical? This "
            f"network has {len(lesson.units)} units, and nothing in its training asked for selectivity."
        ),
        lambda lesson: f"How many of the {len(lesson.units)} units have an SI over {HIGH}?",
        partial(_number, most=lambda lesson: len(lesson.units), unit="units", step=1.0),
        _selective,
        told=lambda value: f"{float(value):g} units",
        show=_histogram,
        link=lambda lesson: ("units", {"run": lesson.run}, "Browse all units"),
    ),
    Step(
        "What happens without it?",
        lambda lesson: (
            f"Back to unit {int(lesson.unit['unit'])} of {wording.plain(lesson.layer)}, the most selective of its "
            f"layer: it prefers class {wording.plain(lesson.unit['preferred_class'])}. If the network needs it, "
            "silencing it should hurt. Commit to a number before you see it."
        ),
        lambda lesson: "By how many points does the accuracy fall when this unit is silent?",
        partial(_number, most=lambda lesson: 100, unit="points", step=0.5),
        _drop,
        told=_points,
        before=_pictures,
        show=_patience,
    ),
    Step(
        "Silence it, then a random one",
        lambda lesson: (
            "Here is the network without the unit: every evaluation image is classified again, exactly. Whether that "
            "is much can only be said beside other units."
        ),
        lambda lesson: "A random unit of the same layer: by how many points does the accuracy fall (median of 20)?",
        partial(_number, most=lambda lesson: 100, unit="points", step=0.5),
        _random_drop,
        told=_points,
        before=_silenced,
        show=_beside_random,
        link=_ablation_link,
    ),
    Step(
        "Turn the knob",
        lambda lesson: (
            "One number, alpha, in the training loss suppresses selectivity in every unit (below 0) or encourages it "
            "(above 0). If networks need selective units, suppressing them should cost accuracy."
        ),
        lambda lesson: "Which alpha gives the highest test accuracy?",
        partial(_one_of, options=_alphas),
        _best,
        told=lambda value: f"alpha {value}",
        show=_knob,
        link=lambda lesson: ("overview", {"run": lesson.run}, "Open the Overview"),
    ),
    Step(
        "Many at once",
        lambda lesson: (
            f"One unit among many may be spared because others stand in for it. So silence the {_size(lesson)} most "
            f"selective units of {wording.plain(lesson.layer)} together, and compare with {DRAWS} random sets of as "
            "many."
        ),
        lambda lesson: "Without the most selective units, what breaks beside random ones is ...",
        partial(_one_of, options=lambda lesson: list(BREAKS.values())),
        _verdict,
        show=_many_shown,
        link=lambda lesson: (
            "ablation",
            {"run": lesson.run, "rule": "top", "layers": lesson.layer, "k": str(_size(lesson)), "draws": str(DRAWS)},
            "Open this on the Ablation page",
        ),
    ),
    Step(
        "Is the picture to be trusted?",
        lambda lesson: (
            f"Unit {int(lesson.unit['unit'])}'s pictures tell a clear story: it likes class "
            f"{wording.plain(lesson.unit['preferred_class'])}. It is tempting to think that this is what it is for."
        ),
        lambda lesson: "Which class loses most accuracy when the unit is silent?",
        _one_class,
        _hurt,
        before=_pictures,
        show=_trust,
        link=_ablation_link,
    ),
    Step(
        "A claim of your own, and the evidence",
        lambda lesson: (
            "What you guessed beside what was measured; then a claim that you register before it is tested; and what "
            "the literature says, on both sides."
        ),
        show=_summary,
    ),
)
