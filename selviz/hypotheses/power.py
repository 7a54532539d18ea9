"""How likely a test is to support a claim that is true: `power("necessary", settings, facts)`, before it is registered.

Samples are drawn from a simple model with the smallest effect that matters planted in it (no difference where the
claim is that there is none), and go through the very function that will judge the real one. How much units, images and
seeds vary is taken from the store where it holds that, and assumed otherwise; which, is said.
"""

import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.hypotheses.templates import control_kinds
from selviz.hypotheses.verdicts import JUDGES, decide

DRAWS, ENOUGH = 200, 0.8


def power(template: str, settings: Mapping, facts: Mapping, draws: int = 0, effect: float | None = None) -> dict:
    """{"power" 0..1, "low", "high" (95 % Wilson, for the number of draws), "draws", "effect", "assumed", "told"}.

    `effect` is the true one, by default the smallest that matters; `told` says in words what the model assumes.
    """
    draws = draws or (DRAWS // 2 if template == "replicates" else DRAWS)  # each of these resamples images
    null = settings.get("claim") in ("no cost", "equivalent") or template == "single"
    effect = effect if effect is not None else 0.0 if null else settings["smallest"]
    shorter = {**settings, "permutations": max(199, math.ceil(5 / settings["level"]) - 1)}
    generator = np.random.default_rng(settings["seed"])
    supported = 0
    for draw in range(draws):
        sample = SIMULATE[template](generator, shorter, facts, effect)
        parts = JUDGES[template](sample, {**shorter, "seed": draw})
        supported += decide(parts, settings["level"])[0] == "supported"
    low, high = statistics.wilson(supported, draws)
    return {
        "power": supported / draws,
        "low": float(low),
        "high": float(high),
        "draws": draws,
        "effect": effect,
        "assumed": bool(facts.get("assumed")),
        "told": _TOLD[template].format(**{k: v for k, v in facts.items() if isinstance(v, int | float | str)}),
    }


def _necessary(generator, settings, facts, effect) -> dict:
    n, of = facts["images"], facts["of_images"]
    if facts.get("drops"):
        typical = generator.choice(np.clip(facts["drops"], 0, 1), facts["controls"])
    else:
        typical = np.minimum(generator.exponential(facts["spread"], facts["controls"]), 1)
    controls = np.zeros((facts["controls"], of), dtype=np.int8)
    controls[:, :n] = generator.random((facts["controls"], n)) < typical[:, None]
    chance = np.full(of, min(facts["spread"], 1.0))
    chance[:n] = min(1.0, facts["spread"] + effect)
    return {"unit": generator.random(of) < chance, "controls": controls, "labels": _labels(settings, n, of)}


def _sufficient(generator, settings, facts, effect) -> dict:
    n, of = facts["images"], facts["of_images"]
    mean, variance = facts["kept"], facts["spread"] ** 2
    size = mean * (1 - mean) / variance - 1
    recall = generator.beta(mean * size, (1 - mean) * size, settings["draws"])
    chance = np.full((1 + settings["draws"], of), 0.05)
    chance[0, :n], chance[1:, :n] = min(mean + effect, 1.0), recall[:, None]
    called = generator.random(chance.shape) < chance
    return {"called": called[0], "controls": called[1:], "labels": _labels(settings, n, of)}


def _selective(generator, settings, facts, effect) -> dict:
    of, layers, kinds = facts["of_images"], facts["layers"], control_kinds(settings["controls"])
    size = (len(kinds), settings["draws"], layers)
    drops = generator.binomial(of, np.clip(generator.normal(facts["drop"], facts["spread"], size), 0, 1)) / of
    change = generator.random((layers, of)) < min(1.0, facts["drop"] + effect)
    typical = {kind: np.full((layers, of), sets.mean()) for kind, sets in zip(kinds, drops)}
    return {"change": change, "typical": typical, "drops": dict(zip(kinds, drops))}


def _predicts(generator, settings, facts, effect) -> dict:
    parts = []
    for layer, size in enumerate(facts["sizes"]):
        first, second = _pairs(generator, size, effect)
        parts.append((np.full(size, layer), first, second if settings["direction"] == "positive" else -second))
    return dict(zip(("layer", "si", "importance"), map(np.concatenate, zip(*parts))))


def _alpha(generator, settings, facts, effect) -> dict:
    baseline, other = generator.normal(0, facts["spread"], (2, facts["seeds"]))
    return {"baseline": baseline + effect, "other": other}


def _replicates(generator, settings, facts, effect) -> dict:
    from selviz.hypotheses.samples import contrasts

    n, of, classes, label = facts["images"], facts["of_images"], facts["classes"], settings["class_index"]
    labels = np.concatenate([np.full(n, label), np.resize(np.delete(np.arange(classes), label), of - n)])
    mean = np.where(labels == label, (1 + effect) / (1 - effect), 1.0)
    shape = 1 / max(facts["spread"], 0.05) ** 2
    found = [
        contrasts(generator.gamma(shape, mean / shape), labels, label, settings["permutations"], 0, 199)
        for _ in range(facts["networks"])
    ]
    observed, null, resampled = zip(*found)
    names = [f"network {number}" for number in range(len(found))]
    sample = {"names": names, "observed": observed, "null": np.stack(null), "resampled": np.stack(resampled)}
    return {**sample, "images": of, "of_class": n}


def _map(generator, settings, facts, effect) -> dict:
    n, orders = facts["images"], settings["draws"]
    place = min(0.5 + effect, 0.99)
    size = max(place * (1 - place) / facts["place_spread"] ** 2 - 1, 0.1)
    worse = generator.beta(place * size, (1 - place) * size, n)
    return {
        "correlation": np.clip(generator.normal(facts["correlation"], facts["spread"], n), -1, 1),
        "worse": np.round(worse * orders) / orders,
        "orders": orders,
    }


def _single(generator, settings, facts, effect) -> dict:
    from scipy import special

    n, of = facts["images"], facts["of_images"]
    shift = math.sqrt(2) * float(special.ndtri(facts["area"]))
    shared = generator.normal(size=of)
    alike = facts["alike"]
    unit, readout = (math.sqrt(alike) * shared + math.sqrt(1 - alike) * generator.normal(size=of) for _ in range(2))
    unit[:n] += shift
    readout[:n] += math.sqrt(2) * float(special.ndtri(min(facts["area"] - effect, 0.9999)))
    return {"unit": unit, "readout": readout, "labels": _labels(settings, n, of)}


def _correlates(generator, settings, facts, effect) -> dict:
    first, second = _pairs(generator, facts["first"], effect)
    return {"first": first, "second": second if settings["direction"] == "positive" else -second}


def _own(generator, settings, facts, effect) -> dict:
    if settings["statistic"] == "rank correlation":
        return _correlates(generator, settings, facts, effect)
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group = generator.normal(sign * effect, facts["spread"], facts["first"])
    return {"group": group, "control": generator.normal(0, facts["spread"], facts["second"])}


def _labels(settings, inside: int, of: int) -> np.ndarray:
    labels = np.full(of, settings["class_index"] + 1)
    labels[:inside] = settings["class_index"]
    return labels


def _pairs(generator, size: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal pairs whose Spearman correlation is `correlation`: Pearson's is 2 sin(pi rho / 6) (Pearson 1907)."""
    r = 2 * math.sin(math.pi * min(max(correlation, -1.0), 1.0) / 6)
    first, second = generator.normal(size=(2, size))
    return first, r * first + math.sqrt(max(0.0, 1 - r**2)) * second


SIMULATE = {
    "necessary": _necessary,
    "sufficient": _sufficient,
    "selective": _selective,
    "predicts": _predicts,
    "alpha": _alpha,
    "replicates": _replicates,
    "map": _map,
    "single": _single,
    "robust": _correlates,
    "own": _own,
}
_TOLD = {
    "necessary": "matched units lose {spread:.3g} of the class's images on average, unevenly ({shape}), and the unit "
    "that much more",
    "sufficient": "random sets keep {kept:.0%} of the class, with a standard deviation of {spread:.2g} between sets, "
    "and 5 % of other images are called it; the set keeps that much more",
    "selective": "control sets lose {drop:.0%} of the images, with a standard deviation of {spread:.3g} between sets",
    "predicts": "SI and importance are normal, with that rank correlation in every layer",
    "alpha": "accuracies are normal over seeds, with a standard deviation of {spread:.3g}",
    "replicates": "activations follow a gamma distribution with a coefficient of variation of {spread:.2g}, in every "
    "network",
    "map": "correlations with the random network's map lie about {correlation:.2g} with a standard deviation of "
    "{spread:.2g}, and places among random orders about one half plus the effect, with one of {place_spread:.2g}",
    "single": "unit and readout are equally good (area {area:.2f}), normal, and {alike:g} correlated",
    "robust": "mean SI and robustness are normal, with that rank correlation",
    "own": "the measure is normal",
}
