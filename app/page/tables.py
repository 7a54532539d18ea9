"""Tables and charts with what stands behind them: `table(rows)`, `chart(title, partial(tuning, means, dark), ...)`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import streamlit as st

from selviz import __version__
from selviz.store.schema import Head, heads

from ..look import theme
from . import drawn_figures, export, frame, save_buttons

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEADS = {  # of columns that pages compute; those of stored columns are declared in `selviz.store.schema`
    "low_share": Head("from, %", "%.1f", percent=True),
    "high_share": Head("to, %", "%.1f", percent=True),
    "change_low": Head("from, points", "%+.1f", percent=True),
    "change_high": Head("to, points", "%+.1f", percent=True),
    "p_holm": Head("p, Holm", "%.3g"),
    "correlation": Head("correlation", "%.2f"),
    "match_si": Head("SI", "%.2f"),
    "match_class": Head("prefers"),
    "null_within": Head("null within classes", "%.2f"),
    "null_all": Head("null", "%.2f"),
    "accuracy_after": Head("accuracy after, %", "%.1f", percent=True),
    **heads(),
}


def downloads(name: str, behind: pd.DataFrame, figure: Any = None, title: str = "", how: str = "") -> None:
    """Show buttons that save the table as CSV and Parquet, and the figure as SVG, PNG and an interactive page.

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
        kinds.insert(0, ("HTML", ".html", "text/html", make, why))
    with st.container(horizontal=True, gap="small", width="content", vertical_alignment="center"):
        if figure is not None:
            save_buttons.pictures(
                export.alone(figure, theme.dark()),
                export.save_facts(title, how, about, theme.dark(), stem),
                f"pictures-{name}",
            )
        for kind, suffix, mime, make, why in kinds:
            key = f"save-{name}{suffix}"
            st.download_button(kind, make, stem + suffix, mime, key, why, on_click="ignore", icon=":material/download:")


def saving(name: str, behind: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
    """Show a box with the buttons that save a table, or one that is made when the box is opened."""
    with frame.popover("Save", ":material/download:", f"saving-{name}") as opened:
        if opened:
            downloads(name, behind() if callable(behind) else behind)


def origin() -> dict[str, str]:
    """Return where what is on screen comes from, for the files that take it away."""
    written = datetime.now(UTC).isoformat(timespec="seconds")
    return {"selviz": __version__, "address": frame.link(), "written": written, "citation": export.citation()}


def chart(
    title: str,
    make: "partial[go.Figure]",
    how: str,
    behind: pd.DataFrame,
    key: str,
    on_select: Callable[[], object] | Literal["rerun"] | None = None,
    selection_mode: str | Sequence[str] = "points",
) -> Any:
    """Draw the figure that `make` returns, its title, the table behind it, and one line of how to read it; return the
    selection if `on_select`.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False, width="stretch")
        with frame.popover("Table and figure", ":material/table:", f"table-{key}") as opened:
            if opened:
                downloads(key, behind, make(), title, how)
                table(behind)
    options = {} if on_select is None else {"on_select": on_select, "selection_mode": selection_mode}
    spec = drawn_figures.spec(make, theme.dark())
    height = int(spec["layout"].get("height") or 450)
    with st.container(key=f"room-{-(-height // 10) * 10}-{key}"):  # so that nothing moves when the chart is drawn
        event = st.plotly_chart(
            drawn_figures.CheckedFigure(spec),
            key=key,
            config={"displayModeBar": False},
            alt=f"{title}. {how}",
            height=height,
            **options,
        )
    st.caption(how)
    return event


def table(rows: pd.DataFrame, **options: Any) -> Any:
    """Return a table with the heads and formats that all pages use; shares 0..1 are shown in per cent."""
    shares = {name: 100 * rows[name].astype(float) for name, head in HEADS.items() if head.percent and name in rows}
    titles = {
        name: st.column_config.NumberColumn(head.title, format=head.format) if head.format else head.title
        for name, head in HEADS.items()
    }
    options["column_config"] = {**titles, **options.get("column_config", {})}
    return st.dataframe(rows.assign(**shares), hide_index=True, **{"placeholder": "–", **options})
