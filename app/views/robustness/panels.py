"""The stored robustness of runs like one run: curves, grid, against selectivity, and which units move most."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.statistics import chance, correlation_interval, rank_correlation
from selviz.text import numbers, safe_text

from ...look import theme, thumbnails
from ...page import claims, perturbed_runs, tables
from ...state import address, reads
from . import offers

MEASURES = {"corruption": "Corruptions", "attack": "Attack"}
FAMILIES = ("all", "noise", "blur", "weather", "digital", "extra")
SCALES = {
    "above": "Above chance, of clean",
    "relative": "Of clean",
    "plain": "Accuracy",
    "mce": "Error, of the baseline's",
}
AT_CHANCE = "its clean accuracy is within noise of chance, so it has nothing to lose"
READ = {
    "above": "Of the accuracy above chance (always naming the commonest class) on clean images, so much is left: "
    "networks that differ in clean accuracy can be compared.",
    "relative": "",
    "plain": "",
    "mce": "Under each corruption the error, summed over severities, over that of the network of alpha 0 with the same "
    "seed; mean over corruptions (Hendrycks and Dietterich 2019). Below 100 %: more robust than the baseline.",
}
Found = offers.Found


def planned(run: str) -> str:
    """Return what the study of a run will test: how many corruptions its images are large enough for, on how many."""
    from selviz.robustness import corruptions

    table = reads.runs().set_index("run")
    images, size = min(1000, int(table.loc[run, "images"])), reads.store().thumbnails(run, [0])
    height, width = thumbnails.decoded(size)[0].shape[-2:]
    names, _ = corruptions.usable(height, width, constants=perturbed_runs.constants())
    return (
        f"{numbers.counted(len(names), 'corruption')} at five severities and two attacks at five strengths, on "
        f"{numbers.counted(images, 'image')}"
    )


def curves(run: str, runs: pd.DataFrame, by_run: Found, kind: str, name: str) -> None:
    """Show accuracy by severity of the chosen corruption, or of the mean over corruptions; beside it, by epsilon."""
    own = by_run[run]["robustness"]
    stored = set(own.loc[own["kind"] == "corruption", "name"])
    attacks = own.loc[own["kind"] == "attack", "name"].unique().tolist()
    sentence = _sentence(runs, own)
    shown = "all"
    if kind == "corruption" and name in stored:
        choices = {"one": safe_text.short(perturbed_runs.called(name), 24), "all": "mean over corruptions"}
        shown = address.segmented("Accuracy by severity under", choices, "curve")
    left, right = st.columns(2, gap="large")
    with left:
        if stored:
            table = perturbed_runs.by_level(runs, by_run, "corruption", name if shown == "one" else None)
            what = perturbed_runs.called(name) if shown == "one" else "corruptions, their mean"
            tables.chart(
                "Accuracy by severity",
                partial(figures.robustness.curves, table, "severity", theme.dark()),
                f"Accuracy under {what}; a line for each alpha. {sentence}",
                table,
                "severity",
            )
        else:
            offers.missing(run, by_run, "corruption", None, "No such corruption was measured for this network.")
    with right:
        if kind == "attack" and attacks and name not in attacks:
            told = f"{safe_text.plain(perturbed_runs.called(name))} was not measured for this network"
            offers.missing(run, by_run, "attack", name, f"{told}; below is what was.")
        if attacks:
            attack = name if name in attacks else "pgd" if "pgd" in attacks else attacks[-1]
            if len(attacks) > 1:
                attack = address.choose("under", attacks, attack, "attack")
                address.widget(
                    st.selectbox, "Accuracy by epsilon under", attacks, name="under", value=attack, default=attack,
                    format_func=lambda stored: safe_text.short(perturbed_runs.called(stored), 40),
                )  # fmt: skip
            table = perturbed_runs.by_level(runs, by_run, "attack", attack)
            tables.chart(
                "Accuracy under attack",
                partial(figures.robustness.curves, table, "largest change of a pixel, of 255", theme.dark()),
                f"Accuracy under {perturbed_runs.called(attack)}; a line for each alpha. The axis is not to scale. "
                f"{sentence}",
                table,
                "attack",
            )
            st.markdown(claims.sentence(_masking(reads.data(), reads.run_version(run), run)))
            offers.without_gradients(run, by_run)
        else:
            offers.missing(run, by_run, "attack", None, "No attack was measured for this network.")


@st.cache_data(max_entries=64, show_spinner=False)
def _masking(folder: str, version: tuple[object, ...], run: str) -> str:
    from selviz.studies.gradient_masking import gradient_masking

    return gradient_masking(reads.Store(folder), run).sentence


def grid(run: str, runs: pd.DataFrame, by_run: Found) -> None:
    """Show mean accuracy over severities of each alpha's networks under each corruption."""
    alphas = runs.set_index("run")["alpha"]
    parts = [
        stored["robustness"].query("kind == 'corruption'").assign(alpha=alphas[name]) for name, stored in by_run.items()
    ]
    cells = pd.concat(parts).groupby(["alpha", "name"], as_index=False, dropna=False)["accuracy"].mean()
    if (by_run[run]["robustness"]["kind"] != "corruption").all():
        offers.missing(run, by_run, "corruption", None, "No such corruption was measured for this network.")
    if cells.empty:
        return
    cells["told"] = [f"α {numbers.alpha(alpha)}" for alpha in cells["alpha"]]
    tables.chart(
        "Which corruptions hurt whom",
        partial(figures.robustness.grid, cells, theme.dark()),
        "Mean accuracy over severities, per cent, of the networks of each alpha; the hardest corruptions are on top. "
        + (
            "corrupt-tta has the constants of 224-pixel images, so small images are hurt more than in CIFAR-10-C."
            if perturbed_runs.constants() == "imagenet"
            else "With the constants of CIFAR-10-C, for the corruptions that can be made so."
        ),
        cells,
        "grid",
    )


def families(by_run: Found, run: str) -> None:
    """Show mean accuracy of this network under each family of corruptions."""
    table = _families(by_run[run])
    if table.empty:
        return
    st.subheader("Which kind of corruption hurts this network?", anchor=False)
    shares = {
        name: st.column_config.NumberColumn(label, format="%.1f")
        for name, label in (("accuracy", "accuracy, %"), ("relative", "of clean, %"))
    }
    between = {"interval": "95 % interval", "relative_interval": "95 % interval, of clean"}
    columns = ["family", "corruptions", "severities", "images", "accuracy", "interval", "relative", "relative_interval"]
    tables.table(table[columns], column_config={**shares, **between}, key="families")
    st.caption(
        "Plain means over corruptions and severities; an image counts once, with its mean, and the intervals (t) are "
        "for new images. *all* are the corruptions of ImageNet-C that are stored, without the extra ones."
    )


def _families(stored: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the stored summary of corruptions in per cent, in the order of FAMILIES."""
    table = stored["robustness_summary"].query("kind == 'corruption'").set_index("family")
    table = table.loc[[family for family in FAMILIES if family in table.index]].reset_index()
    shares = ["accuracy", "low", "high", "relative", "relative_low", "relative_high"]
    table[shares] = 100 * table[shares].astype(float)
    for name, low, high in (("interval", "low", "high"), ("relative_interval", "relative_low", "relative_high")):
        table[name] = [f"{a:.1f} to {b:.1f}" for a, b in zip(table[low], table[high])]
    return table


def selectivity(run: str, runs: pd.DataFrame, by_run: Found) -> None:
    """Show robustness against mean SI, and against alpha over seeds."""
    own = by_run[run]["robustness"]
    st.subheader("Does selectivity go with robustness?", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        measure = address.segmented("Robustness to", MEASURES, "against")
        scales = {name: words for name, words in SCALES.items() if measure == "corruption" or name != "mce"}
        scale = address.segmented("Measured as", scales, "scale")
        attack, epsilon = _strength(own) if measure == "attack" else ("", "")
        family = _family(by_run[run]) if measure == "corruption" else "all"
    if measure == "corruption" and scale in ("above", "mce"):
        points, left_out = _errors(run, runs, scale, family)
    else:
        points, left_out = _points(runs, by_run, measure, scale, attack, epsilon, family)
    for reason in left_out:
        st.caption(claims.sentence(reason))
    if points.empty:
        about = f"No such {measure} was measured for these networks."
        offers.missing(run, by_run, measure, None, about)
        return
    kinds = "corruption" if family == "all" else family
    under = f"accuracy under {perturbed_runs.called(attack)} {epsilon}"
    what = f"mean {kinds} accuracy" if measure == "corruption" else under
    what += {"relative": " / clean", "above": " / clean, above chance"}.get(scale, "")
    what = f"mean {kinds} error / baseline's" if scale == "mce" else what
    left, right = st.columns(2, gap="large")
    with left:
        alone = measure == "attack" and scale in ("relative", "above")
        of_accuracy = ", of the accuracy under attack alone" if alone else ""
        tables.chart(
            "Against selectivity",
            partial(figures.robustness.against_si, points, what, theme.dark()),
            f"A point is one network; its whiskers are the 95 % interval for new images{of_accuracy}. {READ[scale]}",
            points,
            "against-si",
        )
        rho = rank_correlation(points["mean_si"], points["value"])
        if len(points) > 3 and not np.isnan(rho):
            low, high = correlation_interval(rho, len(points))
            st.markdown(
                f"Spearman's ρ = {numbers.signed(rho, 2)} between mean SI and {what} (95 % interval "
                f"{numbers.signed(low, 2)} to {numbers.signed(high, 2)} for other networks of the kind, n = "
                f"{len(points)} networks)."
            )
    with right:
        means = perturbed_runs.over_alpha(points, "value")
        seeds = sorted({int(means["n"].min()), int(means["n"].max())})
        tables.chart(
            "Against alpha",
            partial(figures.robustness.by_alpha, means, what, theme.dark()),
            f"Mean over the seeds of each alpha (n = {' to '.join(map(str, seeds))}) with its 95 % interval "
            "over seeds (t up to 20 seeds, bootstrap beyond; none below three). Alphas stand at even distances.",
            means,
            "by-alpha",
        )


def units(run: str, by_run: Found, kind: str, name: str, level: float) -> None:
    """Show how far each unit of a layer moves under the chosen perturbation, and whether selective ones move more."""
    st.subheader("Which units move most?", anchor=False)
    own = by_run[run]["robustness"]
    levels = own.loc[(own["kind"] == kind) & (own["name"] == name), "level"]
    if levels.empty:
        told = safe_text.plain(perturbed_runs.called(name))
        about = f"What {told} does to the units of this network was not measured."
        offers.missing(run, by_run, kind, name, about)
        return
    near = float(levels.iloc[(levels - level).abs().argmin()])
    layers = reads.store().layers(run)["layer"].tolist()
    layer = address.choose("layer", layers, layers[-1], "layer")
    address.widget(st.selectbox, "Layer", layers, name="layer", value=layer, default=layers[-1], width=260)
    stored = perturbed_runs.stored_kind(kind)
    table = _shifts(run, layer, stored, name, near)
    at = f"{perturbed_runs.called(name)} at {'severity' if kind == 'corruption' else 'epsilon'} {near:g}"
    left, right = st.columns(2, gap="large")
    with left:
        tables.chart(
            "Shift against selectivity",
            partial(figures.robustness.shifts, table, reads.class_names(run), theme.dark()),
            f"A dot is a unit of {safe_text.code(layer)} that varies. Its shift under {at} is the mean over images of "
            "|perturbed − clean|, in standard deviations of its clean activation; hollow: it prefers another class "
            "then.",
            table.drop(columns="told"),
            "shifts",
        )
        _correlation(run, layer, stored, name, near)
    with right:
        st.subheader("Unit by unit", anchor=False)
        shown = ["unit", "si", "si_after", "preferred_class", "class_after", "shift", "change"]
        heads = {
            "si_after": st.column_config.NumberColumn("SI then", format="%.2f"),
            "class_after": "prefers then",
            "shift": st.column_config.NumberColumn("shift, s.d.", format="%.2f"),
            "change": st.column_config.NumberColumn("signed, s.d.", format="%+.2f"),
        }
        tables.table(table[shown].head(500), column_config=heads, height=380)
        st.caption(f"Units of {safe_text.code(layer)} under {at}, those that move most first.")


def _sentence(runs: pd.DataFrame, own: pd.DataFrame) -> str:
    seeds = int(runs.groupby("alpha", dropna=False).size().max())
    if seeds == 1:
        return f"Whiskers: 95 % Wilson interval for new images ({numbers.whole(own['images'].max())} images each)."
    return f"Means over up to {seeds} seeds; whiskers: 95 % intervals over seeds, from three seeds on."


def _strength(own: pd.DataFrame) -> tuple[str, str]:
    """Return the attack and its epsilon that networks are compared by."""
    stored = own.loc[(own["kind"] == "attack") & (own["level"] > 0), ["name", "level"]]
    if stored.empty:
        return "attack", "0"
    attack = "pgd" if (stored["name"] == "pgd").any() else stored["name"].iloc[0]
    levels = [f"{value:g}" for value in sorted(stored.loc[stored["name"] == attack, "level"].unique())]
    epsilon = address.choose("strength", levels, levels[-1], "strength")
    address.widget(
        st.selectbox, "Largest change, of 255", levels, name="strength", value=epsilon, default=levels[-1], width=180
    )
    return attack, epsilon


def _family(stored: dict[str, pd.DataFrame]) -> str:
    """Return the family of corruptions that networks are compared by."""
    there = _families(stored)["family"].tolist() or ["all"]
    family = address.choose("family", there, "all", "family")
    address.widget(
        st.selectbox, "Family", there, name="family", value=family, default="all", width=150,
        format_func=lambda name: "all corruptions" if name == "all" else name,
    )  # fmt: skip
    return family


def _points(
    runs: pd.DataFrame, tables: Found, measure: str, scale: str, attack: str, epsilon: str, family: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per network with its robustness in per cent, and why networks are left out."""
    rows, left_out = [], []
    for row in runs.to_dict("records"):
        stored = tables[row["run"]]
        if measure == "corruption":
            part = stored["robustness_summary"].query("kind == 'corruption' and family == @family")
            columns = (
                ["relative", "relative_low", "relative_high"] if scale == "relative" else ["accuracy", "low", "high"]
            )
            values = part[columns]
        else:
            table = stored["robustness"]
            part = table[(table["kind"] == "attack") & (table["name"] == attack)]
            part = part[np.isclose(part["level"], float(epsilon))]
            before, guessing = table[table["kind"] == "clean"].iloc[0], 0.0
            if scale == "above" and before["low"] <= (guessing := _chance(row["run"], int(before["images"]))):
                left_out.append(f"{row['run']} is left out: {AT_CHANCE}.")
                continue
            clean = float(before["accuracy"]) - guessing if scale != "plain" else 1.0
            values = (part[["accuracy", "low", "high"]] - guessing) / (clean or np.nan)
        if len(values):
            middle, low, high = 100 * values.iloc[0].to_numpy(dtype=float)
            kept = {key: row[key] for key in ("run", "alpha", "seed", "mean_si")}
            rows.append({**kept, "told": numbers.run(row), "value": middle, "low": low, "high": high})
    return pd.DataFrame(rows), left_out


def _errors(run: str, runs: pd.DataFrame, scale: str, family: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the same of the accuracy above chance, or of the mean corruption error."""
    versions = tuple(reads.run_version(name) for name in runs["run"])
    column = {"above": "above_chance", "mce": "mce"}[scale]
    told = {row["run"]: numbers.run(row) for row in runs.to_dict("records")}
    rows, left_out = [], []
    for row in _corruption_errors(
        reads.data(), versions, run, perturbed_runs.stored_kind("corruption"), family
    ).to_dict("records"):
        middle, low, high = (100 * row[name] for name in (column, f"{column}_low", f"{column}_high"))
        if np.isnan(middle):
            left_out.append(f"{row['run']} is left out: {AT_CHANCE if scale == 'above' else row['why']}.")
            continue
        kept = {key: row[key] for key in ("run", "alpha", "seed", "mean_si")}
        rows.append({**kept, "told": told.get(row["run"], row["run"]), "value": middle, "low": low, "high": high})
    return pd.DataFrame(rows), left_out


@st.cache_data(max_entries=32, show_spinner="Comparing with the baselines ...")
def _corruption_errors(folder: str, versions: tuple[object, ...], run: str, kind: str, family: str) -> pd.DataFrame:
    from selviz.studies.corruption_error import corruption_errors

    return corruption_errors(reads.Store(folder), run, kind=kind, family=family)


def _chance(run: str, images: int) -> float:
    """Return the accuracy of always naming the commonest class of a run's first evaluation images, 0..1."""
    return chance(reads.store().images(run)["label_index"].iloc[:images])


def _shifts(run: str, layer: str, kind: str, name: str, level: float) -> pd.DataFrame:
    table = reads.store().robustness_units(run, layer)
    after = table[(table["kind"] == kind) & (table["name"] == name) & np.isclose(table["level"], level)]
    after = after.set_index("unit")
    table = table.loc[table["kind"] == "clean", ["unit", "si", "preferred_class", "preferred_index"]].set_index("unit")
    table = table.assign(
        shift=after["shift"], change=after["change"], si_after=after["si"], class_after=after["preferred_class"]
    )
    table = table.dropna(subset="shift").reset_index().sort_values("shift", ascending=False)
    table["moved_class"] = table["preferred_class"] != table["class_after"]
    table["told"] = [
        f"unit {row.unit}: SI {numbers.si(row.si)}, {numbers.si(row.si_after)} perturbed<br>prefers "
        f"{safe_text.label(row.preferred_class)}, perturbed {safe_text.label(row.class_after)}<br>shift {row.shift:.2f}"
        for row in table.itertuples()
    ]
    return table


def _correlation(run: str, layer: str, kind: str, name: str, level: float) -> None:
    facts = reads.store().robustness_layers(run, layer)
    fact = facts[(facts["kind"] == kind) & (facts["name"] == name) & np.isclose(facts["level"], level)].iloc[0]
    units = int(fact["units"])
    if np.isnan(fact["si_to_shift"]):
        st.markdown(f"No rank correlation: too few of the layer's units vary (n = {units}).")
        return
    st.markdown(
        f"Spearman's ρ = {numbers.signed(fact['si_to_shift'], 2)} between SI and shift (95 % interval "
        f"{numbers.signed(fact['low'], 2)} to {numbers.signed(fact['high'], 2)} for other units of the kind, n = "
        f"{units} units that vary). {100 * fact['kept_class']:.0f} % of them keep their preferred class."
    )
