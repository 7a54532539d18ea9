"""What the calibration draws: for each kind of claim, samples with a known effect, and what a pilot says of them.

`CASES[name]` holds a world, `(random, effect, null) -> (sample, true effect of the first part)`: `null` names
the part that is null, None plants `effect`. Samples have heavier tails than those that power is simulated from, images
that differ in how easily they are lost, and bounded accuracies.
"""

import math

import numpy as np
from scipy import special

from selviz.hypotheses.templates.alpha import spreads
from selviz.hypotheses.templates.replicates import class_spread, contrasts

LEVEL, PERMUTATIONS = 0.05, 199
INSIDE, IMAGES = 33, 333  # of the class, and in all, as on the sealed fold of mnist-5k


def settings(smallest: float, **more) -> dict:
    return {"level": LEVEL, "smallest": smallest, "permutations": PERMUTATIONS, "class_index": 0, "seed": 0, **more}


def labels() -> np.ndarray:
    return np.repeat([0, 1], [INSIDE, IMAGES - INSIDE])


def lost(random, chance: np.ndarray) -> np.ndarray:
    """1 where an image is lost, -1 where a tenth as often one is gained."""
    drawn = random.random(chance.shape)
    return (drawn < chance).astype(np.int8) - (drawn > 1 - 0.1 * chance).astype(np.int8)


def necessary(random, effect, null):
    typical = random.beta(0.5, 20, 39)
    easy = 2 * random.beta(2, 2, IMAGES)  # some images are lost more easily than others
    inside = labels() == 0
    own = random.beta(0.5, 20) if null == 0 else min(typical.mean() + (0.4 if null == 1 else effect), 0.45)
    others = 0.0 if null == 0 else own if null == 1 else 0.0
    unit = lost(random, np.where(inside, own, others) * easy)
    controls = lost(random, typical[:, None] * easy)
    truth = 0.9 * (own - typical.mean()) * float(easy[inside].mean())
    return {"unit": unit, "controls": controls, "labels": labels()}, truth


def necessary_units(random, effect, null):
    inside, easy = labels() == 0, 2 * random.beta(2, 2, IMAGES)
    typical = {kind: random.beta(1, scale, 99) for kind, scale in (("random", 30), ("matched", 20))}
    large = max(values.mean() for values in typical.values())
    own = min(large + (effect if null is None else 0.4), 0.45)
    if null in (0, 1):
        own = random.beta(1, (30, 20)[null])
        typical[("matched", "random")[null]] = random.beta(1, 400, 99)
    others = own if null == 2 else 0.0
    sets = {kind: lost(random, chance[:, None] * easy) for kind, chance in typical.items()}
    units = lost(random, np.where(inside, own, others) * easy)
    truth = 0.9 * (own - typical["random"].mean()) * float(easy[inside].mean())
    return {"units": units, **sets, "labels": labels()}, truth


def sufficient(random, effect, null):
    recall, alarms = random.beta(2, 8, 119), random.beta(1, 20, 119)
    own, own_alarms = (random.beta(2, 8), random.beta(1, 20)) if null == 0 else (recall.mean() + effect, alarms.mean())
    keeps = 0.5 if null == 0 else 0.95
    if null == 0:  # the intact network has hardly more
        keeps = 0.05
    if null == 1:
        own, own_alarms, keeps = 0.7, 0.0, 0.7 / 0.5
    inside = labels() == 0
    called = random.random(IMAGES) < np.where(inside, own, own_alarms)
    controls = random.random((119, IMAGES)) < np.where(inside, recall[:, None], alarms[:, None])
    intact = random.random(IMAGES) < np.where(inside, min(keeps, 1.0), 0.005)
    if null == 1:  # exactly half of what the intact network has
        called = random.random(IMAGES) < np.where(inside, 0.475, 0.0025)
        intact = random.random(IMAGES) < np.where(inside, 0.95, 0.005)
    truth = own - own_alarms - (recall.mean() - alarms.mean())
    return {"called": called, "controls": controls, "labels": labels(), "intact": intact}, truth


def selective(random, effect, null):
    layers, draws = 4, 119
    easy = random.beta(1, 3, IMAGES)
    easy /= easy.mean()
    # Matched sets lose more than random ones.
    chance = {kind: random.gamma(2, scale, (draws, layers)) for kind, scale in (("random", 0.01), ("matched", 0.015))}
    if null is None:
        own = np.full(layers, max(values.mean() for values in chance.values()) + effect)
    else:
        own = random.gamma(2, (0.01, 0.015)[null], layers)
        other = ("matched", "random")[null]
        chance[other] = random.gamma(2, 0.001, (draws, layers))
    change = lost(random, np.minimum(own[:, None] * easy, 1))
    drops = {kind: random.binomial(IMAGES, np.minimum(0.9 * values, 1)) / IMAGES for kind, values in chance.items()}
    typical = {kind: np.broadcast_to(sets.mean() * easy, (layers, IMAGES)) for kind, sets in drops.items()}
    truth = 0.9 * float(np.minimum(own[:, None] * easy, 1).mean()) - float(drops["random"].mean())
    return {"change": change, "typical": typical, "drops": drops}, truth


def predicts(random, effect, null):
    sizes = (16, 32, 32, 64)
    pairs = [paired(random, size, 0 if null == 0 else effect) for size in sizes]
    sample = {
        "layer": np.repeat(range(4), sizes),
        "si": np.concatenate([special.expit(first) for first, _ in pairs]),
        "importance": np.concatenate([np.exp(2 * second) for _, second in pairs]),  # a few units matter very much
    }
    return sample, effect if null is None else 0.0


def paired(random, size, correlation):
    r = 2 * math.sin(math.pi * correlation / 6)
    first, second = random.normal(size=(2, size))
    return first, r * first + math.sqrt(1 - r * r) * second


def accuracies(random, mean, seeds):
    """Of networks that differ by half a point, on 1,000 images each."""
    return random.binomial(1000, np.clip(random.normal(mean, 0.005, seeds), 0, 1)) / 1000


def alpha(claim, margin=0.02):
    def world(random, effect, null):
        difference = {"cost": 0.0, "no cost": margin, "equivalent": margin if null == 0 else -margin}[claim]
        loss = effect if null is None else difference
        sample = {"baseline": accuracies(random, 0.95, 5), "other": accuracies(random, 0.95 - loss, 5)}
        return sample, loss if claim == "cost" else -loss

    return world


def replicates(random, effect, null):
    truth, found = np.repeat(range(10), INSIDE), []
    for network in range(2):
        own = 0.0 if null == network else 0.6 if null is not None else effect
        mean = np.where(truth == 0, (1 + own) / (1 - own), 1.0)
        # Many zeros, and a long tail.
        values = mean * np.exp(random.normal(0, 0.8, len(truth))) * (random.random(len(truth)) < 0.7)
        by_class = [values[truth == label] for label in range(10)]
        spread = class_spread(np.array([v.mean() for v in by_class]), np.array([v.std(ddof=1) for v in by_class]))
        found.append(contrasts(values, truth, 0, PERMUTATIONS, int(random.integers(2**31)), 499))
    observed, shuffled, resampled = zip(*found)
    sample = {"names": ["a", "b"], "observed": observed, "null": np.stack(shuffled), "resampled": np.stack(resampled)}
    return {
        **sample,
        "images": IMAGES,
        "of_class": INSIDE,
        "spread": spread,
    }, effect if null is None else 0.0 if null == 0 else 0.6


KINDS = {"noise": 19, "images": 19, "units": 9}


def explains(random, effect, null):
    images = 24
    mean = 0.5 if null == 0 else 0.2
    correlation = random.beta(4 * mean, 4 * (1 - mean), images)
    worse = {}
    for number, (kind, orders) in enumerate(KINDS.items(), 1):
        place = min(0.95 if null in (0, *range(1, 4)) else 0.5 + effect, 0.99)
        share = random.beta(2 * place, 2 * (1 - place), images)
        worse[kind] = random.binomial(orders, share) / orders
        if null == number:
            worse[kind] = random.integers(0, orders + 1, images) / orders
    return {"correlation": correlation, "worse": worse}, 1 - mean


def single(alarms, hits):
    def world(random, effect, null):
        area, gap = 0.97, (0.05 if null == 0 else -effect)
        shared = random.standard_t(6, IMAGES) if null is None else random.normal(size=IMAGES)
        unit, readout = (0.8 * shared + 0.6 * random.normal(size=IMAGES) for _ in range(2))
        unit[:INSIDE] += math.sqrt(2) * special.ndtri(area - gap)
        shift = math.sqrt(2) * special.ndtri(area)
        readout[:INSIDE] += shift
        if null == 1:  # so many images of the class are missed that the margin in hits is lost, and little of the area
            rate = hits / special.ndtr(shift - special.ndtri(1 - alarms))
            missed = np.flatnonzero(random.random(INSIDE) < rate)
            unit[missed] = random.normal(special.ndtri(0.8), 0.05, len(missed))
        return {"unit": unit, "readout": readout, "labels": labels()}, -gap

    return world


def robust(random, effect, null):
    first, second = paired(random, 12, 0 if null == 0 else effect)
    return {"first": special.expit(first), "second": -second}, effect if null is None else 0.0


def made_image(networks):
    def world(random, effect, null):
        own, others = (0.0 if null == 0 else 1.0 if null == 1 else effect), (0.0 if null == 1 else 1.0)
        others = effect if null is None else others
        starts = 0.7 - random.gamma(4, 0.35 / 2, 20)  # a few starts end far below the rest; mean 0
        mean = np.concatenate([[own], others + 0.2 * random.standard_t(5, networks)])
        return {"beyond": mean[:, None] + starts + random.normal(0, 0.05, (1 + networks, 20))}, own

    return world


def groups(random, effect, null):
    shift = 0.0 if null == 0 else effect
    return {"group": random.gamma(2, 1, 25) + shift, "control": random.gamma(2, 1, 40)}, shift


def correlation(random, effect, null):
    first, second = paired(random, 60, 0 if null == 0 else effect)
    return {"first": first, "second": np.exp(second)}, effect if null is None else 0.0


OWN_MEANS = settings(0.5, statistic="difference of means", direction="greater")
OWN_RANKS = settings(0.3, statistic="rank correlation", direction="positive")
SETS = {"random": 119, "matched": 119}
# name: (template, world, settings, parts that can be null, exact size: False where it may lie far below the level,
# planted effect, grid for the coverage, facts that do not come from a pilot)
CASES = {
    "necessary": ("necessary", necessary, settings(0.05, against="matched"), (0, 1), False, 0.35, (0, 0.05, 0.1, 0.2),
                  {"images": INSIDE, "of_images": IMAGES, "controls": 39}),
    "necessary_units": ("necessary_units", necessary_units, settings(0.05, sets={"random": 99, "matched": 99}),
                        (0, 1, 2), False, 0.35, (0, 0.05, 0.1, 0.2), {"images": INSIDE, "of_images": IMAGES}),
    "sufficient": ("sufficient", sufficient, settings(0.3, draws=119, share=0.5), (0, 1), False, 0.6,
                   (0, 0.1, 0.3, 0.5), {"images": INSIDE, "of_images": IMAGES, "intact": 0.95}),
    "selective": ("selective", selective, settings(0.03, draws=119, sets=SETS), (0, 1), True, 0.05,
                  (0, 0.01, 0.03, 0.05), {"of_images": IMAGES, "layers": 4}),
    "predicts": ("predicts", predicts, settings(0.2, direction="positive"), (0,), True, 0.45, (0, 0.2, 0.4, 0.6),
                 {"sizes": [16, 32, 32, 64]}),
    "alpha: cost": ("alpha", alpha("cost"), settings(0.01, claim="cost"), (0,), True, 0.02, (0, 0.005, 0.01, 0.02),
                    {"seeds": 5}),
    "alpha: no cost": ("alpha", alpha("no cost"), settings(0.02, claim="no cost"), (0,), True, 0.0,
                       (0, 0.005, 0.01, 0.02), {"seeds": 5}),
    "alpha: equivalent": ("alpha", alpha("equivalent"), settings(0.02, claim="equivalent"), (0, 1), True, 0.0,
                          (0, 0.005, 0.01, 0.02), {"seeds": 5}),
    "replicates": ("replicates", replicates, settings(0.2), (0, 1), True, 0.5, (0, 0.1, 0.2, 0.4),
                   {"images": INSIDE, "of_images": IMAGES, "classes": 10, "networks": 2}),
    "map": ("map", explains, settings(0.2, alike=0.5, controls=KINDS), (0, 1, 2, 3), True, 0.4, (0, 0.1, 0.2, 0.3),
            {"images": 24}),
    "made_image": ("made_image", made_image(0), settings(0.1), (0,), True, 0.4, (0, 0.1, 0.2, 0.4),
                   {"starts": 20, "networks": 0, "between": 0.2}),
    "made_image: 5 networks": ("made_image", made_image(5), settings(0.1), (0, 1), True, 0.7, (0, 0.1, 0.2, 0.4),
                               {"starts": 20, "networks": 5, "between": 0.2}),
    "single": ("single", single(0.1, 0.2), settings(0.05, alarms=0.1, hits=0.2), (0, 1), True, 0.0,
               (-0.05, -0.02, 0, 0.02), {"images": INSIDE, "of_images": IMAGES}),
    "single: 1 % alarms": ("single", single(0.01, 0.1), settings(0.05, alarms=0.01, hits=0.1), (0, 1), True, 0.0,
                           (-0.05, -0.02, 0, 0.02), {"images": INSIDE, "of_images": IMAGES}),
    "robust": ("robust", robust, settings(0.3, direction="negative"), (0,), True, 0.9, (0, 0.3, 0.5, 0.7),
               {"first": 12}),
    "own: difference of means": ("own", groups, OWN_MEANS, (0,), True, 1.5, (0, 0.5, 1, 2),
                                 {"first": 25, "second": 40}),
    "own: rank correlation": ("own", correlation, OWN_RANKS, (0,), True, 0.6, (0, 0.2, 0.4, 0.6), {"first": 60}),
}  # fmt: skip


# What of a planted chance of losing an image remains as an effect: a tenth as many are gained.
GAINS = {"necessary": 0.9, "necessary_units": 0.9, "selective": 0.9}


def pilot(template: str, sample: dict, facts: dict) -> dict:
    """The facts that a store would tell, from one sample of the same world."""
    if template == "necessary":
        drops = sample["controls"][:, :INSIDE].mean(axis=1)
        measured = {"drops": drops.clip(min=0).tolist(), "shape": "as in the pilot"}
        return {**facts, **measured, "spread": max(float(drops.clip(min=0).mean()), 1e-3), **gains(sample["controls"])}
    if template == "sufficient":
        recall = sample["controls"][:, :INSIDE].mean(axis=1)
        return {**facts, "kept": float(recall.mean()), "spread": between_sets(recall, INSIDE)}
    if template == "necessary_units":
        drops = sample["matched"][:, :INSIDE].mean(axis=1)
        measured = {"drop": max(float(drops.mean()), 0.001), "spread": between_sets(drops, INSIDE)}
        return {**facts, **measured, **gains(sample["matched"])}
    if template == "selective":
        drops = max(sample["drops"].values(), key=np.mean)
        measured = {"drop": float(drops.mean()), "spread": between_sets(drops, IMAGES)}
        return {**facts, **measured, **gains(sample["change"])}
    if template == "alpha":
        return {**facts, **spreads({group: sample[group] for group in ("baseline", "other")})}
    if template == "replicates":
        return {**facts, "spread": sample["spread"]}
    if template == "map":
        places = np.concatenate(list(sample["worse"].values()))
        return {
            **facts,
            "correlation": float(sample["correlation"].mean()),
            "spread": float(sample["correlation"].std()),
            "place_spread": float(places.std()),
        }
    if template == "made_image":
        beyond = sample["beyond"]
        between = {"between": float(beyond[1:].mean(axis=1).std(ddof=1))} if len(beyond) > 1 else {}
        return {**facts, "spread": float(beyond[0].std(ddof=1)), **between}
    if template == "single":
        from sklearn.metrics import roc_auc_score

        inside = sample["labels"] == 0
        area = float(roc_auc_score(inside, sample["unit"]))
        # Within the class and outside of it: the class itself moves both.
        alike = np.mean(
            [np.corrcoef(sample["unit"][part], sample["readout"][part])[0, 1] for part in (inside, ~inside)]
        )
        return {**facts, "area": min(area, 0.999), "alike": float(alike.clip(0, 0.999))}
    if template == "own" and "group" in sample:
        spread = math.sqrt((sample["group"].var(ddof=1) + sample["control"].var(ddof=1)) / 2)
        return {**facts, "spread": float(spread)}
    return facts


def between_sets(shares: np.ndarray, images: int) -> float:
    """What sets differ by, a standard deviation, without what few images add to it."""
    mean = float(shares.mean())
    return math.sqrt(max(float(shares.var()) - mean * (1 - mean) / images, 1e-4))


def gains(changes: np.ndarray) -> dict[str, float]:
    """How many images are gained for each one lost, in a pilot."""
    return {"gained": min(float((changes < 0).sum() / max((changes > 0).sum(), 1)), 0.5)}
