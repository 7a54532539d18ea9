"""A set of units is necessary for a class: beyond random and matched sets, and beyond what it does to other classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import (
    CLASS,
    CONTROLS,
    DRAWS,
    LAYER,
    RUN,
    About,
    Facts,
    Resolved,
    Sample,
    Settings,
    Work,
)
from selviz.hypotheses.templates.necessary import beyond_other_classes
from selviz.store import Store
from selviz.text.numbers import counted


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    least, k = template.points(s["smallest"]), len(s["units"])
    be, them = ("is", "it") if k == 1 else ("are", "them")
    kinds = " and than without ".join(f"{kind} sets of {counted(k, 'unit')}" for kind in s["sets"])
    matched = "" if "matched" in s["sets"] else f"; {s['unmatched']}"
    return {
        "statement": f"{counted(k, 'unit')} of {s['layer']} in {s['run']} ({template.listed(s['units'])}) "
        f"{be} necessary for class {s['class']}: without {them} the network loses at least {least} more of that "
        f"class than without {kinds}, and "
        f"at least {least} more than of other classes.",
        "quantity": f"the share of the {s['images']} images of class {s['class']} on fold {s['fold']} that silencing "
        "the units (mode zero) turns from right to wrong, minus those it turns from wrong to right",
        "direction": f"a larger drop, by {least} or more",
        "refuted": template.refuted(s, "the drop beyond that of the control sets, or beyond that of other classes,"),
        "controls": ", ".join(f"{number} {kind} sets" for kind, number in s["sets"].items())
        + f" of {counted(k, 'unit')} of the layer{matched}; the other classes' images",
        "statistic": "rank of the drop among the control sets' drops; permutation of the images' classes; all must "
        "hold",
        "sample": f"{s['of_images']} images of {template.images_text(s)}, {s['images']} of the class; intervals are "
        "for new images, and other control sets",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, layer = name_lookup.run_of(store, requested["run"]), requested["layer"]
    width, label = name_lookup.width_of(store, run, layer), name_lookup.class_of(store, run, requested["class"])
    fold, draws = samples.test_fold(store, [run]), option_parsing.draws(requested, common["level"])
    units, chosen = name_lookup.units_or_k(store, requested, run, layer, width, label["class_index"], width // 10 or 1)
    if len(units) >= width:
        raise SelvizError(f"{layer} has {width} units; silencing all of them leaves no control set.")
    matching = samples.matching(store, run, layer, units)
    alike = list(matching.sets(draws, common["seed"]))
    sets, unmatched = set_controls(requested, common, draws, [alike], matching.why_not(layer))
    images = samples.image_counts(store, run, fold, label)
    settings = {
        "run": run, "layer": layer, "units": units, "width": width, **label, "draws": draws, "sets": sets,
        "unmatched": unmatched, "fold": fold, **images,
        "balance": [row._asdict() for row in matching.balance(alike)] if "matched" in sets else [],
    }  # fmt: skip
    facts = {**images, "drop": 0.05, "spread": 0.05, "gained": template.GAINED, "assumed": True}
    return Resolved(settings, [run], facts, [], chosen)


def set_controls(
    requested: Mapping[str, Any], common: Mapping[str, Any], draws: int, alike: Sequence[Sequence[Any]], why_not: str
) -> tuple[dict[str, int], str]:
    """Return how many control sets of each kind there are, and why there are no matched ones ("" where there are).

    `alike` are the matched sets that were found, of each layer. Matched controls that were asked for by name and do
    not exist raise SelvizError.
    """
    controls = requested.get("controls", "both")
    if controls not in CONTROLS:
        raise unknown("kind of controls", controls, CONTROLS)
    number, needed = min(map(len, alike)), option_parsing.smallest_needed(common["level"])
    enough = number >= needed
    if number and not enough:
        why_not = f"there are only {number} matched sets, and a rank among them needs {needed}"
    if controls != "random" and not enough and "controls" in requested:
        raise SelvizError(f"There is no matched control: {why_not}. Compare with random sets only: --controls random")
    sets = {} if controls == "matched" else {"random": draws}
    if controls != "random" and enough:
        sets["matched"] = number
    return sets, "" if enough else why_not


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return which images the units, and each control set, lose: 1 lost, -1 gained, 0 the same."""
    from selviz import ablation

    engine, layer = samples.test_engine(store, settings["run"], settings["fold"]), settings["layer"]
    units, seed = {layer: settings["units"]}, settings["seed"]
    total, done = 1 + sum(settings["sets"].values()), 0

    def tell(number: int) -> None:
        nonlocal done
        done += number
        work.report({"done": done, "of": total})

    rows = {"units": samples.lost_by_sets(engine, [units], "units", work, tell)[0]}
    for kind, number in settings["sets"].items():
        if kind == "random":
            drawn = list(ablation.random_sets(engine.network, units, number, seed))
        else:
            matching = samples.matching(store, settings["run"], layer, settings["units"])
            drawn = [{layer: other} for other in matching.sets(number, seed)]
        rows[kind] = samples.lost_by_sets(engine, drawn, kind, work, tell)
    engine.close()
    return {**rows, "labels": engine.labels.numpy()}


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `units` [N] and `random`, `matched` [R, N]: 1 where silencing lost the image, -1 gained; `labels` [N]."""
    units, inside = np.asarray(sample["units"], float), np.asarray(sample["labels"]) == settings["class_index"]
    drop, parts, count = float(units[inside].mean()), [], 1 + len(settings["sets"])
    for kind in settings["sets"]:
        controls = np.asarray(sample[kind], float)
        drops = controls[:, inside].mean(axis=1)
        rank = statistics.rank_among(drop, drops)
        parts.append(
            part(
                f"more than {kind} sets",
                f"rank of the drop among {len(drops)} {kind} sets, one-sided",
                statistics.bounded_mean((units - controls.mean(axis=0))[inside], decision.set_error(drops)),
                settings, n=int(inside.sum()), of="images of the class", null=drops, p=rank.p_high,
                smallest_p=1 / (len(drops) + 1), observed=drop, parts=count,
            )
        )  # fmt: skip
    return [*parts, beyond_other_classes(units, inside, settings, parts=count)]


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample in which the set loses so much more than control sets."""
    n, total = facts["images"], facts["of_images"]
    simulated: dict[str, Any] = {"labels": template.labels(settings, n, total)}
    for kind, number in settings["sets"].items():
        typical = template.set_chances(generator, facts["drop"], facts["spread"], number)
        simulated[kind] = template.lost_images(generator, np.tile(typical[:, None], (1, total)), facts["gained"])
    chance = np.full(total, facts["drop"])
    chance[:n] = min(1.0, facts["drop"] + effect)
    return {**simulated, "units": template.lost_images(generator, chance, facts["gained"])}


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what the set loses, and how alike it and the matched sets are."""
    return {"drop": parts[0].observed, "covariates of the matched sets": settings.get("balance", [])}


ABOUT = About(
    title="A set of units is necessary for a class",
    options=(
        RUN,
        LAYER,
        CLASS,
        ("k", False, "so many units, the most selective for the class on fold 0 (default: a tenth of the layer)"),
        ("units", False, "or these units, such as 3,5,8-11"),
        ("controls", False, "random, matched or both (default: both where matched sets exist)"),
        DRAWS,
    ),
    smallest=0.1,
    unit="points",
    model="control sets lose {drop:.0%} of the images, with a standard deviation of {spread:.3g} between sets, and the "
    "set that much more of the class; for each image lost {gained:.2g} are gained",
    baselines="random and matched sets of the same size, other classes",
    intervenes="silences the set: tests that it is necessary, not that it suffices",
    quantity="accuracy lost when units are silent",
    subject=("run", "layer", "units", "class"),
    distributed=True,
)
