"""Whether the hypothesis lab keeps its word: `python reproduction/calibration.py [--quick] [--template predicts]`.

    python reproduction/calibration.py --output reproduction/data/calibration.json   # rows that are there are kept
    python reproduction/calibration.py --output reproduction/data/calibration.json --docs docs/hypotheses.md

Samples are drawn in which the null is true by construction, in which an effect of known size is planted, and over a
grid of effects; each goes through the function that judges the samples of real networks. One JSON document on stdout, a
row a kind of test:

rejection_rate  share of tests at level 0.05 that find an effect (or support the claim) where there is none, with its
                binomial interval; for a claim of several parts the largest over its boundaries, where one part is null
                and the others are clearly true
supported_at_smallest  share of tests that are *supported* where the effect is exactly the smallest that matters
refuted_at_smallest    and share that are *refuted* there
power_planned   the power shown before registering, simulated from what one pilot sample tells; mean over many pilots,
                with the 95 % interval of that mean
power_observed  share of tests that support the claim where the effect is planted
coverage        share of intervals of the first part that hold the true effect, on average over the grid
over_seeds      besides: coverage of `statistics.over_seeds` and of the collapse's median for 5 to 20 seeds

The samples come from other models than the ones that power is simulated from: heavier tails, images that differ in how
easily they are lost, bounded accuracies. What is drawn is each template's sample, not whole stores.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.calibration_cases import CASES, GAINS, LEVEL, PERMUTATIONS, pilot
from selviz import statistics
from selviz.hypotheses.decision import OPEN, REFUTED, SUPPORTED, decide
from selviz.hypotheses.power import supported_rate
from selviz.hypotheses.templates import TEMPLATES

PILOTS = 200


def calibrate(name: str, tests: int, seed: int = 0, pilots: int = PILOTS) -> dict:
    """One row of the report."""
    template, world, fixed, parts, continuous, planted, grid, facts = CASES[name]
    random, began = np.random.default_rng([seed, len(name)]), time.monotonic()

    def judged(effect, null, number):
        sample, truth = world(random, effect, null)
        return TEMPLATES[template].judge(sample, {**fixed, "seed": number}), truth

    boundaries = []
    for null in parts:
        verdicts = [decide(judged(0, null, number)[0], LEVEL)[0] for number in range(tests)]
        rejected = sum(verdict not in (OPEN, REFUTED) for verdict in verdicts)
        low, high = statistics.wilson(rejected, tests)
        boundaries.append({"null_part": null, "rate": rejected / tests, "low": float(low), "high": float(high)})
    worst = max(boundaries, key=lambda row: row["rate"])
    smallest = 0.0 if planted == 0 else fixed["smallest"]
    near = [decide(judged(smallest / GAINS.get(name, 1.0), None, n)[0], LEVEL)[0] for n in range(tests)]
    planned = []
    for number in range(pilots):  # what a pilot tells differs from pilot to pilot
        sample, _ = world(random, planted / GAINS.get(name, 1.0), None)
        pilot_facts = pilot(template, sample, facts)
        draws = max(tests // pilots, 10)
        planned.append(supported_rate(template, {**fixed, "seed": number}, pilot_facts, draws, planted))
    mean = statistics.over_seeds(planned)
    supported = sum(
        decide(judged(planted / GAINS.get(name, 1.0), None, n)[0], LEVEL)[0] == SUPPORTED for n in range(tests)
    )
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
        # Of a claim that a difference is small the boundary is the smallest effect that matters.
        "supported_at_smallest": worst["rate"] if planted == 0 else near.count(SUPPORTED) / tests,
        "refuted_at_smallest": None if planted == 0 else near.count(REFUTED) / tests,
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


SEEDS = (5, 10, 15, 20)
TAILS = {
    "normal": lambda random, size: random.normal(size=size),
    "t, 4 degrees": lambda random, size: random.standard_t(4, size),
    "skewed": lambda random, size: random.gamma(4, size=size) - 4,
}


def seeds_coverage(tests: int, seed: int = 0) -> list[dict]:
    """How often `over_seeds` holds the mean, and `collapse` the median where one network in ten collapses."""
    random, rows = np.random.default_rng(seed), []
    for n in SEEDS:
        for name, draw in TAILS.items():
            found = [statistics.over_seeds(values) for values in draw(random, (tests, n))]
            rows.append({"seeds": n, "tails": name, "coverage": float(np.mean([f.low <= 0 <= f.high for f in found]))})
        values = random.normal(0.7, 0.01, (tests, n))
        values[random.random((tests, n)) < 0.1] = 0.1
        held = [statistics.over_seeds(row) for row in values]
        median = float(special.ndtri((0.5 - 0.1) / 0.9) * 0.01 + 0.7)
        medians = [statistics.collapse(row, 0.1) for row in values]
        rows.append({
            "seeds": n, "tails": "one in ten collapses",
            "coverage": float(np.mean([f.low <= 0.9 * 0.7 + 0.01 <= f.high for f in held])),
            "median_coverage": float(np.mean([math.isnan(f.median_low) or f.median_low <= median <= f.median_high
                                              for f in medians])),
        })  # fmt: skip
    return rows


PERCENT = "{:.0f} %".format
BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"
MAX_REJECTED, MAX_OFF, LEAST_COVERED = 0.07, 0.07, 0.93  # what is asked of every kind of test


def misses(row: dict) -> list[str]:
    """Return what a kind of test does not keep, in words."""
    found = []
    if row["rejection_rate"] > MAX_REJECTED:
        found.append(f"rejects a true null in {100 * row['rejection_rate']:.1f} %")
    if row["supported_at_smallest"] > LEVEL:
        found.append(f"supports exactly the smallest effect in {100 * row['supported_at_smallest']:.1f} %")
    if abs(off := row["power_planned"] - row["power_observed"]) > MAX_OFF:
        found.append(f"plans {100 * abs(off):.0f} points too {'much' if off > 0 else 'little'} power")
    if row["coverage"] < LEAST_COVERED:
        found.append(f"has intervals that hold the effect in {100 * row['coverage']:.1f} %")
    return found


def markdown(document: dict) -> str:
    """Return the tables of the docs, with what was run and what was not kept."""
    rows, draws = document["templates"], document["tests"]
    half = 100 * 1.96 * math.sqrt(LEVEL * (1 - LEVEL) / draws)
    lines = [
        f"{draws:,} tests and {document['pilots']:,} pilots of each kind, seed {document['seed']}: a rate of 5 % is "
        f"known to {half:.1f} points, a power of 0.8 to {100 * 1.96 * math.sqrt(0.16 / draws):.0f}.",
        "",
        "| kind of test | an effect found where there is none (95 % interval) | supported with exactly the smallest | "
        "refuted with it | power planned | observed | intervals that hold the effect |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        refuted = "–" if row["refuted_at_smallest"] is None else f"{100 * row['refuted_at_smallest']:.1f} %"
        lines.append(
            f"| {row['name']} | {100 * row['rejection_rate']:.1f} % ({100 * row['rejection_low']:.1f} to "
            f"{100 * row['rejection_high']:.1f}) | {100 * row['supported_at_smallest']:.1f} % | {refuted} | "
            f"{row['power_planned']:.2f} | {row['power_observed']:.2f} | {100 * row['coverage']:.1f} % |"
        )
    asked = (
        f"Asked is: an effect found where there is none in at most {PERCENT(100 * MAX_REJECTED)}, support of exactly "
        f"the smallest effect in at most {PERCENT(100 * LEVEL)}, planned and observed power within "
        f"{100 * MAX_OFF:.0f} points, and intervals that hold the effect in at least {PERCENT(100 * LEAST_COVERED)} on "
        "average over the grid of effects."
    )
    wrong = [f"{row['name']} {', '.join(found)}" for row in rows if (found := misses(row))]
    kept = f"All {len(rows)} kinds keep it." if not wrong else f"Not kept: {'; '.join(wrong)}."
    lines += ["", f"{asked} {kept}", "", *seeds_markdown(document)]
    return "\n".join(lines)


def seeds_markdown(document: dict) -> list[str]:
    """Return the table of intervals over seeds."""
    rows = document["over_seeds"]
    if not rows:
        return []
    lines = [
        f"How often the interval over seeds holds the mean, {document['seeds_tests']:,} times each (95 % is named):",
        "",
        f"| networks' accuracies | {' | '.join(f'{n} seeds' for n in SEEDS)} |",
        "|---|" + "---|" * len(SEEDS),
    ]
    for tails in dict.fromkeys(row["tails"] for row in rows):
        cells = []
        for row in (row for row in rows if row["tails"] == tails):
            median = f" (median {100 * row['median_coverage']:.1f} %)" if "median_coverage" in row else ""
            cells.append(f"{100 * row['coverage']:.1f} %{median}")
        lines.append(f"| {tails} | {' | '.join(cells)} |")
    held = [row["coverage"] for row in rows if "median_coverage" not in row]
    kept = (
        f"Without collapse {100 * sum(held) / len(held):.1f} % on average, {100 * min(held):.1f} % at least. Where one "
        "network in ten collapses no interval of the mean holds its level; the median's does."
    )
    return [*lines, "", kept]


def write_docs(path: Path, document: dict) -> None:
    """Put the tables between the two marks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(f"{before}{BEGIN}\n{markdown(document)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=int, default=1000, help="tests of each kind (default: %(default)s)")
    parser.add_argument(
        "--pilots", type=int, default=PILOTS, help="samples that power is planned from (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="100 tests and 10 pilots of each kind")
    parser.add_argument("--template", choices=list(CASES), action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file; rows that it has of the same numbers are kept")
    parser.add_argument("--docs", type=Path, help="Markdown file whose tables are written from the rows")
    args = parser.parse_args()
    if args.quick:
        args.tests, args.pilots = 100, 10
    fixed = {"level": LEVEL, "permutations": PERMUTATIONS, "tests": args.tests, "pilots": args.pilots,
             "seed": args.seed, "seeds_tests": 4 * args.tests}  # fmt: skip
    document = {**fixed, "templates": [], "over_seeds": []}
    if args.output and args.output.exists():
        stored = json.loads(args.output.read_text(encoding="utf-8"))
        if all(stored.get(name) == value for name, value in fixed.items()):
            document = stored

    def keep() -> None:
        document["templates"].sort(key=lambda row: list(CASES).index(row["name"]))
        if args.output:
            args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    for name in args.template or CASES:
        if name in {row["name"] for row in document["templates"]}:
            continue
        row = calibrate(name, args.tests, args.seed, args.pilots)
        document["templates"].append(row)
        print(f"{name}: {row['seconds']} s; {'; '.join(misses(row)) or 'kept'}", file=sys.stderr, flush=True)
        keep()
    if not args.template and not document["over_seeds"]:
        document["over_seeds"] = seeds_coverage(fixed["seeds_tests"], args.seed)
        keep()
    if args.docs:
        write_docs(args.docs, document)
    if not args.output:
        print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
