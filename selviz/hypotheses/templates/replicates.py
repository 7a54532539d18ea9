"""A unit's selectivity is more than shuffled labels make, and is there again in other networks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import RUN, UNIT, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.store import Store

RESAMPLES = 1999
LARGEST = 1 - 1e-9  # contrast of a unit that fires on one class alone


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    return {
        "statement": f"{template.unit_of(s).capitalize()} in {s['run']} is selective for class {s['class']}, by "
        f"{s['smallest']:g} or more above what shuffled labels make of it, on images that did not show it; and so is "
        f"the unit that matches it in {len(s['others'])} other networks.",
        "quantity": f"(m - r) / (m + r) on fold {s['fold']}: m the mean activation on class {s['class']}, preferred on "
        "fold 0, r the mean of the other classes' means; less its mean under shuffled labels",
        "direction": f"higher, by {s['smallest']:g} or more",
        "refuted": f"An interval of it that lies wholly below {s['smallest']:g}, in the network or in one "
        "of the others.",
        "controls": f"{s['permutations']} shuffles of the labels of these images in each network",
        "statistic": "rank among the shuffles, in every network; each must hold",
        "sample": f"{s['of_images']} images of {template.images_text(s)}, {s['images']} of the class; the other "
        f"networks' units are matched by correlation on fold 0 ({template.listed(s['others'])})",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, layer, unit, label, chosen = name_lookup.unit_of(store, requested, any_class=True)
    named = option_parsing.names(requested["runs"]) if "runs" in requested else None
    others = name_lookup.matched_networks(store, run, layer, named)
    if not others:
        raise SelvizError(
            f"Replication needs at least one other network, and none in the store differs from {run} only in its seed; "
            f"name others with --runs, or train one with another --seed."
        )
    fold = samples.test_fold(store, [run])
    images = samples.image_counts(store, run, fold, label)
    settings = {"run": run, "layer": layer, "unit": unit, **label, "others": others, "fold": fold, **images}
    by_class = store.class_means(run, layer, unit)
    facts = {
        **images, "classes": len(store.run(run)["classes"]), "networks": 1 + len(others),
        "spread": class_spread(by_class["mean"].to_numpy(), by_class["std"].to_numpy()), "assumed": False,
    }  # fmt: skip
    return Resolved(settings, [run, *others], facts, [], chosen)


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return the contrast of the class on the tested images for the unit and its matches in other networks, with
    shuffles of the labels and resampled images; units are matched by their correlation on fold 0."""
    from selviz.geometry import matching

    run, layer, unit, label = (settings[name] for name in ("run", "layer", "unit", "class_index"))
    first, _, _ = samples.activations(store, run, layer, samples.CHOOSING)
    measured, units = [], []
    for name in [run, *settings["others"]]:
        match, correlation = unit, 1.0
        if name != run:
            other, _, _ = samples.activations(store, name, layer, samples.CHOOSING)
            row = matching.matches(first[:, [unit]], other).iloc[0]
            match, correlation = int(row["match"]), float(row["correlation"])
            if match < 0:
                raise SelvizError(f"No unit of {layer} in {name} can be matched: unit {unit} of {run} never changes.")
        values, labels, _ = samples.activations(store, name, layer, settings["fold"])
        measured.append(contrasts(values[:, match], labels, label, settings["permutations"], settings["seed"]))
        units.append({"run": name, "unit": match, "correlation": correlation})
        work.report({"run": name, "done": len(measured), "of": 1 + len(settings["others"])})
    observed, null, resampled = zip(*measured)
    names = [f"unit {row['unit']} in {row['run']}" for row in units]
    return {
        "names": names, "observed": np.array(observed), "null": np.stack(null), "resampled": np.stack(resampled),
        "images": len(labels), "of_class": int((labels == label).sum()), "units": units,
    }  # fmt: skip


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `observed` [P], `null` [P, R], `resampled` [P, B]: the contrast of the class in each network; `names` [P].
    `images` and `of_class` count the images, in all and of the class."""
    parts, of_class = [], max(int(sample["of_class"]), 2)
    for name, observed, null, resampled in zip(
        sample["names"], sample["observed"], np.asarray(sample["null"]), np.asarray(sample["resampled"])
    ):
        rank = statistics.rank_among(float(observed), null)
        # (m - r) / (m + r) is tanh of half the logarithm of m / r, on which scale resampled images are nearly normal.
        center = _scaled(float(observed)) - _scaled(float(null.mean()))
        error = math.hypot(float(_scaled(resampled).std(ddof=1)), float(_scaled(null).std() / math.sqrt(len(null))))
        estimate = statistics.Estimate(math.tanh(center), float(center), error, of_class - 1, "tanh")
        parts.append(
            part(
                str(name),
                f"shuffles of the labels, {len(null):,}, one-sided",
                estimate, settings, n=int(sample["images"]), of="images", null=null, p=rank.p_high,
                smallest_p=1 / (len(null) + 1), observed=float(observed), parts=len(sample["names"]),
            )
        )  # fmt: skip
    return parts


def _scaled(contrast: Any) -> Any:
    return np.arctanh(np.clip(contrast, -LARGEST, LARGEST))


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return activations of a unit that is so selective in every network, as contrasts."""
    n, total, classes, label = facts["images"], facts["of_images"], facts["classes"], settings["class_index"]
    labels = np.concatenate([np.full(n, label), np.resize(np.delete(np.arange(classes), label), total - n)])
    mean = np.where(labels == label, (1 + effect) / (1 - effect), 1.0)
    shape = 1 / max(facts["spread"], 0.05) ** 2
    simulated = [
        contrasts(generator.gamma(shape, mean / shape), labels, label, settings["permutations"], 0, 199)
        for _ in range(facts["networks"])
    ]
    observed, null, resampled = zip(*simulated)
    names = [f"network {number}" for number in range(len(simulated))]
    sample = {"names": names, "observed": observed, "null": np.stack(null), "resampled": np.stack(resampled)}
    return {**sample, "images": total, "of_class": n}


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return which unit stands for it in each network."""
    return {"units": sample["units"]}


def class_spread(means: Array, deviations: Array) -> float:
    """Return the coefficient of variation within classes of a unit with these class means [C] and deviations [C]."""
    length = float(np.sqrt(np.square(means).sum()))
    return float(np.sqrt(np.square(deviations).sum())) / length if length > 0 else 1.0


def contrasts(
    values: Array, labels: Array, label: int, shuffles: int, seed: int, resamples: int = RESAMPLES
) -> tuple[float, Array, Array]:
    """Return (contrast of a class for activations [N], under shuffled labels [R], under resampled images [B])."""
    import torch

    from selviz.selectivity import index

    classes, generator = int(labels.max()) + 1, np.random.default_rng(seed)
    values = values.astype(np.float64)
    truth, column = torch.tensor(labels).long(), torch.tensor(values).unsqueeze(1)

    def contrast(means: torch.Tensor) -> Array:
        return index.index_of_class(means, label).numpy()

    observed = float(contrast(index.class_means(column, truth, classes)[0])[0])
    null = []
    for count in _pieces(shuffles):
        orders = generator.permuted(np.tile(values, (count, 1)), axis=1)
        null.append(contrast(index.class_means(torch.from_numpy(orders.T), truth, classes)[0]))
    means = np.empty((classes, resamples))
    for number in range(classes):
        inside = values[labels == number]
        if not len(inside):
            means[number] = 0
            continue
        means[number] = inside[generator.integers(0, len(inside), (resamples, len(inside)))].mean(axis=1)
    return observed, np.concatenate(null), contrast(torch.from_numpy(means))


def _pieces(total: int, size: int = 500) -> Iterator[int]:
    for first in range(0, total, size):
        yield min(size, total - first)


ABOUT = About(
    title="A unit's selectivity is real and replicates",
    options=(
        RUN,
        UNIT,
        ("class", False, "the class (default: the one preferred on fold 0)"),
        ("runs", False, "other networks (default: those that differ only in their seed)"),
    ),
    smallest=0.2,
    unit="",
    model="activations follow a gamma distribution with a coefficient of variation of {spread:.2g}, in every network",
    baselines="shuffled labels",
    intervenes="",
    quantity="selectivity of a unit",
    subject=("run", "layer", "unit", "class", "others"),
    largest=0.95,
    replicates=True,
)
