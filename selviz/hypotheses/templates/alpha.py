"""Another alpha costs accuracy, costs no more than a margin, or changes it by no more than that."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.config import RunConfig, config_from_dict, run_name, short_name
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.store import Store, read_json

LEAST_SEEDS, ASSUMED_SPREAD = 3, 0.005
CLAIMS = ("no cost", "equivalent", "cost")


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    a, b, m = f"{s['alpha']:g}", f"{s['baseline']:g}", template.points(s["smallest"])
    kind = f"{short_name(s['dataset'])} {s['model']}"
    claim, direction, refuted = {
        "no cost": (
            f"costs less than {m} of test accuracy",
            f"a loss below {m}",
            f"An interval of the loss that lies wholly above {m}.",
        ),
        "equivalent": (
            f"leaves the test accuracy within {m} of the baseline's",
            f"a difference between -{m} and +{m}",
            f"An interval of the difference that lies wholly outside of ±{m}.",
        ),
        "cost": (
            f"costs at least {m} of test accuracy",
            f"a loss, of {m} or more",
            f"An interval of the loss that lies wholly below {m}.",
        ),
    }[s["claim"]]
    tests = {"no cost": "one-sided", "equivalent": "two one-sided tests (TOST)", "cost": "one-sided"}[s["claim"]]
    which = "all evaluation images, the sealed ones among them" if s["fold"] == samples.SEALED else "folds 0 and 1"
    return {
        "statement": f"Training {kind} with alpha {a} in place of {b} {claim}.",
        "quantity": f"test accuracy on {which}, mean over networks that differ in their seed; computed "
        "again from their "
        "weights",
        "direction": direction,
        "refuted": refuted,
        "controls": f"{len(s['baseline_runs'])} networks of alpha {b}, trained alike",
        "statistic": f"Welch's t, {tests}",
        "sample": f"{len(s['other_runs'])} and {len(s['baseline_runs'])} networks, seeds "
        f"{template.listed(s['seeds'])}; "
        "the interval is for new seeds",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    run, claim = name_lookup.run_of(store, requested["run"]), requested["claim"]
    if claim not in CLAIMS:
        raise unknown("claim", claim, CLAIMS)
    config = config_from_dict(read_json(store.run_path(run) / "config.json") or {})
    other = option_parsing.number(requested["alpha"], "alpha")
    if other == config.alpha:
        raise SelvizError(f"alpha {other:g} is the baseline's own; name another one.")
    table = store.runs()
    finished = set(table[table["state"] == "finished"]["run"])

    def named(alpha: float, seed: int) -> str:
        return run_name(dataclasses.replace(config, alpha=alpha, seed=seed))

    if "seeds" in requested:
        seeds = option_parsing.numbers(requested["seeds"], 10**6, "seeds")
    else:
        trained = sorted(set(table["seed"].dropna().astype(int)))
        seeds = [s for s in trained if {named(config.alpha, s), named(other, s)} <= finished]
    if len(seeds) < LEAST_SEEDS:
        there = "is 1 seed" if len(seeds) == 1 else f"are {len(seeds)} seeds"
        raise SelvizError(
            f"A claim over seeds needs at least {LEAST_SEEDS} of them, and there {there} that both "
            f"alphas have in the store; name seeds that are still to be trained, such as --seeds 0-4, or train them: "
            f"selviz train --dataset {config.dataset} --model {config.model} --alpha={other:g} --seed 1"
        )
    pairs = [(named(config.alpha, s), named(other, s)) for s in seeds]
    baseline_runs, other_runs = (list(names) for names in zip(*pairs))
    runs = [*baseline_runs, *other_runs]
    accuracy = table.set_index("run")["test_accuracy"]
    groups = {"baseline": baseline_runs, "other": other_runs}
    known = {group: accuracy[[r for r in members if r in finished]].to_numpy() for group, members in groups.items()}
    facts = {"seeds": len(seeds), **spreads(known)}
    there_already = [name for name in runs if name in finished]
    settings = {
        "run": run, "dataset": config.dataset, "model": config.model, "alpha": other, "baseline": config.alpha,
        "claim": claim, "seeds": seeds, "baseline_runs": baseline_runs, "other_runs": other_runs,
        # What was looked at already needs no seal broken; networks that nobody saw are read on all images.
        "fold": samples.REPORTING if there_already else samples.SEALED,
    }  # fmt: skip
    return Resolved(settings, runs, facts, [f"the accuracy of {name}" for name in there_already], "")


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return the test accuracies of both groups of networks, computed from their weights."""
    runs = [*settings["baseline_runs"], *settings["other_runs"]]
    everything = settings["fold"] == samples.SEALED
    measured = []
    for number, run in enumerate(samples.with_progress(runs, work)):
        _check_settings(store, run, settings, number < len(settings["baseline_runs"]))

        def make(run: str = run) -> dict[str, Array]:
            return {"accuracy": samples.accuracy(store, run, everything)}

        value = work.keep(f"run-{number}", make)
        measured.append(float(value["accuracy"]))
    first = len(settings["baseline_runs"])
    return {"baseline": measured[:first], "other": measured[first:]}


def _check_settings(store: Store, run: str, settings: Settings, baseline: bool) -> None:
    """Raise SelvizError for a run that was not trained with the settings that its name says."""
    config: RunConfig = config_from_dict(read_json(store.run_path(run) / "config.json") or {})
    alpha = settings["baseline"] if baseline else settings["alpha"]
    if run_name(config) != run or config.alpha != alpha:
        raise SelvizError(f"The settings in {run} are not those of its name; train it again.")


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `baseline` and `other`: accuracies 0..1 of networks that differ in their seed."""
    baseline, other = np.asarray(sample["baseline"], float), np.asarray(sample["other"], float)
    margin = settings["smallest"]
    # (name, first, second, boundary): against a difference first - second of at most the boundary.
    requested = {
        "cost": [("accuracy is lost", baseline, other, 0.0, margin)],
        "no cost": [("less than the margin is lost", other, baseline, -margin, -margin)],
        "equivalent": [
            ("less than the margin is lost", other, baseline, -margin, -margin),
            ("less than the margin is gained", baseline, other, -margin, -margin),
        ],
    }[settings["claim"]]
    parts = []
    for name, first, second, boundary, smallest in requested:
        estimate = statistics.welch_estimate(first, second)
        _, _, _, p = statistics.welch(first, second, boundary)
        null = boundary + estimate.error * decision.t_quantiles(estimate.degrees)
        parts.append(
            part(
                name, "Welch's t over seeds, one-sided", estimate, settings, n=len(first) + len(second), of="networks",
                null=null, p=p, boundary=boundary, margin=smallest, parts=len(requested),
            )
        )  # fmt: skip
    return parts


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return accuracies of which the other alpha's are so much lower."""
    baseline, other = (generator.normal(0, facts[group], facts["seeds"]) for group in ("baseline", "other"))
    return {"baseline": baseline + effect, "other": other}


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return all accuracies; where one is far below the best of all, also medians and a rank test."""
    groups = {name: [float(value) for value in sample[name]] for name in ("baseline", "other")}
    facts: dict[str, Any] = dict(groups)
    best = max(max(values) for values in groups.values())
    collapsed = {name: statistics.collapse(values, 0.0, best=best) for name, values in groups.items()}
    if any(entry.collapsed for entry in collapsed.values()):
        facts |= {f"networks of the {name} alpha that collapsed": e.collapsed for name, e in collapsed.items()}
        facts |= {f"median of the {name} alpha": entry.median for name, entry in collapsed.items()}
        facts["p of Mann and Whitney's rank test"] = statistics.rank_test(groups["baseline"], groups["other"])
    return facts


def spreads(known: Mapping[str, Array]) -> dict[str, Any]:
    """Return what power is simulated from: the standard deviation over seeds of each group's known accuracies.

    That of few seeds is too small on average, by the factor c4 of its degrees of freedom (Holtzman 1950, J. Am. Stat.
    Assoc. 45:615), which is undone. A group of which fewer than three are known, or that does not vary, takes the
    larger of the others, or ASSUMED_SPREAD.
    """
    seen = {group: float(np.std(values, ddof=1)) for group, values in known.items() if len(values) >= LEAST_SEEDS}
    seen = {group: spread for group, spread in seen.items() if spread}
    degrees = sum(len(known[group]) - 1 for group in seen)
    usual = max(seen.values(), default=ASSUMED_SPREAD)
    unbiased = (
        math.sqrt(2 / degrees) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) if seen else 1
    )
    return {"assumed": not seen, **{group: seen.get(group, usual) / unbiased for group in known}}


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
    model="accuracies are normal over seeds, with standard deviations of {baseline:.3g} and {other:.3g}",
    baselines="networks of the baseline alpha, trained alike",
    intervenes="trains with another alpha",
    quantity="accuracy by alpha",
    subject=("dataset", "model", "alpha", "baseline", "claim", "seeds"),
    kinds=("dataset", "model", "alpha", "baseline"),
    samples="networks",
    replicates=True,
    reads=(),  # accuracies are computed from the weights
)
