"""Whether the hypothesis lab keeps its word: python reproduction/calibration.py [--quick] [--template predicts]

Samples are drawn in which the null is true by construction, in which an effect of known size is planted, and over a
grid of effects; each goes through the function that judges the samples of real networks. One JSON document on stdout, a
row a kind of test:

rejection_rate  share of tests at level 0.05 that reject a true null, with its binomial interval; for a claim of several
                parts the largest over its boundaries, where one part is null and the others are clearly true
power_planned   the power shown before registering, simulated from what one pilot sample tells; mean over many pilots,
                with the 95 % interval of that mean
power_observed  share of tests that support the claim where the effect is planted
coverage        share of intervals that hold the true effect, on average over the grid

The samples come from other models than the ones that power is simulated from: heavier tails, images that differ in how
easily they are lost, bounded accuracies. What is drawn is each template's sample, not whole stores.
"""

import argparse
import json
import math
import sys
import time

import numpy as np
from scipy import special

from selviz import statistics
from selviz.hypotheses.decision import decide
from selviz.hypotheses.power import power
from selviz.hypotheses.templates import TEMPLATES
from selviz.hypotheses.templates.replicates import contrasts

LEVEL, PERMUTATIONS, PILOTS = 0.05, 199, 100
INSIDE, IMAGES = 50, 500  # of the class, and in all, as on fold 1 of mnist-5k


def settings(smallest: float, **more) -> dict:
    return {"level": LEVEL, "smallest": smallest, "permutations": PERMUTATIONS, "class_index": 0, "seed": 0, **more}


def labels() -> np.ndarray:
    return np.repeat([0, 1], [INSIDE, IMAGES - INSIDE])


def lost(random, chance: np.ndarray) -> np.ndarray:
    """1 where an image is lost, -1 where a tenth as often one is gained."""
    drawn = random.random(chance.shape)
    return (drawn < chance).astype(np.int8) - (drawn > 1 - 0.1 * chance).astype(np.int8)


# Each world gives (sample, true effect of the first part); `null` names the part that is null, None plants `effect`.


def necessary(random, effect, null):
    typical = random.beta(0.5, 20, 39)
    easy = 2 * random.beta(2, 2, IMAGES)  # some images are lost more easily than others
    inside = labels() == 0
    own = random.beta(0.5, 20) if null == 0 else min(typical.mean() + (0.3 if null == 1 else effect), 0.45)
    others = 0.0 if null == 0 else own if null == 1 else 0.01
    unit = lost(random, np.where(inside, own, others) * easy)
    controls = lost(random, typical[:, None] * easy)
    return {"unit": unit, "controls": controls, "labels": labels()}, 0.9 * (own - typical.mean()) * float(
        easy[inside].mean()
    )


def sufficient(random, effect, null):
    recall, alarms = random.beta(2, 5, 119), random.beta(1, 20, 119)
    own, own_alarms = (random.beta(2, 5), random.beta(1, 20)) if null == 0 else (recall.mean() + effect, alarms.mean())
    inside = labels() == 0
    called = random.random(IMAGES) < np.where(inside, own, own_alarms)
    controls = random.random((119, IMAGES)) < np.where(inside, recall[:, None], alarms[:, None])
    truth = own - own_alarms - (recall.mean() - alarms.mean())
    return {"called": called, "controls": controls, "labels": labels()}, truth


def selective(random, effect, null):
    layers, draws = 4, 119
    easy = random.beta(1, 3, IMAGES)
    easy /= easy.mean()
    # Sets matched on activation lose more than random ones.
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
        own = 0.0 if null == network else 0.5 if null is not None else effect
        mean = np.where(truth == 0, (1 + own) / (1 - own), 1.0)
        # Many zeros, and a long tail.
        values = mean * np.exp(random.normal(0, 0.8, len(truth))) * (random.random(len(truth)) < 0.7)
        found.append(contrasts(values, truth, 0, PERMUTATIONS, int(random.integers(2**31)), 499))
    observed, shuffled, resampled = zip(*found)
    sample = {"names": ["a", "b"], "observed": observed, "null": np.stack(shuffled), "resampled": np.stack(resampled)}
    return {**sample, "images": IMAGES, "of_class": INSIDE}, effect if null is None else 0.0 if null == 0 else 0.5


def explains(random, effect, null):
    images, orders = 24, 19
    mean = 0.5 if null == 0 else 0.2
    correlation = random.beta(4 * mean, 4 * (1 - mean), images)
    place = 0.5 if null == 1 else 0.95 if null == 0 else 0.5 + effect
    worse = random.integers(0, orders + 1, images) / orders if null == 1 else (
        random.binomial(orders, random.beta(2 * place, 2 * (1 - place), images)) / orders
    )  # fmt: skip
    return {"correlation": correlation, "worse": worse, "orders": orders}, 1 - mean


def single(random, effect, null):
    area, gap = 0.9, (0.05 if null == 0 else -effect)
    shared = random.standard_t(6, IMAGES) if null is None else random.normal(size=IMAGES)
    unit, readout = (0.8 * shared + 0.6 * random.normal(size=IMAGES) for _ in range(2))
    unit[:INSIDE] += math.sqrt(2) * special.ndtri(area - gap)
    readout[:INSIDE] += math.sqrt(2) * special.ndtri(area)
    return {"unit": unit, "readout": readout, "labels": labels()}, -gap


def robust(random, effect, null):
    first, second = paired(random, 10, 0 if null == 0 else effect)
    return {"first": special.expit(first), "second": -second}, effect if null is None else 0.0


def groups(random, effect, null):
    shift = 0.0 if null == 0 else effect
    return {"group": random.gamma(2, 1, 25) + shift, "control": random.gamma(2, 1, 40)}, shift


def correlation(random, effect, null):
    first, second = paired(random, 60, 0 if null == 0 else effect)
    return {"first": first, "second": np.exp(second)}, effect if null is None else 0.0


OWN_MEANS = settings(0.5, statistic="difference of means", direction="greater")
OWN_RANKS = settings(0.3, statistic="rank correlation", direction="positive")
# name: (template, world, settings, parts that can be null, exact size: False where it may lie far below the level,
# planted effect, grid for the coverage, facts that do not come from a pilot)
CASES = {
    "necessary": ("necessary", necessary, settings(0.1), (0, 1), False, 0.12, (0, 0.05, 0.1, 0.2),
                  {"images": INSIDE, "of_images": IMAGES, "controls": 39}),
    "sufficient": ("sufficient", sufficient, settings(0.3, draws=119), (0,), True, 0.4, (0, 0.1, 0.3, 0.5),
                   {"images": INSIDE, "of_images": IMAGES}),
    "selective": ("selective", selective, settings(0.03, draws=119, controls="both"), (0, 1), True, 0.02,
                  (0, 0.01, 0.03, 0.05), {"of_images": IMAGES, "layers": 4}),
    "predicts": ("predicts", predicts, settings(0.2, direction="positive"), (0,), True, 0.25, (0, 0.2, 0.4, 0.6),
                 {"sizes": [16, 32, 32, 64]}),
    "alpha: cost": ("alpha", alpha("cost"), settings(0.01, claim="cost"), (0,), True, 0.012, (0, 0.005, 0.01, 0.02),
                    {"seeds": 5}),
    "alpha: no cost": ("alpha", alpha("no cost"), settings(0.02, claim="no cost"), (0,), True, 0.0,
                       (0, 0.005, 0.01, 0.02), {"seeds": 5}),
    "alpha: equivalent": ("alpha", alpha("equivalent"), settings(0.02, claim="equivalent"), (0, 1), True, 0.0,
                          (0, 0.005, 0.01, 0.02), {"seeds": 5}),
    "replicates": ("replicates", replicates, settings(0.2), (0, 1), True, 0.2, (0, 0.1, 0.2, 0.4),
                   {"images": INSIDE, "of_images": IMAGES, "classes": 10, "networks": 2}),
    "map": ("map", explains, settings(0.2, alike=0.5, draws=19), (0, 1), True, 0.15, (0, 0.1, 0.2, 0.3),
            {"images": 24}),
    "single": ("single", single, settings(0.05), (0,), True, 0.0, (-0.05, -0.02, 0, 0.02),
               {"images": INSIDE, "of_images": IMAGES}),
    "robust": ("robust", robust, settings(0.3, direction="negative"), (0,), True, 0.6, (0, 0.3, 0.5, 0.7),
               {"first": 10}),
    "own: difference of means": ("own", groups, OWN_MEANS, (0,), True, 0.8, (0, 0.5, 1, 2),
                                 {"first": 25, "second": 40}),
    "own: rank correlation": ("own", correlation, OWN_RANKS, (0,), True, 0.3, (0, 0.2, 0.4, 0.6), {"first": 60}),
}  # fmt: skip


def pilot(template: str, sample: dict, facts: dict) -> dict:
    """The facts that a store would tell, from one sample of the same world."""
    if template == "necessary":
        drops = sample["controls"][:, :INSIDE].mean(axis=1)
        told = {"drops": drops.clip(min=0).tolist(), "shape": "as in the pilot"}
        return {**facts, **told, "spread": max(float(drops.clip(min=0).mean()), 1e-3)}
    if template == "sufficient":
        recall = sample["controls"][:, :INSIDE].mean(axis=1)
        mean = float(recall.mean())
        # What sets differ by, without what few images add to it.
        return {**facts, "kept": mean, "spread": math.sqrt(max(recall.var() - mean * (1 - mean) / INSIDE, 1e-4))}
    if template == "selective":
        drops = max(sample["drops"].values(), key=np.mean)
        return {**facts, "drop": float(drops.mean()), "spread": float(drops.std())}
    if template == "alpha":
        return {**facts, **{group: float(sample[group].std(ddof=1)) for group in ("baseline", "other")}}
    if template == "replicates":
        return {**facts, "spread": 1.35}  # the coefficient of variation of the world's activations
    if template == "map":
        return {
            **facts,
            "correlation": float(sample["correlation"].mean()),
            "spread": float(sample["correlation"].std()),
            "place_spread": float(sample["worse"].std()),
        }
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


def calibrate(name: str, tests: int, seed: int = 0, pilots: int = PILOTS) -> dict:
    """One row of the report."""
    template, world, fixed, parts, continuous, planted, grid, facts = CASES[name]
    random, began = np.random.default_rng([seed, len(name)]), time.monotonic()

    def judged(effect, null, number):
        sample, truth = world(random, effect, null)
        return TEMPLATES[template].judge(sample, {**fixed, "seed": number}), truth

    boundaries = []
    for null in parts:
        rejected = sum(max(part.p for part in judged(0, null, number)[0]) <= LEVEL for number in range(tests))
        low, high = statistics.wilson(rejected, tests)
        boundaries.append({"null_part": null, "rate": rejected / tests, "low": float(low), "high": float(high)})
    worst = max(boundaries, key=lambda row: row["rate"])
    planned = []
    for number in range(pilots):  # what a pilot tells differs from pilot to pilot
        sample, _ = world(random, planted, None)
        told = pilot(template, sample, facts)
        draws = max(tests // pilots, 10)
        planned.append(power(template, {**fixed, "seed": number}, told, draws, planted)["power"])
    mean = statistics.over_seeds(planned)
    supported = sum(decide(judged(planted, None, n)[0], LEVEL)[0] == "supported" for n in range(tests))
    covered = []
    for effect in grid:
        pairs = [judged(effect, None, number) for number in range(max(tests // len(grid), 25))]
        covered.append(float(np.mean([parts[0].low <= truth <= parts[0].high for parts, truth in pairs])))
    return {
        "name": name,
        "tests": tests,
        "rejection_rate": worst["rate"],
        "rejection_low": worst["low"],
        "rejection_high": worst["high"],
        "boundaries": boundaries,
        "continuous": continuous,
        "effect": planted,
        "power_planned": mean.mean,
        "power_planned_low": mean.low,
        "power_planned_high": mean.high,
        "power_observed": supported / tests,
        "coverage": float(np.mean(covered)),
        "coverage_grid": dict(zip(map(str, grid), covered)),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=int, default=1000, help="tests of each kind (default: %(default)s)")
    parser.add_argument(
        "--pilots", type=int, default=PILOTS, help="samples that power is planned from (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="100 tests of each kind")
    parser.add_argument("--template", choices=list(CASES), action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = []
    for name in args.template or CASES:
        rows.append(calibrate(name, 100 if args.quick else args.tests, args.seed, args.pilots))
        print(f"{name}: {rows[-1]['seconds']} s", file=sys.stderr)
    print(json.dumps({"level": LEVEL, "permutations": PERMUTATIONS, "templates": rows}, indent=1))


if __name__ == "__main__":
    main()
