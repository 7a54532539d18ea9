"""Runs that differ only by alpha and seed, as pages show them: `name, runs = choose(run)`, `means(runs, column)`."""

import pandas as pd
import streamlit as st

from selviz.runs.families import beside_means, by_alpha, groups
from selviz.statistics import FEWEST_SEEDS
from selviz.text import numbers

from ..state import address, reads

KINDS = {"t": "Student's t", "bootstrap": "bootstrap"}


def family_of(run: str) -> tuple[str, pd.DataFrame]:
    """Return the name and the runs of the family that a run belongs to."""
    families = groups(reads.runs())
    name = next(name for name, members in families.items() if run in set(members["run"]))
    return name, families[name]


def choose(run: str) -> tuple[str, pd.DataFrame]:
    """Return the family that the address names, else that of the run, and its runs; a box to choose if there are
    several.
    """
    families = groups(reads.runs())
    kinds = list(families)
    of_the_run = next(name for name, members in families.items() if run in set(members["run"]))
    kind = address.choose("kind", kinds, of_the_run, "runs")
    if len(kinds) > 1:
        address.widget(
            st.selectbox, "Runs that differ by alpha and seed only", kinds, name="kind", value=kind, width=360
        )
    return kind, families[kind]


@st.cache_data(max_entries=64, show_spinner=False)
def means(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `families.by_alpha`, kept: the bootstrap takes a while."""
    return by_alpha(runs, column)


@st.cache_data(max_entries=64, show_spinner=False)
def collapses(runs: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return `families.beside_means`, kept."""
    return beside_means(runs, chance)


def collapse_notice(runs: pd.DataFrame) -> str:
    """Return how many networks collapsed, in words, and what to go by where some did; "" of one network an alpha."""
    runs = runs[runs["alpha"].notna()]
    if runs.empty or runs.groupby("alpha")["seed"].nunique().max() < 2:
        return ""
    chance = 1 / len(reads.class_names(runs["run"].iloc[0]))
    table = collapses(runs[["alpha", "test_accuracy"]], chance)
    bad = table[table["collapsed"] > 0]
    if bad.empty:
        told = f"None of the {numbers.counted(int(table['n'].sum()), 'network')} collapsed."
    else:
        each = "; ".join(
            f"{row.collapsed} of {row.n} at α {numbers.alpha(row.alpha)} (mean accuracy {numbers.percent(row.mean)}, "
            f"median {numbers.percent(row.median)})"
            for row in bad.itertuples()
        )
        told = (
            f"**Collapsed networks: {each}.** A mean and its t interval say little there: go by the median and the "
            "rank test."
        )
    return f"{told} Collapsed: nearer to chance ({numbers.percent(chance)}) than to the best of all."


def intervals(table: pd.DataFrame) -> str:
    """Return the kind of interval that a table of means has, in words."""
    fewest, largest = int(table["n"].min()), int(table["n"].max())
    seeds = f"{largest} seeds" if fewest == largest else f"{fewest} to {largest} seeds"
    kinds = [KINDS[kind] for kind in KINDS if kind in set(table["kind"])]
    if not kinds:
        return f"{seeds} for each alpha: too few for an interval, which needs {FEWEST_SEEDS}"
    return f"95 % interval over seeds ({' or '.join(kinds)}; {seeds} for each alpha)"


@st.cache_data(max_entries=32, show_spinner=False)
def by_layer(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one row per alpha and layer: the mean of `column` over seeds and its interval."""
    parts = [by_alpha(part, column).assign(layer=layer) for layer, part in layers.groupby("layer", sort=False)]
    return pd.concat(parts, ignore_index=True)
