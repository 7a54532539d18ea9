"""What silencing units does, as pages show it: `result = outcome(run, units, "zero", fold, draws=20)`.

Results are cached by run, units, mode and fold; nothing in the shared network is changed, so visitors do not meet.
"""

import pandas as pd
import streamlit as st

from app import charts, common, links, wording
from selviz.statistics import change_interval, rank_among
from selviz.store import Store

PART = 20


@st.cache_resource
def _memory():
    """What all engines of this process hold together is bounded."""
    from selviz.ablation import BoundaryCache

    return BoundaryCache()


@st.cache_resource(max_entries=8, show_spinner=False, on_release=lambda engine: engine.close())
def _engine(folder: str, files: tuple, run: str, fold: int | None):
    from selviz.pipeline import open_engine

    return open_engine(Store(folder), run, fold, _memory(), common.network(run))


@st.cache_data(max_entries=512, show_spinner=False)
def _outcome(
    folder: str, files: tuple, run: str, units: str, mode: str, fold: int | None, draws: int, seed: int
) -> dict:
    from selviz.pipeline import run_ablation

    engine = _engine(folder, files, run, fold)
    chosen, _ = links.text_to_units(units, {layer.name: layer.units for layer in engine.network.layers})
    return run_ablation(
        Store(folder), run, chosen, mode=mode, fold=fold, draws=draws, seed=seed, engine=engine, matched=0
    )


def outcome(run: str, units: dict, mode: str, fold: int | None, draws: int = 0, seed: int = 0) -> dict:
    """What `selviz.pipeline.run_ablation` gives, cached."""
    return _outcome(common.data(), common.stamp(run), run, links.units_to_text(units), mode, fold, draws, seed)


def control(run: str, units: dict, mode: str, fold: int | None, draws: int) -> dict:
    """The accuracies without `draws` random sets, and the rank of the chosen one among them (`statistics.Rank`).

    They come in parts under a progress bar, so that a visitor who changes the selection meanwhile does not wait for the
    rest. The first part is what the command line draws.
    """
    accuracies: list[float] = []
    bar = st.progress(0.0, text=f"Silencing {draws} random sets")
    while len(accuracies) < draws:
        part = outcome(run, units, mode, fold, min(PART, draws - len(accuracies)), seed=len(accuracies) // PART)
        accuracies += part["control"]["accuracies"]
        bar.progress(len(accuracies) / draws, text=f"{len(accuracies)} of {draws} random sets")
    bar.empty()
    after = outcome(run, units, mode, fold)["accuracy_after"]
    return {"accuracies": accuracies, **rank_among(after, accuracies)._asdict()}


def overall(result: dict) -> None:
    """Accuracy before, after, and the change with its interval and test."""
    images, change = result["images"], result["change"]
    low, high = change_interval(result["lost"], result["gained"], images)
    columns = st.columns([1, 1, 1.3])
    for column, when in zip(columns, ("before", "after")):
        value, half = wording.share(result[f"accuracy_{when}"], images).split(" ± ")
        column.metric(f"Accuracy {when}", value, delta=f"± {half}", delta_color="off", delta_arrow="off")
    columns[2].metric(
        "Change",
        wording.points(change),
        delta=f"{wording.signed(100 * low)} to {wording.signed(100 * high)}",
        delta_color="off",
        delta_arrow="off",
    )
    st.caption(
        f"Exact on {wording.counted(images, 'image')}; 95 % intervals (Wilson; Agresti and Min for the change) for "
        f"new images. {wording.counted(result['lost'], 'image')} became wrong, {result['gained']} right; McNemar's "
        f"exact test that silencing changes nothing: {wording.p_value(result['mcnemar_p'])}."
    )


def against_random(result: dict, control: dict) -> None:
    """Where the chosen units rank among random sets of the same size."""
    ends = {
        when: (result[f"accuracy_{when}"], result[f"{when}_low"], result[f"{when}_high"])
        for when in ("before", "after")
    }
    table = pd.DataFrame({"random set": range(1, control["draws"] + 1), "accuracy_after": control["accuracies"]})
    common.chart(
        "Compared with random units",
        charts.against_random({**ends, "draws": control["accuracies"]}, common.dark()),
        "Filled: without the chosen units. Outlined: the whole network. Grey dots: without as many random units of the "
        "same layers. Whiskers: 95 % Wilson intervals. Left of most dots: these units matter more than most.",
        table,
        "control",
    )
    lower = sum(accuracy < result["accuracy_after"] for accuracy in control["accuracies"])
    least = " (the smallest that so many draws can give)" if control["p"] <= control["smallest"] else ""
    st.markdown(
        f"{lower} of {control['draws']} random sets break more: quantile {control['quantile']:.2f}. "
        f"Rank test, two-sided, that it is one more random set: {wording.p_value(control['p'])}{least}. "
        + ("" if least else f"The smallest p that {control['draws']} draws can give is {control['smallest']:.3f}.")
    )


def by_class(result: dict) -> None:
    """Accuracy of each class before and after: a unit that barely moves the whole can break one class."""
    table = pd.DataFrame(result["per_class"])
    table["class_index"] = range(len(table))
    common.chart(
        "Class by class",
        charts.before_and_after(table, common.dark()),
        "Outlined: before. Filled: after. Whiskers: 95 % Wilson intervals for new images.",
        table[["class", "images", "before", "after", "change", "lost", "gained"]],
        "classes",
    )


def effect(run: str, layer: str, unit: int) -> None:
    """What silencing this one unit changes, and the way to the page that tells more."""
    st.subheader("What breaks without it", anchor=False)
    result = outcome(run, {layer: [unit]}, "zero", None)
    classes = pd.DataFrame(result["per_class"]).dropna(subset="change")
    most = classes.loc[classes["change"].abs().idxmax()]
    st.markdown(
        f"Accuracy goes from {wording.percent(result['accuracy_before'])} to "
        f"{wording.share(result['accuracy_after'], result['images'])}: {wording.points(result['change'])}, "
        f"McNemar's exact test {wording.p_value(result['mcnemar_p'])}. "
        + (
            f"Most changed class: {wording.plain(most['class'])}, {wording.points(most['change'])} "
            f"({wording.counted(most['images'], 'image')})."
            if most["change"]
            else "No class changes."
        )
    )
    st.page_link(
        "views/ablation.py",
        label="Silence it on the Ablation page, beside random units",
        icon=":material/content_cut:",
        query_params={"run": run, "layer": layer, "silence": links.units_to_text({layer: [unit]})},
    )
