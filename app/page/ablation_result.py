"""Draw what came of silencing: `result = overall(request)` streams the headline, then one function for each reading.

`tests(result)`, `against_controls(request, result, draws)`, `by_class(result)`, `flips(run, result)`, `confusion(...)`.
"""

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.statistics import change_interval
from selviz.text import numbers, safe_text

from ..compute import ablation
from ..compute.ablation import AblationRequest, Result
from ..look import theme, thumbnails
from ..state import address, reads
from . import tables

TILES = 32  # flipped images on one page
MAX_CLASSES = 30  # beyond it a confusion matrix is a list of its largest cells


def overall(request: AblationRequest) -> Result:
    """Draw accuracy before, after, and the change: estimates as they come, then the exact result, which is returned."""
    slot = st.empty()

    def on_estimate(estimate: Any) -> None:
        if not estimate.exact:
            with slot.container():
                _estimate(estimate)

    result = ablation.ablate(request, on_estimate)
    with slot.container():
        _exact(result)
    return result


def _cells(before: tuple[str, str], after: tuple[str, str], change: tuple[str, str]) -> None:
    names = ("Accuracy before", "Accuracy after", "Change")
    for column, name, (value, note) in zip(st.columns([1, 1, 1.3]), names, (before, after, change)):
        column.metric(name, value, delta=note, delta_color="off", delta_arrow="off")


def _estimate(estimate: Any) -> None:
    ends = {when: (getattr(estimate, f"{when}_low"), getattr(estimate, f"{when}_high")) for when in ("before", "after")}
    cells = {
        when: (
            numbers.percent(getattr(estimate, f"accuracy_{when}")),
            f"{100 * low:.1f} to {100 * high:.1f} % for this split",
        )
        for when, (low, high) in ends.items()
    }
    change = estimate.accuracy_after - estimate.accuracy_before
    _cells(
        cells["before"],
        cells["after"],
        (numbers.points(change), f"{numbers.counted(estimate.images, 'image')}"),
    )
    st.caption(
        f"Estimate from {numbers.whole(estimate.images)} of {numbers.counted(estimate.of, 'image')}, with its "
        "95 % interval for this split, which shrinks to nothing as the rest comes in."
    )


def _exact(result: Result) -> None:
    images = result["images"]
    low, high = change_interval(result["lost"], result["gained"], images)
    before, after = (
        numbers.share(result[f"accuracy_{when}"], images).replace(" ± ", "|± ").split("|")
        for when in ("before", "after")
    )
    interval = f"{numbers.signed(100 * low)} to {numbers.signed(100 * high)}"
    _cells((before[0], before[1]), (after[0], after[1]), (numbers.points(result["change"]), interval))
    st.empty()  # takes the place of the estimate's caption, which would stay until the page is done


def tests(result: Result) -> None:
    """Draw which intervals and tests the headline has."""
    images = result["images"]
    st.caption(
        f"Exact on {numbers.counted(images, 'image')}; 95 % intervals (Wilson; Agresti and Min for the change) for "
        f"new images. {numbers.counted(result['lost'], 'image')} became wrong, {result['gained']} right; McNemar's "
        f"exact test that silencing changes nothing: {numbers.p_value(result['mcnemar_p'])}. "
        f"Logit of the true class: {numbers.signed(result['true_logit_change'], 2)} on average."
        + (
            " The values that an answer starts from take more memory than the budget, so each one computes them again "
            "(more memory: SELVIZ_CACHE_GB)."
            if result["recomputed"]
            else ""
        )
    )


def against_controls(
    request: AblationRequest, result: Result, draws: int, on_progress: Callable[[str], object] = lambda message: None
) -> dict[str, Result]:
    """Draw where the chosen units rank among random sets of the same size and matched sets.

    Returns the accuracies under each kind of control set; `on_progress` gets how far they are, in words.
    """
    slot = st.empty()
    ends = {
        when: (result[f"accuracy_{when}"], result[f"{when}_low"], result[f"{when}_high"])
        for when in ("before", "after")
    }
    results: dict[str, Result] = {}
    for kind, name in figures.ablation.CONTROLS.items():
        with slot.container():
            bar = st.progress(0.0, text=f"Drawing {draws} {name}")

        def report(done: int, bar: Any = bar, name: str = name) -> None:
            bar.progress(done / draws, text=f"{done} of {draws} {name}")
            on_progress(f"{done} of {draws} {name}")

        results[kind] = ablation.control_accuracies(request, kind, draws, report)
    with slot.container():
        table = pd.DataFrame(
            [
                {"set": figures.ablation.CONTROLS[kind], "draw": number, "accuracy_after": accuracy}
                for kind, control in results.items()
                for number, accuracy in enumerate(control["accuracies"], 1)
            ],
            columns=["set", "draw", "accuracy_after"],
        )
        drawn = {kind: control["accuracies"] for kind, control in results.items()}
        tables.chart(
            "Compared with other units",
            partial(figures.ablation.against_controls, ends, drawn, theme.dark()),
            "Filled: without the chosen units. Outlined: the whole network. Gray dots: without a random set of the "
            "same size and layers; squares: without a matched set. Whiskers: 95 % Wilson intervals. Where most dots "
            "lie at a higher accuracy, these units matter more than most."
            if not request.keep
            else "Filled: with the chosen units alone in their layers. Outlined: the whole network. Gray dots: with a "
            "random set of the same size alone; squares: with a matched set alone. Whiskers: 95 % Wilson intervals. "
            "Where most dots lie at a lower accuracy, these units carry more than most.",
            table,
            "control",
        )
        for kind, control in results.items():
            st.markdown(_rank(kind, control, result["accuracy_after"]))
    return results


def _rank(kind: str, control: Result, after: float) -> str:
    name, draws = figures.ablation.CONTROLS[kind], len(control["accuracies"])
    if not draws:
        return f"No {name}: {control.get('reason', 'none were drawn')}."
    lower = sum(accuracy < after for accuracy in control["accuracies"])
    equal = sum(accuracy == after for accuracy in control["accuracies"])
    test = f"Rank test, two-sided, that it is one more of the {name}: {numbers.p_value(control['p'])}"
    least = f"the smallest p that {draws} draws can give is {control['smallest']:.3f}"
    return f"{lower} of {draws} {name} break more, {equal} as much: quantile {control['quantile']:.2f}. " + (
        f"{test}; {least}." if control["p"] > control["smallest"] else f"{test} ({least})."
    )


def by_class(result: Result) -> None:
    """Show accuracy of each class before and after: a unit that barely moves the whole can break one class."""
    class_chart(result)
    st.markdown(class_tests(result))


def class_chart(result: Result) -> None:
    """Draw accuracy of each class before and after."""
    table = pd.DataFrame(result["per_class"])
    table["class_index"] = range(len(table))
    tables.chart(
        "Class by class",
        partial(figures.ablation.before_and_after, table, theme.dark()),
        "Outlined: before. Filled: after. Whiskers: 95 % Wilson intervals for new images.",
        table[
            ["class", "images", "before", "after", "change", "lost", "gained", "mcnemar_p_holm", "true_logit_change"]
        ],
        "classes",
    )


def class_tests(result: Result) -> str:
    """Return which classes change, by test."""
    table = pd.DataFrame(result["per_class"])
    moved = table[table["mcnemar_p_holm"] < 0.05].sort_values("mcnemar_p_holm")
    if len(moved):
        sentence = ", ".join(
            f"{safe_text.plain(row['class'])} ({numbers.points(row['change'])}, "
            f"{numbers.p_value(row['mcnemar_p_holm'])})"
            for row in moved.head(5).to_dict("records")
        )
        return f"Classes that change (McNemar's exact test, Holm-corrected over {len(table)} classes): {sentence}."
    return f"No class changes significantly (McNemar's exact test, Holm-corrected over {len(table)} classes, 5 %)."


def flips(run: str, result: Result) -> None:
    """Show the images whose answer turned wrong or right, with both predictions."""
    table = pd.DataFrame(result["flips"], columns=["image", "label", "before", "after", "lost"])
    lost = table["lost"].astype(bool)
    for column, title, shown, name in zip(
        st.columns([3, 2], gap="large"),
        ("Became wrong", "Became right"),
        (table[lost], table[~lost]),
        ("lost", "gained"),
    ):
        with column:
            _tiles(run, f"{title}: {numbers.counted(len(shown), 'image')}", shown, name)
    if len(table):
        st.caption("Under each image: its class, what it was taken for before, and what it is taken for now.")


def _tiles(run: str, title: str, table: pd.DataFrame, name: str) -> None:
    st.subheader(title, anchor=False)
    pages = max(1, -(-len(table) // TILES))
    page = address.integer(name, 1, pages, 1, "page")
    if pages > 1:
        options = {"min_value": 1, "max_value": pages, "step": 1, "default": 1, "width": 150}
        address.widget(st.number_input, f"Page, 1 to {pages}", name=name, value=page, **options)
    rows = table.iloc[(page - 1) * TILES : page * TILES].to_dict("records")
    names, stored = reads.class_names(run), reads.store().thumbnails(run, [row["image"] for row in rows])
    tiles = []
    for row in rows:
        label, before, after = (names[row[key]] for key in ("label", "before", "after"))
        tiles.append(tile(stored[row["image"]], row["image"], label, before, after))
    if tiles:
        st.html(in_rows(tiles, names))


def in_rows(tiles: list[str], names: list[str]) -> str:
    """Return tiles in rows, as HTML; each is as wide as the longest word of the classes' names, within reason."""
    longest = max((len(word) for name in names for word in name.split()), default=0)
    wide = f"clamp(4.2rem, {0.82 * (longest + 1):.1f}ch, 14rem)"
    return f'<div class="selviz-tiles" style="--tile: {wide}">{"".join(tiles)}</div>'


def tile(picture: bytes, image: int, label: str, before: str, after: str) -> str:
    """Return an image that changed sides as HTML, under it the whole names of its class and of both answers."""
    caption = f"image {image}, class {label}: taken for {before} before, for {after} after"
    return (
        f'<figure title="{html.escape(caption)}">{thumbnails.tag(picture, caption)}'
        f"<figcaption>{html.escape(f'{label}: {before} → {after}')}</figcaption></figure>"
    )


def confusion(run: str, result: Result) -> None:
    """Show which classes are taken for which: before or after, and the difference."""
    names = reads.class_names(run)
    counts = {when: np.array(table) for when, table in result["confusion"].items()}
    true, predicted = np.indices(counts["before"].shape).reshape(2, -1)
    cells = pd.DataFrame(
        {
            "class": [names[index] for index in true],
            "taken for": [names[index] for index in predicted],
            **{when: table.ravel() for when, table in counts.items()},
        }
    )
    cells = cells[(cells["before"] > 0) | (cells["after"] > 0)]
    if len(names) > MAX_CLASSES:
        st.subheader("Answers that changed most", anchor=False)
        order = cells["difference"].abs().sort_values(ascending=False, kind="stable").index
        tables.table(cells.loc[order].head(100))
        tables.downloads("confusion", cells.loc[order])
        st.caption(f"Numbers of images; the 100 cells that changed most of the {len(names)} by {len(names)} matrix.")
        return
    when = address.segmented("Confusion", {"after": "after", "before": "before"}, "when", label_visibility="collapsed")
    for column, part, title, how in zip(
        st.columns(2, gap="large"),
        (when, "difference"),
        (f"Which classes are taken for which, {when}", "What changed"),
        (
            "Numbers of images. The diagonal holds the right answers and is left uncolored.",
            "Numbers of images, after minus before. Purple: right answers lost, and mistakes gained.",
        ),
    ):
        with column:
            figure = partial(figures.ablation.confusion, counts[part], names, part == "difference", theme.dark())
            tables.chart(title, figure, how, cells, f"confusion-{part}")
