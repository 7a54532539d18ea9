"""An attribution map shows what was learned: it depends on the weights, and what it highlights drives the unit.

More than maps of the same smoothness do: a smooth map of noise lowers most units more than scattered pixels would.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selviz import statistics
from selviz.errors import SelvizError
from selviz.hypotheses import decision, name_lookup, option_parsing, samples, template
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import DRAWS, RUN, UNIT, About, Array, Facts, Resolved, Sample, Settings, Work
from selviz.store import Store

if TYPE_CHECKING:
    from torch import Tensor

LEAST_IMAGES = 20
# Control maps of the same smoothness, and what they are.
CONTROLS = {
    "noise": "maps of noise with the map's own autocorrelation",
    "images": "the unit's maps of other images",
    "units": "maps of other units of the layer on the same image",
}
LEAST_CONTROLS = 5  # maps of a kind, where the place among them is worth a test


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    kinds = ", ".join(f"{number} {CONTROLS[kind]}" for kind, number in s["controls"].items())
    return {
        "statement": f"The {s['method']} map of {template.unit_of(s)} in {s['run']} shows what the "
        "network has learned: "
        f"its correlation with the map of random weights is below {s['alike']:g}, and taking away what it highlights "
        f"lowers the unit more than control maps of the same smoothness do, in a share of them above one half by "
        f"{s['smallest']:g} or more.",
        "quantity": "1 - Spearman's correlation of the map with that of the network with random weights; share of "
        "control maps whose pixels, taken away in their order, lower the unit less than the map's do, minus one half",
        "direction": f"a correlation below {s['alike']:g}; a share above one half by {s['smallest']:g} or more",
        "refuted": f"An interval of the correlation wholly above {s['alike']:g}, or one of a share beyond one half "
        f"wholly below {s['smallest']:g}.",
        "controls": f"the network with its weights in random order; for each image {kinds}",
        "statistic": "Student's t over images; mean place among control maps of each kind; all must hold",
        "sample": f"of the images on which the unit is not 0 the first {s['images']} of {template.images_text(s)}; "
        "intervals are for new images",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    from selviz import attribution

    run, layer, unit, _, chosen = name_lookup.unit_of(store, requested, any_class=True)
    method, fold = requested.get("method", "integrated_gradients"), samples.test_fold(store, [run])
    attribution.parameters(method)  # says so if there is none of that name
    expected = _expected(store, run, layer, unit, fold)
    wanted = option_parsing.count(requested.get("images", min(24, max(expected, LEAST_IMAGES))), 2, "images")
    if wanted < LEAST_IMAGES or expected < wanted:
        raise SelvizError(
            f"The claim needs at least {LEAST_IMAGES} images on which the unit is not 0, and by fold 1 unit {unit} of "
            f"{layer} has about {expected} on fold {fold} ({wanted} are asked for)."
        )
    alike = option_parsing.number(requested.get("alike", 0.5), "alike")
    if not 0 < alike < 1:
        raise SelvizError(f"alike is {alike:g}; it is a correlation between 0 and 1.")
    draws = option_parsing.count(requested.get("draws", 19), LEAST_CONTROLS, "draws")
    before, _, _ = samples.activations(store, run, layer, samples.CHOOSING)
    others = [int(other) for other in np.flatnonzero((before != 0).any(axis=0)) if other != unit]
    controls = {"noise": draws, "images": min(draws, wanted - 1)}
    if len(others) >= LEAST_CONTROLS:
        controls["units"] = min(draws, len(others), 9)
    generator = np.random.default_rng(common["seed"])
    settings = {
        "run": run, "layer": layer, "unit": unit, "method": method, "images": wanted, "alike": alike, "fold": fold,
        "controls": controls,
        "others": generator.permutation(others)[: controls.get("units", 0)].tolist(),
    }  # fmt: skip
    facts = {"images": wanted, "correlation": 0.2, "spread": 0.25, "place_spread": 0.25, "assumed": True}
    return Resolved(settings, [run], facts, [], chosen)


def _expected(store: Store, run: str, layer: str, unit: int, fold: int) -> int:
    """Return on how many images of the tested fold the unit is expected to be active: as on fold 1, which is shown."""
    values, _, _ = samples.activations(store, run, layer, samples.REPORTING)
    return round(float((values[:, unit] != 0).mean()) * samples.image_counts(store, run, fold)["of_images"])


def _active(store: Store, settings: Settings) -> list[int]:
    """Return the first images of the tested fold on which the unit is not 0; read by the test alone."""
    values, _, images = samples.activations(store, settings["run"], settings["layer"], settings["fold"])
    return [int(image) for image in images[values[:, settings["unit"]] != 0]][: settings["images"]]


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return how far each image's map is from that of random weights, and its place among control maps of each kind."""
    import torch

    from selviz import attribution
    from selviz.attribution import Target
    from selviz.attribution.faithfulness import STEPS, deletion_areas
    from selviz.attribution.targets import Response
    from selviz.runs.load import load_network
    from selviz.studies.attribution import baseline_image

    network, dataset = load_network(store, settings["run"], sealed=True)
    numbers, method = settings.get("image_numbers") or _active(store, settings), settings["method"]
    if len(numbers) < 2:
        raise SelvizError(f"The unit is 0 on all tested images but {len(numbers)}: there is no map to judge.")
    inputs, start = dataset.normalise(dataset.eval_pixels[numbers]), baseline_image(dataset, "black")
    target = Target(settings["layer"], settings["unit"])

    def randomised() -> dict[str, Array]:
        table = attribution.sanity(network, [target] * len(numbers), inputs, method, start, settings["seed"])
        of_step = table.pivot(index="image", columns="step", values="rank_correlation")
        # A map that is the same everywhere in the random network has nothing of the first one; one that is so in the
        # network itself has nothing to lose.
        return {"correlation": of_step.iloc[:, -1].fillna(0.0).where(of_step.iloc[:, 0].notna()).to_numpy()}

    correlation = work.keep("random-weights", randomised)["correlation"]
    if (~np.isnan(correlation)).sum() < 2:
        raise SelvizError(f"The {method} map of the unit varies on none or one of these images; name another method.")
    maps = [
        attribution.attribute(network, target, image, method, start).maps[0]
        for image in (inputs[row : row + 1] for row in range(len(inputs)))
    ]

    def deleted(place: int) -> dict[str, Array]:
        image, generator = inputs[place : place + 1], np.random.default_rng([settings["seed"], place])
        others = [row for row in generator.permutation(len(maps)).tolist() if row != place]
        made: dict[str, list[Tensor]] = {
            "noise": [surrogate(maps[place], generator) for _ in range(settings["controls"]["noise"])],
            "images": [maps[row] for row in others[: settings["controls"]["images"]]],
            "units": [
                attribution.attribute(network, Target(settings["layer"], other), image, method, start).maps[0]
                for other in settings["others"]
            ],
        }
        response, drops = Response(network, target, image), {}
        for kind in settings["controls"]:
            every = torch.stack([maps[place], *made[kind]])
            area, *areas = deletion_areas(response, image, every, start, STEPS, settings["seed"] + place)
            drops[kind] = np.array(((areas > area).sum() + (areas == area).sum() / 2) / len(areas))
        return drops

    rows = []
    for place in range(len(numbers)):
        rows.append(work.keep(f"deletion-{place}", functools.partial(deleted, place)))
        work.report({"done": place + 1, "of": len(numbers)})
    return {
        "correlation": correlation,
        "worse": {kind: np.array([float(row[kind]) for row in rows]) for kind in settings["controls"]},
        # Where fewer images show the unit than were expected, fewer maps of other images are there.
        "orders": {**settings["controls"], "images": min(settings["controls"]["images"], len(numbers) - 1)},
    }


def surrogate(map_: "Tensor", generator: np.random.Generator) -> "Tensor":
    """Return a map of noise [H, W] with the autocorrelation of `map_`: its Fourier amplitudes with random phases
    (Theiler et al. 1992, Physica D 58:77)."""
    import torch

    values = map_.detach().double().numpy()
    phases = np.angle(np.fft.fft2(generator.normal(size=values.shape)))
    return torch.from_numpy(np.fft.ifft2(np.abs(np.fft.fft2(values)) * np.exp(1j * phases)).real.copy()).float()


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `correlation` [N] of maps with those of the random network, and `worse`: by kind of control maps [N], the
    share of these whose pixels lower the unit less than the map's; `orders`, how many these are."""
    correlation = np.asarray(sample["correlation"], float)
    correlation = correlation[~np.isnan(correlation)]
    boundary, count = 1 - settings["alike"], 1 + len(sample["worse"])
    apart = decision.mean_over_images(1 - correlation)
    parts = [
        part(
            "the map depends on the weights",
            f"Student's t over images: 1 - rank correlation with the random network's map is above {boundary:g}, "
            "one-sided",
            apart, settings, n=len(correlation), of="images", boundary=boundary, margin=boundary, parts=count,
            # Without any spread to judge by: a sign test.
            p=None if apart.error else 0.5 ** len(correlation) if apart.effect > boundary else 1.0,
            null=boundary + apart.error * decision.t_quantiles(apart.degrees),
        )
    ]  # fmt: skip
    generator = np.random.default_rng(settings["seed"])
    for kind, shares in sample["worse"].items():
        worse, orders = np.asarray(shares, float), sample.get("orders", settings["controls"])[kind]
        # Of a map that is one more control each place among the others is as likely.
        null = generator.integers(0, orders + 1, (settings["permutations"], len(worse))).mean(axis=1) / orders - 0.5
        beyond = decision.mean_over_images(worse - 0.5)
        rank = statistics.rank_among(float(decision.settled(beyond.effect)), decision.settled(null))
        parts.append(
            part(
                f"what it highlights drives the unit more than {CONTROLS[kind]}",
                f"mean place among {orders} of them, {len(null):,} draws if it were one of them, one-sided",
                beyond, settings, n=len(worse), of="images", null=null, p=rank.p_high, smallest_p=1 / (len(null) + 1),
                parts=count,
            )
        )  # fmt: skip
    return parts


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return places among control maps that lie so far above one half."""
    n = facts["images"]
    place = min(0.5 + effect, 0.99)
    size = max(place * (1 - place) / facts["place_spread"] ** 2 - 1, 0.1)
    worse = {}
    for kind, orders in settings["controls"].items():
        worse[kind] = np.round(generator.beta(place * size, (1 - place) * size, n) * orders) / orders
    correlation = np.clip(generator.normal(facts["correlation"], facts["spread"], n), -1, 1)
    return {"correlation": correlation, "worse": worse}


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return each image's correlation and places."""
    facts = {"correlation with the map of random weights": [_number(value) for value in sample["correlation"]]}
    return facts | {f"share of {CONTROLS[kind]} that lower the unit less": np.asarray(shares).tolist()
                    for kind, shares in sample["worse"].items()}  # fmt: skip


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


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
    model="correlations with the random network's map lie about {correlation:.2g} with a standard deviation of "
    "{spread:.2g}, and places among control maps about one half plus the effect, with one of {place_spread:.2g}",
    baselines="random weights, noise of the same smoothness, maps of other images and units",
    intervenes="takes pixels away",
    quantity="attribution maps",
    subject=("run", "layer", "unit", "method"),
    largest=0.49,
    saliency=True,
)
