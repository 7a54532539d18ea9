"""How many directions does a layer use?"""

import pandas as pd
import streamlit as st

from app.compute import jobs
from app.look import theme
from app.page import frame, perturbed_runs, run_picker, tables
from app.state import address
from selviz import figures
from selviz.store import Store
from selviz.text import numbers

COUNTS = {"components": "Components for 95 %", "participation": "Participation ratio"}
OVER = {"units": "Averaged units", "maps": "Whole maps"}
VARY = {"over_images": "Over images", "over_units": "Over units"}
EXPLAINED = {
    "components": "how many principal components hold 95 % of the variance over images",
    "participation": "the participation ratio (Σλ)² / Σλ² of the variances λ along the components: the number of "
    "directions, if all had the same variance",
}


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    frame.page(
        "How many directions does a layer use?",
        "A layer of many units may use few directions: then its units say much the same. Left: the activations on clean "
        "images. Right: the change that a perturbation makes, which says in how many ways it can push the layer.",
        f"store.dimensionality({run!r})",
        f"selviz dimensionality {run}",
    )
    runs, found, without = perturbed_runs.gathered(
        run, "dimensionality", Store.dimensionality, Store.gradient_variability
    )
    if run not in found:
        jobs.study(
            run,
            "dimensionality",
            "Counts the directions of every layer on 500 images, clean and in the change under four corruptions and an "
            "attack, with intervals and a shuffled baseline; and how much the gradients of units by the input vary.",
        )
        st.stop()

    mine = found[run]["dimensionality"]
    changes = mine.loc[mine["kind"] != "clean", ["kind", "name", "level"]].drop_duplicates()
    names = changes["name"].tolist()
    known = {over: OVER[over] for over in OVER if (mine["over"] == over).any()}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        count = address.segmented("Count", COUNTS, "count")
        over = address.segmented("Over", known, "over") if len(known) > 1 else next(iter(known))
        name = None
        if names:
            name = address.choose("change", names, names[0], "perturbation")
            address.widget(
                st.selectbox, "Change under", names, name="change", value=name, default=names[0], width=220,
                format_func=perturbed_runs.called,
            )  # fmt: skip
    seeds = int(runs.groupby("alpha").size().max())
    images = numbers.whole(mine["images"].max())
    told = (
        f"The whiskers are 95 % bootstrap intervals over images (n = {images})."
        if seeds == 1
        else f"Means over up to {seeds} seeds, {images} images each; whiskers are 95 % intervals over seeds, from three on."
    )

    def lines(method: str, value: str, where) -> pd.DataFrame:
        """One line an alpha: layer, value, low, high, shuffled."""
        parts = []
        for row in runs.to_dict("records"):
            part = found[row["run"]][method]
            part = part[where(part)].assign(alpha=row["alpha"], value=lambda table: table[value].astype(float))
            part["low"], part["high"] = part[f"{value}_low"], part[f"{value}_high"]
            shuffled = f"{value}_shuffled"
            part["shuffled"] = part[shuffled] if shuffled in part else float("nan")
            parts.append(part[["alpha", "layer", "value", "low", "high", "shuffled"]])
        table = pd.concat(parts)
        if seeds > 1:
            means = perturbed_runs.over_alpha(table, "value", ("layer",)).rename(columns={"mean": "value"})
            nulls = table.groupby(["alpha", "layer"], as_index=False)["shuffled"].mean()
            table = means.merge(nulls, on=["alpha", "layer"])
        return table.assign(told=[f"α {numbers.alpha(alpha)}" for alpha in table["alpha"]])

    left, right = st.columns(2, gap="large")
    with left:
        table = lines("dimensionality", count, lambda t: (t["kind"] == "clean") & (t["over"] == over))
        tables.chart(
            "Clean images",
            figures.robustness.profile(table, COUNTS[count].lower(), theme.dark()),
            f"A line for each alpha: {EXPLAINED[count]}. Dotted: the same after each feature was shuffled over images by "
            f"itself, which unties them. {told}",
            table,
            "clean",
        )
    with right:
        if name is None:
            st.info("No perturbation is stored: `selviz dimensionality RUN --corruption fog`.")
        else:
            row = changes[changes["name"] == name].iloc[0]
            at = f"{perturbed_runs.called(name)} at {'severity' if row['kind'] == 'corruption' else 'epsilon'} {row['level']:g}"
            table = lines("dimensionality", count, lambda t: (t["name"] == name) & (t["over"] == over))
            tables.chart(
                f"The change under {perturbed_runs.called(name)}",
                figures.robustness.profile(table, COUNTS[count].lower(), theme.dark()),
                f"The same of perturbed minus clean, under {at}.",
                table,
                "change-profile",
            )
    if over == "maps":
        st.caption(
            "Over whole maps there are more features than images, and no more directions than images less one can be seen: "
            "read these counts against each other, not by themselves."
        )
    perturbed_runs.told_missing(without, "dimensionality")

    which = address.segmented("Gradients vary", VARY, "vary")
    table = lines("gradient_variability", which, lambda t: t["layer"].notna())
    facts = found[run]["gradient_variability"]
    tables.chart(
        "How much gradients vary",
        figures.robustness.profile(table, "coefficient of variation", theme.dark()),
        "The norm of the gradient of a unit by the input: its standard deviation over its mean, "
        + ("over images, mean of the units" if which == "over_images" else "over units, mean of the images")
        + f" ({int(facts['images'].max())} images, up to {int(facts['units'].max())} units a layer). "
        + ("Whiskers: 95 % intervals over these." if seeds == 1 else told),
        table.drop(columns="shuffled"),
        "gradients",
    )
