"""What tells a class is in a single unit: the best one is hardly worse than a linear readout of the layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import CLASS, LAYER, RUN, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.statistics import Estimate
from selviz.store import Store

RESAMPLES = 499


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    hits, alarms = template.points(s["hits"]), f"{100 * s['alarms']:g} %"
    return {
        "statement": f"In {s['layer']} of {s['run']} what tells class {s['class']} from the others is in a single "
        f"unit: the best one ({s['unit']}) is less than {s['smallest']:g} below a linear readout of all "
        f"{s['width']} units in area under the ROC curve, and less than {hits} below it in hits at {alarms} false "
        "alarms.",
        "quantity": f"of the unit's activation and of the readout, each one number an image of fold {s['fold']}: area "
        f"under the ROC curve, and share of the class's images above the value that {alarms} of the others exceed",
        "direction": f"unit minus readout above -{s['smallest']:g} in area, above -{hits} in hits",
        "refuted": f"An interval of unit minus readout that lies wholly below -{s['smallest']:g} in area, or wholly "
        f"below -{hits} in hits.",
        "controls": "a logistic regression (L2, strength 1) on the layer's standardised units, fitted on fold 0",
        "statistic": "DeLong's test on the same images; bootstrap of the images (hits); both must hold",
        "sample": f"unit and readout chosen on fold 0, read on the {s['of_images']} images of {template.images_text(s)}"
        f", {s['images']} of the class; intervals are for new images",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, layer = name_lookup.run_of(store, requested["run"]), requested["layer"]
    width, label = name_lookup.width_of(store, run, layer), name_lookup.class_of(store, run, requested["class"])
    fold = samples.test_fold(store, [run])
    images = samples.image_counts(store, run, fold, label)
    if min(images["images"], images["of_images"] - images["images"]) < 2:
        raise SelvizError(f"Class {label['class']} has {images['images']} images on fold {fold}; a readout needs 2.")
    alarms = option_parsing.number(requested.get("alarms", 0.01), "alarms")
    hits = option_parsing.smallest(requested.get("hits", 0.1))
    if not 0 < alarms < 1:
        raise SelvizError(f"alarms is {alarms:g}; it is a share of images between 0 and 1, such as 0.01.")
    from selviz.selectivity.other_measures import Responses, auc

    values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
    of_class = auc(Responses(values, labels, len(store.run(run)["classes"])))[label["class_index"]]
    unit = int(np.argmax(of_class))
    settings = {
        "run": run, "layer": layer, "unit": unit, "width": width, **label, "alarms": alarms, "hits": hits,
        "fold": fold, **images,
    }  # fmt: skip
    facts = {**images, "area": float(min(of_class[unit], 0.999)), "alike": 0.7, "assumed": True}
    return Resolved(
        settings, [run], facts, [], f"the unit with the largest area under the ROC curve for {label['class']}"
    )


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return the unit's activation and the readout's number on the tested images; both were chosen on fold 0."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run, layer, label = settings["run"], settings["layer"], settings["class_index"]
    values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
    readout = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    readout.fit(values.astype(np.float64), labels == label)
    values, labels, _ = samples.activations(store, run, layer, settings["fold"])
    return {
        "unit": values[:, settings["unit"]],
        "readout": readout.decision_function(values.astype(np.float64)),
        "labels": labels,
    }


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `unit` and `readout` [N], one number an image each; `labels` [N]."""
    positive = np.asarray(sample["labels"]) == settings["class_index"]
    unit, readout = np.asarray(sample["unit"], float), np.asarray(sample["readout"], float)
    area, area_margin = statistics.delong(positive, unit, readout), -settings["smallest"]
    hits = hit_difference(
        positive, unit, readout, settings["alarms"], settings["seed"], min(RESAMPLES, settings["permutations"])
    )
    rows = (
        ("less than the margin below the readout in area", "DeLong's test of two areas on the same images, one-sided",
         area, area_margin),
        (f"less than the margin below it in hits at {100 * settings['alarms']:g} % false alarms",
         "Student's t with the error of resampled images, one-sided", hits, -settings["hits"]),
    )  # fmt: skip
    return [
        part(
            name, test, estimate, settings, n=len(positive), of="images", boundary=margin, margin=margin, parts=2,
            null=margin + estimate.error * decision.t_quantiles(estimate.degrees),
        )
        for name, test, estimate, margin in rows
    ]  # fmt: skip


def hit_difference(
    positive: Array, first: Array, second: Array, alarms: float, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Return the difference of two scores' hit rates at a false-alarm rate, with its error over resampled images.

    The threshold of each score is the value that a share `alarms` of the images outside of the class exceeds; an area
    near 1 hides what it costs to miss there. The error is at least 1 / (2 n), n the images of the class.
    """
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    generator = np.random.default_rng(seed)
    draws = [np.arange(len(inside))[None], generator.integers(0, len(inside), (resamples, len(inside)))]
    others = [np.arange(len(outside))[None], generator.integers(0, len(outside), (resamples, len(outside)))]
    gaps: list[Array] = []
    for rows, columns in zip(draws, others):
        rates: list[Array] = []
        for scores in (first, second):
            threshold = np.quantile(scores[outside][columns], 1 - alarms, axis=1, method="higher")
            rates.append((scores[inside][rows] > threshold[:, None]).mean(axis=1))
        gaps.append(rates[0] - rates[1])
    difference, error = float(gaps[0][0]), float(gaps[1].std(ddof=1))
    return Estimate(difference, difference, max(error, 1 / (2 * len(inside))), len(inside) - 1, least=-1.0, most=1.0)


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return nothing: the parts have it all."""
    return {}


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a unit and a readout that are equally good but for the effect."""
    from scipy import special

    n, total = facts["images"], facts["of_images"]
    shift = math.sqrt(2) * float(special.ndtri(facts["area"]))
    shared, alike = generator.normal(size=total), facts["alike"]
    own = generator.normal(size=(2, total))
    unit, readout = np.sqrt(alike) * shared + np.sqrt(1 - alike) * own
    unit[:n] += shift
    readout[:n] += math.sqrt(2) * float(special.ndtri(min(facts["area"] - effect, 0.9999)))
    return {"unit": unit, "readout": readout, "labels": template.labels(settings, n, total)}


ABOUT = About(
    title="The information is in a single unit",
    options=(
        RUN,
        LAYER,
        CLASS,
        ("alarms", False, "false-alarm rate at which hits are compared, a share (default: 0.01)"),
        ("hits", False, "margin in hits, a share (default: 0.1, ten points)"),
    ),
    smallest=0.05,
    unit="",
    model="unit and readout are equally good (area {area:.2f}), normal, and {alike:g} correlated",
    baselines="a linear readout of the layer",
    intervenes="",
    quantity="what a unit tells of a class",
    subject=("run", "layer", "class", "alarms"),
    difference_is_small=True,
    distributed=True,
)
