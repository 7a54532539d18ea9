"""SI predicts importance: within a layer, the more selective a unit, the more its silence costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import RUN, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.store import Store

LEAST_UNITS = 4  # of a layer, for a rank correlation


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    what = {"loss": "the change of the mean cross entropy", "drop": "the drop of accuracy"}[s["measure"]]
    more = "larger" if s["direction"] == "positive" else "smaller"
    return {
        "statement": f"In {s['run']} a unit's SI predicts its importance: within a layer, the higher the SI the {more} "
        f"{what} without the unit, with a rank correlation of {s['smallest']:g} or more "
        f"({template.listed(s['layers'])}).",
        "quantity": f"Spearman's correlation, over the live units of a layer, of SI on fold 0 with {what} on fold "
        f"{s['fold']} when the unit alone is silent; mean over layers, each weighted by its number of units less 3",
        "direction": f"{s['direction']}, by {s['smallest']:g} or more",
        "refuted": template.refuted(s, "the correlation in that direction", lambda x: f"{x:g}"),
        "controls": f"{s['permutations']} random orders of SI within each layer",
        "statistic": "permutation test of the correlation",
        "sample": f"every live unit of {len(s['layers'])} layers on {template.images_text(s)}; the interval is for "
        "other units of the kind",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run = name_lookup.run_of(store, requested["run"])
    layers, _ = name_lookup.layers_of(store, run, requested.get("layer"))
    measured, direction = requested.get("measure", "loss"), requested.get("direction", "positive")
    if measured not in ("loss", "drop"):
        raise unknown("measure", measured, ["loss", "drop"])
    if direction not in ("positive", "negative"):
        raise unknown("direction", direction, ["positive", "negative"])
    units = store.units(run)
    sizes = {name: int((~units["dead"][units["layer"] == name].astype(bool)).sum()) for name in layers}
    layers = [name for name in layers if sizes[name] >= LEAST_UNITS]
    if not layers:
        raise SelvizError(f"No layer of {run} has {LEAST_UNITS} live units, which a rank correlation needs.")
    fold = samples.test_fold(store, [run])
    settings = {"run": run, "layers": layers, "measure": measured, "direction": direction, "fold": fold}
    return Resolved(settings, [run], {"sizes": [sizes[name] for name in layers], "assumed": False}, [], "")


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return SI on fold 0 and what each live unit's silence costs on the tested images, unit by unit."""
    from selviz import ablation

    run = settings["run"]
    engine = samples.test_engine(store, run, settings["fold"])
    classes, parts = len(store.run(run)["classes"]), []
    for number, layer in enumerate(settings["layers"]):
        values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
        si, _, _ = samples.class_indices(values, labels, classes)

        def make(layer: str = layer) -> dict[str, Array]:
            table, _ = ablation.atlas_layer(engine, layer, classes)
            return {"loss": table["loss_change"].to_numpy(), "drop": (table["before"] - table["after"]).to_numpy()}

        importance = work.keep(f"layer-{number}", make)[settings["measure"]]
        live = (values != 0).any(axis=0)
        parts.append((np.full(live.sum(), number), si[live], importance[live], np.flatnonzero(live)))
        work.report({"layer": layer, "done": number + 1, "of": len(settings["layers"])})
    engine.close()
    return dict(zip(("layer", "si", "importance", "unit"), map(np.concatenate, zip(*parts))))


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `layer`, `si` and `importance` [U] of live units: Spearman's rho within layers, and its weighted mean."""
    layer, si, importance = (np.asarray(sample[name]) for name in ("layer", "si", "importance"))
    sign = -1.0 if settings.get("direction") == "negative" else 1.0
    generator = np.random.default_rng(settings["seed"])
    rhos, nulls, sizes = [], [], []
    for name in np.unique(layer):
        here = layer == name
        first, second = decision.ranks(si[here]), decision.ranks(sign * importance[here])
        if here.sum() < LEAST_UNITS or not first.any() or not second.any():
            continue
        rhos.append(float(first @ second))
        shuffled = generator.permuted(np.tile(first, (settings["permutations"], 1)), axis=1)
        nulls.append(shuffled @ second)
        sizes.append(int(here.sum()))
    if not rhos:
        raise ValueError(f"no layer has {LEAST_UNITS} live units whose SI and importance vary")
    weights = np.array(sizes) - 3
    estimate, null = statistics.pooled_correlation(rhos, sizes), weights @ np.array(nulls) / weights.sum()
    rank = statistics.rank_among(float(decision.settled(estimate.effect)), decision.settled(null))
    return [
        part(
            "rank correlation",
            f"permutation of SI within layers, {len(null):,} orders, one-sided",
            estimate, settings, n=len(si), of="live units", null=null, p=rank.p_high, smallest_p=1 / (len(null) + 1),
        )
    ]  # fmt: skip


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample with that rank correlation in every layer."""
    parts = []
    for layer, size in enumerate(facts["sizes"]):
        first, second = template.pairs(generator, size, effect)
        parts.append((np.full(size, layer), first, second if settings["direction"] == "positive" else -second))
    return dict(zip(("layer", "si", "importance"), map(np.concatenate, zip(*parts))))


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the correlation in each layer."""
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
    model="SI and importance are normal, with that rank correlation in every layer",
    baselines="random orders of SI",
    intervenes="silences every unit alone",
    quantity="accuracy lost when units are silent",
    subject=("run", "layers", "measure"),
)
