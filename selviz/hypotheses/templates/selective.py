"""The most selective units of a layer matter more than random ones, and than ones that are as active."""

from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import class_indices, fold
from selviz.hypotheses.template import CONTROLS, DRAWS, RUN, About, Resolved, Work
from selviz.store import Store


def say(s: Mapping) -> dict[str, str]:
    kinds = {"random": "random units", "matched": "units of the same mean activation"}
    kind = " and than ".join(f"{s['k']} {kinds[name]}" for name in _kinds(s["controls"]))
    sets = " and ".join(f"{s['draws']} sets of {s['k']} {kinds[name]}" for name in _kinds(s["controls"]))
    return {
        "statement": f"In {s['run']} the {s['k']} most selective units of a layer matter more than {kind} of it "
        f"({words.listed(s['layers'])}).",
        "quantity": "the drop of accuracy on fold 1 when the units are silent (mode zero), mean over layers, each "
        "layer by itself",
        "direction": f"a larger drop, by {words.points(s['smallest'])} or more",
        "refuted": words.refuted(s, "the drop beyond the mean of the control sets"),
        "controls": f"{sets} in each layer",
        "statistic": "rank of the mean drop among the control sets'" + ("; both must hold" if "and" in sets else ""),
        "sample": f"units ranked by SI on fold 0, measured on the {s['of_images']} images of fold 1; intervals are for "
        "new images",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run = name_lookup.run_of(store, asked["run"])
    layers, widths = name_lookup.layers_of(store, run, asked.get("layer"))
    k = asked.get("k", max(1, min(widths) // 10))
    for name, width in zip(layers, widths):
        k = option_parsing.count(k, 1, "k", width - 1, name)
    controls = asked.get("controls", "both" if 2 * k <= min(widths) else "random")
    if controls not in CONTROLS:
        raise unknown("kind of controls", controls, CONTROLS)
    if controls != "random" and 2 * k > min(widths):
        raise SelvizError(
            f"Matching needs twice as many units as k, and the narrowest layer has {min(widths)}; give a smaller k, or "
            f"random controls only: --controls random"
        )
    draws = option_parsing.draws(asked, common["level"])
    images = name_lookup.images_of(store, run)
    settings = {"run": run, "layers": layers, "k": k, "controls": controls, "draws": draws, **images}
    facts = {**images, "draws": draws, "layers": len(layers), "drop": 0.02, "spread": 0.015}
    stored = name_lookup.stored(store, run, ablation="the removal curves")
    return Resolved(settings, [run], {**facts, "assumed": True}, stored, f"the {k} most selective units of each layer")


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """What silencing the most selective units of each layer loses, and each control set of each kind."""
    import torch

    from selviz import ablation
    from selviz.hypotheses import ablation_samples

    run, k = settings["run"], settings["k"]
    engine = ablation_samples.open_engine(store, run)
    names = store.run(run)["classes"]
    kinds, draws, layers = _kinds(settings["controls"]), settings["draws"], settings["layers"]
    change, chosen, drops, typical = [], {}, {kind: [] for kind in kinds}, {kind: [] for kind in kinds}

    def measured(layer: str, name: str, sets: list) -> np.ndarray:
        """What each set loses: [sets, N]."""
        nonlocal done
        rows = []
        for place, block in ablation_samples.blocks(sets):

            def make(block=block) -> dict[str, np.ndarray]:
                return {"lost": np.concatenate([ablation_samples.lost(engine, drawn) for drawn in block])}

            rows.append(work.keep(f"{name}-{place}", make)["lost"].reshape(len(block), -1))
            done += len(block)
            work.report({"layer": layer, "done": done, "of": len(layers) * (1 + len(kinds) * draws)})
        return np.concatenate(rows)

    done = 0
    for position, layer in enumerate(layers):
        values, labels, _ = fold(store, run, layer, 0)
        si, _, _ = class_indices(values, labels, len(names))
        top = np.argsort(-si, kind="stable")[:k].tolist()
        chosen[layer] = sorted(top)
        seed, units, means = settings["seed"] + position, {layer: top}, torch.from_numpy(values.mean(axis=0))
        change.append(measured(layer, f"{position}-chosen", [units])[0])
        for kind in kinds:
            if kind == "random":
                sets = ablation.random_sets(engine.network, units, draws, seed)
            else:
                sets = ablation.matched_sets(engine.network, units, {layer: means}, draws, seed)
            lost = measured(layer, f"{position}-{kind}", list(sets))
            drops[kind].append(lost.mean(axis=1))
            typical[kind].append(lost.mean(axis=0))
    engine.close()
    return {
        "change": np.stack(change),
        "typical": {kind: np.stack(rows) for kind, rows in typical.items()},
        "drops": {kind: np.stack(rows, axis=1) for kind, rows in drops.items()},
        "units": chosen,
    }


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`change` [L, N] over images; by kind of control sets `drops` [R, L], each set's, and `typical` [L, N], the mean
    over sets."""
    change, parts = np.asarray(sample["change"], float), []
    observed = float(change.mean())
    for kind, drops in sample["drops"].items():
        null = np.asarray(drops, float).mean(axis=1)
        rank = statistics.rank_among(decision.settled(observed), decision.settled(null))
        beyond = (change - np.asarray(sample["typical"][kind], float)).mean(axis=0)
        low, high = statistics.bounded_mean_interval(beyond, decision.confidence(settings["level"]))
        parts.append(
            Part(
                f"more than {kind} sets",
                f"rank of the drop, mean over layers, among {len(null)} {kind} sets of each layer, one-sided",
                observed - float(null.mean()), low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
                0.0, settings["smallest"], change.shape[1], "images",
            )
        )  # fmt: skip
    return parts


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    of, layers, kinds = facts["of_images"], facts["layers"], _kinds(settings["controls"])
    size = (len(kinds), settings["draws"], layers)
    drops = generator.binomial(of, np.clip(generator.normal(facts["drop"], facts["spread"], size), 0, 1)) / of
    change = generator.random((layers, of)) < min(1.0, facts["drop"] + effect)
    typical = {kind: np.full((layers, of), sets.mean()) for kind, sets in zip(kinds, drops)}
    return {"change": change, "typical": typical, "drops": dict(zip(kinds, drops))}


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    means = {f"{kind}_mean": np.asarray(drops).mean(axis=0) for kind, drops in sample["drops"].items()}
    rows = zip(settings["layers"], np.asarray(sample["change"], float).mean(axis=1), *means.values())
    return {
        "layers": [
            {"layer": layer, "units": sample["units"][layer], "drop": drop, **dict(zip(means, beside))}
            for layer, drop, *beside in rows
        ]
    }


def _kinds(controls: str) -> tuple[str, ...]:
    """Which kinds of sets stand beside the most selective units: random ones, ones matched on activation, or both."""
    return ("random", "matched") if controls == "both" else (controls,)


ABOUT = About(
    title="Selective units matter more than random ones",
    options=(
        RUN,
        ("layer", False, "one layer, or several such as A,B (default: every layer)"),
        ("k", False, "units of each layer (default: a tenth of the narrowest)"),
        (
            "controls",
            False,
            "random, matched on mean activation, or both (default, where layers have 2 k units)",
        ),
        DRAWS,
    ),
    smallest=0.03,
    unit="points",
    told="control sets lose {drop:.0%} of the images, with a standard deviation of {spread:.3g} between sets",
    baselines="random units of the layer, units matched on mean activation",
    intervenes="silences them: tests that they are necessary",
)
