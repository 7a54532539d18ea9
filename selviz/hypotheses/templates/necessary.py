"""A unit is necessary for a class: beyond matched units, and beyond what it does to other classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import CLASS, RUN, UNIT, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.store import Store, stage_is_whole

AGAINST = ("matched", "random")
MAX_GAINED = 0.5  # for each image lost, in the model of power


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    least = template.points(s["smallest"])
    matched = s["against"] == "matched"
    others = "matched units" if matched else "other live units of the layer"
    subject = (
        f"the {len(s['controls'])} live units of the layer nearest to it within {statistics.CALIPER:g} standard "
        "deviations in mean activation, its standard deviation and outgoing weight (fold 0)"
        if matched
        else f"{len(s['controls'])} other live units of the layer, at random; {s['unmatched']}"
    )
    return {
        "statement": f"{template.unit_of(s).capitalize()} in {s['run']} is necessary for class {s['class']}: without "
        f"it the network loses at least {least} more of that class than without {others}, and at least {least} more "
        "than of other classes.",
        "quantity": f"the share of the {s['images']} images of class {s['class']} on fold {s['fold']} that silencing "
        "the unit (mode zero) turns from right to wrong, minus those it turns from wrong to right",
        "direction": f"a larger drop, by {least} or more",
        "refuted": template.refuted(s, f"the drop beyond that of {others}, or beyond that of other classes,"),
        "controls": f"{subject}; the other classes' images",
        "statistic": f"rank of the drop among the drops of {others}; permutation of the images' classes; "
        "both must hold",
        "sample": f"{s['of_images']} images of {template.images_text(s)}, {s['images']} of the class; intervals are "
        "for new images",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, layer, unit, label, chosen = name_lookup.unit_of(store, requested)
    fold = samples.test_fold(store, [run])
    values, _, _ = samples.activations(store, run, layer, samples.CHOOSING)
    live = [int(other) for other in np.flatnonzero((values != 0).any(axis=0)) if other != unit]
    matching = samples.matching(store, run, layer, [unit])
    alike, needed = matching.candidates[0], option_parsing.smallest_needed(common["level"])
    against = requested.get("against", "matched" if len(alike) >= needed else "random")
    if against not in AGAINST:
        raise unknown("kind of controls", against, AGAINST)
    unmatched = (
        f"{len(alike)} of its {len(live)} other live units lie within {statistics.CALIPER:g} standard deviations of "
        f"unit {unit} in mean activation, its standard deviation and outgoing weight, so there is no matched control"
    )
    if against == "matched" and len(alike) < needed:
        raise SelvizError(
            f"{layer}: {unmatched} (a rank among them needs {needed}); compare with other live units of the layer "
            "instead: --against random"
        )
    pool = alike if against == "matched" else live
    enough = min(len(pool), max(39, option_parsing.reaching(common["level"])))
    wanted = option_parsing.count(requested.get("controls", enough), 1, "controls")
    what = "matched units" if against == "matched" else "control units"
    if wanted > len(pool):
        raise SelvizError(f"{layer} has {len(pool)} {what}, not {wanted}; ask for {len(pool)} controls.")
    option_parsing.attainable(wanted, common["level"], what, f"{layer} has {len(live)} other live units")
    generator = np.random.default_rng(common["seed"])
    controls = sorted(generator.choice(pool, wanted, replace=False).tolist())
    images = samples.image_counts(store, run, fold, label)
    settings = {
        "run": run, "layer": layer, "unit": unit, **label, "against": against, "controls": controls, **images,
        "fold": fold, "unmatched": unmatched,
        "balance": [row._asdict() for row in matching.balance([[other] for other in controls])],
    }  # fmt: skip
    facts = {**images, "controls": wanted, **_spread(store, run, layer, label)}
    return Resolved(settings, [run], facts, [], chosen)


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return which images the unit, and each control, loses: 1 lost, -1 gained, 0 the same."""
    engine, layer = samples.test_engine(store, settings["run"], settings["fold"]), settings["layer"]
    units = [settings["unit"], *settings["controls"]]
    rows = []
    for unit in samples.with_progress(units, work):

        def make(unit: int = unit) -> dict[str, Array]:
            return {"lost": samples.lost(engine, {layer: [unit]})}

        rows.append(work.keep(f"unit-{unit}", make)["lost"])
    engine.close()
    return {"unit": rows[0], "controls": np.stack(rows[1:]), "labels": engine.labels.numpy()}


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `unit` [N] and `controls` [K, N]: 1 where silencing lost the image, -1 where it gained it; `labels` [N]."""
    unit, controls = np.asarray(sample["unit"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    drop, drops = float(unit[inside].mean()), controls[:, inside].mean(axis=1)
    rank = statistics.rank_among(drop, drops)
    beyond = statistics.bounded_mean((unit - controls.mean(axis=0))[inside], decision.set_error(drops))
    kind = settings.get("against", "matched")
    first = part(
        f"more than {'matched' if kind == 'matched' else 'other'} units",
        f"rank of the drop among {len(drops)} {'matched' if kind == 'matched' else 'random'} units, one-sided",
        beyond, settings, n=int(inside.sum()), of="images of the class", null=drops, p=rank.p_high,
        smallest_p=1 / (len(drops) + 1), observed=drop, parts=2,
    )  # fmt: skip
    return [first, beyond_other_classes(unit, inside, settings, parts=2)]


def beyond_other_classes(change: Array, inside: Array, settings: Settings, parts: int) -> Part:
    """Judge whether images of the class are lost more often than others; `change` [N] is 1, 0 or -1."""
    counts = [int((change == value).sum()) for value in (1, -1)]
    counts.append(len(change) - sum(counts))
    generator, members = np.random.default_rng(settings["seed"]), int(inside.sum())
    # Which images are of the class, in random order: how many of the lost and gained ones are among them.
    drawn = generator.multivariate_hypergeometric(counts, members, size=settings["permutations"])
    net = drawn[:, 0] - drawn[:, 1]
    null = net / members - (counts[0] - counts[1] - net) / (len(change) - members)
    estimate = statistics.bounded_difference(change[inside], change[~inside])
    rank = statistics.rank_among(float(decision.settled(estimate.effect)), decision.settled(null))
    return part(
        "more than in other classes",
        f"permutation of the images' classes, {len(null):,} orders, one-sided",
        estimate, settings, n=len(change), of="images", null=null, p=rank.p_high, smallest_p=1 / (len(null) + 1),
        parts=parts,
    )  # fmt: skip


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample in which the unit loses so much more than its controls."""
    n, total = facts["images"], facts["of_images"]
    if facts.get("drops"):
        typical = generator.choice(np.clip(facts["drops"], 0, 1), facts["controls"])
    else:
        typical = np.minimum(generator.exponential(facts["spread"], facts["controls"]), 1)
    controls, gained = np.zeros((facts["controls"], total), dtype=np.int8), facts["gained"]
    controls[:, :n] = template.lost_images(generator, np.tile(typical[:, None], (1, n)), gained)
    chance = np.full(total, min(facts["spread"], 1.0))
    chance[:n] = min(1.0, facts["spread"] + effect)
    return {
        "unit": template.lost_images(generator, chance, gained),
        "controls": controls,
        "labels": template.labels(settings, n, total),
    }


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return every control's drop, and how alike controls and unit are."""
    drops = [{"unit": unit, "drop": drop} for unit, drop in zip(settings["controls"], parts[0].null)]
    return {"controls": drops, "covariates of the controls": settings.get("balance", [])}


def _spread(store: Store, run: str, layer: str, label: Mapping[str, Any]) -> dict[str, Any]:
    """Return how much units of the layer cost the class: from the atlas where there is one, else assumed."""
    if stage_is_whole(store.run_path(run), "atlas"):
        table = store.atlas_classes(run, layer)
        table = table[table["class_index"] == label["class_index"]]
        drops = (-table["change"]).clip(lower=0)
        gained = min(float(table["gained"].sum() / max(table["lost"].sum(), 1)), MAX_GAINED)
        spread = {"drops": drops.tolist(), "shape": "as the layer's units in the atlas", "assumed": False}
        return {**spread, "spread": max(float(drops.mean()), 1e-3), "gained": gained}
    return {"spread": 0.01, "shape": "exponentially", "gained": template.GAINED, "assumed": True}


ABOUT = About(
    title="A unit is necessary for a class",
    options=(
        RUN,
        UNIT,
        CLASS,
        ("controls", False, "number of control units"),
        ("against", False, "matched or random control units (default: matched where the layer has enough)"),
    ),
    smallest=0.1,
    unit="points",
    model="control units lose {spread:.3g} of the class's images on average, unevenly ({shape}), and the unit "
    "that much more; for each image lost {gained:.2g} are gained",
    baselines="control units of the layer, other classes",
    intervenes="silences the unit: tests that it is necessary, not that it suffices",
    quantity="accuracy lost when units are silent",
    subject=("run", "layer", "unit", "class"),
)
