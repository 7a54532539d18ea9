"""What surrounds a unit: how its numbers come about, units like it, and what it does to the answers."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.errors import SelvizError
from selviz.store import Wanted, read_json
from selviz.text import numbers, safe_text

from ...compute import ablation
from ...look import theme
from ...page import data_sources, frame, measures, run_picker, tables
from ...state import address, reads
from ...state.navigation import page_at

ALIKE = 5


def measures_table(run: str, row: dict, activations: pd.DataFrame, means: pd.DataFrame) -> None:
    """Show every measure of the unit: its value, its rank in the layer, its formula, and the formula with its own
    values.
    """
    table = reads.store().find_units(run, Wanted(layer=row["layer"]), order="unit")
    layer, unit = table[~table["dead"]], table[table["unit"] == row["unit"]].iloc[0]
    own = _own_values(run, unit, activations, means)
    rows = []
    for name, measure in measures.MEASURES.items():
        if name not in table or pd.isna(unit[name]):
            continue
        below = (layer[name] < unit[name]).mean() if len(layer) else np.nan
        rows.append(
            {
                "measure": measure.title,
                "value": float(unit[name]),
                "above": float(100 * below),
                "how": measure.formula,
                "with its own values": own.get(name, ""),
                "range": measure.span,
                "beware": measure.beware,
            }
        )
    shown = pd.DataFrame(rows)
    tables.table(
        shown,
        column_config={
            "value": st.column_config.NumberColumn("value", format="%.3g"),
            "above": st.column_config.NumberColumn(f"above % of {len(layer)} live units", format="%.0f"),
        },
    )
    tables.downloads("numbers", shown)
    if not measures.stored(run, "unit_metrics"):
        st.caption("More measures, such as ROC AUC and d′, once they are stored:")
        st.code(f"selviz metrics {run}", language="bash", wrap_lines=True)


def _own_values(run: str, unit: pd.Series, activations: pd.DataFrame, means: pd.DataFrame) -> dict[str, str]:
    """Return the formulas with this unit's numbers in them."""
    values, show = activations["value"].to_numpy(dtype=float), numbers.number
    best = means["mean"].to_numpy(dtype=float)
    preferred = int(best.argmax())
    rest = float(np.delete(best, preferred).mean()) if len(best) > 1 else 0.0
    inside = (activations["label_index"] == preferred).to_numpy()
    other = float(values[~inside].mean()) if (~inside).any() else 0.0
    top = activations.loc[int(activations["value"].idxmax())]
    zeros = int((values == 0).sum())
    name = means["class"].iloc[preferred]
    best_classes = {}
    if measures.stored(run, "unit_metrics"):
        of_layer = reads.store().unit_metrics(run, unit["layer"]).set_index("unit").loc[unit["unit"]]
        best_classes = {name: f"class {of_layer[f'{name}_class']}" for name in measures.WITH_CLASS}
    return {
        "si": f"({show(best[preferred])} − {show(rest)}) / ({show(best[preferred])} + {show(rest)}), class {name}",
        "mean_activation": f"sum {show(float(values.sum()))} over {len(values):,} images",
        "max_activation": f"image {int(top['image'])}, class {top['label']}",
        "zero_share": f"{zeros:,} of {len(values):,} images",
        "ccmas": f"({show(best[preferred])} − {show(other)}) / ({show(best[preferred])} + {show(other)})",
        "sparseness": f"mean(μ)² = {show(float(best.mean() ** 2))}, mean(μ²) = {show(float((best**2).mean()))}, "
        f"C = {len(best)}",
    } | best_classes


def spread(activations: pd.DataFrame, names: list[str], preferred: int) -> None:
    """Show the histogram of its activations, by class."""
    tables.chart(
        "Spread of its activations",
        partial(figures.unit.activations_by_class, activations, names, preferred, theme.dark()),
        f"All {numbers.counted(len(activations), 'image')}, stacked by class in the colors above, the preferred "
        "class at the bottom: a selective unit has that class alone at its highest activations.",
        activations,
        "histogram",
    )


def outgoing(run: str, layer: str, unit: int) -> None:
    """Show which classes' logits the unit pushes."""
    max_images, note = ablation.image_limit(run)
    table = _push(reads.data(), reads.run_version(run), run, layer, unit, max_images)
    table = figures.unit.with_push_intervals(table.assign(**{"class": reads.class_names(run)}))
    tables.chart(
        "Which answers it pushes",
        partial(figures.unit.push, table, theme.dark()),
        "A bar is how much the unit raises a class's logit, averaged over images, with the 95 % interval (t) for "
        "new images: what is lost when it is silent. A hollow mark: what a small change of its map would do (gradient "
        f"times activation); where the two differ, later layers bend.{note}",
        table[["class", "removed", "removed_low", "removed_high", "slope", "slope_low", "slope_high", "images"]],
        "push",
    )


@st.cache_data(max_entries=256, show_spinner=False)
def _push(folder: str, files: tuple, run: str, layer: str, unit: int, max_images: int | None) -> pd.DataFrame:
    from selviz.ablation import push

    return push(ablation.engine(run, None, max_images), layer, unit)


def alike(run: dict, layer: str, unit: int) -> None:
    """Show the most similar units of its layer, and its match in another run."""
    st.subheader("Units like it", anchor=False)
    name = run["name"]
    own = reads.store().matrix(name, layer)
    table = _correlated(reads.data(), reads.run_version(name), name, layer, unit, name, layer)
    if table is None:
        st.markdown("A unit that never changes correlates with none.")
        return
    table = table[table["unit"] != unit].head(ALIKE)
    units = reads.store().units(name).query("layer == @layer").set_index("unit")
    st.markdown(
        f"In its layer, by correlation over {numbers.counted(len(own), 'image')}: "
        + ", ".join(_sentence(name, layer, row, units) for row in table.to_dict("records"))
        + "."
    )
    runs = reads.runs()
    same = runs[(runs["state"] == "finished") & (runs["fingerprint"] == run["fingerprint"]) & (runs["run"] != name)]
    if not len(same):
        return
    labels = run_picker.labels(same.set_index("run").to_dict("index"))
    other = address.choose("other", list(labels), next(iter(labels)), "run")
    address.widget(st.selectbox, "Its match in", list(labels), name="other", value=other, format_func=labels.get)
    with frame.show_errors():
        layers = list(reads.store().layers(other)["layer"])
        if layer not in layers:
            st.markdown(f"That network has no layer {safe_text.code(layer)}.")
            return
        match = _correlated(
            reads.data(), (reads.run_version(name), reads.run_version(other)), name, layer, unit, other, layer
        )
        units = reads.store().units(other).query("layer == @layer").set_index("unit")
        row = match.iloc[0].to_dict()
        st.markdown(
            f"Best match in its layer {safe_text.code(layer)} of {len(match)} units: "
            f"{_sentence(other, layer, row, units)}. The best of many correlates by chance and by class alone too: the "
            "Compare page gives the null."
        )
        query = {"run": other, "layer": layer, "unit": str(int(row["unit"]))}
        st.page_link(page_at("unit"), label="Open the match", icon=":material/adjust:", query_params=query)


def _sentence(run: str, layer: str, row: dict, units: pd.DataFrame) -> str:
    unit = int(row["unit"])
    about = units.loc[unit]
    likes = "dead" if about["dead"] else f"prefers {safe_text.plain(about['preferred_class'])}"
    return f"{safe_text.code(f'{layer}:{unit}')} ({likes}, r = {numbers.signed(row['correlation'], 2)})"


@st.cache_data(max_entries=256, show_spinner=False)
def _correlated(
    folder: str, files: tuple, run: str, layer: str, unit: int, other: str, other_layer: str
) -> pd.DataFrame | None:
    """Return unit, correlation (Pearson, over images) of a layer's units with one unit, highest first; None for a
    constant.
    """
    from selviz.geometry.matching import correlations

    values = reads.store().matrix(run, layer)[:, unit : unit + 1]
    correlation = correlations(values, reads.store().matrix(other, other_layer))[0]
    table = pd.DataFrame({"unit": range(len(correlation)), "correlation": correlation}).dropna()
    return table.sort_values("correlation", ascending=False, kind="stable") if len(table) else None


def provenance(run: str) -> None:
    """Show where the numbers come from."""
    folder = reads.store().run_path(run)
    try:
        record = read_json(folder / "capture.json") or {}
    except SelvizError:
        record = {}
    made = record.get("provenance", {})
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
    parts = [f"run {safe_text.code(run)}", f"captured on {made['device']}" if "device" in made else "", versions]
    parts.append(f"capture SHA-256 {safe_text.code(record['sha256'][:12])}" if "sha256" in record else "")
    st.caption("Where this comes from: " + " · ".join(filter(None, parts)))
    data_sources.details(run)
