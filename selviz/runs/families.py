"""Runs that differ only by alpha and seed: `siblings(store.runs(), run)`, and their numbers by alpha: `by_alpha(...)`.

Tables are those of `Store.runs`. A baseline has no penalty, so it belongs to every family that differs in that alone.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from selviz.config import PENALTY, RunConfig
from selviz.statistics import FEWEST_SEEDS, collapse, over_seeds, rank_test

VARIED = ("alpha", "seed")


def families(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Return the settings of each run but alpha and seed, with kind and images, as text; baselines have the
    default penalty.

    Runs of one family have equal ones. A setting that a run does not have is at its default, as in the run's name.
    """
    columns = {}
    for field in dataclasses.fields(RunConfig):
        if field.name not in VARIED:
            default = "" if field.default is dataclasses.MISSING else field.default
            values = runs[field.name].tolist() if field.name in runs else [default] * len(runs)
            text = _texts(default)
            columns[field.name] = [text(value) for value in values]
    for name in ("kind", "fingerprint"):
        columns[name] = list(map(str, runs[name])) if name in runs else [""] * len(runs)
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def siblings(runs: pd.DataFrame, run: str) -> pd.DataFrame:
    """Return the finished runs of the family of `run`, itself and the baselines among them, by alpha and seed."""
    finished = runs[runs["state"] == "finished"]
    table = families(finished)
    return _alike(finished, table, table[finished["run"].tolist().index(run)])


def groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return every family of finished runs, largest first: what it is called -> its runs by alpha and seed.

    Called by data set and network, and by the settings in which families of both differ. Baselines without another
    alpha are a family only where no other holds them.
    """
    finished = runs[runs["state"] == "finished"]
    table = families(finished)
    distinct = {tuple(row.values()): row for row in table}.values()
    pairs = [(row, _alike(finished, table, row)) for row in distinct]
    held = [set(members["run"]) for _, members in pairs]
    pairs = [pair for pair, names in zip(pairs, held) if not any(names < other for other in held)]
    named = {}
    for row, members in sorted(pairs, key=lambda pair: -len(pair[1])):
        near = [other for other, _ in pairs if all(other[name] == row[name] for name in ("dataset", "model"))]
        words = [
            f"{name.replace('_', ' ')} {row[name]}"
            for name in row
            if name not in ("kind", "fingerprint") and len({other[name] for other in near}) > 1
        ]
        name = " · ".join([row["dataset"], row["model"], *words])
        named[f"{name} · {row['kind']} {row['fingerprint']}" if name in named else name] = members
    return named


def _alike(finished: pd.DataFrame, table: list[dict[str, str]], row: dict[str, str]) -> pd.DataFrame:
    settings = [name for name in row if name not in PENALTY]
    alike = [
        all(other[name] == row[name] for name in settings)
        and (alpha == 0 or all(other[name] == row[name] for name in PENALTY))
        for other, alpha in zip(table, finished["alpha"])
    ]
    return finished[alike].sort_values(["alpha", "seed"], kind="stable")


def by_alpha(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one row per alpha: mean of `column` over the seeds, low, high, kind of interval
    (`statistics.over_seeds`), n.
    """
    rows = [{"alpha": alpha, **over_seeds(part[column])._asdict()} for alpha, part in runs.groupby("alpha")]
    return pd.DataFrame(rows, columns=["alpha", "mean", "low", "high", "kind", "n"])


def beside_means(runs: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return what a few collapsed networks do not move, a row an alpha: n, mean, median with its interval, `collapsed`
    networks, and `p_rank`, Mann and Whitney's test against alpha 0 (NaN for alpha 0, and below 3 networks).

    A network has collapsed if its accuracy is nearer to `chance` than to the best of all `runs`.
    """
    best = float(runs["test_accuracy"].max())
    base = runs.loc[runs["alpha"] == 0, "test_accuracy"].astype(float)
    rows = []
    for alpha, part in runs.groupby("alpha"):
        accuracies = part["test_accuracy"].astype(float)
        found = collapse(accuracies, chance, best=best)
        tested = alpha != 0 and min(len(accuracies), len(base)) >= FEWEST_SEEDS
        rows.append({
            "alpha": alpha, "n": found.n, "mean": float(accuracies.mean()), "median": found.median,
            "median_low": found.median_low, "median_high": found.median_high, "collapsed": found.collapsed,
            "p_rank": rank_test(accuracies, base) if tested else math.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _texts(default: object) -> Callable[[Any], str]:
    """Return what makes texts of a setting's values, of which a store of thousands of runs has few."""
    known: dict[tuple[type, object], str] = {}

    def text(value: Any) -> str:
        key = type(value), value
        if key not in known:
            known[key] = _text(default if pd.isna(value) else value)
        return known[key]

    return text


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
