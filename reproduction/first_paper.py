"""What of the first paper selviz reproduces: `document(folder)`, which `pages.py` writes to docs/reproduction.md.

Made from the rows in reproduction/data/: a table by alpha, the control with permuted labels, and for each claim
whether it is reproduced, not told apart, the opposite, or not tested here (`verdicts.py`). What has no row is said to
be missing.
"""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction import basis_rows
from reproduction.experiments import experiment
from reproduction.natural_images import layer_table
from reproduction.reported import grid, interval, p_value, signed, written
from reproduction.rows import FOLDER, read_rows
from reproduction.svg_figure import svg_figure
from reproduction.verdicts import ELSEWHERE, claims, differences, loss_sentence, not_hidden, two_sided_p

COMMANDS = """```
selviz sweep --model cnn --dataset mnist-5k --alphas=0,-1,1,-2,2,-5,5 --seeds 0-9 --data DATA
selviz sweep --model cnn --dataset mnist-5k --alphas=-1,1,-5,5 --seeds 0-9 --penalty-labels shuffled --data DATA
python reproduction/rows.py --dataset mnist-5k --data DATA
selviz basis mnist-5k-cnn-a-1-s0 --family --data DATA
python reproduction/basis_rows.py --data DATA
```"""
ABOUT = """4,000 training and 1,000 evaluation images, a network of four convolutions, 8 epochs, ten seeds for each
alpha: another network and other images than the paper's. Accuracy, SI and its null are those of all 1,000 evaluation
images. `python reproduction/check_row.py --dataset mnist-5k` trains one of them again, chosen at random, and
compares."""


# -------------------------------------------------------------------------------------------------------------- tables


def main_table(table: pd.DataFrame) -> str:
    """One row an alpha: accuracy, its difference to the baseline, SI with its null, dead units."""
    baseline = table[table["alpha"] == 0]["test_accuracy"]
    rows = []
    tests = differences(table)
    for alpha, part in table.groupby("alpha"):
        test = tests.get(alpha)
        rows.append(
            [
                written(alpha),
                str(len(part)),
                interval(part["test_accuracy"], 100, 2),
                "baseline"
                if test is None
                else f"{signed(100 * (part['test_accuracy'].mean() - baseline.mean()), 2)} ({p_value(test)})",
                interval(part["mean_si"], 1, 3),
                interval(part["mean_si_live"], 1, 3),
                f"{part['null_mean'].mean():.3f} / {part['null_p95'].mean():.3f}",
                f"{100 * (part['dead'] / part['units']).mean():.1f}",
            ]
        )
    columns = ["alpha", "seeds", "accuracy, %", "to the baseline, points", "mean SI", "mean SI, live units"]
    return grid([*columns, "null: mean / 95 %", "dead units, %"], rows)


def control_table(table: pd.DataFrame, control: pd.DataFrame) -> str:
    """The penalty on true and on permuted labels, at the same alpha."""
    rows = []
    for alpha, part in control.groupby("alpha"):
        real = table[table["alpha"] == alpha]
        p = two_sided_p(real["test_accuracy"], part["test_accuracy"])
        rows.append(
            [
                written(alpha),
                f"{len(real)} / {len(part)}",
                interval(real["test_accuracy"], 100, 2),
                interval(part["test_accuracy"], 100, 2),
                p_value(p),
                interval(real["mean_si_live"], 1, 3),
                interval(part["mean_si_live"], 1, 3),
            ]
        )
    columns = ["alpha", "seeds: true / permuted", "accuracy, %: true", "permuted", "true against permuted"]
    return grid([*columns, "mean SI, live units: true", "permuted"], rows)


def basis_table(found: pd.DataFrame) -> str:
    """One row an alpha of what `basis` gave."""
    rows = []
    for alpha, part in found.groupby("alpha"):
        row = [written(alpha), str(len(part))]
        for name in ("pwcca", "ratio", "cka", "unit_si", "found_si"):
            row.append(interval(part[name], 1, 3) if name in part and part[name].notna().any() else "–")
        rows.append(row)
    columns = ["alpha", "seeds", "PWCCA distance to baselines", "ratio to the null", "linear CKA to baselines"]
    return grid([*columns, "mean SI, unit basis", "best mean SI found over linear maps"], rows)


# -------------------------------------------------------------------------------------------------------------- output


def figure(table: pd.DataFrame, control: pd.DataFrame, path: Path) -> None:
    """Accuracy against mean SI of live units: a point a network, a cross the mean of an alpha; control hollow."""
    from selviz.figures.colors import alpha as colour

    with svg_figure(path) as (axes,):
        for part, filled in ((control, False), (table, True)):
            for alpha, runs in part.groupby("alpha") if len(part) else ():
                hue = _hex(colour(alpha))
                face = hue if filled else "none"
                x, y = runs["mean_si_live"], 100 * runs["test_accuracy"]
                axes.scatter(x, y, s=22, facecolors=face, edgecolors=hue, linewidths=1, alpha=0.75)
                if filled:
                    axes.scatter(x.mean(), y.mean(), s=90, marker="D", color=hue, edgecolors="black", zorder=3)
                    axes.annotate(f"α {alpha:g}", (x.mean(), y.mean()), xytext=(8, 6), textcoords="offset points")
        axes.set_xlabel("mean SI of live units")
        axes.set_ylabel("test accuracy, %")


def _hex(told: str) -> str:
    """Plotly's `rgb(1, 2, 3)` as matplotlib wants it."""
    if not told.startswith("rgb"):
        return told
    return "#" + "".join(f"{round(float(part)):02x}" for part in told[4:-1].split(","))


def section(folder: Path, data: Path) -> str:
    """What the document says of the networks on digits; its figure goes into `folder`."""
    sweep, permuted = experiment("mnist-5k"), experiment("mnist-5k-permuted")
    table, control = read_rows(sweep, data), read_rows(permuted, data)
    head = f"## {sweep.title}\n\n{ABOUT}\n\n{COMMANDS}"
    if table.empty or not (table["alpha"] == 0).any():
        return f"{head}\n\n**Not yet run.** The commands above can be stopped and typed again; they go on."
    picture = folder / "reproduction-mnist.svg"
    figure(table, control, picture)
    missing = sweep.networks - len(table)
    parts = [
        head,
        *(
            [f"**{missing} of {sweep.networks} networks are not trained yet**; verdicts may change with them."]
            if missing > 0
            else []
        ),
        f"{len(table)} networks and {len(control)} of the control. In brackets: the 95 % interval over seeds (t up to "
        "20 seeds, bootstrap beyond, none below 3). p: Welch's t test against the baseline, Holm-corrected over "
        "alphas. Null: what shuffled labels give, mean and 95th percentile.",
        main_table(table),
        f"![Accuracy against mean SI: a point a network, a diamond the mean of an alpha; hollow: permuted labels]"
        f"({picture.name})",
        loss_sentence(table),
        "### By layer\n\nMean SI of live units, mean over seeds.",
        layer_table(table),
    ]
    if len(control):
        parts += [
            "### The same penalty on permuted labels\n\nThe training labels are permuted once, for the penalty only. "
            "What this changes is not selectivity for classes. p: Welch's t test, uncorrected.",
            control_table(table, control),
        ]
    found = basis_rows.read(data)
    if len(found):
        parts += [
            "### In another basis\n\nMeans over layers. The null is the distance between baselines of different seeds. "
            "The best map found is a lower bound of what any linear map reaches.",
            basis_table(found),
        ]
    verdicts = [*claims(table, control), not_hidden(found)]
    parts += ["### The claims", grid(["claim", "measured here", "verdict"], verdicts)]
    return "\n\n".join(parts)


OPENING = """# Selectivity considered harmful: what selviz reproduces

Leavitt and Morcos 2020 ([arXiv 2003.01262](https://arxiv.org/abs/2003.01262)) trained networks with a term in the loss
that discourages (alpha below 0) or encourages (above 0) class selectivity. This page is written by
`python reproduction/pages.py` from one row per trained network (`reproduction/data/*.csv`). Its rules were fixed before
the runs: a loss of less than 1 point of accuracy counts as none if a one-sided t test says so, a difference counts as
one at p < 0.05 after Holm's correction, and whatever comes out is printed. A verdict is of these networks: *not told
apart* is a difference that a test did not find, which is neither *the same* nor evidence against the paper. Mean SI is
given with and without dead units, since a large positive alpha silences units, and a dead unit's SI is 0."""

NATURAL = """## CIFAR-10

The paper's network on the paper's images has a page and rules of its own: [natural images](reproduction-natural.md).
Eleven networks that stood here, six epochs each, are superseded by it; at alpha 1 they had mostly failed to train."""

FURTHER = """## Further

- [Robustness and dimensionality against selectivity](reproduction-robustness.md): the directions of Leavitt and Morcos
  2020 (arXiv 2007.04440) and of its successor (arXiv 2010.07693).
- [The control on CIFAR-10](reproduction-control.md) with three seeds of each kind, in a store of its own.
- [When selective units matter](reproduction-early.md), early in training.
- [Claims on these networks](ledger.md), registered before they were tested."""


def document(folder: Path, data: Path = FOLDER) -> str:
    """The whole page; its figure goes into `folder`."""
    elsewhere = "## Not testable here\n\n" + grid(["claim", "why", "verdict"], ELSEWHERE)
    return "\n\n".join([OPENING, section(folder, data), NATURAL, elsewhere, FURTHER]) + "\n"
