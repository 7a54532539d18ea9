"""Early training: `page()`, which `pages.py` writes to docs/reproduction-early.md, and the rows that it is made from.

`python reproduction/early_training.py --data STORE` writes reproduction/data/early.csv, a row a network and snapshot,
from the networks of the sweeps that it names. The rules are fixed here, before any run.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.reported import grid, interval, p_value, signed
from selviz.statistics import equivalence, over_seeds, welch
from selviz.store import Store

MARGIN, LEVEL, CLASSES = 0.01, 0.05, 10
ROWS = Path(__file__).parent / "data" / "early.csv"
NOTHING = pd.DataFrame(
    columns=["alpha", "alpha_from", "seed", "done", "mean_si_live", "null_p95", "test_accuracy", "end"]
)
SOON = 2  # epochs after which selective units are asked for
SWEEP = "selviz sweep --model cnn --dataset mnist-5k --seeds 0-9 --epochs 10 --snapshots 4 --data STORE"
GROUPS = {  # (alpha, first epoch in which it acts): what it is called
    (0.0, 1): "alpha 0",
    (-20.0, 1): "alpha −20 from the start",
    (-20.0, 6): "alpha −20 after five epochs",
}
BASE, START, LATER = GROUPS
HEAD = f"""# When selective units matter

Ranadive et al. 2023 (arXiv 2305.17409) report that class-selective units emerge in the first few epochs and then recede
rapidly, but not completely; that suppressing them from the start does harm; and that suppressing them later costs
little. This page tries that on small networks: `cnn` on 5,000 MNIST images, 10 epochs, not the paper's networks and
data. It is written by `python reproduction/pages.py` from the rows (`reproduction/data/early.csv`) of

```
{SWEEP} --alphas=0,-20
{SWEEP} --alphas=-20 --alpha-from 6
python reproduction/early_training.py --data STORE
```

Its rules were fixed before the runs. A mean SI is that of live units, averaged over layers. Intervals are 95 % over
seeds (none below 3, t up to 20, bootstrap beyond); a cost of less than 1 point counts as none if a one-sided t test
says so; a cost counts as one at p < 0.05 by a one-sided Welch test."""


def rows_of(store: Store) -> pd.DataFrame:
    """Return one row a network and snapshot of the three groups: alpha, alpha_from, seed, done (epochs), mean SI of
    live units over layers, the 95th percentile of its null, accuracy, and that at the end of training.
    """
    table = store.runs()
    table = table[(table["state"] == "finished") & (table["model"] == "cnn") & (table["dataset"] == "mnist-5k")]
    table = table[(table["epochs"] == 10) & (table["snapshots"] > 0)]
    parts = []
    for run in table.sort_values("seed").itertuples():
        start = 1 if pd.isna(run.alpha_from) else int(run.alpha_from)
        if (run.alpha, start) in GROUPS:
            layers = store.snapshot_layers(run.run).groupby("done")[["mean_si_live", "null_p95"]].mean()
            part = layers.join(store.snapshots(run.run).set_index("done")["test_accuracy"]).reset_index()
            parts.append(part.assign(alpha=run.alpha, alpha_from=start, seed=run.seed, end=run.test_accuracy))
    return pd.concat(parts)[list(NOTHING)] if parts else NOTHING


def page(rows: pd.DataFrame) -> str:
    """The page, in Markdown, from the rows of `rows_of`."""
    of_group = {key: rows[(rows["alpha"] == key[0]) & (rows["alpha_from"] == key[1])] for key in GROUPS}
    histories = {
        key: [history.set_index("done") for _, history in part.groupby("seed")] for key, part in of_group.items()
    }
    if short := [name for key, name in GROUPS.items() if len(histories[key]) < 3]:
        return f"{HEAD}\n\n**Not yet run**: there are fewer than 3 networks of {', '.join(short)}.\n"
    ends = {key: np.array([history["end"].iloc[0] for history in each]) for key, each in histories.items()}

    def si(key: tuple, done: float) -> np.ndarray:
        return np.array([h["mean_si_live"].iloc[np.abs(h.index - done).argmin()] for h in histories[key]])

    moments = [0, 0.5, 1, SOON, 3, 5, 6, 8, 10]
    rows = [
        [name, str(len(ends[key])), *(f"{si(key, done).mean():.3f}" for done in moments),
         interval(ends[key], 100, 2)]
        for key, name in GROUPS.items()
    ]  # fmt: skip
    head = ["", "seeds", *(f"{done:g}" for done in moments), "accuracy at the end, %"]
    claims = [*appearance(si, np.array([history.loc[10, "null_p95"] for history in histories[BASE]])),
              *costs(ends)]  # fmt: skip
    failed = ends[START].mean() < 1.5 / CLASSES
    rows_of_claims = [
        [claim, numbers, _verdict(holds, failed and claim in NEED_LEARNING)] for claim, numbers, holds in claims
    ]
    return "\n\n".join([
        HEAD, "## Mean SI by epochs trained", grid(head, rows),
        "## Claims", grid(["claim", "measured here", "verdict"], rows_of_claims), *at_chance(ends),
    ]) + "\n"  # fmt: skip


NEED_LEARNING = ("Suppressing them from the start costs accuracy", "and more than suppressing them after five epochs")


def _verdict(holds: bool, failed: bool) -> str:
    """Return a verdict; of networks that learned nothing there is none, whatever the numbers say."""
    return "not tested: these networks learned nothing" if failed else "reproduced" if holds else "not shown here"


def at_chance(ends: dict[tuple, np.ndarray]) -> list[str]:
    """A warning for each group whose networks did not learn."""
    return [
        f"The networks of {name} ended at chance: they learned nothing. What is said of them shows what a penalty "
        "costs that stops training, not what it costs to lack selective units."
        for key, name in GROUPS.items()
        if ends[key].mean() < 1.5 / CLASSES
    ]


def appearance(si, null: np.ndarray) -> list[tuple[str, str, bool]]:
    """Whether selectivity rises soon, falls later, and stays above `null` [seeds], in the baselines."""
    return [
        (claim, f"{interval(values, digits=3)} {sentence}", bool(over_seeds(values).low > 0))
        for claim, values, sentence in (
            (f"Selective units emerge in the first {SOON} epochs", si(BASE, SOON) - si(BASE, 0),
             f"more mean SI after {SOON} epochs than untrained"),
            ("They recede later", si(BASE, SOON) - si(BASE, 10), f"more mean SI after {SOON} epochs than at the end"),
            ("but not completely", si(BASE, 10) - null,
             "more mean SI at the end than the 95th percentile of shuffled labels"),
        )
    ]  # fmt: skip


def costs(accuracy: dict[tuple, np.ndarray]) -> list[tuple[str, str, bool]]:
    """What suppressing selectivity costs: from the start, from the start beside later, and later."""
    found = []
    for claim, first in (
        ("Suppressing them from the start costs accuracy", BASE),
        ("and more than suppressing them after five epochs", LATER),
    ):
        lost, low, high, p = welch(accuracy[first], accuracy[START])
        text = f"{signed(100 * lost, 2)} points [{signed(100 * low, 2)}, {signed(100 * high, 2)}] lost, {p_value(p)}"
        found.append((claim, text, lost > 0 and p < LEVEL))
    late = equivalence(accuracy[LATER], accuracy[BASE], MARGIN)
    text = f"{signed(-100 * late.difference, 2)} points lost; less than {100 * MARGIN:g}: {p_value(late.p_not_lower)}"
    return [*found, ("Suppressing them after five epochs costs little", text, late.p_not_lower < LEVEL)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="store with the networks")
    found = rows_of(Store(parser.parse_args().data))
    found.round(6).to_csv(ROWS, index=False)
    print(f"{len(found)} rows in {ROWS}")
