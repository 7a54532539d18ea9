"""Less selective networks are more robust to a corruption."""

import math
from collections.abc import Mapping

import numpy as np

from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, simulating, words
from selviz.hypotheses.template import About, Resolved, Work
from selviz.runs import families
from selviz.store import Store, stage_is_whole

LEAST_RUNS = 5


def say(s: Mapping) -> dict[str, str]:
    return {
        "statement": f"The lower a network's class selectivity, the more robust it is to {s['corruption']}.",
        "quantity": f"Spearman's correlation over networks of mean SI (live units) with the accuracy under "
        f"{s['corruption']}, mean over severities, divided by the clean accuracy",
        "direction": f"negative, by {s['smallest']:g} or more",
        "refuted": words.refuted(s, "the correlation with its sign turned", lambda x: f"{x:g}"),
        "controls": "orders of the networks' SI",
        "statistic": "permutation test of the correlation",
        "sample": f"{len(s['runs'])} networks ({words.listed(s['runs'])}); the interval is for other networks of "
        "the kind",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    from selviz.robustness.corruptions import CORRUPTIONS

    if "runs" in asked:
        runs = list(dict.fromkeys(name_lookup.run_of(store, name) for name in option_parsing.names(asked["runs"])))
    elif "run" in asked:
        runs = families.siblings(store.runs(), name_lookup.run_of(store, asked["run"]))["run"].tolist()
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
    option_parsing.attainable(
        min(ways, common["permutations"] + 1) - 1, common["level"], "other orders", "name more networks"
    )
    settings = {"runs": runs, "corruption": asked["corruption"], "direction": "negative", "of": "networks"}
    stored = [
        f"the robustness of {run}"
        for run in runs
        if stage_is_whole(store.run_path(run), "robustness")
        and (store.robustness(run)["name"] == asked["corruption"]).any()
    ]
    return Resolved(settings, runs, {"first": len(runs), "assumed": False}, stored, "")


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """Mean SI of each network, and its accuracy under the corruption, mean over severities, relative to clean; what is
    not in the store yet is computed and stored as `selviz robustness` does."""
    from selviz.robustness.bench import CLEAN, CORRUPTION
    from selviz.studies.robustness import run_robustness

    first, second, name = [], [], settings["corruption"]
    for done, run in enumerate(settings["runs"]):
        table = run_robustness(store, run, [name], kinds=())
        table = table[table["kind"].isin([CLEAN, CORRUPTION])]
        clean = table[table["kind"] == CLEAN]["accuracy"].iloc[0]
        corrupted = table[(table["kind"] == CORRUPTION) & (table["name"] == name)]["accuracy"]
        if not len(corrupted) or not clean:
            raise SelvizError(f"{name} cannot be measured in {run}: its images are too small, or none is right clean.")
        first.append(store.run(run)["mean_si_live"])
        second.append(float(corrupted.mean() / clean))
        work.report({"run": run, "done": done + 1, "of": len(settings["runs"])})
    return {"first": np.array(first), "second": np.array(second)}


def details(settings: Mapping, sample: Mapping, parts: list[decision.Part]) -> dict:
    rows = zip(settings["runs"], sample["first"], sample["second"])
    return {"networks": [{"run": run, "mean_si": si, "relative_accuracy": share} for run, si, share in rows]}


judge, simulate = decision.correlates, simulating.correlated

ABOUT = About(
    title="Less selective networks are more robust",
    options=(
        ("corruption", True, "such as gaussian_noise"),
        ("runs", False, "the networks (default: all of the kind of --run)"),
        ("run", False, "a network of the kind that is meant"),
    ),
    smallest=0.3,
    unit="",
    told="mean SI and robustness are normal, with that rank correlation",
    baselines="random orders of the networks",
    intervenes="",
    replicates=True,
)
