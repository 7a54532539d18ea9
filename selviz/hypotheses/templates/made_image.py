"""An image made for a unit drives it more than the best natural one, and so it does the matching units elsewhere."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import RUN, UNIT, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.statistics import Estimate
from selviz.store import Store

STARTS, LEAST_STARTS, MAX_STARTS = 20, 5, 100
LEAST_NETWORKS = 3
SEEDS = "seeds"  # as --runs: the networks that differ only in their seed
FIRST_SEED = 2_000_000  # of the optimizer: beyond those whose images the Unit page shows


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    share, others = f"{100 * s['smallest']:g} %", s["others"]
    elsewhere = (
        f" And so do the units that match it in {len(others)} other networks, shown the same images, on average over "
        "networks."
    )
    matched = f"; other networks' units are matched by correlation on fold 0 ({template.listed(others)})"
    return {
        "statement": f"An image made for {template.unit_of(s)} in {s['run']} drives it more than the best natural one, "
        f"by {share} or more.{elsewhere if others else ''}",
        "quantity": "activation (mean over positions) on the made image, less the largest on the "
        f"{s['of_images']} images of fold {s['fold']}, divided by that largest; mean over random starts",
        "direction": f"higher, by {share} or more",
        "refuted": f"An interval of it that lies wholly below {share}"
        + (", in the network itself or over the others." if others else "."),
        "controls": "each network's best natural image of the fold; the noise that the optimizer began with is shown "
        "beside it",
        "statistic": f"Student's t over {s['starts']} random starts of the optimizer"
        + (f", and over {len(others)} networks; both must hold" if others else ""),
        "sample": f"{s['starts']} images made by {s['steps']} steps of gradient ascent each, none of them shown on a "
        f"page; natural images: {template.images_text(s)}. The interval is for other starts"
        + (" and for other networks" if others else "")
        + f", the natural images are these{matched if others else ''}",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    from selviz.attribution.feature_visualization import STEPS
    from selviz.runs.load import load_network

    run, layer, unit, _, chosen = name_lookup.unit_of(store, requested, any_class=True)
    starts = option_parsing.count(requested.get("starts", STARTS), LEAST_STARTS, "starts", MAX_STARTS, "the claim")
    others: list[str] = []
    if "runs" in requested:
        named = None if requested["runs"] == SEEDS else option_parsing.names(requested["runs"])
        others = name_lookup.matched_networks(store, run, layer, named)
        if len(others) < LEAST_NETWORKS:
            raise SelvizError(
                f"An interval over other networks needs at least {LEAST_NETWORKS} of them besides {run}, and "
                f"{len(others)} {'is' if len(others) == 1 else 'are'} named or found; train more seeds, or leave "
                "--runs out for the claim about this network alone."
            )
    load_network(store, run)  # says why, where it cannot be followed by gradients or its images are gone
    for name, number in [(run, unit), *_matches(store, run, layer, unit, others)]:
        values, _, _ = samples.activations(store, name, layer, samples.REPORTING)
        if not values[:, number].max() > 0:
            raise SelvizError(
                f"Unit {number} of {layer} in {name} is not above 0 on any image of fold 1, so no natural image sets "
                "a mark that a made one could pass; "
                + ("name a live unit." if name == run else f"leave {name} out: --runs")
            )
    fold = samples.test_fold(store, [run])
    settings = {
        "run": run, "layer": layer, "unit": unit, "others": others, "starts": starts, "steps": STEPS, "fold": fold,
        **samples.image_counts(store, run, fold),
    }  # fmt: skip
    facts = {"starts": starts, "networks": len(others), "spread": 0.3, "between": 0.2, "assumed": True}
    return Resolved(settings, [run, *others], facts, [], chosen)


def _matches(store: Store, run: str, layer: str, unit: int, others: Sequence[str]) -> list[tuple[str, int]]:
    """Return each other network with its unit that correlates most with this one on fold 0."""
    from selviz.geometry import matching

    if not others:
        return []
    first, _, _ = samples.activations(store, run, layer, samples.CHOOSING)
    matches = []
    for name in others:
        other, _, _ = samples.activations(store, name, layer, samples.CHOOSING)
        match = int(matching.matches(first[:, [unit]], other)["match"].iloc[0])
        if match < 0:
            raise SelvizError(f"No unit of {layer} in {name} can be matched: unit {unit} of {run} never changes.")
        matches.append((name, match))
    return matches


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return what the images made for the unit reach in each network beyond its best natural image, as a share of it.

    `beyond` [1 + others, starts], the network itself first; by network its `best` natural activation; by start what
    the unit reaches (`reached`), and on the noise that it began with (`at_start`).
    """
    import torch

    from selviz.attribution.feature_visualization import synthesise
    from selviz.runs.load import load_network

    run, layer, unit = settings["run"], settings["layer"], settings["unit"]
    units = [(run, unit), *_matches(store, run, layer, unit, settings["others"])]
    best = []
    for name, number in units:
        values, _, _ = samples.activations(store, name, layer, settings["fold"])
        best.append(float(values[:, number].max()))
        if not best[-1] > 0:
            raise SelvizError(
                f"Unit {number} of {layer} in {name} is not above 0 on any of the {len(values)} tested images, so "
                "there is no best natural one to compare with; the claim cannot be tested."
            )
    networks = [load_network(store, name, sealed=True) for name, _ in units]
    network, dataset = networks[0]
    channels, height, width = dataset.eval_pixels.shape[1:]

    def make(start: int) -> dict[str, Array]:
        made = synthesise(
            network, layer, unit, dataset.normalise, (channels, height, width), settings["steps"],
            FIRST_SEED + MAX_STARTS * settings["seed"] + start,
        )  # fmt: skip
        pixels = torch.from_numpy(np.array(made.pixels))[None]
        reached = []
        with torch.no_grad():
            for (other, images), (_, number) in zip(networks, units, strict=True):
                maps = other.maps(images.normalise(pixels), layer)[0, number]
                reached.append(float(maps.double().mean()))
        return {"reached": np.array(reached), "at_start": np.array(made.at_start)}

    rows = []
    for start in range(settings["starts"]):

        def made_from(start: int = start) -> dict[str, Array]:
            return make(start)

        rows.append(work.keep(f"start-{start}", made_from))
        work.report({"run": run, "done": start + 1, "of": settings["starts"]})
    reached = np.stack([row["reached"] for row in rows], axis=1)
    marks = np.array(best)[:, None]
    return {
        "beyond": (reached - marks) / marks, "best": best, "reached": reached[0],
        "at_start": np.array([float(row["at_start"]) for row in rows]), "units": units,
    }  # fmt: skip


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `beyond` [1 + others, starts]: what made images reach beyond the best natural one, as a share of it."""
    beyond = np.asarray(sample["beyond"], float)
    own, others = beyond[0], beyond[1:]
    count = 1 + (len(others) > 0)
    estimate = decision.mean_over_images(own)
    parts = [_part("it drives its unit more than the best natural image", "random starts", estimate, len(own),
                   "random starts", settings, count)]  # fmt: skip
    if len(others):
        # Networks and images are crossed: each network sees the same images, so these err for all of them together.
        by_network, by_start = others.mean(axis=1), others.mean(axis=0)
        mean = float(others.mean())
        error = math.hypot(decision.set_error(by_network), decision.set_error(by_start))
        parts.append(
            _part("it drives the matching units of other networks more than their best natural images",
                  "networks, with the error of the starts", Estimate(mean, mean, error, len(others) - 1),
                  len(others), "networks", settings, count)
        )  # fmt: skip
    return parts


def _part(name: str, over: str, estimate: Estimate, n: int, of: str, settings: Settings, parts: int) -> Part:
    return part(
        name, f"Student's t over {over}, one-sided", estimate, settings, n=n, of=of, parts=parts,
        # Where nothing varies, t has nothing to judge by: a sign test.
        p=None if estimate.error else 0.5**n if estimate.effect > 0 else 1.0,
        null=estimate.error * decision.t_quantiles(estimate.degrees),
    )  # fmt: skip


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return what made images reach, where starts differ by `spread` and networks by `between`, standard deviations."""
    starts, networks = facts["starts"], facts["networks"]
    common = generator.normal(0, facts["spread"], starts)
    mean = np.concatenate([[effect], generator.normal(effect, facts["between"], networks)])
    return {"beyond": mean[:, None] + common}


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what each start reached, and each network's mark and mean."""
    beyond = np.asarray(sample["beyond"], float)
    rows = zip(sample["reached"], sample["at_start"], beyond[0])
    return {
        "images made": [
            {"start": number, "activation": reached, "on its first noise": noise, "beyond the best natural image": more}
            for number, (reached, noise, more) in enumerate(rows)
        ],
        "networks": [
            {"run": run, "unit": unit, "best natural activation": best, "beyond it, mean over starts": row.mean(),
             "starts beyond it": int((row > 0).sum())}
            for (run, unit), best, row in zip(sample["units"], sample["best"], beyond)
        ],
    }  # fmt: skip


ABOUT = About(
    title="An image made for a unit drives it more than natural ones",
    options=(
        RUN,
        UNIT,
        ("class", False, "of LAYER:best"),
        (
            "runs",
            False,
            f"other networks whose matching units it must drive too; {SEEDS}: those that differ only in it",
        ),
        ("starts", False, f"images made, a random start of the optimizer each, {LEAST_STARTS} or more ({STARTS})"),
    ),
    smallest=0.1,
    unit="",
    model="what images reach differs by {spread:.2g} of the best natural activation between starts, and by "
    "{between:.2g} between networks, both normal",
    baselines="the best natural image of the fold, the noise that the optimizer began with",
    intervenes="makes images: tests what can drive a unit, not whether the network needs it",
    quantity="images made for a unit",
    subject=("run", "layer", "unit", "others"),
    samples="starts",
    largest=10.0,
)
