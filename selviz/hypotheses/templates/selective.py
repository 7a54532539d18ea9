"""The most selective units of a layer matter more than random ones, and than matched ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import DRAWS, RUN, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.hypotheses.templates.necessary_units import set_controls
from selviz.store import Store
from selviz.text.numbers import counted


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    least, k = template.points(s["smallest"]), s["k"]
    kinds = " and than ".join(counted(k, f"{kind} unit") for kind in s["sets"])
    sets = " and ".join(f"{number} {kind} sets of {counted(k, 'unit')}" for kind, number in s["sets"].items())
    matter, them = ("matters", "it") if k == 1 else ("matter", "them")
    matched = "" if "matched" in s["sets"] else f"; {s['unmatched']}"
    return {
        "statement": f"In {s['run']} {_most_selective(k)} of a layer {matter} more than {kinds} of it: without "
        f"{them} the accuracy drops by at least {least} more ({template.listed(s['layers'])}).",
        "quantity": f"the drop of accuracy on fold {s['fold']} when the units are silent (mode zero), mean over "
        "layers, each layer by itself",
        "direction": f"a larger drop, by {least} or more",
        "refuted": template.refuted(s, "the drop beyond the mean of the control sets"),
        "controls": f"{sets} in each layer{matched}",
        "statistic": "rank of the mean drop among the control sets'"
        + ("; both must hold" if len(s["sets"]) > 1 else ""),
        "sample": f"units ranked by SI on fold 0, measured on the {s['of_images']} images of "
        f"{template.images_text(s)}; intervals are for new images, and other control sets",
    }


def _most_selective(k: int) -> str:
    return "the most selective unit" if k == 1 else f"the {k} most selective units"


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run = name_lookup.run_of(store, requested["run"])
    layers, widths = name_lookup.layers_of(store, run, requested.get("layer"))
    k = requested.get("k", max(1, min(widths) // 10))
    for name, width in zip(layers, widths):
        k = option_parsing.count(k, 1, "k", width - 1, name)
    draws, fold = option_parsing.draws(requested, common["level"]), samples.test_fold(store, [run])
    chosen = {layer: _top(store, run, layer, k) for layer in layers}
    alike, balance, why_not = [], [], ""
    for position, layer in enumerate(layers):
        matching = samples.matching(store, run, layer, chosen[layer])
        alike.append(list(matching.sets(draws, common["seed"] + position)))
        why_not = why_not or ("" if alike[-1] else matching.why_not(layer))
        if alike[-1]:
            balance += [{"layer": layer, **row._asdict()} for row in matching.balance(alike[-1])]
    sets, unmatched = set_controls(requested, common, draws, alike, why_not)
    images = samples.image_counts(store, run, fold)
    settings = {
        "run": run, "layers": layers, "k": k, "draws": draws, "units": list(chosen.values()), "sets": sets,
        "unmatched": unmatched, "fold": fold, "balance": balance if "matched" in sets else [], **images,
    }  # fmt: skip
    facts = {**images, "layers": len(layers), "drop": 0.02, "spread": 0.015, "gained": template.GAINED, "assumed": True}
    return Resolved(settings, [run], facts, [], f"{_most_selective(k)} of each layer")


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return what silencing the most selective units of each layer loses, and each control set of each kind."""
    from selviz import ablation

    run, layers = settings["run"], settings["layers"]
    engine = samples.test_engine(store, run, settings["fold"])
    total, done = len(layers) * (1 + sum(settings["sets"].values())), 0
    change: list[Array] = []
    drops: dict[str, list[Array]] = {kind: [] for kind in settings["sets"]}
    typical: dict[str, list[Array]] = {kind: [] for kind in settings["sets"]}

    def tell(number: int) -> None:
        nonlocal done
        done += number
        work.report({"done": done, "of": total})

    for position, (layer, units) in enumerate(zip(layers, settings["units"])):
        seed = settings["seed"] + position
        change.append(samples.lost_by_sets(engine, [{layer: units}], f"{position}-chosen", work, tell)[0])
        for kind, number in settings["sets"].items():
            if kind == "random":
                sets = list(ablation.random_sets(engine.network, {layer: units}, number, seed))
            else:
                matching = samples.matching(store, run, layer, units)
                sets = [{layer: other} for other in matching.sets(number, seed)]
            lost = samples.lost_by_sets(engine, sets, f"{position}-{kind}", work, tell)
            drops[kind].append(lost.mean(axis=1))
            typical[kind].append(lost.mean(axis=0))
    engine.close()
    return {
        "change": np.stack(change),
        "typical": {kind: np.stack(rows) for kind, rows in typical.items()},
        "drops": {kind: np.stack(rows, axis=1) for kind, rows in drops.items()},
    }


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `change` [L, N] over images; by kind of control sets `drops` [R, L], each set's, and `typical` [L, N], the
    mean over sets."""
    change, parts = np.asarray(sample["change"], float), []
    observed = float(change.mean())
    for kind, drops in sample["drops"].items():
        by_layer = np.asarray(drops, float)
        null = by_layer.mean(axis=1)
        rank = statistics.rank_among(float(decision.settled(observed)), decision.settled(null))
        beyond = (change - np.asarray(sample["typical"][kind], float)).mean(axis=0)
        parts.append(
            part(
                f"more than {kind} sets",
                f"rank of the drop, mean over layers, among {len(null)} {kind} sets of each layer, one-sided",
                statistics.bounded_mean(beyond, decision.set_error(null)),
                settings, n=change.shape[1], of="images", null=null, p=rank.p_high, smallest_p=1 / (len(null) + 1),
                observed=observed, parts=len(sample["drops"]),
            )
        )  # fmt: skip
    return parts


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample in which the selective units lose so much more than control sets."""
    total, layers = facts["of_images"], facts["layers"]
    drops = {}
    for kind, number in settings["sets"].items():
        chance = template.set_chances(generator, facts["drop"], facts["spread"], (number, layers))
        drops[kind] = generator.binomial(total, chance) / total
    change = template.lost_images(generator, np.full((layers, total), facts["drop"] + effect), facts["gained"])
    return {
        "change": change,
        "drops": drops,
        "typical": {kind: np.full((layers, total), sets.mean()) for kind, sets in drops.items()},
    }


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what each layer's units lose beside the mean of its control sets."""
    means = {f"{kind} sets, mean": np.asarray(drops).mean(axis=0) for kind, drops in sample["drops"].items()}
    rows = zip(settings["layers"], settings["units"], np.asarray(sample["change"], float).mean(axis=1), *means.values())
    return {
        "layers": [
            {"layer": layer, "units": units, "drop": drop, **dict(zip(means, others))}
            for layer, units, drop, *others in rows
        ],
        "covariates of the matched sets": settings.get("balance", []),
    }


def _top(store: Store, run: str, layer: str, k: int) -> list[int]:
    values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
    si, _, _ = samples.class_indices(values, labels, len(store.run(run)["classes"]))
    return sorted(np.argsort(-si, kind="stable")[:k].tolist())


ABOUT = About(
    title="Selective units matter more than random ones",
    options=(
        RUN,
        ("layer", False, "one layer, or several such as A,B (default: every layer)"),
        ("k", False, "units of each layer (default: a tenth of the narrowest)"),
        ("controls", False, "random, matched or both (default: both where matched sets exist)"),
        DRAWS,
    ),
    smallest=0.03,
    unit="points",
    model="control sets lose {drop:.0%} of the images, with a standard deviation of {spread:.3g} between sets; "
    "for each image lost {gained:.2g} are gained",
    baselines="random units of the layer, matched units",
    intervenes="silences them: tests that they are necessary",
    quantity="accuracy lost when units are silent",
    subject=("run", "layers", "k"),
)
