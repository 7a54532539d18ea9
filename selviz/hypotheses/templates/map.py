"""An attribution map shows what was learned: it depends on the weights, and what it highlights drives the unit."""

import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, words
from selviz.hypotheses.decision import Part
from selviz.hypotheses.folds import fold
from selviz.hypotheses.template import DRAWS, RUN, UNIT, About, Resolved, Work
from selviz.store import Store, stage_is_whole

LEAST_IMAGES = 20


def say(s: Mapping) -> dict[str, str]:
    return {
        "statement": f"The {s['method']} map of {words.unit_of(s)} in {s['run']} shows what the network has learned: "
        f"it changes when the weights become random, and taking away what it highlights lowers the unit.",
        "quantity": "1 - Spearman's correlation of the map with that of the network with random weights; share of "
        "random orders of pixels that lower the unit less than the map's order does, minus one half",
        "direction": f"a correlation below {s['alike']:g}; a share above one half by {s['smallest']:g} or more",
        "refuted": f"An interval of the correlation wholly above {s['alike']:g}, or one of the share beyond one half "
        f"wholly below {s['smallest']:g}.",
        "controls": f"the network with its weights in random order; {s['draws']} random orders of pixels an image",
        "statistic": "Student's t over images; mean place among random orders; both must hold",
        "sample": f"the first {s['images']} images of fold 1 on which the unit is not 0; intervals are for new images",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    from selviz import attribution

    run, layer, unit, _, chosen = name_lookup.unit_of(store, asked, any_class=True)
    method = asked.get("method", "integrated_gradients")
    attribution.parameters(method)  # says so if there is none of that name
    values, _, images = fold(store, run, layer, 1)
    active = [int(image) for image in images[values[:, unit] != 0]]
    wanted = option_parsing.count(asked.get("images", min(24, max(len(active), LEAST_IMAGES))), 2, "images")
    if wanted < LEAST_IMAGES or len(active) < wanted:
        raise SelvizError(
            f"The claim needs at least {LEAST_IMAGES} images on which the unit is not 0, and unit {unit} of {layer} "
            f"has {len(active)} on fold 1 ({wanted} are asked for)."
        )
    alike = option_parsing.number(asked.get("alike", 0.5), "alike")
    if not 0 < alike < 1:
        raise SelvizError(f"alike is {alike:g}; it is a correlation between 0 and 1.")
    draws = option_parsing.count(asked.get("draws", 19), 1, "draws")
    settings = {
        "run": run, "layer": layer, "unit": unit, "method": method, "images": wanted, "draws": draws, "alike": alike,
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


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """How far each image's map is from that of the network with random weights, and what deleting its pixels does."""
    from selviz import attribution
    from selviz.attribution import Target
    from selviz.attribution.faithfulness import STEPS, pixel_curves
    from selviz.attribution.targets import Response
    from selviz.runs.load import load_network
    from selviz.studies.attribution import baseline_image

    network, dataset = load_network(store, settings["run"])
    numbers, method = settings["image_numbers"], settings["method"]
    inputs, start = dataset.normalise(dataset.eval_pixels[numbers]), baseline_image(dataset, "black")
    target = Target(settings["layer"], settings["unit"])

    def randomised() -> dict[str, np.ndarray]:
        table = attribution.sanity(network, [target] * len(numbers), inputs, method, start, settings["seed"])
        of_step = table.pivot(index="image", columns="step", values="rank_correlation")
        # A map that is the same everywhere in the random network has nothing of the first one; one that is so in the
        # network itself has nothing to lose.
        return {"correlation": of_step.iloc[:, -1].fillna(0.0).where(of_step.iloc[:, 0].notna()).to_numpy()}

    correlation = work.keep("random-weights", randomised)["correlation"]
    if (~np.isnan(correlation)).sum() < 2:
        raise SelvizError(f"The {method} map of the unit varies on none or one of these images; name another method.")

    def deleted() -> dict[str, np.ndarray]:
        worse = []
        for place, image in enumerate(inputs.split(1)):
            map_ = attribution.attribute(network, target, image, method, start).maps[0]
            response = Response(network, target, image)
            curve = pixel_curves(response, image, map_, start, STEPS, settings["draws"], settings["seed"] + place)
            areas, area = np.array(curve["deletion"]["random_areas"]), curve["deletion"]["area"]
            worse.append(((areas > area).sum() + (areas == area).sum() / 2) / len(areas))
            work.report({"done": place + 1, "of": len(numbers)})
        return {"worse": np.array(worse)}

    worse = work.keep("deletion", deleted)["worse"]
    return {"correlation": correlation, "worse": worse, "orders": settings["draws"]}


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """`correlation` [N] of maps with those of the random network; `worse` [N], the share of `orders` random orders of
    pixels that lower the unit less than the map's order."""
    correlation, worse = np.asarray(sample["correlation"], float), np.asarray(sample["worse"], float)
    level, orders = settings["level"], int(sample["orders"])
    correlation = correlation[~np.isnan(correlation)]
    boundary = 1 - settings["alike"]
    effect, low, high, p = decision.one_sample(1 - correlation, boundary, level)
    error = float(correlation.std(ddof=1) / math.sqrt(len(correlation)))
    first = Part(
        "the map depends on the weights",
        f"Student's t over images: 1 - rank correlation with the random network's map is above {boundary:g}, one-sided",
        effect, low, high, p, 0.0, effect, (boundary + error * decision.t_quantiles(len(correlation) - 1)).tolist(),
        boundary, boundary, len(correlation), "images",
    )  # fmt: skip
    generator = np.random.default_rng(settings["seed"])
    # Of a map that is one more random order each place among the others is as likely.
    null = generator.integers(0, orders + 1, (settings["permutations"], len(worse))).mean(axis=1) / orders - 0.5
    observed = float(worse.mean() - 0.5)
    rank = statistics.rank_among(decision.settled(observed), decision.settled(null))
    _, low, high, _ = decision.one_sample(worse - 0.5, 0.0, level)
    second = Part(
        "what it highlights drives the unit",
        f"mean place among {orders} random orders of pixels, {len(null):,} draws if it were one of them, one-sided",
        observed, low, high, rank.p_high, 1 / (len(null) + 1), observed, null.tolist(),
        0.0, settings["smallest"], len(worse), "images",
    )  # fmt: skip
    return [first, second]


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    n, orders = facts["images"], settings["draws"]
    place = min(0.5 + effect, 0.99)
    size = max(place * (1 - place) / facts["place_spread"] ** 2 - 1, 0.1)
    worse = generator.beta(place * size, (1 - place) * size, n)
    return {
        "correlation": np.clip(generator.normal(facts["correlation"], facts["spread"], n), -1, 1),
        "worse": np.round(worse * orders) / orders,
        "orders": orders,
    }


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    return {name: np.asarray(sample[name]).tolist() for name in ("correlation", "worse")}


ABOUT = About(
    title="An attribution map shows what was learned",
    options=(
        RUN,
        UNIT,
        ("class", False, "of LAYER:best"),
        ("method", False, "of attribution (default: integrated_gradients)"),
        ("images", False, "number of images, 20 or more (default: 24)"),
        ("alike", False, "correlation with the random network's map that is too high (default: 0.5)"),
        DRAWS,
    ),
    smallest=0.2,
    unit="",
    told="correlations with the random network's map lie about {correlation:.2g} with a standard deviation of "
    "{spread:.2g}, and places among random orders about one half plus the effect, with one of {place_spread:.2g}",
    baselines="random weights, random orders of pixels",
    intervenes="takes pixels away",
    saliency=True,
)
