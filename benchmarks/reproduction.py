"""What of the first paper selviz reproduces: `python benchmarks/reproduction.py --mnist DATA --cifar DATA`.

Reads the runs of two sweeps from their stores and writes docs/reproduction.md and its figures: a table by alpha, the
control with permuted labels, and for each claim whether it is reproduced, not reproduced, or not testable here. The
rules are fixed here, before any run; what is not in a store is said to be missing.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from selviz import bases
from selviz.config import RunConfig
from selviz.statistics import equivalence, equivalence_power, holm, over_seeds
from selviz.store import Store

ROOT = Path(__file__).parents[1]
MARGIN = 0.01  # of accuracy: a smaller loss counts as none
LEVEL = 0.05
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


# ------------------------------------------------------------------------------------------------------------- wording


def grid(columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def interval(values, scale: float = 1.0, digits: int = 1) -> str:
    """`96.3 [96.1, 96.5]`: mean and 95 % interval over seeds; the mean alone where there are too few."""
    found = over_seeds(np.asarray(values, dtype=float) * scale)
    told = f"{found.mean:.{digits}f}"
    return told if np.isnan(found.low) else f"{told} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`; a dash for none."""
    return "–" if np.isnan(p) else "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def signed(value: float, digits: int = 1) -> str:
    """Points, with their sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def main_table(table: pd.DataFrame) -> str:
    """One row an alpha: accuracy, its difference to the baseline, SI with its null, dead units."""
    baseline = table[table["alpha"] == 0]["test_accuracy"]
    rows = []
    tests = differences(table)
    for alpha, part in table.groupby("alpha"):
        test = tests.get(alpha)
        rows.append(
            [
                f"{alpha:g}".replace("-", "−"),
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
    return grid(["layer", *(f"α {alpha:g}".replace("-", "−") for alpha in found), "null 95 %, α 0"], rows)


def control_table(table: pd.DataFrame, control: pd.DataFrame) -> str:
    """The penalty on true and on permuted labels, at the same alpha."""
    rows = []
    for alpha, part in control.groupby("alpha"):
        real = table[table["alpha"] == alpha]
        p = welch(real["test_accuracy"], part["test_accuracy"])
        rows.append(
            [
                f"{alpha:g}".replace("-", "−"),
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
    similar = bases.similarities(store, [run for run in table["run"] if run not in baselines], baselines)
    maps = {
        run: store.linear_maps(run)
        for run in table["run"]
        if (store.run_path(run) / "linear_maps.duckdb").exists()
    }  # fmt: skip
    found = bases.summary(store, similar, maps)
    columns = [name for name in ("pwcca", "null_pwcca", "ratio", "cka", "null_cka", "unit_si", "found_si")
               if name in found]  # fmt: skip
    return found.groupby(["alpha", "run"])[columns].mean().reset_index()


def basis_table(found: pd.DataFrame) -> str:
    """One row an alpha of what `basis` gave."""
    rows = []
    for alpha, part in found.groupby("alpha"):
        told = [f"{alpha:g}".replace("-", "−"), str(len(part))]
        for name in ("pwcca", "ratio", "cka", "unit_si", "found_si"):
            told.append(interval(part[name], 1, 3) if name in part and part[name].notna().any() else "–")
        rows.append(told)
    columns = ["alpha", "seeds", "PWCCA distance to baselines", "ratio to the null", "linear CKA to baselines"]
    return grid([*columns, "mean SI, unit basis", "best mean SI found over linear maps"], rows)


def basis_claim(found: pd.DataFrame) -> list[str]:
    """P1's claim that suppressed selectivity has not just moved to another basis."""
    claim = "What is suppressed is not just hidden in another basis"
    if found.empty:
        return [claim, "`selviz basis` was not run on these networks", YET]
    lines, verdicts = [], []
    for alpha, part in found[found["alpha"] < 0].groupby("alpha"):
        ratio = over_seeds(part["ratio"])
        if np.isnan(ratio.low):
            continue
        lines.append(f"α {alpha:g}: PWCCA distance {interval(part['ratio'], 1, 2)} times that between baseline seeds")
        verdicts.append(ratio.low > 1)
    if "found_si" in found and lines:
        at = found.groupby("alpha")["found_si"].mean().dropna()
        lines.append("best mean SI found over linear maps: " + ", ".join(f"α {a:g}: {v:.2f}" for a, v in at.items()))
        lines.append("a linear map finds what can be decoded, at any alpha, so it does not decide this")
    verdict = NO if not verdicts else "reproduced, by PWCCA" if all(verdicts) else "not reproduced"
    return [claim, "; ".join(lines) or "too few seeds", verdict]


# -------------------------------------------------------------------------------------------------------------- claims


def welch(one, other) -> float:
    """Two-sided p of Welch's t test; NaN below two values."""
    from scipy import stats

    return float(stats.ttest_ind(one, other, equal_var=False).pvalue) if min(len(one), len(other)) > 1 else np.nan


def differences(table: pd.DataFrame) -> dict[float, float]:
    """p of each alpha's accuracy against the baseline's, Holm-corrected over alphas; NaN below three seeds."""
    baseline = table[table["alpha"] == 0]["test_accuracy"]
    raw = {a: part["test_accuracy"] for a, part in table.groupby("alpha") if a != 0}
    found = {a: welch(values, baseline) if len(values) >= 3 else np.nan for a, values in raw.items()}
    tested = [a for a, p in found.items() if not np.isnan(p)]
    return {**found, **dict(zip(tested, holm([found[a] for a in tested]), strict=True))} if tested else found


def claims(table: pd.DataFrame, control: pd.DataFrame) -> list[list[str]]:
    """Each claim, what was measured, and the verdict by the rule of this file."""
    tests, base = differences(table), table[table["alpha"] == 0]
    mean = table.groupby("alpha")[["test_accuracy", "mean_si_live", "mean_si"]].mean()
    change = 100 * (mean["test_accuracy"] - mean["test_accuracy"][0])
    enough = [alpha for alpha, p in tests.items() if not np.isnan(p)]
    lower, upper = [a for a in enough if a < 0], [a for a in enough if a > 0]
    found = []

    harmed = [a for a in upper if change[a] < 0 and tests[a] < LEVEL]
    told = "; ".join(f"α {a:g}: {signed(change[a], 2)} points, {p_value(tests[a])}" for a in upper)
    verdict = "reproduced" if upper and len(harmed) == len(upper) else "not reproduced"
    if upper and 0 < len(harmed) < len(upper):
        verdict = f"reproduced at {len(harmed)} of {len(upper)} alphas"
    found.append(["More selectivity costs accuracy, significantly, in every network", told or FEW,
                  verdict if upper else YET])  # fmt: skip

    for claim, fold in (("Mean SI can be cut 2.5-fold without a loss of accuracy", 2.5),):
        lines, kept = [], False
        for a in lower:
            ratio = mean["mean_si_live"][0] / mean["mean_si_live"][a]
            tost = equivalence(table[table["alpha"] == a]["test_accuracy"], base["test_accuracy"], MARGIN)
            kept |= ratio >= fold and tost.p_not_lower < LEVEL
            lines.append(
                f"α {a:g}: SI cut {ratio:.1f}-fold, {signed(change[a], 2)} points "
                f"(loss below {100 * MARGIN:g} point: {p_value(tost.p_not_lower)})"
            )
        found.append([claim, "; ".join(lines) or FEW, ("reproduced" if kept else "not reproduced") if lower else YET])

    lines, verdict = [], "not reproduced"
    for a in lower:
        above_null = mean["mean_si_live"][a] - table[table["alpha"] == a]["null_mean"].mean()
        if above_null < 0.05:
            lines.append(f"α {a:g}: SI {mean['mean_si_live'][a]:.3f}, {signed(change[a], 2)} points")
            verdict = "reproduced" if change[a] > -4 else verdict
    near = bool(lines)
    if lower and not near:
        lowest = mean["mean_si_live"][lower].min()
        lines = [f"no alpha here brings mean SI within 0.05 of its null (the lowest is {lowest:.3f})"]
    told = "; ".join(lines) or FEW
    found.append(
        ["Mean SI can be cut nearly to zero at a loss of about 2 points (rule here: below 4)", told,
         verdict if near else NO if lower else YET]
    )  # fmt: skip

    better = [a for a in lower if change[a] > 0 and tests[a] < LEVEL]
    told = "; ".join(f"α {a:g}: {signed(change[a], 2)} points, {p_value(tests[a])}" for a in lower)
    verdict = ("reproduced" if better else "not reproduced") if lower else YET
    found.append(["Less selectivity can even raise accuracy (the inverted U of the paper's figure)", told or FEW,
                  verdict])  # fmt: skip

    both = sorted(set(control["alpha"]) & set(enough)) if len(control) else []
    lines, selective = [], 0
    for a in both:
        real, permuted = table[table["alpha"] == a], control[control["alpha"] == a]
        p, cut = welch(real["mean_si_live"], permuted["mean_si_live"]), welch(real["test_accuracy"],
                                                                               permuted["test_accuracy"])  # fmt: skip
        selective += p < LEVEL
        lines.append(
            f"α {a:g}: SI {real['mean_si_live'].mean():.3f} against {permuted['mean_si_live'].mean():.3f} with "
            f"permuted labels ({p_value(p)}), accuracy {100 * real['test_accuracy'].mean():.2f} against "
            f"{100 * permuted['test_accuracy'].mean():.2f} % ({p_value(cut)})"
        )
    verdict = "selectivity itself" if both and selective == len(both) else "not told apart"
    found.append(["(Control, ours) What the penalty does is due to selectivity, not to any penalty of its kind",
                  "; ".join(lines) or "the control was not run", verdict if both else YET])  # fmt: skip
    return found


NO = "not testable here"
YET = "not tested yet"
FEW = "fewer than three seeds at each such alpha"
ELSEWHERE = [
    ["ResNet18 on Tiny ImageNet gains more than 2 points, ResNet50 more than 1, from less selectivity",
     "the data set is not at hand", NO],
]  # fmt: skip


def tost_sentence(table: pd.DataFrame) -> str:
    """Whether the loss at alpha -1 is smaller than the margin, and the power of this test."""
    one, base = (table[table["alpha"] == a]["test_accuracy"] for a in (-1, 0))
    if min(len(one), len(base)) < 3:
        return f"Too few seeds at alpha −1 and 0 ({len(one)} and {len(base)}) for an equivalence test."
    found = equivalence(one, base, MARGIN)
    power = equivalence_power(MARGIN, (one.std(ddof=1), base.std(ddof=1)), len(one), len(base))
    return (
        f"Is the loss at alpha −1 smaller than {100 * MARGIN:g} point? The difference is "
        f"{signed(100 * found.difference, 2)} points (90 % interval {signed(100 * found.low, 2)} to "
        f"{signed(100 * found.high, 2)}; n = {found.n[0]} and {found.n[1]}). Not lower by a point: "
        f"{p_value(found.p_not_lower)}; equivalent within ±1 point (TOST): {p_value(found.p)}. With this spread and "
        f"these seeds, two networks that are really equal would pass that test {100 * power:.0f} % of the time."
    )


# -------------------------------------------------------------------------------------------------------------- output


def figure(table: pd.DataFrame, control: pd.DataFrame, path: Path) -> None:
    """Accuracy against mean SI of live units: a point a network, a cross the mean of an alpha; control hollow."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "selviz"
    import matplotlib.pyplot as plt

    from app.colours import alpha as colour

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
        f"{len(table)} networks and {len(control)} of the control. In brackets: the 95 % interval over seeds (t below "
        "10 seeds, bootstrap from 10 on, none below 3). p: Welch's t test against the baseline, Holm-corrected over "
        "alphas. Null: what shuffled labels give, mean and 95th percentile.",
        main_table(table),
        f"![Accuracy against mean SI: a point a network, a diamond the mean of an alpha; hollow: permuted labels]"
        f"({picture.name})",
        tost_sentence(table),
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
    verdicts = [[cell.replace("α -", "α −") for cell in row] for row in (*claims(table, control), basis_claim(found))]
    parts += ["### The claims", grid(["claim", "measured here", "verdict"], verdicts)]
    return "\n\n".join(parts)


OPENING = """# Selectivity considered harmful: what selviz reproduces

Leavitt and Morcos 2020 ([arXiv 2003.01262](https://arxiv.org/abs/2003.01262)) trained networks with a term in the loss
that discourages (alpha below 0) or encourages (above 0) class selectivity. This page is written by

```
python benchmarks/reproduction.py --mnist DATA --cifar DATA
```

from the stored runs of the sweeps below. Its rules were fixed before the runs: a loss of less than 1 point of accuracy
counts as none if a one-sided t test says so, a difference counts as one at p < 0.05 after Holm's correction, and
whatever comes out is printed. Mean SI is given with and without dead units, since a large positive alpha silences
units, and a dead unit's SI is 0."""

FURTHER = """## Further

- [Robustness and dimensionality against selectivity](reproduction-robustness.md): each direction that the second paper
  (Leavitt and Morcos 2020, arXiv 2007.04440) reports, on these networks of both data sets.
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
