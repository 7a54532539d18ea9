"""Runs that differ only by alpha and seed: `siblings(store.runs(), run)`, and their numbers by alpha: `by_alpha(...)`.

Tables are those of `Store.runs`. A baseline has no penalty, so it belongs to every family that differs in that alone.
"""

import dataclasses

import pandas as pd

from selviz.config import PENALTY, RunConfig
from selviz.statistics import over_seeds

VARIED = ("alpha", "seed")


def families(runs: pd.DataFrame) -> pd.DataFrame:
    """Two texts a run: `settings`, equal for runs that differ by alpha, penalty and seed only; `penalty`, its settings.

    A setting that a run does not have is at its default, as in the run's name.
    """
    fields = [field for field in dataclasses.fields(RunConfig) if field.name not in VARIED]
    columns = {}
    for field in fields:
        default = "" if field.default is dataclasses.MISSING else field.default
        values = runs[field.name] if field.name in runs else pd.Series(default, runs.index)
        columns[field.name] = values.astype(object).where(values.notna(), default).map(_text)
    for name in ("kind", "fingerprint"):
        columns[name] = runs[name].astype(str) if name in runs else pd.Series("", runs.index)
    table = pd.DataFrame(columns, index=runs.index)
    penalty = table[list(PENALTY)].agg("|".join, axis=1) if len(table) else pd.Series(dtype=object)
    settings = table.drop(columns=list(PENALTY)).agg("|".join, axis=1) if len(table) else pd.Series(dtype=object)
    return pd.DataFrame({"settings": settings, "penalty": penalty})


def siblings(runs: pd.DataFrame, run: str) -> pd.DataFrame:
    """The finished runs of the family of `run`, itself and the baselines among them, by alpha and seed."""
    finished = runs[runs["state"] == "finished"]
    names = families(finished)
    (mine,) = names[finished["run"] == run].to_dict("records")
    alike = (names["settings"] == mine["settings"]) & ((names["penalty"] == mine["penalty"]) | (finished["alpha"] == 0))
    return finished[alike].sort_values(["alpha", "seed"], kind="stable")


def by_alpha(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row an alpha: mean of `column` over the seeds, low, high, kind of interval (`statistics.over_seeds`), n."""
    rows = [{"alpha": alpha, **over_seeds(part[column])._asdict()} for alpha, part in runs.groupby("alpha")]
    return pd.DataFrame(rows, columns=["alpha", "mean", "low", "high", "kind", "n"])


def _text(value) -> str:
    return str(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
