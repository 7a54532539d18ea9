"""Another alpha costs accuracy, costs no more than a margin, or changes it by no more than that."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.config import config_from_dict, run_name, short_name
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.template import About, Resolved, Work
from selviz.store import Store, read_json

LEAST_SEEDS, ASSUMED_SPREAD = 3, 0.005


def say(s: Mapping) -> dict[str, str]:
    a, b, m = f"{s['alpha']:g}", f"{s['baseline']:g}", words.points(s["smallest"])
    kind = f"{short_name(s['dataset'])} {s['model']}"
    claim, direction, refuted = {
        "no cost": (
            f"costs no more than {m} of test accuracy",
            f"a loss below {m}",
            f"An interval of the loss that lies wholly above {m}.",
        ),
        "equivalent": (
            f"leaves the test accuracy within {m} of the baseline's",
            f"a difference between -{m} and +{m}",
            f"An interval of the difference that lies wholly outside of ±{m}.",
        ),
        "cost": (
            "costs test accuracy",
            f"a loss, of {m} or more",
            f"An interval of the loss that lies wholly below {m}.",
        ),
    }[s["claim"]]
    tests = {"no cost": "one-sided", "equivalent": "two one-sided tests (TOST)", "cost": "one-sided"}[s["claim"]]
    return {
        "statement": f"Training {kind} with alpha {a} in place of {b} {claim}.",
        "quantity": "test accuracy on all evaluation images, mean over networks that differ in their seed",
        "direction": direction,
        "refuted": refuted,
        "controls": f"{len(s['baseline_runs'])} networks of alpha {b}, trained alike",
        "statistic": f"Welch's t, {tests}",
        "sample": f"{len(s['other_runs'])} and {len(s['baseline_runs'])} networks, seeds {words.listed(s['seeds'])}; "
        "the interval is for new seeds",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    run, claim = name_lookup.run_of(store, asked["run"]), asked["claim"]
    if claim not in ("no cost", "equivalent", "cost"):
        raise unknown("claim", claim, ["no cost", "equivalent", "cost"])
    config = config_from_dict(read_json(store.run_path(run) / "config.json") or {})
    other = option_parsing.number(asked["alpha"], "alpha")
    if other == config.alpha:
        raise SelvizError(f"alpha {other:g} is the baseline's own; name another one.")
    table = store.runs()
    finished = set(table[table["state"] == "finished"]["run"])

    def named(alpha: float, seed: int) -> str:
        return run_name(dataclasses.replace(config, alpha=alpha, seed=seed))

    if "seeds" in asked:
        seeds = option_parsing.numbers(asked["seeds"], 10**6, "seeds")
    else:
        known = sorted(set(table["seed"].dropna().astype(int)))
        seeds = [s for s in known if {named(config.alpha, s), named(other, s)} <= finished]
    if len(seeds) < LEAST_SEEDS:
        there = "is 1 seed" if len(seeds) == 1 else f"are {len(seeds)} seeds"
        raise SelvizError(
            f"A claim over seeds needs at least {LEAST_SEEDS} of them, and there {there} that both "
            f"alphas have in the store; name seeds that are still to be trained, such as --seeds 0-4, or train them: "
            f"selviz train --dataset {config.dataset} --model {config.model} --alpha={other:g} --seed 1"
        )
    pairs = [(named(config.alpha, s), named(other, s)) for s in seeds]
    baseline_runs, other_runs = map(list, zip(*pairs))
    runs = [*baseline_runs, *other_runs]
    accuracy = table.set_index("run")["test_accuracy"]
    groups = {"baseline": baseline_runs, "other": other_runs}
    spreads = {group: _spread(accuracy[[r for r in members if r in finished]]) for group, members in groups.items()}
    known = [spread for spread in spreads.values() if spread]
    facts = {"seeds": len(seeds), "assumed": not known}
    facts |= {group: spread or max(known, default=ASSUMED_SPREAD) for group, spread in spreads.items()}
    settings = {
        "run": run, "dataset": config.dataset, "model": config.model, "alpha": other, "baseline": config.alpha,
        "claim": claim, "seeds": seeds, "baseline_runs": baseline_runs, "other_runs": other_runs,
    }  # fmt: skip
    stored = [f"the accuracy of {name}" for name in runs if name in finished]
    return Resolved(settings, runs, facts, stored, "")


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """The test accuracies of both groups of networks."""
    return {
        "baseline": [store.run(run)["test_accuracy"] for run in settings["baseline_runs"]],
        "other": [store.run(run)["test_accuracy"] for run in settings["other_runs"]],
    }


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`baseline` and `other`: accuracies 0..1 of networks that differ in their seed."""
    baseline, other = np.asarray(sample["baseline"], float), np.asarray(sample["other"], float)
    margin, level = settings["smallest"], settings["level"]
    # (name, first, second, boundary): against a difference first - second of at most the boundary.
    asked = {
        "cost": [("accuracy is lost", baseline, other, 0.0, margin)],
        "no cost": [("no more than the margin is lost", other, baseline, -margin, -margin)],
        "equivalent": [
            ("no more than the margin is lost", other, baseline, -margin, -margin),
            ("no more than the margin is gained", baseline, other, -margin, -margin),
        ],
    }[settings["claim"]]
    parts = []
    for name, first, second, boundary, smallest in asked:
        effect, low, high, p = statistics.welch(first, second, boundary, decision.confidence(level))
        error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
        null = boundary + error * decision.t_quantiles(len(first) + len(second) - 2)
        parts.append(
            Part(
                name, "Welch's t over seeds, one-sided", effect, low, high, p, 0.0, effect, null.tolist(),
                boundary, smallest, len(first) + len(second), "networks",
            )
        )  # fmt: skip
    return parts


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    baseline, other = (generator.normal(0, facts[group], facts["seeds"]) for group in ("baseline", "other"))
    return {"baseline": baseline + effect, "other": other}


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    return {name: list(sample[name]) for name in ("baseline", "other")}


def _spread(accuracies) -> float | None:
    """Standard deviation over seeds; None below three of them, and where all are equal."""
    return (float(accuracies.std(ddof=1)) or None) if len(accuracies) >= LEAST_SEEDS else None


ABOUT = About(
    title="Changing alpha costs accuracy, or does not",
    options=(
        ("run", True, "a network of the baseline: its settings, but for alpha and seed, are those of all"),
        ("alpha", True, "the other alpha"),
        ("claim", True, "no cost, equivalent, or cost"),
        ("seeds", False, "such as 0-4 (default: those that both have in the store)"),
    ),
    smallest=0.01,
    unit="points",
    told="accuracies are normal over seeds, with standard deviations of {baseline:.3g} and {other:.3g}",
    baselines="networks of the baseline alpha, trained alike",
    intervenes="trains with another alpha",
    replicates=True,
)
