"""Tables and figures as files to take away: `csv(table)`, `parquet(table, about)`, `page(figure, title, how, about)`.

`about` says where the numbers come from: {"selviz": version, "address": ..., "written": ..., "citation": ...}. Parquet
holds it in its metadata and a figure's page shows it. CSV has no place for it, so that every program can read it.
"""

import copy
import html
import io
import json
import re
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from selviz.figures import colors
from selviz.text.safe_text import spreadsheet_cell
from selviz.text.tables import plain

CITATION = Path(__file__).resolve().parents[2] / "CITATION.cff"
PAGE_MEGABYTES = 4.8  # nearly all of it plotly.js, without which the page would need a network
SCRIPT = (Path(__file__).resolve().parent / "figure.js").read_text(encoding="utf-8")
FONT = "system-ui, sans-serif"  # a picture cannot bring its own
PAGE = Template((Path(__file__).resolve().parent / "figure.html").read_text(encoding="utf-8"))
BACKGROUND = {False: "#ffffff", True: "#0e1117"}


def citation() -> str:
    """Return how to cite selviz and the work that it rests on, one line, from CITATION.cff."""
    installed = "licenses/CITATION.cff"  # in a wheel's metadata
    text = CITATION.read_text(encoding="utf-8") if CITATION.exists() else distribution("selviz").read_text(installed)
    own, *others = re.split(r"^references:|^  - type:", text or "", flags=re.M)
    lines = [f"{_field(own, 'name')}: {_field(own, 'title')}, version {_field(own, 'version')}."]
    for other in filter(str.strip, others):
        names = " & ".join(re.findall(r"family-names: (.*)", other))
        lines.append(f"Methods: {names} {_field(other, 'year')}, {_field(other, 'title')}, {_field(other, 'url')}.")
    return " ".join(lines)


def _field(text: str, name: str) -> str:
    return re.search(rf'^[ -]*{name}: "?(.*?)"?$', text, re.M)[1]


def name(*parts: str, suffix: str) -> str:
    """Return a file's name that every system takes: `selviz-units-mnist-5k-cnn.csv`."""
    words = [re.sub(r"[^A-Za-z0-9._+=-]+", "-", part).strip("-.") for part in ("selviz", *parts)]
    return "-".join(filter(None, words))[:150] + suffix


def arrow(table: pd.DataFrame) -> pa.Table:
    """Return the table in Arrow's types, whatever it holds; what has no type becomes text, and no two columns
    share a name.
    """
    names: list[str] = []
    columns = []
    for position, head in enumerate(map(str, table.columns)):
        count = 2
        unique = head
        while unique in names:
            unique, count = f"{head}_{count}", count + 1
        names.append(unique)
        columns.append(_column(table.iloc[:, position]))
    return pa.Table.from_arrays(columns, names=names)


def _column(values: pd.Series) -> pa.Array:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def csv(table: pd.DataFrame) -> bytes:
    """Return UTF-8 with a head; lists and the like as JSON, missing values empty, nothing a spreadsheet would run."""
    flat = table.copy()
    flat.columns = arrow(table.head(0)).column_names
    for column in flat.columns:
        if isinstance(flat[column].dtype, pd.CategoricalDtype):
            flat[column] = flat[column].astype(flat[column].cat.categories.dtype)
        if flat[column].dtype == object:
            flat[column] = flat[column].map(_text, na_action="ignore")
        if pd.api.types.is_string_dtype(flat[column]):
            flat[column] = flat[column].map(spreadsheet_cell, na_action="ignore")
    return flat.to_csv(index=False, header=[spreadsheet_cell(head) for head in flat.columns]).encode()


def _text(value: object) -> str:
    if isinstance(value, dict | list | tuple | np.ndarray):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(plain(value))


def parquet(table: pd.DataFrame, about: dict[str, str]) -> bytes:
    """Return Parquet, with `about` in the metadata under keys that begin with `selviz.`."""
    stored = arrow(table)
    buffer = io.BytesIO()
    pa.parquet.write_table(
        stored.replace_schema_metadata({f"selviz.{key}": value for key, value in about.items()}), buffer
    )
    return buffer.getvalue()


def page(figure: Any, title: str, how: str, about: dict[str, str], dark: bool = False, stem: str = "") -> bytes:
    """Return the figure as a page of its own: interactive, without a network, with buttons that save it as SVG and PNG.

    Whatever `about` says stands under the figure.
    """
    body = alone(figure, dark).to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id="figure",
        config={"displaylogo": False, "responsive": True},
    )
    # so that no text ends the script
    facts = json.dumps(save_facts(title, how, about, dark, stem)).replace("<", "\\u003c")
    return PAGE.substitute(
        title=html.escape(title),
        ink=colors.INK[dark],
        background=BACKGROUND[dark],
        figure=body,
        how=html.escape(how),
        about="".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in about.items()),
        facts=facts,
        script=SCRIPT,
    ).encode()


def alone(figure: Any, dark: bool = False) -> Any:
    """Return the figure as it looks without the dashboard around it; the one that is given stays as it is."""
    color = {"paper_bgcolor": BACKGROUND[dark], "plot_bgcolor": BACKGROUND[dark]}
    free = copy.deepcopy(figure).update_xaxes(fixedrange=False).update_yaxes(fixedrange=False)
    look = {"template": "plotly_dark" if dark else "plotly_white", "dragmode": "zoom", "font": {"family": FONT}}
    return free.update_layout(**look, **color)


def save_facts(
    title: str, how: str, about: dict[str, str], dark: bool = False, stem: str = ""
) -> dict[str, str | list[str]]:
    """Return what figure.js writes beside a figure that it saves as SVG or PNG, and what the file is called."""
    lines = [f"{key}: {value}" for key, value in about.items()]
    return {
        "stem": stem or name(title, suffix=""),
        "title": title,
        "about": lines,
        "desc": "\n".join([how, *lines]),
        "ink": colors.INK[dark],
        "background": BACKGROUND[dark],
        "font": FONT,
    }
