"""The page on natural images: `document(folder)`, which `pages.py` writes to docs/reproduction-natural.md.

Made from the rows in reproduction/data/ alone, by the rules of rules.md, in seconds; no store and no network is needed.
"""

import hashlib
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction import authors, measures, recipe
from reproduction import paired_verdicts as verdicts
from reproduction.experiments import EXPERIMENTS, LATER_REVISION, REVISION, Experiment, configs, experiment
from reproduction.reported import grid, interval, written
from reproduction.rows import FOLDER, planned_and_done, read_rows
from reproduction.svg_figure import svg_figure

ROOT = Path(__file__).parents[1]
RULES = Path(__file__).parent / "rules.md"
# A control and the experiment whose networks at alpha 0 are its baselines.
CONTROLS = {"cifar10-16-permuted": "cifar10-16", "cifar10-16-permuted-stable": "cifar10-16-stable"}
# Readable in gray: a form and a shade for each sign of alpha.
MARKS = {-1: ("o", "#1f77b4"), 0: ("s", "#7f7f7f"), 1: ("^", "#ff7f0e")}


def rules_hash() -> str:
    """Return the SHA-256 of the rules."""
    return hashlib.sha256(RULES.read_bytes()).hexdigest()


def experiment_table(rows: pd.DataFrame, baseline: pd.DataFrame | None = None) -> str:
    """Return one line per alpha: accuracy, SI with its null, dead units, collapsed networks.

    `baseline` as `paired_verdicts.collapsed` takes it.
    """
    lines = []
    gone = verdicts.collapsed(rows, baseline)
    for alpha, part in rows.groupby("alpha"):
        lines.append(
            [
                written(float(str(alpha))),
                str(len(part)),
                interval(part["test_accuracy"].dropna(), 100, 2),
                interval(part["mean_si"].dropna(), 1, 3),
                interval(part["mean_si_live"].dropna(), 1, 3),
                f"{part['null_mean'].mean():.3f}",
                f"{100 * (part['dead'] / part['units']).mean():.1f}",
                f"{int(gone[part.index].sum())}",
            ]
        )
    columns = ["alpha", "seeds", "accuracy, %", "mean SI", "mean SI, live units", "null", "dead units, %", "collapsed"]
    return grid(columns, lines)


def layer_table(rows: pd.DataFrame) -> str:
    """Return mean SI of live units by layer and alpha, means over seeds."""
    rows = rows[rows["layers"].notna()]
    columns = {}
    for alpha, part in rows.groupby("alpha"):
        values = [list(map(float, text.split())) for text in part["layer_si_live"]]
        columns[written(float(str(alpha)))] = pd.DataFrame(values).mean()
    names = rows["layers"].iloc[0].split()
    lines = [[f"`{name}`", *(f"{column[at]:.3f}" for column in columns.values())] for at, name in enumerate(names)]
    return grid(["layer", *(f"α {name}" for name in columns)], lines)


def figure(rows: pd.DataFrame, title: str, path: Path) -> None:
    """Draw accuracy against mean SI of live units: a mark per network, networks of one seed joined by a line."""
    with svg_figure(path) as (axes,):
        rows = rows.dropna(subset=["test_accuracy"])
        for _, part in rows.sort_values("mean_si_live").groupby("seed"):
            axes.plot(part["mean_si_live"], 100 * part["test_accuracy"], color="0.8", linewidth=0.8, zorder=1)
        for alpha, part in rows.groupby("alpha"):
            value = float(str(alpha))
            mark, color = MARKS[int(value > 0) - int(value < 0)]
            x, y = part["mean_si_live"], 100 * part["test_accuracy"]
            axes.scatter(x, y, marker=mark, facecolors="none", edgecolors=color, s=30, zorder=2)
            axes.annotate(f"α {value:g}", (x.mean(), y.mean()), xytext=(6, 8), textcoords="offset points")
        axes.set_xlabel("mean SI of live units")
        axes.set_ylabel("test accuracy, %")
        axes.set_title(title, fontsize=10)


def section(planned: Experiment, tables: dict[str, pd.DataFrame], folder: Path, data: Path = FOLDER) -> str:
    """Return what the page says of one experiment; its command where no network of it has a row."""
    rows = tables[planned.key]
    head = f"## {planned.title}\n\n`{planned.key}`: {len(rows)} of {planned.networks} networks have a row."
    own = planned.images != "CIFAR-10"
    made, images = ("python reproduction/superclasses.py CIFAR CIFAR2\n", "CIFAR2") if own else ("", "CIFAR")
    command = f"python reproduction/train.py --experiment {planned.key} --dataset folder:{images} --data DATA"
    command = f"```\n{made}{command}\n```"
    if rows.empty:
        known = configs(planned, "folder:CIFAR")
        why = "Planned; the command goes on where it ended:" if known else "Its recipe is not chosen yet."
        return f"{head} {why}\n\n{command}"
    parts = [head if len(rows) >= planned.networks else f"{head} The rest is planned:\n\n{command}"]
    parts += [experiment_table(rows, tables[CONTROLS[planned.key]] if planned.key in CONTROLS else None)]
    if rows["test_accuracy"].notna().any():
        picture = folder / f"reproduction-{planned.key}.svg"
        figure(rows, planned.title.replace("`", ""), picture)
        parts += [f"![Accuracy against mean SI: a mark a network, networks of one seed joined]({picture.name})"]
        parts += ["Mean SI of live units by layer, means over seeds:", layer_table(rows)]
        parts += [part for part in [measures.section(planned, folder, data)] if part]
    return "\n\n".join(parts)


def all_verdicts(tables: dict[str, pd.DataFrame]) -> list[verdicts.Verdict]:
    """Return the verdict on each question, in the order of rules.md."""
    less, more = experiment("cifar10-16"), experiment("cifar10-16-stable")
    plain, stable = tables[less.key], tables[more.key]
    found = [verdicts.costs(stable, more), verdicts.cut_is_free(plain, less), verdicts.nearly_zero(plain, less)]
    found += [verdicts.gains(plain, less)]
    for key, of in CONTROLS.items():
        found.append(verdicts.due_to_selectivity(tables[of], tables[key], experiment(of), experiment(key)))
    for key in ("cifar10-32", "cifar10-16-vgg", "cifar10-16-superclasses"):
        planned = experiment(key)
        sources = [
            (table, of) for table, of in ((plain, less), (stable, more)) if {*planned.alphas} & {*of.alphas} - {0}
        ]
        found.append(verdicts.carries_over(tables[key], planned, sources))
    return found


def document(folder: Path, data: Path = FOLDER) -> str:
    """Return the whole page, and write its figures into `folder`."""
    tables = {planned.key: read_rows(planned, data) for planned in EXPERIMENTS}
    progress = planned_and_done(data)
    lines = [[f"`{r.experiment}`", str(r.planned), str(r.done), f"{r.hours:.1f}"] for r in progress.itertuples()]
    total = ["all", str(progress["planned"].sum()), str(progress["done"].sum()), f"{progress['hours'].sum():.1f}"]
    opening = f"""# Natural images: what selviz finds of the first paper on CIFAR-10

Written by `python reproduction/pages.py` from one row per trained network (`reproduction/data/*.csv`). The
questions, the networks and how verdicts are decided were fixed in [rules.md](../reproduction/rules.md) before any of
these networks was trained; its SHA-256 is
`{rules_hash()}`. A verdict is given once all planned networks of its
alphas have a row, so no result can end the experiment early. Networks are trained by selviz at revision
`{REVISION}` (plain recipe) and `{LATER_REVISION}` (stable recipe); accuracy, SI and its null are those of all 10,000
evaluation images.

{recipe.sentence()}

## How far it is

{grid(["experiment", "networks planned", "networks with a row", "hours of one core"], [*lines, total])}

Retrain a row chosen at random and compare: `python reproduction/check_row.py --dataset folder:CIFAR`."""
    answers = grid(["claim", "measured here", "verdict"], [list(verdict) for verdict in all_verdicts(tables)])
    sections = [section(planned, tables, folder, data) for planned in EXPERIMENTS]
    return "\n\n".join([opening, f"## The claims\n\n{answers}", authors.section(tables, folder), *sections]) + "\n"
