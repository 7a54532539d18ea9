"""What of the first paper selviz reproduces: `python reproduction/first_paper.py --mnist DATA --cifar DATA`.

Reads the runs of two sweeps from their stores and writes docs/reproduction.md and its figures: a table by alpha, the
control with permuted labels, and for each claim whether it is reproduced, not told apart, the opposite, or not
tested here (`verdicts.py`). What is not in a store is said to be missing.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction.reported import grid, interval, named, p_value, signed, written
from reproduction.verdicts import ELSEWHERE, claims, differences, loss_sentence, not_hidden, two_sided_p
from selviz.config import RunConfig
from selviz.store import Store
from selviz.studies import basis as basis_study

ROOT = Path(__file__).parents[1]
VARIANTS = ("penalty_layers", "penalty_labels", "alpha_from", "alpha_until", "alpha_ramp", "label_noise", "augment")


class Experiment(NamedTuple):
    """One sweep, its control, and how to say it."""

    title: str
    key: str
    model: str
    commands: tuple[str, ...]
    about: str
    networks: int  # of the sweep, without the control


MNIST = Experiment(
    "5,000 MNIST images, `cnn`",
    "mnist",
    "cnn",
    (
        "selviz sweep --model cnn --dataset mnist-5k --alphas=-5,-2,-1,0,1,2,5 --seeds 0-9 --data DATA",
        "selviz basis mnist-5k-cnn-a-1-s0 --family --data DATA",
        "selviz sweep --model cnn --dataset mnist-5k --alphas=-5,-1,1,5 --seeds 0-9 --penalty-labels shuffled "
        "--data DATA",
    ),
    "The statistical claims rest on this one: 4,000 training and 1,000 evaluation images, a network of four "
    "convolutions, 8 epochs, ten seeds for each alpha. It is another network and another data set than the paper's.",
    70,
)
CIFAR = Experiment(
    "CIFAR-10, `resnet20`",
    "cifar",
    "resnet20",
    (
        "selviz sweep --model resnet20 --dataset folder:CIFAR --alphas=0,-1,1 --seeds 0-2 --epochs 6 "
        "--augment crop-flip --workers 2 --threads 1 --data DATA",
        "selviz sweep --model resnet20 --dataset folder:CIFAR --alphas=-5,5 --seeds 0 --epochs 6 "
        "--augment crop-flip --workers 2 --threads 1 --data DATA",
        "selviz basis CIFAR-resnet20-a-1-s0 --family --data DATA",
        "selviz sweep --model resnet20 --dataset folder:CIFAR --alphas=-1,1 --seeds 0-2 --epochs 6 "
        "--augment crop-flip --penalty-labels shuffled --workers 2 --threads 1 --data DATA",
    ),
    "The paper's network on the paper's data set, with images that were saved as JPEG once more. Three seeds at alpha "
    "-1, 0 and 1 are too few for more than a t interval, and alpha -5 and 5 stand for one network each.",
    11,
)


# ------------------------------------------------------------------------------------------------------------- reading


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


def by_layer(data: str, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Layers in forward order x alphas: the mean of a column of `selviz layers` over seeds."""
    parts = [Store(data).layers(row.run).assign(alpha=row.alpha) for row in table.itertuples()]
    layers = pd.concat(parts)
    found = layers.pivot_table(index="layer", columns="alpha", values=column, aggfunc="mean", sort=False)
    return found[sorted(found.columns)]


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


def layer_table(data: str, table: pd.DataFrame) -> str:
    """Mean SI of live units, layer by layer, for each alpha."""
    found = by_layer(data, table, "mean_si_live")
    null = by_layer(data, table[table["alpha"] == 0], "null_p95")[0.0]
    rows = [[f"`{layer}`", *(f"{v:.3f}" for v in line), f"{null[layer]:.3f}"] for layer, line in found.iterrows()]
    return grid(["layer", *map(named, found), "null 95 %, α 0"], rows)


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


def basis(data: str, table: pd.DataFrame) -> pd.DataFrame:
    """A row a run: distances to the baselines and the null, SI by units and of the best map found, means over layers.

    Only runs for which `selviz basis` stored them; empty with fewer than three baselines.
    """
    store = Store(data)
    table = table[[(store.run_path(run) / "similarity.duckdb").exists() for run in table["run"]]]
    baselines = table[table["alpha"] == 0]["run"].tolist()
    if len(baselines) < 3:
        return pd.DataFrame()
    similar = basis_study.similarities(store, [run for run in table["run"] if run not in baselines], baselines)
    maps = {
        run: store.linear_maps(run)
        for run in table["run"]
        if (store.run_path(run) / "linear_maps.duckdb").exists()
    }  # fmt: skip
    found = basis_study.summary(store, similar, maps)
    columns = [name for name in ("pwcca", "null_pwcca", "ratio", "cka", "null_cka", "unit_si", "found_si")
               if name in found]  # fmt: skip
    return found.groupby(["alpha", "run"])[columns].mean().reset_index()


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
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "selviz"
    import matplotlib.pyplot as plt

    from selviz.figures.colors import alpha as colour

    drawing, axes = plt.subplots(figsize=(7.5, 4.5))
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
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)


def _hex(told: str) -> str:
    """Plotly's `rgb(1, 2, 3)` as matplotlib wants it."""
    if not told.startswith("rgb"):
        return told
    return "#" + "".join(f"{round(float(part)):02x}" for part in told[4:-1].split(","))


def section(experiment: Experiment, data: str | None, folder: Path) -> str:
    """What the document says of one experiment."""
    everything = runs_of(data, experiment.model)
    table, control = plain(everything), plain(everything, "shuffled")
    commands = "```\n" + "\n".join(experiment.commands) + "\n```"
    head = f"## {experiment.title}\n\n{experiment.about}\n\n{commands}"
    if table.empty or not (table["alpha"] == 0).any():
        return f"{head}\n\n**Not yet run.** The commands above can be stopped and typed again; they go on."
    picture = folder / f"reproduction-{experiment.key}.svg"
    figure(table, control, picture)
    missing = experiment.networks - len(table)
    parts = [
        head,
        *(
            [f"**{missing} of {experiment.networks} networks are not trained yet**; verdicts may change with them."]
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
        layer_table(data, table),
    ]
    if len(control):
        parts += [
            "### The same penalty on permuted labels\n\nThe training labels are permuted once, for the penalty only. "
            "What this changes is not selectivity for classes. p: Welch's t test, uncorrected.",
            control_table(table, control),
        ]
    found = basis(data, table)
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

```
python reproduction/first_paper.py --mnist DATA --cifar DATA
```

from the stored runs of the sweeps below. Its rules were fixed before the runs: a loss of less than 1 point of accuracy
counts as none if a one-sided t test says so, a difference counts as one at p < 0.05 after Holm's correction, and
whatever comes out is printed. A verdict is of these networks: *not told apart* is a difference that a test did not
find, which is neither *the same* nor evidence against the paper. Mean SI is given with and without dead units, since a
large positive alpha silences
units, and a dead unit's SI is 0."""

FURTHER = """## Further

- [Robustness and dimensionality against selectivity](reproduction-robustness.md): the directions of Leavitt and Morcos
  2020 (arXiv 2007.04440) and of its successor (arXiv 2010.07693), on these networks of both data sets.
- [The control on CIFAR-10](reproduction-control.md) with three seeds of each kind, in a store of
  its own: one network of three collapsed there at alpha 1, with the seeds of those above.
- [When selective units matter](reproduction-early.md), early in training.
- [Claims on these networks](ledger.md), registered before they were tested."""


def document(mnist: str | None, cifar: str | None, folder: Path) -> str:
    """The whole page."""
    elsewhere = "## Not testable here\n\n" + grid(["claim", "why", "verdict"], ELSEWHERE)
    return (
        "\n\n".join([OPENING, section(MNIST, mnist, folder), section(CIFAR, cifar, folder), elsewhere, FURTHER]) + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="DATA", help="store of the mnist-5k sweep")
    parser.add_argument("--cifar", metavar="DATA", help="store of the CIFAR-10 sweep")
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    (args.to / "reproduction.md").write_text(document(args.mnist, args.cifar, args.to))
    print(f"Wrote {args.to / 'reproduction.md'}", file=sys.stderr)
