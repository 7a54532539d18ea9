"""The dimensionality of networks like one network, as stored: `profiles(study, count, over)`, `gradients(study)`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.text import numbers

from ...look import theme
from ...page import perturbed_runs, tables
from ...state import address

COUNTS = {"components": "Components for 95 %", "participation": "Participation ratio"}
OVER = {"units": "Averaged units", "maps": "Whole maps"}
VARY = {"over_images": "Over images", "over_units": "Over units"}
EXPLAINED = {
    "components": "how many principal components hold 95 % of the variance over images",
    "participation": "the participation ratio (Σλ)² / Σλ² of the variances λ along the components: the number of "
    "directions, if all had the same variance",
}


@dataclass(frozen=True)
class StoredStudy:
    """The runs of a family, a row each with run and alpha, and the stored tables of each: run -> table -> rows."""

    run: str
    runs: pd.DataFrame
    tables: dict[str, dict[str, pd.DataFrame]]

    @property
    def seeds(self) -> int:
        """Return the largest number of runs with the same alpha."""
        return int(self.runs.groupby("alpha").size().max())

    @property
    def own(self) -> pd.DataFrame:
        """Return the dimensionality of the chosen run."""
        return self.tables[self.run]["dimensionality"]

    @property
    def changes(self) -> pd.DataFrame:
        """Return the perturbations of the chosen run: kind, name, level."""
        return self.own.loc[self.own["kind"] != "clean", ["kind", "name", "level"]].drop_duplicates()

    def whiskers(self) -> str:
        """Return what the whiskers of the profiles are."""
        images = numbers.whole(self.own["images"].max())
        if self.seeds == 1:
            return f"The whiskers are 95 % bootstrap intervals over images (n = {images})."
        return (
            f"Means over up to {self.seeds} seeds, {images} images each; whiskers are 95 % intervals over seeds, from "
            "three on."
        )

    def lines(self, table: str, column: str, where: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
        """Return one line per alpha: alpha, layer, value, low, high, shuffled."""
        parts = []
        for row in self.runs.to_dict("records"):
            part = self.tables[row["run"]][table]
            part = part[where(part)].assign(alpha=row["alpha"], value=lambda rows: rows[column].astype(float))
            part["low"], part["high"] = part[f"{column}_low"], part[f"{column}_high"]
            shuffled = f"{column}_shuffled"
            part["shuffled"] = part[shuffled] if shuffled in part else float("nan")
            parts.append(part[["alpha", "layer", "value", "low", "high", "shuffled"]])
        rows = pd.concat(parts)
        if self.seeds > 1:
            means = perturbed_runs.over_alpha(rows, "value", ("layer",)).rename(columns={"mean": "value"})
            nulls = rows.groupby(["alpha", "layer"], as_index=False)["shuffled"].mean()
            rows = means.merge(nulls, on=["alpha", "layer"])
        return rows.assign(told=[f"α {numbers.alpha(alpha)}" for alpha in rows["alpha"]])


def controls(study: StoredStudy) -> tuple[str, str, str | None]:
    """Draw what is counted, over what, and under which perturbation; the last is None where none is stored."""
    names = study.changes["name"].tolist()
    known = {over: OVER[over] for over in OVER if (study.own["over"] == over).any()}
    change, controls = None, 1 + (len(known) > 1) + bool(names)
    key = f"dimensionality-choice-{controls}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key=key):
        count = address.segmented("Count", COUNTS, "count")
        over = address.segmented("Over", known, "over") if len(known) > 1 else next(iter(known))
        if names:
            change = address.choose("change", names, names[0], "perturbation")
            address.widget(
                st.selectbox,
                "Change under",
                names,
                name="change",
                value=change,
                default=names[0],
                width=220,
                format_func=perturbed_runs.called,
            )
    return count, over, change


def clean_profile(study: StoredStudy, count: str, over: str) -> None:
    """Draw the dimensionality of clean activations by layer."""
    table = study.lines("dimensionality", count, lambda rows: (rows["kind"] == "clean") & (rows["over"] == over))
    tables.chart(
        "Clean images",
        partial(figures.robustness.profile, table, COUNTS[count].lower(), theme.dark()),
        f"A line for each alpha: {EXPLAINED[count]}. Dotted: the same after each feature was shuffled over images by "
        f"itself, which unties them. {study.whiskers()}",
        table,
        "clean",
    )


def change_profile(study: StoredStudy, count: str, over: str, change: str | None) -> None:
    """Draw the dimensionality of what a perturbation changes, by layer."""
    if change is None:
        st.info("No perturbation is stored: `selviz dimensionality RUN --corruption fog`.")
        return
    row = study.changes[study.changes["name"] == change].iloc[0]
    strength = "severity" if row["kind"] == "corruption" else "epsilon"
    label = perturbed_runs.called(change)
    table = study.lines("dimensionality", count, lambda rows: (rows["name"] == change) & (rows["over"] == over))
    tables.chart(
        f"The change under {label}",
        partial(figures.robustness.profile, table, COUNTS[count].lower(), theme.dark()),
        f"The same of perturbed minus clean, under {label} at {strength} {row['level']:g}.",
        table,
        "change-profile",
    )


def gradients(study: StoredStudy) -> None:
    """Draw how much the gradients of units by the input vary, by layer."""
    which = address.segmented("Gradients vary", VARY, "vary")
    table = study.lines("gradient_variability", which, lambda rows: rows["layer"].notna())
    stored = study.tables[study.run]["gradient_variability"]
    spread = "over images, mean of the units" if which == "over_images" else "over units, mean of the images"
    whiskers = "Whiskers: 95 % intervals over these." if study.seeds == 1 else study.whiskers()
    tables.chart(
        "How much gradients vary",
        partial(figures.robustness.profile, table, "coefficient of variation", theme.dark()),
        "The norm of the gradient of a unit by the input: its standard deviation over its mean, "
        f"{spread} ({int(stored['images'].max())} images, up to {int(stored['units'].max())} units per layer). "
        f"{whiskers}",
        table.drop(columns="shuffled"),
        "gradients",
    )
