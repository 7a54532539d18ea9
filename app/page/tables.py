"""Tables and charts with what stands behind them: `table(rows)`, `chart(title, figure, how, behind, key)`."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pandas as pd
import streamlit as st

from app.look import theme
from app.page import export, frame, save_buttons
from selviz import __version__

SHARES = ("test_accuracy", "low_share", "high_share", "before", "after", "change", "change_low", "change_high")
SHARES += ("accuracy_after", "zero_share")
NUMBERS = {
    "test_accuracy": ("test accuracy, %", "%.1f"),
    "low_share": ("from, %", "%.1f"),
    "high_share": ("to, %", "%.1f"),
    "before": ("before, %", "%.1f"),
    "after": ("after, %", "%.1f"),
    "change": ("change, points", "%+.1f"),
    "change_low": ("from, points", "%+.1f"),
    "change_high": ("to, points", "%+.1f"),
    "p_holm": ("p, Holm", "%.3g"),
    "correlation": ("correlation", "%.2f"),
    "match_si": ("SI", "%.2f"),
    "null_within": ("null within classes", "%.2f"),
    "null_all": ("null", "%.2f"),
    "accuracy_after": ("accuracy after, %", "%.1f"),
    "zero_share": ("zeros, %", "%.1f"),
    "si": ("SI", "%.2f"),
    "mean_si": ("mean SI", "%.3f"),
    "mean_si_live": ("mean SI, live units", "%.3f"),
    "null_mean": ("null mean", "%.3f"),
    "null_p95": ("null 95 %", "%.3f"),
    "mean_activation": ("mean activation", "%.3g"),
}


def downloads(name: str, behind: pd.DataFrame, figure=None, title: str = "", how: str = "") -> None:
    """Buttons that save the table as CSV and Parquet, and the figure as SVG, PNG and an interactive page.

    A file is made when it is asked for.
    """
    about = origin()
    stem = export.name(name, *st.query_params.to_dict().values(), suffix="")
    kinds = [
        ("CSV", ".csv", "text/csv", partial(export.csv, behind), None),
        ("Parquet", ".parquet", "application/vnd.apache.parquet", partial(export.parquet, behind, about), None),
    ]
    if figure is not None:
        make = partial(export.page, figure, title, how, about, theme.dark(), stem)
        why = f"A page that opens without a network ({export.PAGE_MEGABYTES} MB): point at the figure for its values."
        kinds.append(("HTML", ".html", "text/html", make, why))
    with st.container(horizontal=True, gap="small", width="content", vertical_alignment="center"):
        for kind, suffix, mime, make, why in kinds:
            key = f"save-{name}{suffix}"
            st.download_button(kind, make, stem + suffix, mime, key, why, on_click="ignore", icon=":material/download:")
        if figure is not None:
            save_buttons.pictures(
                export.alone(figure, theme.dark()),
                export.told(title, how, about, theme.dark(), stem),
                f"pictures-{name}",
            )


def saving(name: str, behind: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
    """A box with the buttons that save a table, or one that is made when the box is opened."""
    with frame.popover("Save", ":material/download:", f"saving-{name}") as opened:
        if opened:
            downloads(name, behind() if callable(behind) else behind)


def origin() -> dict[str, str]:
    """Where what is on screen comes from, for the files that take it away."""
    written = datetime.now(UTC).isoformat(timespec="seconds")
    return {"selviz": __version__, "address": frame.link(), "written": written, "citation": export.citation()}


def chart(title: str, figure, how: str, behind: pd.DataFrame, key: str, on_select=None, selection_mode="points"):
    """A chart, its title, the table behind it, and one line of how to read it; gives the selection if `on_select`."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False, width="stretch")
        with frame.popover("Table", ":material/table:", f"table-{key}") as opened:
            if opened:
                table(behind)
                downloads(key, behind, figure, title, how)
    options = {} if on_select is None else {"on_select": on_select, "selection_mode": selection_mode}
    event = st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=f"{title}. {how}", **options)
    st.caption(how)
    return event


def table(rows: pd.DataFrame, **options):
    """A table with the heads and formats that all pages use; shares 0..1 are shown in per cent."""
    shares = {name: 100 * rows[name].astype(float) for name in SHARES if name in rows}
    heads = {name: st.column_config.NumberColumn(head, format=form) for name, (head, form) in NUMBERS.items()}
    heads |= dict.fromkeys(("preferred_class", "match_class"), "prefers")
    options["column_config"] = {**heads, **options.get("column_config", {})}
    return st.dataframe(rows.assign(**shares), hide_index=True, **{"placeholder": "–", **options})
