"""The second paper on stored networks: `python reproduction/robustness.py --data STORE RUN`.

Measures robustness and dimensionality of every network like RUN where they are not stored yet (resumable; `--stored`
measures nothing), and writes reproduction/data/robustness.csv, a row a network; rows of other networks that it has are
kept. `page()` is what `pages.py` writes to docs/reproduction-robustness.md from these rows.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.reported import grid, interval, p_value, signed, written
from reproduction.rows import FOLDER
from selviz.config import PENALTY, SETTINGS, short_name
from selviz.robustness import corruptions
from selviz.robustness.bench import KIND_OF_CONSTANTS
from selviz.runs.families import siblings
from selviz.store import Store
from selviz.store.stage_files import record
from selviz.studies import published_directions
from selviz.studies.corruption_error import corruption_errors
from selviz.studies.dimensionality import run_dimensionality
from selviz.studies.robustness import AttackSettings, run_robustness
from selviz.text.tables import Progress

NAME = "robustness.csv"
HEAD = """# Robustness and dimensionality against selectivity

What Leavitt and Morcos report, tried on networks of selviz: of arXiv 2007.04440 that lower selectivity goes with more
robustness to corruptions and less to white-box attacks, and how the dimensionality of the *change* under perturbation
goes with it (its sign is our reading); of its successor arXiv 2010.07693 that early dimensionality falls as selectivity
rises, that attacks raise it more than corruptions do, and that gradients vary more. Each row is one direction and one
measure of it; which measures stand for a direction is selviz's choice. A network counts once. The effect is Spearman's
correlation with mean SI (without dead units) over networks, with a permutation test; for the comparison of attacks with
corruptions it is the mean difference in principal components for 95 % of variance, over the first third of the layers,
with a t interval and a sign-flip test. p is Holm-corrected over the rows of a section. *Reproduced*: the 95 % interval
lies on the expected side of 0 and p < 0.05. *Not told apart*: the test found no direction, which does not say that
there is none. *Not testable*: fewer than 8 networks or 3 alphas, or an attack that leaves every network at or
below chance, where nothing is left to lose.

The networks of one alpha are alike, so they are fewer independent observations than their number: the intervals are
narrower than they would be over alphas drawn at random. A gradient that has become small (masked) also makes a network
look robust to a gradient-based attack: without a transferred and a decision-based attack beside it, robustness to PGD
is robustness to PGD.

Written by `python reproduction/pages.py` from one row per network (`reproduction/data/robustness.csv`), which
`python reproduction/robustness.py RUN --data STORE` measures. Robustness is accuracy above chance relative to clean
accuracy above chance; networks within noise of chance are left out. The mean corruption error is relative to the
network of alpha 0 with the same seed, as in ImageNet-C: below 100 % a network loses less than its baseline. In
brackets: 95 % t intervals over seeds. The number after an attack is its epsilon, out of 255.
"""

CONSTANTS = {
    corruptions.IMAGENET: "Corruptions as in ImageNet-C, with constants made for photographs of 224 pixels.",
    corruptions.CIFAR: "Corruptions with the constants of CIFAR-10-C, twelve of its fifteen; the corruptions of "
    "dimensionality have those of ImageNet-C.",
}


def measure(store: Store, names: list[str], arguments: argparse.Namespace) -> None:
    """Measure robustness and dimensionality of each of these runs."""
    for name in names:
        with Progress() as report:
            run_robustness(
                store, name, kinds=("pgd",), epsilons=arguments.epsilon, attack=AttackSettings(steps=arguments.steps),
                images=arguments.images, report=report, constants=arguments.constants,
            )  # fmt: skip
            run_dimensionality(store, name, images=min(500, arguments.images), draws=20, report=report)


def family(runs: Sequence[Mapping[str, Any]]) -> str:
    """Name networks of one kind: `resnet20 on cifar10, 16 pixels`, and what their penalty has beside alpha."""
    about = runs[0]
    parts = [f"{about['model']} on {short_name(about['dataset'])}"]
    parts += [f"{about['image_size']} pixels"] if about.get("image_size") else []
    for name in PENALTY:  # at alpha 0 a run has the defaults
        values = {run.get(name, SETTINGS[name].default) for run in runs} - {SETTINGS[name].default}
        parts += [f"{name} {value}" for value in sorted(values, key=str)]
    return ", ".join(parts)


def rows_of(store: Store, run: str, constants: str = corruptions.IMAGENET) -> pd.DataFrame:
    """Return one row per network like `run` that is measured: family, images, `published_directions.measures`, mce."""
    kind = KIND_OF_CONSTANTS[constants]
    table = published_directions.measures(store, run, kind)
    if table.empty:
        return table
    stages = [record(store.run_path(run) / f"{stage}.duckdb") for stage in published_directions.STAGES]
    counts = [stage["provenance"]["images"] if stage else 0 for stage in stages]
    table.insert(0, "family", family([store.run(name) for name in table["run"]]))
    table.insert(1, "constants", constants)
    table.insert(2, "images", counts[0])
    table.insert(3, "images_dimensionality", counts[1])
    errors = corruption_errors(store, run, kind=kind)[["run", "mce"]]
    return table.merge(errors, on="run", how="left").drop(columns="run")


def section(family: str, table: pd.DataFrame) -> str:
    """What one family of networks shows, in Markdown, from its rows."""
    table = table.dropna(axis="columns", how="all")
    lines = []
    for alpha, part in table.groupby("alpha"):
        errors = part["mce"].astype(float).dropna()
        lines.append(
            [
                written(float(str(alpha))),
                str(len(part)),
                f"{part['mean_si_live'].mean():.3f}",
                interval(part["corruptions"], 100, 1),
                "baseline" if alpha == 0 else interval(errors, 100, 1) if len(errors) else "–",
            ]
        )
    columns = ["alpha", "networks", "mean SI, live units", "corruptions / clean, above chance, %",
               "mean corruption error, %"]  # fmt: skip
    parts = [f"## {family}", grid(columns, lines)]
    first = table.iloc[0]
    parts.append(
        f"{first['images']} evaluation images for robustness, {first['images_dimensionality']} for dimensionality. "
        f"{CONSTANTS[str(first.get('constants', corruptions.IMAGENET))]}"
    )
    found = []
    for row in published_directions.judged(table).to_dict("records"):
        known = row["verdict"] != published_directions.UNTESTABLE
        found.append(
            [
                *(str(row[name]) for name in ("direction", "measure", "expected", "n")),
                f"{signed(row['effect'], 2)} {row['unit']}" if known else "–",
                f"{signed(row['low'], 2)} to {signed(row['high'], 2)}" if known else "–",
                p_value(row["p_holm"]) if known else "–",
                row["verdict"],
            ]
        )
    columns = ["direction", "measure", "expected", "n", "effect", "95 % interval", "p (Holm)", "verdict"]
    return "\n\n".join([*parts, grid(columns, found)])


def page(rows: pd.DataFrame) -> str:
    """The page, in Markdown, from the rows of `rows_of`."""
    if rows.empty:
        return f"{HEAD}\n**Not yet run.**\n"
    sections = [section(str(family), part) for family, part in rows.groupby("family", sort=False)]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="one of the networks, such as a baseline")
    parser.add_argument("--data", default="data")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epsilon", type=float, action="append")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, help="only seeds below this one")
    parser.add_argument("--constants", choices=corruptions.CONSTANTS, default=corruptions.IMAGENET)
    parser.add_argument("--stored", action="store_true", help="measure nothing")
    chosen = parser.parse_args()
    chosen.epsilon = chosen.epsilon or [2.0, 8.0]
    store = Store(chosen.data)
    alike = siblings(store.runs(), chosen.run)
    if not chosen.stored:
        wanted = alike[alike["seed"] < (chosen.seeds or 10**9)]
        measure(store, wanted.sort_values(["seed", "alpha"])["run"].tolist(), chosen)  # each seed at every alpha first
    found = rows_of(store, chosen.run, chosen.constants)
    if (FOLDER / NAME).exists() and not found.empty:
        kept = pd.read_csv(FOLDER / NAME)
        kept = kept[kept["family"] != found["family"].iloc[0]]
        columns = [*found, *(name for name in kept if name not in found)]
        found = pd.concat([kept, found])[columns]
    if found.empty:
        sys.exit("Nothing is measured of these networks; leave out --stored.")
    found.round(6).to_csv(FOLDER / NAME, index=False)
    print(f"{len(found)} rows in {FOLDER / NAME}")
