"""What a run's files hold, declared once: `STAGES["atlas"]`, `TABLES["units"]`, `column_meaning("units", "si")`.

A stage is a module here. To add a column to a table, declare it there and write it in the stage's study; the SQL view,
the checks, the Data page and, where it has a `Measure`, the Network page follow.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from selviz.config import SETTINGS
from selviz.store.schema import (
    ablation,
    atlas,
    capture,
    dimensionality,
    early,
    images,
    linear_maps,
    metrics,
    robustness,
    sanity,
    similarity,
    snapshots,
    training,
    unit_map,
    unit_metrics,
)
from selviz.store.schema.common_columns import HEADS, MEANINGS
from selviz.store.schema.declaration import Column, Derived, Head, Measure, Stage, Table
from selviz.store.schema.listing import HYPOTHESES, RUNS

__all__ = [
    "STAGES",
    "TABLES",
    "Column",
    "Head",
    "Measure",
    "Stage",
    "Table",
    "UnitMeasure",
    "column_meaning",
    "heads",
    "stage_of",
    "stages_read",
    "stored_columns",
    "table_meaning",
    "unit_measures",
    "view_query",
]

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (
        training,
        capture,
        metrics,
        ablation,
        atlas,
        unit_metrics,
        unit_map,
        similarity,
        linear_maps,
        sanity,
        snapshots,
        robustness,
        dimensionality,
        early,
        images,
    )
}
TABLES: dict[str, Table] = {
    table.name: table for stage in STAGES.values() for table in stage.tables if not table.hidden
}  # those that readers see, as views


class UnitMeasure(NamedTuple):
    """A measure of units: stage and table that hold it, and its SQL value, in which `t` is that table."""

    stage: str
    table: str
    value: str
    optional: bool
    measure: Measure


def stage_of(table: str) -> Stage:
    """Return the stage whose file holds the table that readers see as `table`."""
    return next(stage for stage in STAGES.values() if TABLES[table] in stage.tables)


def stages_read(table: str) -> tuple[str, ...]:
    """Return the stages whose files the view `table` reads, its own first."""
    declared = TABLES[table]
    names = [stage_of(table).name, *declared.joined]
    if any(column.name == "layer" for column in declared.columns):
        names.append("capture")
    if any(column.is_class for column in declared.columns):
        names.append("images")
    return tuple(dict.fromkeys(names))


def stored_columns(stage: str, optional: bool = True) -> dict[str, dict[str, str]]:
    """Return {table: {column: DuckDB type}} of a stage's file; {} for a stage that is not declared.

    Without `optional`, only of the columns that every file has.
    """
    if stage not in STAGES:
        return {}
    return {
        table.name: {column.name: column.type for column in table.columns if optional or not column.optional}
        for table in STAGES[stage].tables
    }


def view_query(table: str, sources: dict[str, str], conditions: Sequence[str] = ()) -> str:
    """Return the SELECT of a view of the rows that fit `conditions`; `sources` names the attached file of each stage.

    Positions of layers and classes become names, and a class's position follows in `..._index`.
    """
    declared, stage = TABLES[table], stage_of(table).name
    if declared.select:
        query = declared.select.format(**sources)
        return f"{query} WHERE {' AND '.join(conditions)}" if conditions else query
    names, more, joins = [], [], []
    for column in declared.columns:
        if column.name == "layer":
            beyond = declared.layer_beyond
            names.append(f"coalesce(l.name, '{beyond}') AS layer" if beyond else "l.name AS layer")
            joins.append(f"{'LEFT ' if beyond else ''}JOIN {{capture}}.layers l ON t.layer = l.layer")
        elif column.is_class:
            names.append(f"k_{column.name}.name AS {column.name}")
            more.append(f"t.{column.name} AS {_index(column.name)}")
            joins.append(f"LEFT JOIN {{images}}.classes k_{column.name} ON t.{column.name} = k_{column.name}.class")
    more += [f"{column.value} AS {column.name}" for column in declared.derived]
    selected = ", ".join([f"t.* REPLACE ({', '.join(names)})" if names else "t.*", *more])
    query = f"SELECT {selected} FROM {{{stage}}}.{table} t {' '.join([*joins, declared.joins])}"
    needed = [*filter(None, [declared.where]), *conditions]
    where = f" WHERE {' AND '.join(needed)}" if needed else ""
    return f"{query.rstrip()}{where}".format(**sources)


def table_meaning(name: str) -> str:
    """Return what a row of the table is; empty for a table that is not declared."""
    table = {"runs": RUNS, "hypotheses": HYPOTHESES, **TABLES}.get(name)
    return table.about if table else ""


def column_meaning(table: str, name: str) -> str:
    """Return what a column of the view `table` means; empty for one that is not declared."""
    own = {column.name: column.meaning for column in _seen(table)}
    if meaning := own.get(name) or MEANINGS.get(name):
        return meaning
    for column in _seen(table):
        if isinstance(column, Column) and column.is_class and name == _index(column.name):
            return f"position of `{column.name}` in the class names, from 0"
    if name.endswith("_class") and (measured := name.removesuffix("_class")) in own:
        return f"class for which `{measured}` is largest"
    if table == "runs":
        return SETTINGS[name].help if name in SETTINGS else ""
    return ""


def heads() -> dict[str, Head]:
    """Return how columns look in tables on pages, by name."""
    own = {column.name: column.head for name in ("runs", *TABLES) for column in _seen(name) if column.head}
    return {**own, **HEADS}


def unit_measures() -> dict[str, UnitMeasure]:
    """Return the measures that units can be sorted by and cut at, by column, in the order of the stages."""
    return {
        column.name: UnitMeasure(
            stage.name,
            table.name,
            column.value if isinstance(column, Derived) else f"t.{column.name}",
            isinstance(column, Column) and column.optional,
            column.measure,
        )
        for stage in STAGES.values()
        for table in stage.tables
        for column in _columns(table)
        if column.measure
    }


def _columns(table: Table) -> tuple[Column | Derived, ...]:
    return (*table.columns, *table.derived)


def _seen(view: str) -> Iterator[Column | Derived]:
    """Yield the declared columns of a view, those of its own table first."""
    if view in ("runs", "hypotheses"):
        yield from (RUNS if view == "runs" else HYPOTHESES).columns
        return
    if view not in TABLES:
        return
    yield from _columns(TABLES[view])
    for stage in STAGES.values():
        for table in stage.tables:
            if table.name == view and table.hidden:
                yield from table.columns


def _index(name: str) -> str:
    """Return `preferred_class` -> `preferred_index`, `class` -> `class_index`."""
    return f"{re.sub(r'_class$', '', name)}_index"
