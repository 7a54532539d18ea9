"""Early training on stored networks, as Markdown: `python reproduction/early_training.py --data STORE`.

Reads the networks of the three sweeps that it names and prints docs/reproduction-early.md. The rules are fixed here,
before any run.
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
data. It is the output of `python reproduction/early_training.py --data STORE` on the runs of

```
{SWEEP} --alphas=0,-20
{SWEEP} --alphas=-20 --alpha-from 6
```

Its rules were fixed before the runs. A mean SI is that of live units, averaged over layers. Intervals are 95 % over
seeds (none below 3, t up to 20, bootstrap beyond); a cost of less than 1 point counts as none if a one-sided t test
says so; a cost counts as one at p < 0.05 by a one-sided Welch test."""


def groups(store: Store) -> dict[tuple, pd.DataFrame]:
    """The finished runs with snapshots of each group."""
    table = store.runs()
    table = table[(table["state"] == "finished") & (table["model"] == "cnn") & (table["dataset"] == "mnist-5k")]
    table = table[(table["epochs"] == 10) & (table["snapshots"] > 0)]
    starts = table["alpha_from"].fillna(1)
    return {key: table[(table["alpha"] == key[0]) & (starts == key[1])].sort_values("seed") for key in GROUPS}


def over_time(store: Store, run: str) -> pd.DataFrame:
    """By epochs trained: mean SI of live units over layers, the 95th percentile of its null, and the accuracy."""
    layers = store.snapshot_layers(run).groupby("done")[["mean_si_live", "null_p95"]].mean()
    return layers.join(store.snapshots(run).set_index("done")["test_accuracy"])


def page(store: Store) -> str:
    """The page, in Markdown."""
    found = groups(store)
    if short := [name for key, name in GROUPS.items() if len(found[key]) < 3]:
        raise SystemExit(f"There are fewer than 3 networks of: {', '.join(short)}. Run first the sweeps in {__file__}.")
    histories = {key: [over_time(store, run) for run in table["run"]] for key, table in found.items()}

    def si(key: tuple, done: float) -> np.ndarray:
        return np.array([h["mean_si_live"].iloc[np.abs(h.index - done).argmin()] for h in histories[key]])

    moments = [0, 0.5, 1, SOON, 3, 5, 6, 8, 10]
    rows = [
        [name, str(len(found[key])), *(f"{si(key, done).mean():.3f}" for done in moments),
         interval(found[key]["test_accuracy"], 100, 2)]
        for key, name in GROUPS.items()
    ]  # fmt: skip
    head = ["", "seeds", *(f"{done:g}" for done in moments), "accuracy at the end, %"]
    claims = [*appearance(si, np.array([history.loc[10, "null_p95"] for history in histories[BASE]])),
              *costs({key: table["test_accuracy"].to_numpy() for key, table in found.items()})]  # fmt: skip
    failed = found[START]["test_accuracy"].mean() < 1.5 / CLASSES
    rows_of_claims = [
        [claim, numbers, _verdict(holds, failed and claim in NEED_LEARNING)] for claim, numbers, holds in claims
    ]
    return "\n\n".join([
        HEAD, "## Mean SI by epochs trained", grid(head, rows),
        "## Claims", grid(["claim", "measured here", "verdict"], rows_of_claims), *at_chance(found),
    ]) + "\n"  # fmt: skip


NEED_LEARNING = ("Suppressing them from the start costs accuracy", "and more than suppressing them after five epochs")


def _verdict(holds: bool, failed: bool) -> str:
    """Return a verdict; of networks that learned nothing there is none, whatever the numbers say."""
    return "not tested: these networks learned nothing" if failed else "reproduced" if holds else "not shown here"


def at_chance(found: dict[tuple, pd.DataFrame]) -> list[str]:
    """A warning for each group whose networks did not learn."""
    return [
        f"The networks of {name} ended at chance: they learned nothing. What is said of them shows what a penalty "
        "costs that stops training, not what it costs to lack selective units."
        for key, name in GROUPS.items()
        if found[key]["test_accuracy"].mean() < 1.5 / CLASSES
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="store with the networks")
    print(page(Store(parser.parse_args().data)), end="")
