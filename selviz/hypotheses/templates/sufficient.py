"""A set of units is sufficient for a class: keeping only it keeps more than random sets, and much of what is there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import (
    CLASS,
    DRAWS,
    LAYER,
    RUN,
    About,
    Array,
    Facts,
    Resolved,
    Sample,
    Settings,
    Work,
    blocks,
)
from selviz.store import Store
from selviz.text.numbers import counted


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    k = len(s["units"])
    be, them = ("is", "it") if k == 1 else ("are", "them")
    least, share = template.points(s["smallest"]), f"{100 * s['share']:g} %"
    return {
        "statement": f"{counted(k, 'unit')} of {s['layer']} in {s['run']} ({template.listed(s['units'])}) "
        f"{be} sufficient for class {s['class']}: keeping only {them} keeps at least {least} more of it than keeping a "
        "random "
        f"set of the same size, and at least {share} of what the intact network has.",
        "quantity": f"informedness for class {s['class']} with every other unit of the layer silent: share of its "
        "images that are called it, minus share of other images that are",
        "direction": f"higher, by {least} or more; at least {share} of the intact network's",
        "refuted": template.refuted(s, "the informedness beyond the mean of random sets")
        + f" Or one that lies wholly below {share} of the intact network's.",
        "controls": f"{s['draws']} random sets of {counted(k, 'unit')} of the layer, kept the same way; the intact "
        "network",
        "statistic": "rank among the random sets; difference from the share of the intact network's; both must hold",
        "sample": f"{s['of_images']} images of {template.images_text(s)}, {s['images']} of the class; intervals are "
        "for new images, and other random sets",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, layer = name_lookup.run_of(store, requested["run"]), requested["layer"]
    width, label = name_lookup.width_of(store, run, layer), name_lookup.class_of(store, run, requested["class"])
    draws, fold = option_parsing.draws(requested, common["level"]), samples.test_fold(store, [run])
    share = option_parsing.number(requested.get("share", 0.5), "share")
    if not 0 < share < 1:
        raise SelvizError(f"share is {share:g}; it is a share between 0 and 1 of what the intact network has.")
    default = min(10, width // 2)
    units, chosen = name_lookup.units_or_k(store, requested, run, layer, width, label["class_index"], default)
    if len(units) >= width:
        raise SelvizError(f"Keeping all {width} units of {layer} silences nothing; keep fewer.")
    images = samples.image_counts(store, run, fold, label)
    settings = {
        "run": run, "layer": layer, "units": units, "width": width, **label, "draws": draws, "share": share,
        "fold": fold, **images,
    }  # fmt: skip
    facts = {**images, "draws": draws, "kept": 0.2, "spread": 0.12, "intact": 0.95, "assumed": True}
    return Resolved(settings, [run], facts, [], chosen)


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return which images are called the class when only the set is kept, and only each random set."""
    from selviz import ablation

    engine = samples.test_engine(store, settings["run"], settings["fold"])
    layer, label = settings["layer"], settings["class_index"]
    generator = np.random.default_rng(settings["seed"])
    sets = [
        np.sort(generator.choice(settings["width"], len(settings["units"]), replace=False)).tolist()
        for _ in range(settings["draws"])
    ]

    def called(units: Sequence[int]) -> Array:
        rest = ablation.complement(engine.network, {layer: units})
        is_called: Array = (engine.logits(ablation.changes(engine, rest)).argmax(dim=1) == label).numpy()
        return is_called.astype(np.int8)

    rows: list[Array] = []
    for name, block in blocks([settings["units"], *sets]):

        def make(block: Sequence[Sequence[int]] = block) -> dict[str, Array]:
            return {"called": np.stack([called(units) for units in block])}

        rows.append(work.keep(name, make)["called"])
        work.report({"done": sum(map(len, rows)), "of": 1 + len(sets)})
    everything = np.concatenate(rows)
    intact = (engine.before().argmax(dim=1) == label).numpy()
    engine.close()
    return {"called": everything[0], "controls": everything[1:], "labels": engine.labels.numpy(), "intact": intact}


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `called` [N] and `controls` [R, N]: whether the image is called the class when only the set is kept;
    `intact` [N], whether the intact network calls it so; `labels` [N]."""
    called, controls = np.asarray(sample["called"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    observed = float(called[inside].mean() - called[~inside].mean())
    null = controls[:, inside].mean(axis=1) - controls[:, ~inside].mean(axis=1)
    rank = statistics.rank_among(float(decision.settled(observed)), decision.settled(null))
    beyond = called - controls.mean(axis=0)
    first = part(
        "more than random sets",
        f"rank of the informedness among {len(null)} random sets of the same size, one-sided",
        statistics.bounded_difference(beyond[inside], beyond[~inside], decision.set_error(null)),
        settings, n=len(called), of="images", null=null, p=rank.p_high, smallest_p=1 / (len(null) + 1),
        observed=observed, parts=2,
    )  # fmt: skip
    share = settings["share"]
    kept = called - share * np.asarray(sample["intact"], float)
    estimate = statistics.bounded_difference(kept[inside], kept[~inside])
    second = part(
        f"at least {100 * share:g} % of what the intact network has",
        "normal, paired over images, against a difference of at most 0, one-sided",
        estimate, settings, n=len(called), of="images", null=estimate.error * decision.t_quantiles(np.inf), margin=0.0,
        parts=2,
    )  # fmt: skip
    return [first, second]


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample in which the set keeps so much more than random sets."""
    n, total = facts["images"], facts["of_images"]
    mean, variance = facts["kept"], facts["spread"] ** 2
    size = max(mean * (1 - mean) / variance - 1, 0.1)
    recall = generator.beta(mean * size, (1 - mean) * size, settings["draws"])
    chance = np.full((2 + settings["draws"], total), 0.05)
    chance[0, :n], chance[1:-1, :n] = min(mean + effect, 1.0), recall[:, None]
    chance[-1], chance[-1, :n] = 0.005, facts["intact"]
    called = generator.random(chance.shape) < chance
    return {
        "called": called[0],
        "controls": called[1:-1],
        "intact": called[-1],
        "labels": template.labels(settings, n, total),
    }


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the informedness of the intact network and of the set."""
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    whole = np.asarray(sample["intact"], float)
    return {"intact": float(whole[inside].mean() - whole[~inside].mean()), "kept": parts[0].observed}


ABOUT = About(
    title="A set of units is sufficient for a class",
    options=(
        RUN,
        LAYER,
        CLASS,
        ("k", False, "so many units, the most selective for the class on fold 0 (default: 10)"),
        ("units", False, "or these units, such as 3,5,8-11"),
        ("share", False, "of the intact network's informedness that must be kept (default: 0.5)"),
        DRAWS,
    ),
    smallest=0.3,
    unit="points",
    model="random sets keep {kept:.0%} of the class, with a standard deviation of {spread:.2g} between sets, "
    "and 5 % of other images are called it; the set keeps that much more; the intact network keeps {intact:.0%}",
    baselines="random sets of the same size, the intact network",
    intervenes="keeps only the set: tests that it suffices, not that it is necessary",
    quantity="what is kept when other units are silent",
    subject=("run", "layer", "units", "class"),
    largest=0.9,
)
