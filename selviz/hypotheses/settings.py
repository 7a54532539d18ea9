"""From what a visitor asks to what is registered: `resolve(store, "necessary", {"run": ..., "unit": ...}, 0.05)`.

Everything that the test will need is fixed here, and everything that cannot be tested is refused here, in a sentence.
Units are chosen and matched on fold 0 only.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from selviz import attribution, families
from selviz.config import config_from_dict, run_name
from selviz.corruptions import CORRUPTIONS
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import asking, own
from selviz.hypotheses.folds import class_indices, fold
from selviz.hypotheses.templates import CONTROLS, TEMPLATES
from selviz.store import TABLES, Store, read_json, stage_is_whole

BEST = "best"
LEAST_SEEDS, LEAST_RUNS, LEAST_IMAGES = 3, 5, 20


class Resolved(NamedTuple):
    """`settings` are plain values; `facts` is what power is simulated from; `stored` says which of the measured
    quantities are in the store already, `chosen` what was chosen on fold 0 for a test on fold 1 ("" for nothing)."""

    settings: dict
    runs: list[str]
    facts: dict
    stored: list[str]
    chosen: str


def resolve(store: Store, template: str, asked: Mapping, level: float, seed: int = 0) -> Resolved:
    """The settings of a claim at a corrected level 0..1. Raises SelvizError for what does not exist, for a smallest
    effect of 0, and for a test whose smallest possible p is above the level."""
    if template not in TEMPLATES:
        raise unknown("template", template, list(TEMPLATES))
    kind = TEMPLATES[template]
    known = {*kind.names, "smallest"} | ({"yaml"} if template == "own" else set())
    asked = {name: value for name, value in asked.items() if value not in (None, "", [], ())}
    if wrong := sorted(set(asked) - known):
        raise unknown(f"option of {template}", wrong[0], sorted(known))
    if template == "own":
        return _own(store, asked, level, seed)
    if missing := [name for name, needed, _ in kind.options if needed and name not in asked]:
        told = ", ".join(f"{name} ({text})" for name, _, text in kind.options if name in missing)
        raise SelvizError(f"{kind.title}: it needs {told}.")
    smallest = asking.smallest(asked.get("smallest", kind.smallest))
    common = {"level": level, "smallest": smallest, "seed": seed, "permutations": asking.permutations(level)}
    found = _RESOLVE[template](store, asked, common)
    return found._replace(settings={**common, **found.settings})


def _necessary(store, asked, common) -> Resolved:
    run, layer, unit, label, chosen = _unit(store, asked)
    values, _, _ = fold(store, run, layer, 0)
    live = [int(other) for other in np.flatnonzero((values != 0).any(axis=0)) if other != unit]
    enough = min(len(live), max(39, asking.reaching(common["level"])))
    wanted = asking.count(asked.get("controls", enough), 1, "controls")
    if wanted > len(live):
        raise SelvizError(f"{layer} has {len(live)} other live units, not {wanted}; ask for {len(live)} controls.")
    asking.attainable(wanted, common["level"], "matched units", f"{layer} has {len(live)} other live units")
    means = values.mean(axis=0)
    matched = sorted(sorted(live, key=lambda other: (abs(means[other] - means[unit]), other))[:wanted])
    settings = {**_place(store, run, layer), "unit": unit, **label, "controls": matched, **_images(store, run, label)}
    facts = {**_images(store, run, label), "controls": wanted, **_spread(store, run, layer, label)}
    return Resolved(settings, [run], facts, _stored(store, run, atlas="every unit's drop in the atlas"), chosen)


def _sufficient(store, asked, common) -> Resolved:
    run, layer = _run(store, asked["run"]), asked["layer"]
    width, label = _width(store, run, layer), _class(store, run, asked["class"])
    draws = asking.draws(asked, common["level"])
    if "units" in asked and "k" in asked:
        raise SelvizError("Name the units, or k for the most selective ones; not both.")
    if "units" in asked:
        units, chosen = asking.numbers(asked["units"], width, layer), ""
    else:
        k = asking.count(asked.get("k", min(10, width // 2)), 1, "k", width, layer)
        units = _most_selective(store, run, layer, k, label["class_index"])
        chosen = f"the {k} units of {layer} that are most selective for class {label['class']}"
    if len(units) >= width:
        raise SelvizError(f"Keeping all {width} units of {layer} silences nothing; keep fewer.")
    settings = {**_place(store, run, layer), "units": units, "width": width, **label, "draws": draws}
    facts = {**_images(store, run, label), "draws": draws, "kept": 0.3, "spread": 0.15, "assumed": True}
    return Resolved({**settings, **_images(store, run, label)}, [run], facts, [], chosen)


def _selective(store, asked, common) -> Resolved:
    run = _run(store, asked["run"])
    layers, widths = _layers(store, run, asked.get("layer"))
    k = asked.get("k", max(1, min(widths) // 10))
    for name, width in zip(layers, widths):
        k = asking.count(k, 1, "k", width - 1, name)
    controls = asked.get("controls", "both" if 2 * k <= min(widths) else "random")
    if controls not in CONTROLS:
        raise unknown("kind of controls", controls, CONTROLS)
    if controls != "random" and 2 * k > min(widths):
        raise SelvizError(
            f"Matching needs twice as many units as k, and the narrowest layer has {min(widths)}; give a smaller k, or "
            f"random controls only: --controls random"
        )
    draws = asking.draws(asked, common["level"])
    settings = {"run": run, "layers": layers, "k": k, "controls": controls, "draws": draws, **_images(store, run)}
    facts = {**_images(store, run), "draws": draws, "layers": len(layers), "drop": 0.02, "spread": 0.015}
    stored = _stored(store, run, ablation="the removal curves")
    return Resolved(settings, [run], {**facts, "assumed": True}, stored, f"the {k} most selective units of each layer")


def _predicts(store, asked, common) -> Resolved:
    run = _run(store, asked["run"])
    layers, _ = _layers(store, run, asked.get("layer"))
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
    return Resolved(settings, [run], facts, _stored(store, run, atlas="every unit's drop in the atlas"), "")


def _alpha(store, asked, common) -> Resolved:
    run, claim = _run(store, asked["run"]), asked["claim"]
    if claim not in ("no cost", "equivalent", "cost"):
        raise unknown("claim", claim, ["no cost", "equivalent", "cost"])
    config = config_from_dict(read_json(store.run_path(run) / "config.json") or {})
    other = asking.number(asked["alpha"], "alpha")
    if other == config.alpha:
        raise SelvizError(f"alpha {other:g} is the baseline's own; name another one.")
    table = store.runs()
    finished = set(table[table["state"] == "finished"]["run"])

    def named(alpha: float, seed: int) -> str:
        return run_name(dataclasses.replace(config, alpha=alpha, seed=seed))

    if "seeds" in asked:
        seeds = asking.numbers(asked["seeds"], 10**6, "seeds")
    else:
        known = sorted(set(table["seed"].dropna().astype(int)))
        seeds = [s for s in known if {named(config.alpha, s), named(other, s)} <= finished]
    if len(seeds) < LEAST_SEEDS:
        raise SelvizError(
            f"A claim over seeds needs at least {LEAST_SEEDS} of them, and there {_are(len(seeds), 'seed')} that both "
            f"alphas have in the store; name seeds that are still to be trained, such as --seeds 0-4, or train them: "
            f"selviz train --dataset {config.dataset} --model {config.model} --alpha={other:g} --seed 1"
        )
    pairs = [(named(config.alpha, s), named(other, s)) for s in seeds]
    baseline_runs, other_runs = map(list, zip(*pairs))
    runs = [*baseline_runs, *other_runs]
    accuracy = table.set_index("run")["test_accuracy"]
    there = [
        accuracy[group].to_numpy() for group in ([r for r in g if r in finished] for g in (baseline_runs, other_runs))
    ]
    spreads = [float(values.std(ddof=1)) for values in there if len(values) >= LEAST_SEEDS]
    facts = {"seeds": len(seeds), "spread": max(spreads) if spreads else 0.005, "assumed": not spreads}
    facts["spread"] = facts["spread"] or 0.005
    settings = {
        "run": run, "dataset": config.dataset, "model": config.model, "alpha": other, "baseline": config.alpha,
        "claim": claim, "seeds": seeds, "baseline_runs": baseline_runs, "other_runs": other_runs,
    }  # fmt: skip
    stored = [f"the accuracy of {name}" for name in runs if name in finished]
    return Resolved(settings, runs, facts, stored, "")


def _replicates(store, asked, common) -> Resolved:
    run, layer, unit, label, chosen = _unit(store, asked, any_class=True)
    if "runs" in asked:
        others = [_run(store, name) for name in asking.names(asked["runs"])]
    else:
        others = _siblings(store, run)
    others = [name for name in dict.fromkeys(others) if name != run]
    if not others:
        raise SelvizError(
            f"Replication needs at least one other network, and none in the store differs from {run} only in its seed; "
            f"name others with --runs, or train one with another --seed."
        )
    width = _width(store, run, layer)
    for name in others:
        if store.run(name).get("fingerprint") != store.run(run).get("fingerprint"):
            raise SelvizError(f"{name} was measured on other images than {run}; units are matched on the same ones.")
        if _width(store, name, layer) != width:
            raise SelvizError(f"{layer} of {name} is not as wide as that of {run}; name networks of the same kind.")
    row = store.unit(run, layer, unit)
    settings = {**_place(store, run, layer), "unit": unit, **label, "others": others, **_images(store, run, label)}
    scale = row["std"] / row["mean_activation"] if row["mean_activation"] > 0 else 1.0
    facts = {
        **_images(store, run, label), "classes": len(store.run(run)["classes"]), "networks": 1 + len(others),
        "spread": float(scale), "assumed": False,
    }  # fmt: skip
    return Resolved(settings, [run, *others], facts, ["the unit's SI over both folds"], chosen)


def _map(store, asked, common) -> Resolved:
    run, layer, unit, _, chosen = _unit(store, asked, any_class=True)
    method = asked.get("method", "integrated_gradients")
    attribution.parameters(method)  # says so if there is none of that name
    values, _, images = fold(store, run, layer, 1)
    active = [int(image) for image in images[values[:, unit] != 0]]
    wanted = asking.count(asked.get("images", min(24, max(len(active), LEAST_IMAGES))), 2, "images")
    if wanted < LEAST_IMAGES or len(active) < wanted:
        raise SelvizError(
            f"The claim needs at least {LEAST_IMAGES} images on which the unit is not 0, and unit {unit} of {layer} "
            f"has {len(active)} on fold 1 ({wanted} are asked for)."
        )
    alike = asking.number(asked.get("alike", 0.5), "alike")
    if not 0 < alike < 1:
        raise SelvizError(f"alike is {alike:g}; it is a correlation between 0 and 1.")
    draws = asking.count(asked.get("draws", 19), 1, "draws")
    settings = {
        **_place(store, run, layer), "unit": unit, "method": method, "images": wanted, "draws": draws, "alike": alike,
        "image_numbers": active[:wanted],
    }  # fmt: skip
    facts = {
        "images": wanted,
        "draws": draws,
        "correlation": 0.2,
        "spread": 0.25,
        "place_spread": 0.25,
        "assumed": True,
    }
    stored = []
    if stage_is_whole(store.run_path(run), "sanity"):
        table = store.sanity(run)
        here = table[(table["layer"] == layer) & (table["method"] == method)]
        stored = [f"a check of {method} in {layer}"] if len(here) else []
    return Resolved(settings, [run], facts, stored, chosen)


def _single(store, asked, common) -> Resolved:
    run, layer = _run(store, asked["run"]), asked["layer"]
    width, label = _width(store, run, layer), _class(store, run, asked["class"])
    images = _images(store, run, label)
    if min(images["images"], images["of_images"] - images["images"]) < 2:
        raise SelvizError(f"Class {label['class']} has {images['images']} images on fold 1; a readout needs 2.")
    from selviz.unit_metrics import Responses, auc

    values, labels, _ = fold(store, run, layer, 0)
    of_class = auc(Responses(values, labels, len(store.run(run)["classes"])))[label["class_index"]]
    unit = int(np.argmax(of_class))
    settings = {**_place(store, run, layer), "unit": unit, "width": width, **label, **images}
    facts = {**images, "area": float(min(of_class[unit], 0.999)), "alike": 0.7, "assumed": True}
    return Resolved(
        settings, [run], facts, [], f"the unit with the largest area under the ROC curve for {label['class']}"
    )


def _robust(store, asked, common) -> Resolved:
    if "runs" in asked:
        runs = list(dict.fromkeys(_run(store, name) for name in asking.names(asked["runs"])))
    elif "run" in asked:
        runs = families.siblings(store.runs(), _run(store, asked["run"]))["run"].tolist()
    else:
        raise SelvizError("Name the networks with --runs A,B,C, or one network of the kind that is meant with --run.")
    if len(runs) < LEAST_RUNS:
        raise SelvizError(
            f"The claim is about several networks: it needs {LEAST_RUNS}, and {len(runs)} are named or found."
        )
    if len({store.run(run).get("fingerprint") for run in runs}) > 1:
        raise SelvizError("The networks were measured on different images; name networks of one data set.")
    if asked["corruption"] not in CORRUPTIONS:
        raise unknown("corruption", asked["corruption"], list(CORRUPTIONS))
    ways = math.factorial(min(len(runs), 12))
    asking.attainable(min(ways, common["permutations"] + 1) - 1, common["level"], "other orders", "name more networks")
    settings = {"runs": runs, "corruption": asked["corruption"], "direction": "negative", "of": "networks"}
    stored = [
        f"the robustness of {run}"
        for run in runs
        if stage_is_whole(store.run_path(run), "robustness")
        and (store.robustness(run)["name"] == asked["corruption"]).any()
    ]
    return Resolved(settings, runs, {"first": len(runs), "assumed": False}, stored, "")


def _own(store, asked, level, seed) -> Resolved:
    if "yaml" not in asked:
        raise SelvizError("A claim of one's own needs a YAML file: --file claim.yaml (docs/hypotheses.md).")
    settings = own.read_own(asked["yaml"])
    if settings["table"] not in TABLES:
        raise unknown("table", settings["table"], list(TABLES))
    runs = [_run(store, name) for name in settings["runs"]]
    smallest = asking.smallest(asked.get("smallest", settings["smallest"]))
    settings |= {
        "runs": runs,
        "smallest": smallest,
        "level": level,
        "seed": seed,
        "permutations": asking.permutations(level),
    }
    settings["of"] = f"rows of {settings['table']}"
    stages = [stage for stage in TABLES[settings["table"]][0] if stage != "images"]
    there = [run for run in runs if all(stage_is_whole(store.run_path(run), stage) for stage in stages)]
    facts = {"assumed": True, "first": 30, "second": 30, "spread": 1.0}
    if len(there) == len(runs):
        from selviz.hypotheses.samples import own_rows

        sample = own_rows(store, settings)
        first, second = (sample[name] for name in (("first", "second") if "first" in sample else ("group", "control")))
        if settings["statistic"] == "rank correlation":
            smallest_p = 1 / math.factorial(len(first)) if len(first) <= 7 else 1 / (settings["permutations"] + 1)
            facts = {"assumed": False, "first": len(first)}
        else:
            smallest_p = max(1 / (settings["permutations"] + 1), 1 / math.comb(len(first) + len(second), len(first)))
            # The groups' own spread, without the difference between them, which is what is asked.
            spread = math.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
            facts = {"assumed": False, "first": len(first), "second": len(second), "spread": float(spread) or 1e-9}
        if smallest_p > level:
            raise SelvizError(
                f"With {len(first)} rows{'' if settings['statistic'] == 'rank correlation' else f' and {len(second)}'} "
                f"the smallest possible p is {smallest_p:.3g}, above the corrected level {level:.3g}; take more rows."
            )
    stored = [f"the table {settings['table']} of {run}" for run in there]
    return Resolved(settings, runs, facts, stored, "")


_RESOLVE = {
    "necessary": _necessary,
    "sufficient": _sufficient,
    "selective": _selective,
    "predicts": _predicts,
    "alpha": _alpha,
    "replicates": _replicates,
    "map": _map,
    "single": _single,
    "robust": _robust,
}


# ------------------------------------------------------------------------------------------------------ what is asked


def _run(store: Store, name: str) -> str:
    names = [known for known in store.names() if known.startswith(str(name))]
    run = str(name) if str(name) in names or len(names) != 1 else names[0]
    store.run(run)
    return run


def _unit(store, asked, any_class: bool = False) -> tuple[str, str, int, dict, str]:
    """(run, layer, unit, {"class", "class_index"}, what was chosen on fold 0)."""
    run = _run(store, asked["run"])
    layer, colon, number = str(asked["unit"]).rpartition(":")
    if not colon:
        raise SelvizError(f"{asked['unit']!r} names no unit; write LAYER:3 or LAYER:{BEST}.")
    width = _width(store, run, layer)
    label = _class(store, run, asked["class"]) if "class" in asked else None
    if label is None and not any_class:
        raise SelvizError("Name the class, such as --class 3.")
    values, labels, _ = fold(store, run, layer, 0)
    names = store.run(run)["classes"]
    si, preferred, _ = class_indices(values, labels, len(names))
    if number != BEST:
        unit = store.unit(run, layer, number)["unit"]
        label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
        return run, layer, int(unit), label, ""
    fits = (values != 0).any(axis=0) & ((preferred == label["class_index"]) if label else True)
    if not fits.any():
        told = f" prefers class {label['class']}" if label else " is live"
        raise SelvizError(f"No unit of {layer}{told} on fold 0; name another layer (it has {width} units).")
    unit = int(np.where(fits, si, -np.inf).argmax())
    label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
    return run, layer, unit, label, f"the unit of {layer} with the highest SI for class {label['class']}"


def _class(store, run, name) -> dict:
    names = store.run(run)["classes"]
    if str(name) not in names:
        raise unknown("class", name, names)
    return {"class": str(name), "class_index": names.index(str(name))}


def _width(store, run, layer) -> int:
    table = store.layers(run).set_index("layer")["units"]
    if layer not in table.index:
        raise unknown("layer", layer, table.index.tolist(), f"See: selviz layers {run}")
    return int(table[layer])


def _layers(store, run, layer) -> tuple[list[str], list[int]]:
    table = store.layers(run)
    names = table["layer"].tolist() if layer is None else [layer]
    return names, [_width(store, run, name) for name in names]


def _place(store, run, layer) -> dict:
    return {"run": run, "layer": layer}


def _images(store, run, label: dict | None = None) -> dict:
    """Numbers of images on fold 1: of the class, and in all."""
    images = store.images(run)
    here = images[images["fold"] == 1]
    found = {"of_images": len(here)}
    if label is not None:
        found["images"] = int((here["label_index"] == label["class_index"]).sum())
        if not found["images"]:
            raise SelvizError(f"Class {label['class']} has no image on fold 1.")
    return found


def _siblings(store, run) -> list[str]:
    """Finished runs that differ from this one in nothing but their seed."""
    table = families.siblings(store.runs(), run)
    alpha = table.set_index("run")["alpha"][run]
    return [name for name in table[table["alpha"].eq(alpha)]["run"] if name != run]


def _most_selective(store, run, layer, k, label) -> list[int]:
    values, labels, _ = fold(store, run, layer, 0)
    _, _, by_class = class_indices(values, labels, len(store.run(run)["classes"]))
    return sorted(np.argsort(-by_class[label], kind="stable")[:k].tolist())


def _spread(store, run, layer, label) -> dict:
    """How much units of the layer cost the class: from the atlas where there is one, else assumed."""
    if stage_is_whole(store.run_path(run), "atlas"):
        table = store.atlas_classes(run, layer)
        drops = -table[table["class_index"] == label["class_index"]]["change"]
        drops = drops.clip(lower=0)
        found = {"drops": drops.tolist(), "shape": "as the layer's units in the atlas", "assumed": False}
        return {**found, "spread": max(float(drops.mean()), 1e-3)}
    return {"spread": 0.01, "shape": "exponentially", "assumed": True}


def _stored(store, run, **stages) -> list[str]:
    return [told for stage, told in stages.items() if stage_is_whole(store.run_path(run), stage)]


def _are(count: int, thing: str) -> str:
    return f"is {count} {thing}" if count == 1 else f"are {count} {thing}s"
