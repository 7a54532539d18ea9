"""SI predicts importance: within a layer, the more selective a unit, the more its silence costs."""

import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, simulating, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import class_indices, fold
from selviz.hypotheses.template import RUN, About, Resolved, Work
from selviz.store import Store


def say(s: Mapping) -> dict[str, str]:
    what = {"loss": "the change of the mean cross entropy", "drop": "the drop of accuracy"}[s["measure"]]
    more = "larger" if s["direction"] == "positive" else "smaller"
    return {
        "statement": f"In {s['run']} a unit's SI predicts its importance: within a layer, the higher the SI the {more} "
        f"{what} without the unit ({words.listed(s['layers'])}).",
        "quantity": f"Spearman's correlation, over the live units of a layer, of SI on fold 0 with {what} on fold 1 "
        "when the unit alone is silent; averaged over layers by Fisher's z",
        "direction": f"{s['direction']}, by {s['smallest']:g} or more",
        "refuted": words.refuted(s, "the correlation in that direction", lambda x: f"{x:g}"),
        "controls": f"{s['permutations']} random orders of SI within each layer",
        "statistic": "permutation test of the correlation",
        "sample": f"every live unit of {len(s['layers'])} layers; the interval is for other units of the kind",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run = name_lookup.run_of(store, asked["run"])
    layers, _ = name_lookup.layers_of(store, run, asked.get("layer"))
    measure, direction = asked.get("measure", "loss"), asked.get("direction", "positive")
    if measure not in ("loss", "drop"):
        raise unknown("measure", measure, ["loss", "drop"])
    if direction not in ("positive", "negative"):
        raise unknown("direction", direction, ["positive", "negative"])
    units = store.units(run)
    sizes = {name: int((~units["dead"][units["layer"] == name].astype(bool)).sum()) for name in layers}
    layers = [name for name in layers if sizes[name] >= 4]
    if not layers:
        raise SelvizError(f"No layer of {run} has 4 live units, which a rank correlation needs.")
    settings = {"run": run, "layers": layers, "measure": measure, "direction": direction}
    facts = {"sizes": [sizes[name] for name in layers], "assumed": False}
    return Resolved(settings, [run], facts, name_lookup.stored(store, run, atlas="every unit's drop in the atlas"), "")


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """SI on fold 0 and what each live unit's silence costs on fold 1, unit by unit."""
    from selviz import ablation
    from selviz.hypotheses import ablation_samples

    run = settings["run"]
    engine = ablation_samples.open_engine(store, run)
    classes, parts = len(store.run(run)["classes"]), []
    for number, layer in enumerate(settings["layers"]):
        values, labels, _ = fold(store, run, layer, 0)
        si, _, _ = class_indices(values, labels, classes)

        def make(layer=layer) -> dict[str, np.ndarray]:
            table, _ = ablation.atlas_layer(engine, layer, classes)
            return {"loss": table["loss_change"].to_numpy(), "drop": (table["before"] - table["after"]).to_numpy()}

        importance = work.keep(f"layer-{number}", make)[settings["measure"]]
        live = (values != 0).any(axis=0)
        parts.append((np.full(live.sum(), number), si[live], importance[live], np.flatnonzero(live)))
        work.report({"layer": layer, "done": number + 1, "of": len(settings["layers"])})
    engine.close()
    return dict(zip(("layer", "si", "importance", "unit"), map(np.concatenate, zip(*parts))))


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`layer`, `si` and `importance` [U] of live units: Spearman's rho within layers, averaged by Fisher's z."""
    layer, si, importance = (np.asarray(sample[name]) for name in ("layer", "si", "importance"))
    sign = -1.0 if settings.get("direction") == "negative" else 1.0
    generator = np.random.default_rng(settings["seed"])
    z, null_z, variances = [], [], []
    for name in np.unique(layer):
        here = layer == name
        first, second = decision.ranks(si[here]), decision.ranks(sign * importance[here])
        if here.sum() < 4 or not first.any() or not second.any():
            continue
        rho = float(first @ second)
        z.append(decision.atanh(rho))
        shuffled = generator.permuted(np.tile(first, (settings["permutations"], 1)), axis=1)
        null_z.append(decision.atanh(shuffled @ second))
        variances.append((1 + rho**2 / 2) / (here.sum() - 3))
    if not z:
        raise ValueError("no layer has 4 live units whose SI and importance vary")
    observed, null = math.tanh(np.mean(z)), np.tanh(np.mean(null_z, axis=0))
    rank = statistics.rank_among(decision.settled(observed), decision.settled(null))
    low, high = decision.fisher_interval(z, variances, decision.confidence(settings["level"]))
    return [
        Part(
            "rank correlation",
            f"permutation of SI within layers, {len(null):,} orders, one-sided",
            observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
            0.0, settings["smallest"], len(si), "live units",
        )
    ]  # fmt: skip


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    parts = []
    for layer, size in enumerate(facts["sizes"]):
        first, second = simulating.pairs(generator, size, effect)
        parts.append((np.full(size, layer), first, second if settings["direction"] == "positive" else -second))
    return dict(zip(("layer", "si", "importance"), map(np.concatenate, zip(*parts))))


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    rows = []
    for number, layer in enumerate(settings["layers"]):
        here = sample["layer"] == number
        rho = statistics.rank_correlation(sample["si"][here], sample["importance"][here])
        rows.append({"layer": layer, "units": int(here.sum()), "correlation": rho})
    return {"layers": rows}


ABOUT = About(
    title="SI predicts importance",
    options=(
        RUN,
        ("layer", False, "one layer, or several such as A,B (default: every layer)"),
        ("measure", False, "loss (default) or drop, of accuracy"),
        ("direction", False, "positive (default) or negative"),
    ),
    smallest=0.2,
    unit="",
    told="SI and importance are normal, with that rank correlation in every layer",
    baselines="random orders of SI",
    intervenes="silences every unit alone",
)
