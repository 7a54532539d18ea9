"""Less selective networks are more robust to a corruption: by what remains of their accuracy above chance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.template import About, Array, Resolved, Sample, Settings, Work
from selviz.runs import families
from selviz.store import Store, stage_is_whole

LEAST_RUNS = 5


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    return {
        "statement": "The lower a network's class selectivity, the more robust it is to "
        f"{s['corruption']}, with a rank "
        f"correlation of {s['smallest']:g} or more.",
        "quantity": "Spearman's correlation over networks of mean SI (live units) with the accuracy "
        "above chance under "
        f"{s['corruption']}, mean over severities, divided by the clean accuracy above chance",
        "direction": f"negative, by {s['smallest']:g} or more",
        "refuted": template.refuted(s, "the correlation with its sign turned", lambda x: f"{x:g}"),
        "controls": "orders of the networks' SI",
        "statistic": "permutation test of the correlation",
        "sample": f"{len(s['runs'])} networks ({template.listed(s['runs'])}) on {template.images_text(s)}; the "
        "interval is for other networks of the kind",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    from selviz.robustness.corruptions import CORRUPTIONS

    if "runs" in requested:
        names = option_parsing.names(requested["runs"])
        runs = list(dict.fromkeys(name_lookup.run_of(store, name) for name in names))
    elif "run" in requested:
        runs = families.siblings(store.runs(), name_lookup.run_of(store, requested["run"]))["run"].tolist()
    else:
        raise SelvizError("Name the networks with --runs A,B,C, or one network of the kind that is meant with --run.")
    if len(runs) < LEAST_RUNS:
        raise SelvizError(
            f"The claim is about several networks: it needs {LEAST_RUNS}, and {len(runs)} are named or found."
        )
    if len({store.run(run).get("fingerprint") for run in runs}) > 1:
        raise SelvizError("The networks were measured on different images; name networks of one data set.")
    if len({len(store.sealed_images(run)) for run in runs}) > 1:
        raise SelvizError("The networks have other images sealed, so their folds differ; name networks of one split.")
    if requested["corruption"] not in CORRUPTIONS:
        raise unknown("corruption", requested["corruption"], list(CORRUPTIONS))
    for run in runs:
        _above_chance(store, run)
    ways = math.factorial(min(len(runs), 12))
    option_parsing.attainable(
        min(ways, common["permutations"] + 1) - 1, common["level"], "other orders", "name more networks"
    )
    fold = samples.test_fold(store, runs)
    settings = {
        "runs": runs, "corruption": requested["corruption"], "direction": "negative", "of": "networks", "fold": fold,
    }  # fmt: skip
    stored = [
        f"the robustness of {run}"
        for run in runs
        if stage_is_whole(store.run_path(run), "robustness")
        and (store.robustness(run)["name"] == requested["corruption"]).any()
    ]
    return Resolved(settings, runs, {"first": len(runs), "assumed": False}, stored, "")


def _above_chance(store: Store, run: str) -> None:
    """Raise SelvizError for a network whose accuracy is within noise of chance: there is nothing for it to keep."""
    images = store.images(run)
    right = int((images["label_index"] == images["prediction_index"]).sum())
    guessing = statistics.chance(images["label_index"].to_numpy())
    if statistics.wilson(right, len(images))[0] <= guessing:
        raise SelvizError(
            f"{run} is right on {100 * right / len(images):.1f} % of {len(images):,} images, and always naming the "
            f"commonest class on {100 * guessing:.1f} %: within noise of chance it has nothing to be robust "
            "about. Leave "
            "it out: --runs"
        )


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return mean SI of each network, and what remains of its accuracy above chance under the corruption."""
    first, second = [], []
    for done, run in enumerate(settings["runs"]):
        layers = store.layers(run)
        first.append(float(layers.loc[layers["dead"] < layers["units"], "mean_si_live"].mean()))

        def make(run: str = run) -> dict[str, Array]:
            return {"accuracies": _accuracies(store, run, settings)}

        clean, *corrupted = work.keep(f"robust-{done}", make)["accuracies"]
        second.append(float(np.mean(corrupted) / clean))
        work.report({"run": run, "done": done + 1, "of": len(settings["runs"])})
    return {"first": np.array(first), "second": np.array(second)}


def _accuracies(store: Store, run: str, settings: Settings) -> Array:
    """Return accuracies above chance on the tested images: clean, then at severities 1 to 5."""
    import torch

    from selviz.networks.activations import observe
    from selviz.robustness import corruptions
    from selviz.runs.load import load_network

    network, dataset = load_network(store, run, sealed=True)
    here = dataset.eval_folds == settings["fold"]
    pixels, labels = dataset.eval_pixels[here], dataset.eval_labels[here]
    name = settings["corruption"]
    if not corruptions.usable(pixels.shape[2], pixels.shape[3], [name])[0]:
        raise SelvizError(f"{name} cannot be measured in {run}: its images are too small.")

    def right(pictures: torch.Tensor) -> float:
        logits, _ = observe(network, dataset.normalise(pictures))
        return float((logits.argmax(dim=1) == labels).double().mean()) - statistics.chance(labels.numpy())

    accuracies = [right(pixels)]
    for severity in range(1, 6):
        accuracies.append(right(torch.from_numpy(corruptions.corrupt(pixels.numpy(), name, severity))))
    if accuracies[0] <= 0:
        raise SelvizError(f"{run} is not above chance on the tested images; leave it out.")
    return np.array(accuracies)


def details(settings: Settings, sample: Sample, parts: Sequence[decision.Part]) -> dict[str, Any]:
    """Return mean SI and robustness of each network."""
    rows = zip(settings["runs"], sample["first"], sample["second"])
    return {"networks": [{"run": run, "mean_si": si, "kept_above_chance": share} for run, si, share in rows]}


judge, simulate = decision.correlates, template.correlated

ABOUT = About(
    title="Less selective networks are more robust",
    options=(
        ("corruption", True, "such as gaussian_noise"),
        ("runs", False, "the networks (default: all of the kind of --run)"),
        ("run", False, "a network of the kind that is meant"),
    ),
    smallest=0.3,
    unit="",
    model="mean SI and robustness are normal, with that rank correlation",
    baselines="random orders of the networks",
    intervenes="",
    quantity="robustness to corruptions",
    subject=("runs", "corruption"),
    samples="networks",
    replicates=True,
    reads=("capture", "metrics"),
)
