"""Is it selectivity that costs? The control on CIFAR-10: `python reproduction/control.py --data STORE`.

Reads networks that were trained with the penalty on true and on permuted labels, at the same alpha above 0, and prints
docs/reproduction-control.md. The rules are fixed here, before any run.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.reported import grid, interval, named, p_value, signed
from reproduction.verdicts import LEVEL, two_sided_p
from selviz.config import RunConfig
from selviz.statistics import welch
from selviz.store import Store

SEEDS = 3  # of each kind, at least
VARIANTS = ("penalty_layers", "penalty_labels", "alpha_from", "alpha_until", "alpha_ramp", "label_noise", "augment")
HEAD = """# Is it selectivity that costs? The control on CIFAR-10

At alpha above 0 the penalty asks every unit to tell one class from the others, and accuracy falls
([the reproduction](reproduction.md)). Does it fall because units are selective for classes, or would any penalty of
that kind do it? Here the same penalty is given permuted labels: each training image keeps, for the penalty only, one
label of another image. What units are then asked to tell apart is no class.

```
selviz sweep --model resnet20 --dataset folder:CIFAR --alphas=1 --seeds 0-2 --penalty-labels true,shuffled \\
    --epochs 6 --augment crop-flip --workers 2 --threads 1 --data DATA
python reproduction/control.py --data DATA > docs/reproduction-control.md
```

Rules, fixed before the runs. The cost is *due to selectivity for classes* if true labels cost more accuracy than
permuted ones, and *not told apart from any such penalty* otherwise. The control is *one of selectivity* if permuted
labels leave mean SI (of live units, for the true classes) lower than true labels do. Two-sided Welch tests at 0.05,
uncorrected; in brackets 95 % intervals over seeds."""


def runs_of(data: str | None, model: str) -> pd.DataFrame:
    """Finished, trained runs of this network, with every setting of a variant filled in; empty without a store."""
    table = Store(data).runs() if data else pd.DataFrame({"state": []})
    table = table[table["state"] == "finished"]
    if table.empty:
        return table
    for name in VARIANTS:
        default = getattr(RunConfig, name)
        table[name] = table[name].fillna(default) if name in table else default
    table = table[(table["model"] == model) & (table["epochs"] > 0)]
    return table[table["epochs"] == table["epochs"].mode().iloc[0]] if len(table) else table


def plain(table: pd.DataFrame, labels: str = "true") -> pd.DataFrame:
    """The runs without a variant (but for the augmentation that most have), or with the penalty on permuted labels."""
    if table.empty:
        return table
    same = table["augment"] == table["augment"].mode().iloc[0]
    for name in ("penalty_layers", "alpha_from", "alpha_until", "alpha_ramp", "label_noise"):
        same &= table[name] == getattr(RunConfig, name)
    return table[same & (table["penalty_labels"] == labels)].sort_values(["alpha", "seed"])


def page(data: str, model: str = "resnet20") -> str:
    """The page, in Markdown; ends with a sentence where there are too few networks."""
    everything = runs_of(data, model)
    kinds = {"true": plain(everything), "permuted": plain(everything, "shuffled")}
    enough = pd.concat(kinds).groupby("alpha")["penalty_labels"].value_counts().unstack(fill_value=0)
    alphas = [alpha for alpha, seeds in enough.iterrows() if alpha > 0 and len(seeds) == 2 and seeds.min() >= SEEDS]
    if not alphas:
        raise SystemExit(f"No alpha above 0 has {SEEDS} networks of each kind; run the sweep that {__file__} names.")
    parts = [HEAD]
    for alpha in alphas:
        real, permuted = (table[table["alpha"] == alpha] for table in kinds.values())
        parts += [f"## {named(alpha)}", networks({"true": real, "permuted": permuted}), verdicts(real, permuted)]
    return "\n\n".join(parts) + "\n"


def networks(kinds: dict[str, pd.DataFrame]) -> str:
    """A row a network, and the mean of each kind."""
    rows = []
    for kind, table in kinds.items():
        dead = 100 * table["dead"] / table["units"]
        for row, share in zip(table.itertuples(), dead):
            figures = f"{100 * row.test_accuracy:.2f}", f"{row.mean_si_live:.3f}", f"{row.null_p95:.3f}", f"{share:.1f}"
            rows.append([kind, str(row.seed), *figures])
        means = [
            interval(table["test_accuracy"], 100, 2), interval(table["mean_si_live"], 1, 3),
            interval(table["null_p95"], 1, 3), interval(dead, 1, 1),
        ]  # fmt: skip
        rows.append([f"**{kind}**", f"mean of {len(table)}", *means])
    return grid(["labels", "seed", "accuracy, %", "mean SI, live units", "null, 95 %", "dead units, %"], rows)


def verdicts(real: pd.DataFrame, permuted: pd.DataFrame) -> str:
    """True against permuted labels: accuracy and SI, difference, and what follows by the rules."""
    rows = []
    for name, what, scale, digits, unit, lower, verdicts in (
        ("test_accuracy", "accuracy", 100, 2, " points", True,
         ("due to selectivity for classes", "not told apart from any such penalty")),
        ("mean_si_live", "mean SI", 1, 3, "", False,
         ("one of selectivity", "no control of selectivity: SI was not told apart")),
    ):  # fmt: skip
        difference, low, high, _ = welch(scale * real[name], scale * permuted[name])
        p = two_sided_p(real[name], permuted[name])
        holds = p < LEVEL and (difference < 0) == lower
        between = f"[{signed(low, digits)}, {signed(high, digits)}]"
        rows.append([what, f"{signed(difference, digits)}{unit} {between}", p_value(p), verdicts[not holds]])
    return grid(["", "true minus permuted", "p", "verdict"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="store with the networks")
    print(page(parser.parse_args().data), end="")
