"""The pieces of the Early training page: SI over epochs by layer and unit, units rising and falling, silencing."""

import dataclasses
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from selviz import figures
from selviz.config import RunConfig
from selviz.store import read_json
from selviz.text import numbers, safe_text

from ...compute import jobs
from ...look import theme
from ...page import job_panels, run_picker, tables
from ...state import address, reads

STEP = 0.02  # a smaller change of SI counts as none
MOST = 6


def stored(run: str, stage: str) -> bool:
    """Return whether the run has a stage."""
    return (reads.store().run_path(run) / f"{stage}.duckdb").exists()


def with_snapshots(about: dict) -> str | None:
    """Return the run itself where it was looked at while it learned, else one of the same settings that was."""
    if stored(about["name"], "snapshots"):
        return str(about["name"])
    table = reads.runs()
    if about.get("kind") == "imported" or "snapshots" not in table:
        return None
    own = _settings(about)
    rows = table[(table["state"] == "finished") & (table["snapshots"].fillna(0) > 0)].to_dict("records")
    return next((row["run"] for row in rows if _settings(row) == own and stored(row["run"], "snapshots")), None)


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run without its snapshots, defaults filled in."""
    fields = {field.name: field.default for field in dataclasses.fields(RunConfig) if field.name != "snapshots"}
    values = {name: row.get(name) for name in fields}
    return {name: fields[name] if value is None or pd.isna(value) else value for name, value in values.items()}


def missing(about: dict) -> None:
    """Say that the network was not looked at while it learned, and draw the button that trains it once more."""
    run = safe_text.code(about["name"])
    if about.get("kind") == "imported":
        st.info(
            f"{run} was trained elsewhere, so nobody looked at it while it learned.", icon=":material/visibility_off:"
        )
        return
    st.info(
        f"{run} was trained without snapshots, so only its epochs as a whole are known. The same network can be "
        "trained once more, with four looks an epoch; this one stays.",
        icon=":material/visibility_off:",
    )
    settings = read_json(reads.store().run_path(about["name"]) / "config.json") or {}
    study = jobs.training_with_snapshots(reads.data(), settings)
    if study is None:
        return
    job_panels.begin_button("Train it with snapshots", study, "train-snapshots", primary=True)
    st.caption("Or in a shell:")
    st.code(study.shell(), language="bash", wrap_lines=True)


def layers(run: str) -> None:
    """Show mean SI of each layer over training."""
    table = reads.store().snapshot_layers(run)
    images = int(reads.store().snapshots(run)["images"].iloc[0])
    tables.chart(
        "Selectivity of each layer",
        partial(figures.training.layers_over_time, table, theme.dark()),
        f"Mean SI of live units on {numbers.counted(images, 'evaluation image')}, from the untrained network on. "
        "Dotted: the 95th percentile of what shuffled labels give at that moment; at its dotted line a layer is no "
        "more selective than chance.",
        table,
        "early-layers",
    )


def trajectories(run: str, layer: str) -> None:
    """Show every unit of one layer over training."""
    units = reads.store().snapshot_units(run, layer)
    count = units["unit"].nunique()
    cut = f" The {figures.training.MOST_LINES} most selective of {count} are drawn." if count > 128 else ""
    tables.chart(
        f"The units of {layer}",
        partial(figures.training.unit_trajectories, units, reads.class_names(run), theme.dark()),
        f"A line is a unit, in the color of the class that it prefers at the end.{cut} Point at one for its number.",
        units,
        "early-units",
    )


def movements(units: pd.DataFrame) -> pd.DataFrame:
    """Share 0..1 of units whose SI rose, and fell, since the moment before; columns done, rising, falling.

    A unit counts where it was live at either of the two moments. `units` has columns done, layer, unit, si, dead.
    """
    wide = units.pivot_table(index=["layer", "unit"], columns="done", values="si")
    live = ~units.astype({"dead": bool}).pivot_table(index=["layer", "unit"], columns="done", values="dead").astype(
        bool
    )
    rows = []
    for before, after in zip(wide.columns[:-1], wide.columns[1:]):
        change = (wide[after] - wide[before])[live[before] | live[after]]
        rows.append({"done": after, "rising": (change > STEP).mean(), "falling": (change < -STEP).mean()})
    return pd.DataFrame(rows, columns=["done", "rising", "falling"])


def rising(run: str, layer: str) -> None:
    """Show how many units of one layer became more selective, and less."""
    shares = movements(reads.store().snapshot_units(run, layer))
    if shares.empty:
        st.caption("There is one moment only, so nothing rose or fell.")
        return
    tables.chart(
        "Rising and falling",
        partial(figures.training.rising_and_falling, shares, theme.dark()),
        f"Share of the layer's live units whose SI rose (up) or fell (down) by over {STEP} since the moment before.",
        shares,
        "early-rising",
    )


def silencing(run: str) -> None:
    """Show ablation curves at the weights after chosen epochs."""
    st.subheader("Did selective units matter early?", anchor=False)
    if not stored(run, "early"):
        job_panels.study(
            run,
            "early",
            "Silences more and more units of the network as it was after the first two epochs, in the middle and at "
            "the end: the most selective first, the least selective first, and in ten random orders.",
        )
        return
    table, areas = reads.store().early_curves(run), reads.store().early_areas(run)
    epochs = [str(epoch) for epoch in sorted(table["epoch"].unique())]
    epoch = int(address.segmented("After epoch", {e: f"epoch {e}" for e in epochs}, "epoch"))
    left, right = st.columns([3, 2], gap="large")
    with left:
        part = table[table["epoch"] == epoch]
        tables.chart(
            f"Removing units after epoch {epoch}",
            partial(figures.ablation.removal_curves, part, theme.dark()),
            f"Accuracy on fold 1 ({numbers.counted(int(part['images'].iloc[0]), 'image')}) while the same share of "
            "every layer is silent, ranked by SI on fold 0. Gray: random orders, their mean and range.",
            part,
            "early-curves",
        )
    with right:
        rows = []
        for number, areas_of_epoch in areas.groupby("epoch"):
            by = {direction: part["area"] for direction, part in areas_of_epoch.groupby("direction")}
            selective_first, random = float(by["descending"].iloc[0]), by["random"]
            rows.append(
                {
                    "epoch": int(number),
                    "most selective first": selective_first,
                    "least selective first": float(by["ascending"].iloc[0]),
                    "random, mean": float(random.mean()),
                    "random, range": f"{random.min():.3f} to {random.max():.3f}",
                    "more harmful than": f"{(random > selective_first).sum()} of {len(random)}",
                }
            )
        st.markdown("**Mean accuracy along each curve**")
        form = {name: st.column_config.NumberColumn(format="%.3f") for name in list(rows[0])[1:4]}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=form)
        st.caption(
            "The last column: how many of the random orders are less harmful than silencing the most selective units "
            f"first. Other epochs: `selviz early {run} --epochs 1,3`."
        )


def comparison(run: str) -> None:
    """Show other networks of the same kind, epoch by epoch: for instance alpha from the start against alpha from
    epoch 5.
    """
    table = reads.runs()
    table = table[(table["state"] == "finished") & (table["epochs"] > 0)]
    about = table[table["run"] == run]
    if about.empty:
        return
    same = table[(table["dataset"] == about["dataset"].iloc[0]) & (table["model"] == about["model"].iloc[0])]
    rows = same.set_index("run").to_dict("index")
    requested = [name for name in address.get("beside").split(",") if name in rows and name != run][: MOST - 1]
    st.subheader("Next to other networks", anchor=False)
    address.widget(
        st.multiselect,
        "Networks of the same kind",
        [name for name in rows if name != run],
        name="beside",
        value=requested,
        default=[],
        text=",".join,
        format_func=run_picker.labels(rows).get,
        max_selections=MOST - 1,
        placeholder="None chosen",
    )
    parts = []
    for name in [run, *requested]:
        row = rows[name]
        parts.append(reads.store().epochs(name).assign(run=name, alpha=row["alpha"], told=label(row)))
    epochs = pd.concat(parts)
    left, right = st.columns(2, gap="large")
    for place, column, title in (
        (left, "mean_si_live", "Selectivity"),
        (right, "test_accuracy", "Accuracy"),
    ):
        with place:
            tables.chart(
                f"{title} epoch by epoch",
                partial(figures.training.networks_over_time, epochs, column, theme.dark()),
                "A line is one network, in the color of its alpha, after each epoch on the evaluation images.",
                epochs[["run", "alpha", "epoch", column]],
                f"early-{column}",
            )
    st.caption(
        "To suppress selectivity from the start in one network and from epoch 5 on in another: "
        "`selviz sweep --model cnn --dataset mnist-5k --alphas=-20 --alpha-from 1,5 --snapshots 4`"
    )


def label(row: dict) -> str:
    """Return a run beside its line: alpha, and its schedule where it has one."""
    text = numbers.run(row)
    first, last, ramp = (row.get(name) for name in ("alpha_from", "alpha_until", "alpha_ramp"))
    text += f" from epoch {int(first)}" if not numbers.missing(first) and first > 1 else ""
    text += f" until epoch {int(last)}" if not numbers.missing(last) and last > 0 else ""
    text += f", ramp {int(ramp)}" if not numbers.missing(ramp) and ramp > 0 else ""
    return text if numbers.missing(row["seed"]) or pd.isna(row["seed"]) else f"{text}, seed {int(row['seed'])}"
