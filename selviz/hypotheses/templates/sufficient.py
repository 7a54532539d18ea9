"""A set of units is sufficient for a class: keeping only it keeps more than keeping random sets."""

from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, simulating, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import class_indices, fold
from selviz.hypotheses.template import CLASS, DRAWS, LAYER, RUN, About, Resolved, Work
from selviz.store import Store


def say(s: Mapping) -> dict[str, str]:
    return {
        "statement": f"{len(s['units'])} units of {s['layer']} in {s['run']} ({words.listed(s['units'])}) are "
        f"sufficient for class {s['class']}: keeping only them keeps more of it than keeping a random set of the same "
        "size.",
        "quantity": f"informedness for class {s['class']} with every other unit of the layer silent: share of its "
        "images that are called it, minus share of other images that are",
        "direction": f"higher, by {words.points(s['smallest'])} or more",
        "refuted": words.refuted(s, "the informedness beyond the mean of random sets"),
        "controls": f"{s['draws']} random sets of {len(s['units'])} units of the layer, kept the same way",
        "statistic": "rank among the random sets",
        "sample": f"{s['of_images']} images of fold 1, {s['images']} of the class; intervals are for new images",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run, layer = name_lookup.run_of(store, asked["run"]), asked["layer"]
    width, label = name_lookup.width_of(store, run, layer), name_lookup.class_of(store, run, asked["class"])
    draws = option_parsing.draws(asked, common["level"])
    if "units" in asked and "k" in asked:
        raise SelvizError("Name the units, or k for the most selective ones; not both.")
    if "units" in asked:
        units, chosen = option_parsing.numbers(asked["units"], width, layer), ""
    else:
        k = option_parsing.count(asked.get("k", min(10, width // 2)), 1, "k", width, layer)
        units = _most_selective(store, run, layer, k, label["class_index"])
        chosen = f"the {k} units of {layer} that are most selective for class {label['class']}"
    if len(units) >= width:
        raise SelvizError(f"Keeping all {width} units of {layer} silences nothing; keep fewer.")
    settings = {"run": run, "layer": layer, "units": units, "width": width, **label, "draws": draws}
    images = name_lookup.images_of(store, run, label)
    facts = {**images, "draws": draws, "kept": 0.3, "spread": 0.15, "assumed": True}
    return Resolved({**settings, **images}, [run], facts, [], chosen)


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """Which images are called the class when only the set is kept, and only each random set."""
    from selviz import ablation
    from selviz.hypotheses import ablation_samples

    engine, layer, label = (
        ablation_samples.open_engine(store, settings["run"]),
        settings["layer"],
        settings["class_index"],
    )
    generator = np.random.default_rng(settings["seed"])
    sets = [
        np.sort(generator.choice(settings["width"], len(settings["units"]), replace=False)).tolist()
        for _ in range(settings["draws"])
    ]

    def called(units) -> np.ndarray:
        rest = ablation.complement(engine.network, {layer: units})
        return (engine.logits(ablation.changes(engine, rest)).argmax(dim=1) == label).numpy().astype(np.int8)

    rows = []
    for name, block in ablation_samples.blocks([settings["units"], *sets]):
        found = work.keep(name, lambda block=block: {"called": np.concatenate([called(units) for units in block])})
        rows.append(found["called"].reshape(len(block), -1))
        work.report({"done": sum(map(len, rows)), "of": 1 + len(sets)})
    rows = np.concatenate(rows)
    intact = (engine.before().argmax(dim=1) == label).numpy()
    engine.close()
    return {"called": rows[0], "controls": rows[1:], "labels": engine.labels.numpy(), "intact": intact}


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`called` [N] and `controls` [R, N]: whether the image is called the class when only the set is kept; `labels`."""
    called, controls = np.asarray(sample["called"], float), np.asarray(sample["controls"], float)
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    observed = float(called[inside].mean() - called[~inside].mean())
    null = controls[:, inside].mean(axis=1) - controls[:, ~inside].mean(axis=1)
    rank = statistics.rank_among(decision.settled(observed), decision.settled(null))
    beyond = called - controls.mean(axis=0)
    low, high = statistics.bounded_difference_interval(
        beyond[inside], beyond[~inside], decision.confidence(settings["level"])
    )
    return [
        Part(
            "more than random sets",
            f"rank of the informedness among {len(null)} random sets of the same size, one-sided",
            observed - float(null.mean()), low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
            0.0, settings["smallest"], len(called), "images",
        )
    ]  # fmt: skip


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    n, of = facts["images"], facts["of_images"]
    mean, variance = facts["kept"], facts["spread"] ** 2
    size = mean * (1 - mean) / variance - 1
    recall = generator.beta(mean * size, (1 - mean) * size, settings["draws"])
    chance = np.full((1 + settings["draws"], of), 0.05)
    chance[0, :n], chance[1:, :n] = min(mean + effect, 1.0), recall[:, None]
    called = generator.random(chance.shape) < chance
    return {"called": called[0], "controls": called[1:], "labels": simulating.labels(settings, n, of)}


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    inside = np.asarray(sample["labels"]) == settings["class_index"]
    whole = np.asarray(sample["intact"], float)
    return {"intact": float(whole[inside].mean() - whole[~inside].mean()), "kept": parts[0].observed}


def _most_selective(store, run, layer, k, label) -> list[int]:
    values, labels, _ = fold(store, run, layer, 0)
    _, _, by_class = class_indices(values, labels, len(store.run(run)["classes"]))
    return sorted(np.argsort(-by_class[label], kind="stable")[:k].tolist())


ABOUT = About(
    title="A set of units is sufficient for a class",
    options=(
        RUN,
        LAYER,
        CLASS,
        ("k", False, "so many units, the most selective for the class on fold 0 (default: 10)"),
        ("units", False, "or these units, such as 3,5,8-11"),
        DRAWS,
    ),
    smallest=0.3,
    unit="points",
    told="random sets keep {kept:.0%} of the class, with a standard deviation of {spread:.2g} between sets, "
    "and 5 % of other images are called it; the set keeps that much more",
    baselines="random sets of the same size",
    intervenes="keeps only the set: tests that it suffices, not that it is necessary",
)
