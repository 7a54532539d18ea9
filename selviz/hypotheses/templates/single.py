"""What tells a class is in a single unit: the best one is hardly worse than a linear readout of the layer."""

import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, simulating
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import fold
from selviz.hypotheses.template import CLASS, LAYER, RUN, About, Resolved, Work
from selviz.store import Store


def say(s: Mapping) -> dict[str, str]:
    return {
        "statement": f"In {s['layer']} of {s['run']} what tells class {s['class']} from the others is in a single "
        f"unit: the best one ({s['unit']}) is at most {s['smallest']:g} below a linear readout of all "
        f"{s['width']} units.",
        "quantity": "area under the ROC curve, on fold 1, of the unit's activation and of the readout: each one "
        "number an image",
        "direction": f"unit minus readout above -{s['smallest']:g}",
        "refuted": f"An interval of unit minus readout that lies wholly below -{s['smallest']:g}.",
        "controls": "a logistic regression (L2, strength 1) on the layer's standardised units, fitted on fold 0",
        "statistic": "DeLong's test on the same images, against a difference of at most the margin",
        "sample": f"unit and readout chosen on fold 0, read on the {s['of_images']} images of fold 1, {s['images']} of "
        "the class; the interval is for new images",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run, layer = name_lookup.run_of(store, asked["run"]), asked["layer"]
    width, label = name_lookup.width_of(store, run, layer), name_lookup.class_of(store, run, asked["class"])
    images = name_lookup.images_of(store, run, label)
    if min(images["images"], images["of_images"] - images["images"]) < 2:
        raise SelvizError(f"Class {label['class']} has {images['images']} images on fold 1; a readout needs 2.")
    from selviz.selectivity.other_measures import Responses, auc

    values, labels, _ = fold(store, run, layer, 0)
    of_class = auc(Responses(values, labels, len(store.run(run)["classes"])))[label["class_index"]]
    unit = int(np.argmax(of_class))
    settings = {"run": run, "layer": layer, "unit": unit, "width": width, **label, **images}
    facts = {**images, "area": float(min(of_class[unit], 0.999)), "alike": 0.7, "assumed": True}
    return Resolved(
        settings, [run], facts, [], f"the unit with the largest area under the ROC curve for {label['class']}"
    )


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """The unit's activation and the readout's number on the images of fold 1; both were chosen on fold 0."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run, layer, label = settings["run"], settings["layer"], settings["class_index"]
    values, labels, _ = fold(store, run, layer, 0)
    readout = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    readout.fit(values.astype(np.float64), labels == label)
    values, labels, _ = fold(store, run, layer, 1)
    return {
        "unit": values[:, settings["unit"]],
        "readout": readout.decision_function(values.astype(np.float64)),
        "labels": labels,
    }


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`unit` and `readout` [N], one number an image each; `labels` [N]."""
    positive = np.asarray(sample["labels"]) == settings["class_index"]
    margin = settings["smallest"]
    effect, low, high, p = statistics.delong(
        positive, sample["unit"], sample["readout"], -margin, decision.confidence(settings["level"])
    )
    from scipy import special

    fewer = min(int(positive.sum()), int((~positive).sum())) - 1
    error = (high - effect) / float(special.stdtrit(fewer, 0.5 + decision.confidence(settings["level"]) / 2))
    null = -margin + error * decision.t_quantiles(fewer)
    return [
        Part(
            "no more than the margin below the readout",
            "DeLong's test of two areas under the ROC curve on the same images, one-sided",
            effect, low, high, p, 0.0, effect, null.tolist(), -margin, -margin, len(positive), "images",
        )
    ]  # fmt: skip


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    return {}  # the parts have it all


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    from scipy import special

    n, of = facts["images"], facts["of_images"]
    shift = math.sqrt(2) * float(special.ndtri(facts["area"]))
    shared = generator.normal(size=of)
    alike = facts["alike"]
    unit, readout = (math.sqrt(alike) * shared + math.sqrt(1 - alike) * generator.normal(size=of) for _ in range(2))
    unit[:n] += shift
    readout[:n] += math.sqrt(2) * float(special.ndtri(min(facts["area"] - effect, 0.9999)))
    return {"unit": unit, "readout": readout, "labels": simulating.labels(settings, n, of)}


ABOUT = About(
    title="The information is in a single unit",
    options=(RUN, LAYER, CLASS),
    smallest=0.05,
    unit="",
    told="unit and readout are equally good (area {area:.2f}), normal, and {alike:g} correlated",
    baselines="a linear readout of the layer",
    intervenes="",
    distributed=True,
)
