"""The stable recipe, chosen by the rule in rules.md: `python reproduction/recipe.py --dataset CIFAR --data DATA`.

Trains each candidate at alpha 1, and alpha 0 beside them, on seed 99, which no experiment uses; typed again it goes on.
Writes reproduction/data/recipe.csv, a row per network, and recipe.md, which says what was chosen. `STABLE` in
experiments.py holds the choice. With --table nothing is trained: recipe.md is made from the rows alone.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.experiments import LATER_REVISION, PLAIN, SMALL, Experiment
from reproduction.reported import grid
from reproduction.rows import FOLDER, add_row, read_rows, row_of
from reproduction.train import SOURCES, checkout, train_only
from selviz.config import RunConfig
from selviz.store import Store

SEED = 99
RAMP, CLIP, FLOOR = {"alpha_ramp": 4}, {"clip_norm": 1.0}, {"penalty_floor": 0.1}
CANDIDATES: dict[str, Mapping[str, Any]] = {
    "gradients clipped at norm 1": CLIP,
    "alpha ramped over 4 epochs": RAMP,
    "a penalty bounded near dead units (floor 0.1)": FLOOR,
    "batches of 256 at half the rate": {"batch_size": 256, "learning_rate": 0.1},
    "ramp and clipping": {**RAMP, **CLIP},
    "ramp and bounded penalty": {**RAMP, **FLOOR},
    "ramp, clipping and bounded penalty": {**RAMP, **CLIP, **FLOOR},
}
MOST_DEAD, LEAST_TIMES = 0.05, 2.0  # share of units; mean SI of live units over that at alpha 0
TRIALS = Experiment("recipe", "Trials of the stable recipe", "resnet20", SMALL | PLAIN, (0, 1), (SEED,), stable=True)
TEXT = Path(__file__).parent / "recipe.md"


def trials(dataset: str) -> dict[str, RunConfig]:
    """Return the networks that are tried, by the words for them; "alpha 0" is what the others are held against."""
    shared: dict[str, Any] = {**TRIALS.settings, "seed": SEED}
    found = {"alpha 0": RunConfig(dataset, TRIALS.model, alpha=0, **shared)}
    return found | {
        words: RunConfig(dataset, TRIALS.model, alpha=1, **{**shared, **settings})
        for words, settings in CANDIDATES.items()
    }


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per trial that has a row: what, accuracy, SI of live units over that at alpha 0, share of dead
    units, and whether the rule takes it.
    """
    found, varied = {}, {name for each in CANDIDATES.values() for name in each}
    for words, config in trials("").items():
        fits = rows["alpha"] == config.alpha
        for name in varied:
            fits &= rows[name] == getattr(config, name)
        if fits.any():
            found[words] = rows[fits].iloc[0]
    if "alpha 0" not in found:
        return pd.DataFrame()
    reference = found["alpha 0"]["mean_si_live"]
    table = pd.DataFrame(
        {
            "what": words,
            "accuracy": row["test_accuracy"],
            "si": row["mean_si_live"],
            "times": row["mean_si_live"] / reference,
            "dead": row["dead"] / row["units"] if row["state"] == "finished" else float("nan"),
            "diverged": bool(row["diverged"]),
        }
        for words, row in found.items()
    )
    fits = ~table["diverged"] & (table["dead"] < MOST_DEAD) & (table["times"] >= LEAST_TIMES)
    return table.assign(fits=fits & (table["what"] != "alpha 0"))


def choose(rows: pd.DataFrame) -> str | None:
    """Return the words for the recipe that the rule takes: None before every trial has its row, or where none fits."""
    table = judged(rows)
    if len(table) < 1 + len(CANDIDATES) or not table["fits"].any():
        return None
    return str(table.loc[table[table["fits"]]["accuracy"].idxmax(), "what"])


def text(rows: pd.DataFrame) -> str:
    """Return recipe.md."""
    table, chosen = judged(rows), choose(rows)
    lines = [
        [
            row.what,
            "-" if pd.isna(row.accuracy) else f"{100 * row.accuracy:.1f}",
            "-" if pd.isna(row.si) else f"{row.si:.3f}",
            "-" if pd.isna(row.times) else f"{row.times:.2f}",
            "-" if pd.isna(row.dead) else f"{100 * row.dead:.1f}",
            "yes" if row.diverged else "no",
            "yes" if row.fits else "no",
        ]
        for row in table.itertuples()
    ]
    columns = ["recipe at alpha 1", "accuracy, %", "SI, live units", "times that of alpha 0", "dead units, %",
               "diverged", "fits the rule"]  # fmt: skip
    end = "None of them fits the rule."
    if chosen is not None:
        settings = ", ".join(f"`{name}` {value:g}" for name, value in CANDIDATES[chosen].items())
        end = f"Chosen: **{chosen}** ({settings}), the most accurate of those that fit."
    elif len(table) < 1 + len(CANDIDATES):
        end = f"{len(table)} of {1 + len(CANDIDATES)} trials have a row; nothing is chosen yet."
    return f"""# The stable recipe

Written by `python reproduction/recipe.py`. One network a recipe, seed {SEED}, which no experiment uses, trained by
selviz at revision `{LATER_REVISION}` and measured on all 10,000 evaluation images. The rule stands in
[rules.md](rules.md): most accuracy at alpha 1 among the recipes with fewer than {100 * MOST_DEAD:g} % dead units and a
mean SI of live units of at least {LEAST_TIMES:g} times that at alpha 0. One network each says nothing of how sure the
order is: it chooses how to train, and is evidence for nothing else.

{grid(columns, lines)}

{end}
"""


def sentence() -> str:
    """Return what the page on natural images says of the recipe."""
    if not TEXT.exists():
        return "The stable recipe is not chosen yet."
    digest = hashlib.sha256(TEXT.read_bytes()).hexdigest()
    return f"How the stable recipe was chosen stands in [recipe.md](../reproduction/recipe.md), SHA-256\n`{digest}`."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="folder:cifar10", help="the images, such as folder:cifar10")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the store of the trials")
    parser.add_argument("--source", type=Path, default=SOURCES, help="where checkouts of the revisions are")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    for words, config in trials(arguments.dataset).items():
        known = judged(read_rows(TRIALS))
        if words in set(known.get("what", ())) or arguments.table:
            continue
        row = row_of(Store(arguments.data), TRIALS, config)
        if row is None:
            print(f"training: {words}", file=sys.stderr)
            train_only(config, arguments.data, checkout(arguments.source, LATER_REVISION))
            row = row_of(Store(arguments.data), TRIALS, config)
        if row is not None:
            add_row(TRIALS, row, FOLDER)
    TEXT.write_text(text(read_rows(TRIALS)))
    print(text(read_rows(TRIALS)))
