"""The second paper on stored networks, as Markdown: `python reproduction/robustness.py --data STORE RUN`.

Measures robustness and dimensionality of every network like RUN where they are not stored yet (resumable; `--stored`
measures nothing), then prints docs/reproduction-robustness.md. `--beside STORE RUN` adds the section of another family
of networks, as it is stored.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from selviz.config import short_name
from selviz.runs.families import siblings
from selviz.store import Store
from selviz.store.stage_files import record
from selviz.studies import published_directions
from selviz.studies.dimensionality import run_dimensionality
from selviz.studies.robustness import AttackSettings, run_robustness
from selviz.text.tables import Progress

HEAD = """# Robustness and dimensionality against selectivity

What Leavitt and Morcos report, tried on networks of selviz: of arXiv 2007.04440 that lower selectivity goes with more
robustness to corruptions and less to white-box attacks, and how the dimensionality of the *change* under
perturbation goes
with it (its sign is our reading); of its successor arXiv 2010.07693 that early dimensionality falls as selectivity
rises, that attacks raise it more than corruptions do, and that gradients vary more. Each row is one direction and one
measure of
it; which measures stand for a direction is selviz's choice. A network counts once. The effect is Spearman's correlation
with mean SI (without dead units) over networks, with a permutation test; for the comparison of attacks with
corruptions it
is the mean difference in principal components for 95 % of variance, over the first third of the layers, with a t
interval
and a sign-flip test. p is Holm-corrected over the rows of a section. *Reproduced*: the 95 % interval lies on the
expected
side of 0 and p < 0.05. *Not told apart*: the test found no direction, which does not say that there is none. *Not
testable*: fewer than 8 networks or 3 alphas.

The networks of one alpha are alike, so they are fewer independent observations than their number: the intervals are
narrower than they would be over alphas drawn at random. A gradient that has become small (masked) also makes a network
look robust to a gradient-based attack: without a transferred and a decision-based attack beside it, robustness to
PGD is robustness to PGD.

This page is the output of `python reproduction/robustness.py --data STORE RUN --beside STORE RUN`. Robustness is
accuracy
above chance relative to clean accuracy above chance; networks within noise of chance are left out. The number after an
attack is its epsilon, out of 255.
"""


def measure(store: Store, names: list[str], arguments: argparse.Namespace) -> None:
    """Robustness and dimensionality of each of these runs."""
    for name in names:
        with Progress() as report:
            run_robustness(
                store, name, kinds=("pgd",), epsilons=arguments.epsilon, attack=AttackSettings(steps=arguments.steps),
                images=arguments.images, report=report,
            )  # fmt: skip
            run_dimensionality(store, name, images=min(500, arguments.images), draws=20, report=report)


def section(store: Store, run: str) -> str:
    """What one family of networks shows, in Markdown."""
    table, about = published_directions.measures(store, run), store.run(run)
    lines = [
        f"\n## {about['model']} on {short_name(about['dataset'])}",
        "",
        "| alpha | networks | mean SI, live units | corruptions / clean, above chance |",
        "|---|---|---|---|",
    ]
    for alpha, part in table.groupby("alpha"):
        si, survived = part["mean_si_live"].mean(), 100 * part["corruptions"].mean()
        lines.append(f"| {alpha:g} | {len(part)} | {si:.3f} | {survived:.1f} % |")
    stages = [record(store.run_path(run) / f"{stage}.duckdb") for stage in published_directions.STAGES]
    images = [stage["provenance"]["images"] if stage else 0 for stage in stages]
    lines += [
        "",
        f"{images[0]} evaluation images for robustness, {images[1]} for dimensionality.",
        "",
        "| direction | measure | expected | n | effect | 95 % interval | p (Holm) | verdict |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    rows = published_directions.directions(store, run).to_dict("records")
    for row in rows:
        known = row["verdict"] != published_directions.UNTESTABLE
        effect = f"{row['effect']:+.2f} {row['unit']}" if known else "-"
        interval = f"{row['low']:+.2f} to {row['high']:+.2f}" if known else "-"
        p = "-" if not known else "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        lines.append(
            f"| {row['direction']} | {row['measure']} | {row['expected']} | {row['n']} | {effect} | {interval} | {p} | "
            f"{row['verdict']} |"
        )
    if all(row["verdict"] == published_directions.UNTESTABLE for row in rows):
        lines += [
            "",
            "With so few networks none of these can be tested; the command above, on a sweep of three alphas or ",
        ]
        lines[-1] += "more and at least eight networks, fills this table."
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="one of the networks, such as a baseline")
    parser.add_argument("--data", default="data")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epsilon", type=float, action="append")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, help="only seeds below this one")
    parser.add_argument("--beside", nargs=2, metavar=("STORE", "RUN"), action="append", default=[])
    parser.add_argument("--stored", action="store_true", help="measure nothing")
    chosen = parser.parse_args()
    chosen.epsilon = chosen.epsilon or [2.0, 8.0]
    found = Store(chosen.data)
    alike = siblings(found.runs(), chosen.run)
    if not chosen.stored:
        wanted = alike[alike["seed"] < (chosen.seeds or 10**9)]
        measure(found, wanted.sort_values(["seed", "alpha"])["run"].tolist(), chosen)  # each seed at every alpha first
    families = [(found, chosen.run), *((Store(data), run) for data, run in chosen.beside)]
    print(HEAD + "\n".join(section(*family) for family in families))
