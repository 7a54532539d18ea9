"""A family's layers in other bases, as stored: `distances(table)`, `maps(table)`, each with its words."""

from functools import partial

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.statistics import FEWEST_SEEDS, OverSeeds, over_seeds
from selviz.store import Store
from selviz.text import numbers

from ...look import theme
from ...page import run_families, tables
from ...state import reads

NUMBERS = ["unit_si", "rotation_si", "found_si", "found_null"]
BASES = {"unit_si": "Units as they are", "found_si": "Best linear map found"}


def stored(runs: list[str], stage: str) -> list[str]:
    """Return those of the runs that have this stage."""
    return [run for run in runs if (reads.store().run_path(run) / f"{stage}.duckdb").exists()]


def similarities(runs: list[str], baselines: list[str]) -> pd.DataFrame:
    """Return `bases.similarities` of these runs, kept as long as their files stay the same."""
    every = tuple(dict.fromkeys([*runs, *baselines]))
    return _similarities(reads.data(), tuple(map(reads.run_version, every)), every, tuple(baselines)).copy(deep=False)


@st.cache_data(max_entries=16, show_spinner="Reading what is stored ...")
def _similarities(folder: str, stamps: tuple, runs: tuple, baselines: tuple) -> pd.DataFrame:
    from selviz.studies.basis import similarities

    return similarities(Store(folder), runs, baselines)


def summaries(runs: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per run and layer of the stored linear maps, and what could not be read."""
    read, troubles = _summaries(reads.data(), tuple(map(reads.run_version, runs)), tuple(runs))
    return read.copy(deep=False), troubles


@st.cache_data(max_entries=16, show_spinner="Reading what is stored ...")
def _summaries(folder: str, stamps: tuple, runs: tuple) -> tuple[pd.DataFrame, list[str]]:
    from selviz.studies.basis import map_summary

    parts, troubles = [], []
    for run in runs:
        try:
            parts.append(map_summary(Store(folder).linear_maps(run)).assign(run=run))
        except SelvizError as error:
            troubles.append(str(error))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(), troubles


def distances(table: pd.DataFrame, order: list[str]) -> None:
    """Show pWCCA ratio and CKA by layer beside the null, and what they mean."""
    ratio = run_families.by_layer(table[["alpha", "layer", "ratio"]], "ratio")
    cka = run_families.by_layer(table[["alpha", "layer", "cka"]], "cka")
    null = table.groupby("layer", sort=False).first().reset_index()
    band = null.assign(low=null["null_low"] / null["null_pwcca"], high=null["null_high"] / null["null_pwcca"])
    behind = (
        "run alpha seed layer pwcca null_pwcca null_low null_high ratio cka null_cka compared directions rank".split()
    )
    left, right = st.columns(2, gap="large")
    with left:
        tables.chart(
            "Distance, PWCCA",
            partial(
                figures.sweep.layers,
                ratio,
                order,
                "PWCCA distance / that between baselines",
                theme.dark(),
                band,
                at=1.0,
            ),
            f"1: no farther from the baselines than these are from each other. A line is an alpha, with its "
            f"{run_families.intervals(ratio)}; the gray line is each baseline's own distance to the others, the band "
            f"runs from the nearest to the farthest of {int(null['null_pairs'].min())} ordered pairs of baselines.",
            table[behind],
            "pwcca",
        )
    with right:
        tables.chart(
            "Similarity, linear CKA",
            partial(figures.sweep.layers, cka, order, "linear CKA", theme.dark(), span=(0, 1.02)),
            "1: the same as a baseline up to a rotation and one scale. Gray: baselines among each other. CKA weighs "
            "each direction by its variance, PWCCA hardly does, so the two need not agree.",
            table[behind],
            "cka",
        )
    st.markdown(similarity_sentence(table[["alpha", "run", "ratio"]]))


@st.cache_data(max_entries=32, show_spinner=False)
def similarity_sentence(table: pd.DataFrame) -> str:
    """Return what the ratios of `similarity.beside_null` mean, an alpha a line."""
    lines = []
    by_run = table.groupby(["alpha", "run"])["ratio"].mean().reset_index()
    for alpha, part in by_run[by_run["alpha"] != 0].groupby("alpha"):
        estimate = over_seeds(part["ratio"])
        mean = f"- **α {numbers.alpha(alpha)}**: ratio {estimate.mean:.2f}, mean over layers"
        if not estimate.kind:
            lines.append(f"{mean} (n = {estimate.n}; {FEWEST_SEEDS} seeds are needed to tell it from 1).")
            continue
        interval = f" (95 % interval over {estimate.n} seeds {estimate.low:.2f} to {estimate.high:.2f}). "
        if estimate.low > 1:
            meaning = (
                "Farther from the baselines than another seed would be, whatever the basis: its layers were not merely "
                "turned into another one."
            )
        elif estimate.high < 1:
            meaning = "Nearer to the baselines than another seed would be."
        else:
            meaning = (
                "Not told from another seed: up to a linear map of the units, these layers may be what any network of "
                "this kind learns, so here the change of SI may be a change of basis."
            )
        lines.append(mean + interval + meaning)
    return "\n".join(lines)


def maps(table: pd.DataFrame, order: list[str]) -> None:
    """Show mean SI of the units beside that of the best linear map found, by layer and alpha, and what it means."""
    behind = "run alpha seed layer unit_si unit_null rotation_si found_si found_si_fit found_null restarts rotations"
    nulls = {"unit_si": "unit_null", "found_si": "found_null"}
    for place, (column, title) in zip(st.columns(2, gap="large"), BASES.items(), strict=True):
        by_layer = run_families.by_layer(table[["alpha", "layer", column]], column)
        null = table.groupby("layer", sort=False)[nulls[column]].agg(low="min", high="max").reset_index()
        how = (
            f"Mean SI of the live units on fold 1, at the positions that the maps are fit on, with the "
            f"{run_families.intervals(by_layer)}. Gray: under shuffled labels, lowest to highest network."
            if column == "unit_si"
            else f"The largest mean SI that gradient ascent found on fold 0 over linear maps through a ReLU "
            f"({int(table['restarts'].min())} restarts), read on fold 1: a lower bound of the maximum. Gray: the same "
            "maps under shuffled labels."
        )
        with place:
            tables.chart(
                title,
                partial(figures.sweep.layers, by_layer, order, "mean SI", theme.dark(), null, span=(0, 1.02)),
                how,
                table[behind.split()],
                column,
            )
    st.markdown(maps_sentence(table[["alpha", "run", *NUMBERS]]))


@st.cache_data(max_entries=32, show_spinner=False)
def maps_sentence(table: pd.DataFrame) -> str:
    """Return what units, rotations and the best maps found have, an alpha a line: means over layers and seeds."""
    by_run = table.groupby(["alpha", "run"])[NUMBERS].mean().reset_index()
    means = {alpha: {name: over_seeds(part[name]) for name in NUMBERS} for alpha, part in by_run.groupby("alpha")}
    lines = []
    for alpha, estimate in means.items():
        line = (
            f"- **α {numbers.alpha(alpha)}** (n = {estimate['unit_si'].n}): units {_si(estimate['unit_si'])}, random "
            f"rotations {_si(estimate['rotation_si'])}, best map found {_si(estimate['found_si'])}, null of that map "
            f"{estimate['found_null'].mean:.2f}"
        )
        if alpha != 0 and 0.0 in means:
            kept = {name: estimate[name].mean / means[0.0][name].mean for name in ("unit_si", "found_si")}
            line += f". Of the baseline's: units {100 * kept['unit_si']:.0f} %, best map {100 * kept['found_si']:.0f} %"
        lines.append(line + ".")
    return "\n".join(lines)


def _si(estimate: OverSeeds) -> str:
    interval = f" ({estimate.low:.2f} to {estimate.high:.2f})" if estimate.kind else ""
    return f"{estimate.mean:.2f}{interval}"
