"""The authors' own curve beside ours: `section(rows)` gives a part of the page on natural images, with its figure.

Another network on other images, so that only changes can be compared: of accuracy, in points, against how many times
the SI of alpha 0 is left.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reproduction.reported import grid, interval, signed, written
from reproduction.svg_figure import svg_figure
from selviz.studies.published_values import SI_CURVE

NAME = "reproduction-authors.svg"
SI_ERROR, ACCURACY_ERROR = 0.005, 0.1  # of a point that was read off the figure
SHAPES = {"cifar10-16": ("o", "0.35", "ours, plain recipe"), "cifar10-16-stable": ("^", "0.6", "ours, stable recipe")}


def authors() -> pd.DataFrame:
    """Return the authors' curve: alpha, accuracy (points more than at alpha 0), times (SI over that at alpha 0)."""
    zero = SI_CURVE[SI_CURVE["alpha"] == 0].iloc[0]
    change, times = 100 * (SI_CURVE["accuracy"] - zero["accuracy"]), SI_CURVE["mean_si"] / zero["mean_si"]
    return pd.DataFrame({"alpha": SI_CURVE["alpha"], "accuracy": change, "times": times})


def ours(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per network that has a pair at alpha 0 of its seed: alpha, seed, accuracy, times as in `authors`.

    SI is that of live units.
    """
    rows = rows.dropna(subset=["test_accuracy"])
    pairs = rows.merge(rows[rows["alpha"] == 0], on="seed", suffixes=("", "_0"))
    return pd.DataFrame(
        {
            "alpha": pairs["alpha"],
            "seed": pairs["seed"],
            "accuracy": 100 * (pairs["test_accuracy"] - pairs["test_accuracy_0"]),
            "times": pairs["mean_si_live"] / pairs["mean_si_live_0"],
        }
    )


def section(tables: Mapping[str, pd.DataFrame], folder: Path) -> str:
    """Return the part of the page; `tables` has the rows of each experiment, and the figure goes into `folder`."""
    known = authors().set_index("alpha")
    found = {key: ours(tables[key]) for key in SHAPES if not tables[key].empty}
    lines = []
    for alpha in sorted({*known.index, *(float(a) for table in found.values() for a in table["alpha"])}):
        cells = [written(alpha), "–", "–"]
        if alpha in known.index:
            cells[1:] = [signed(known.loc[alpha, "accuracy"]), f"{known.loc[alpha, 'times']:.2f}"]
        for key in SHAPES:
            part = found[key][found[key]["alpha"] == alpha] if key in found else pd.DataFrame()
            cells += (
                [interval(part["accuracy"], 1, 1, change=True), interval(part["times"], 1, 2), str(len(part))]
                if len(part) and alpha
                else ["–", "–", "–"]
            )
        lines.append(cells)
    _figure(known.reset_index(), found, folder / NAME)
    columns = ["alpha", "authors: accuracy, points", "authors: SI, times"]
    columns += [f"{told}: {what}" for _, _, told in SHAPES.values() for what in ("points", "times", "seeds")]
    return f"""## Beside the authors' own curve

Each value is the change against alpha 0: accuracy in points, and how many times its SI is left (ours: of live units,
paired by seed, 95 % interval over seeds). The authors' points were read off their figure, ±{ACCURACY_ERROR:g} points
and ±{SI_ERROR:g} of SI; about 20 seeds each; the figure does not name its network, which seems to be a ResNet18 on Tiny
ImageNet. Another network, other images, another length of training: shapes can be compared, not sizes.

{grid(columns, lines)}

![Change of accuracy against how many times the SI of alpha 0 is left: the authors' curve and ours]({NAME})"""


def _figure(known: pd.DataFrame, found: Mapping[str, pd.DataFrame], path: Path) -> None:
    with svg_figure(path) as (axes,):
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(1, color="0.8", linewidth=0.8, zorder=0)
        axes.plot(known["times"], known["accuracy"], "s-", color="0", markersize=4, linewidth=1, label="the authors")
        for key, table in found.items():
            mark, shade, told = SHAPES[key]
            axes.scatter(table["times"], table["accuracy"], marker=mark, s=14, facecolors="none", edgecolors=shade)
            means = table.groupby("alpha")[["times", "accuracy"]].mean().sort_values("times")
            axes.plot(
                means["times"], means["accuracy"], marker=mark, linestyle="--", color=shade, linewidth=1,
                label=f"{told}: means over seeds, and each network",
            )  # fmt: skip
            for alpha, mean in means.iterrows():
                axes.annotate(f"α {float(str(alpha)):g}", (mean["times"], mean["accuracy"]), xytext=(5, 5),
                              textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2, 4], labels=["0.05", "0.1", "0.2", "0.5", "1", "2", "4"])
        axes.minorticks_off()
        axes.set_xlabel("mean SI, times that at alpha 0")
        axes.set_ylabel("change of accuracy, points")
        axes.legend(frameon=False, fontsize=8)
