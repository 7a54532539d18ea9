"""A unit is necessary for a class: beyond matched units, and beyond what it does to other classes."""

from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, simulating, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import fold
from selviz.hypotheses.template import CLASS, RUN, UNIT, About, Resolved, Work
from selviz.store import Store, stage_is_whole


def say(s: Mapping) -> dict[str, str]:
    return {
        "statement": f"{words.unit_of(s).capitalize()} in {s['run']} is necessary for class {s['class']}: without it "
        f"the network loses more of that class than without units of the same mean activation, and more than of other "
        f"classes.",
        "quantity": f"the share of the {s['images']} images of class {s['class']} on fold 1 that silencing the unit "
        "(mode zero) turns from right to wrong, minus those it turns from wrong to right",
        "direction": f"a larger drop, by {words.points(s['smallest'])} or more",
        "refuted": words.refuted(s, "the drop beyond that of matched units, or beyond that of other classes,"),
        "controls": f"{len(s['controls'])} live units of the layer, nearest in mean activation on fold 0; the other "
        "classes' images",
        "statistic": "rank of the drop among the matched units' drops; permutation of the images' classes; both must "
        "hold",
        "sample": f"{s['of_images']} images of fold 1, {s['images']} of the class; intervals are for new images",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run, layer, unit, label, chosen = name_lookup.unit_of(store, asked)
    values, _, _ = fold(store, run, layer, 0)
    live = [int(other) for other in np.flatnonzero((values != 0).any(axis=0)) if other != unit]
    enough = min(len(live), max(39, option_parsing.reaching(common["level"])))
    wanted = option_parsing.count(asked.get("controls", enough), 1, "controls")
    if wanted > len(live):
        raise SelvizError(f"{layer} has {len(live)} other live units, not {wanted}; ask for {len(live)} controls.")
    option_parsing.attainable(wanted, common["level"], "matched units", f"{layer} has {len(live)} other live units")
    means = values.mean(axis=0)
    matched = sorted(sorted(live, key=lambda other: (abs(means[other] - means[unit]), other))[:wanted])
    images = name_lookup.images_of(store, run, label)
    settings = {"run": run, "layer": layer, "unit": unit, **label, "controls": matched, **images}
    facts = {**images, "controls": wanted, **_spread(store, run, layer, label)}
    return Resolved(
        settings, [run], facts, name_lookup.stored(store, run, atlas="every unit's drop in the atlas"), chosen
    )


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """Which images the unit, and each control, loses: 1 lost, -1 gained, 0 the same."""
    from selviz.hypotheses import ablation_samples

    engine, layer = ablation_samples.open_engine(store, settings["run"]), settings["layer"]
    units = [settings["unit"], *settings["controls"]]
    rows = [
        work.keep(f"unit-{unit}", lambda unit=unit: {"lost": ablation_samples.lost(engine, {layer: [unit]})})["lost"]
        for unit in ablation_samples.told(units, work)
    ]
    engine.close()
    return {"unit": rows[0], "controls": np.stack(rows[1:]), "labels": engine.labels.numpy()}


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`unit` [N] and `controls` [K, N]: 1 where silencing lost the image, -1 where it gained it; `labels` [N]."""
    unit, controls = np.asarray(sample["unit"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    level, margin = settings["level"], settings["smallest"]
    drop, drops = float(unit[inside].mean()), controls[:, inside].mean(axis=1)
    rank = statistics.rank_among(drop, drops)
    low, high = statistics.bounded_mean_interval((unit - controls.mean(axis=0))[inside], decision.confidence(level))
    first = Part(
        "more than matched units",
        f"rank of the drop among {len(drops)} units matched on mean activation, one-sided",
        drop - float(drops.mean()), low, high, rank.p_high, 1 / (len(drops) + 1), drop, drops.tolist(),
        0.0, margin, int(inside.sum()), "images of the class",
    )  # fmt: skip
    # Which images are of the class, in random order: how many of the lost and gained ones are among them.
    counts = [int((unit == value).sum()) for value in (1, -1)]
    counts.append(len(unit) - sum(counts))
    generator = np.random.default_rng(settings["seed"])
    drawn = generator.multivariate_hypergeometric(counts, int(inside.sum()), size=settings["permutations"])
    net, members = drawn[:, 0] - drawn[:, 1], int(inside.sum())
    null = net / members - (counts[0] - counts[1] - net) / (len(unit) - members)
    observed = drop - float(unit[~inside].mean())
    rank = statistics.rank_among(decision.settled(observed), decision.settled(null))
    low, high = statistics.bounded_difference_interval(unit[inside], unit[~inside], decision.confidence(level))
    second = Part(
        "more than in other classes",
        f"permutation of the images' classes, {len(null):,} orders, one-sided",
        observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
        0.0, margin, len(unit), "images",
    )  # fmt: skip
    return [first, second]


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    n, of = facts["images"], facts["of_images"]
    if facts.get("drops"):
        typical = generator.choice(np.clip(facts["drops"], 0, 1), facts["controls"])
    else:
        typical = np.minimum(generator.exponential(facts["spread"], facts["controls"]), 1)
    controls = np.zeros((facts["controls"], of), dtype=np.int8)
    controls[:, :n] = generator.random((facts["controls"], n)) < typical[:, None]
    chance = np.full(of, min(facts["spread"], 1.0))
    chance[:n] = min(1.0, facts["spread"] + effect)
    return {"unit": generator.random(of) < chance, "controls": controls, "labels": simulating.labels(settings, n, of)}


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    return {"controls": [{"unit": u, "drop": d} for u, d in zip(settings["controls"], parts[0].null)]}


def _spread(store, run, layer, label) -> dict:
    """How much units of the layer cost the class: from the atlas where there is one, else assumed."""
    if stage_is_whole(store.run_path(run), "atlas"):
        table = store.atlas_classes(run, layer)
        drops = -table[table["class_index"] == label["class_index"]]["change"]
        drops = drops.clip(lower=0)
        found = {"drops": drops.tolist(), "shape": "as the layer's units in the atlas", "assumed": False}
        return {**found, "spread": max(float(drops.mean()), 1e-3)}
    return {"spread": 0.01, "shape": "exponentially", "assumed": True}


ABOUT = About(
    title="A unit is necessary for a class",
    options=(RUN, UNIT, CLASS, ("controls", False, "number of matched units")),
    smallest=0.1,
    unit="points",
    told="matched units lose {spread:.3g} of the class's images on average, unevenly ({shape}), and the unit "
    "that much more",
    baselines="units matched on mean activation, other classes",
    intervenes="silences the unit: tests that it is necessary, not that it suffices",
)
