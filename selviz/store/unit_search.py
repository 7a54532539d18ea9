"""Units searched, ordered and cut into pages by DuckDB: `rows(stages, Wanted(layer="relu3", metric="auc"), limit=500)`.

A query and its parameters are returned. Whatever a visitor may have typed is a parameter; the text of a query is put
together from what stands in this file.
"""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from selviz.errors import unknown
from selviz.store.schema import TABLES, unit_measures

STAGES = ("metrics", "capture", "images")  # that every query reads
MORE = ("unit_metrics", "atlas")  # stages that are read where a run has them
_ALIASES = {"metrics": "u", "unit_metrics": "m", "atlas": "a"}  # of the stages' tables of units
ORDERS = {
    "measure": "{measure} {direction} NULLS LAST",
    "class": "u.preferred_class, u.si DESC",
    "si": "u.si DESC",
    "unit": "",
}
_FROM = (
    "FROM metrics.units u JOIN capture.layers l ON u.layer = l.layer "
    "LEFT JOIN images.classes k ON u.preferred_class = k.class"
)
_JOINED = {
    "unit_metrics": " LEFT JOIN unit_metrics.unit_metrics m ON u.layer = m.layer AND u.unit = m.unit",
    "atlas": " LEFT JOIN atlas.atlas a ON u.layer = a.layer AND u.unit = a.unit",
}


Query = tuple[str, tuple[Any, ...]]  # SQL and its parameters
TABLE = r"\bt(?=\.)"  # how a declared value names its table


class Wanted(NamedTuple):
    """Which units, all by default: those that fit every part that is given.

    `find` is any part of a layer's name, the end of LAYER:UNIT, or any part of a preferred class, in small or capital
    letters. `low` and `high` are the ends of `metric`, both inside.
    """

    find: str = ""
    layer: str | None = None
    preferred_class: str | None = None
    dead: bool | None = None
    metric: str = "si"
    low: float | None = None
    high: float | None = None


ALL = Wanted()


def measures(stages: Collection[str], missing: Collection[str] = ()) -> dict[str, str]:
    """Return the measures that a run with these stages has: column -> its value in SQL, NULL where there is none.

    `missing` are columns that its files do not have because an earlier selviz wrote them.
    """
    return {
        name: f"nullif({re.sub(TABLE, _ALIASES[declared.stage], declared.value)}, 'nan'::DOUBLE)"
        for name, declared in unit_measures().items()
        if declared.stage in stages and name not in missing
    }


def rows(
    stages: Collection[str],
    wanted: Wanted,
    order: str = "measure",
    descending: bool = True,
    limit: int | None = None,
    offset: int = 0,
    missing: Collection[str] = (),
    short: bool = False,
) -> Query:
    """Return the query for the units with every measure; of equals, earlier layers and lower numbers come first.

    `order`: "measure" (that of `wanted`, units without a value last), "si" (largest first), "class" (preferred class,
    then SI) or "unit". A `short` one gives nothing but layer, unit and the measure of `wanted`.
    """
    if order not in ORDERS:
        raise unknown("order", order, list(ORDERS))
    known = measures(stages, missing)
    measure = _measure(known, wanted.metric)
    by = ORDERS[order].format(measure=measure, direction="DESC" if descending else "ASC")
    condition, parameters = _condition(measure, wanted)
    read: Collection[str] = stages
    if short:
        columns, read = f"u.unit, {measure} AS {wanted.metric}", stages_of(wanted)
    else:
        own = {column.name for column in TABLES["units"].columns}
        more = "".join(f", {value} AS {name}" for name, value in known.items() if name not in own)
        preferred = "k.name AS preferred_class, u.preferred_class AS preferred_index"
        columns = f"u.* EXCLUDE (layer, preferred_class), {preferred}{more}"
    query = (
        f"SELECT l.name AS layer, {columns} {_source(read)}{condition} "
        f"ORDER BY {', '.join(filter(None, (by, 'l.layer', 'u.unit')))}"
    )
    if limit is not None:
        query, parameters = f"{query} LIMIT ? OFFSET ?", (*parameters, limit, offset)
    return query, parameters


def summary(stages: Collection[str], wanted: Wanted, missing: Collection[str] = ()) -> Query:
    """Return the query for one row: how many units and dead ones, lowest and highest value, their layers (a list)."""
    measure = _measure(measures(stages, missing), wanted.metric)
    condition, parameters = _condition(measure, wanted)
    query = (
        f"SELECT count(*) AS units, count(*) FILTER (WHERE u.dead) AS dead, min({measure}) AS lowest, "
        f"max({measure}) AS highest, list(DISTINCT l.name) AS layers {_source(stages_of(wanted))}{condition}"
    )
    return query, parameters


def stages_of(wanted: Wanted) -> set[str]:
    """Return the stages that `summary` and short `rows` read: each one more takes its time."""
    return {*STAGES, unit_measures()[wanted.metric].stage}


def _source(stages: Collection[str]) -> str:
    return _FROM + "".join(join for stage, join in _JOINED.items() if stage in stages)


def _measure(known: dict[str, str], name: str) -> str:
    if name not in known:
        raise unknown("measure", name, list(known))
    return known[name]


def _condition(measure: str, wanted: Wanted) -> Query:
    parts: list[tuple[str, tuple[Any, ...]]] = []
    if wanted.find:
        condition = "contains(lower(l.name), lower(?)) OR ends_with(lower(l.name) || ':' || u.unit, lower(?))"
        parts.append((f"({condition} OR contains(lower(k.name), lower(?)))", (wanted.find,) * 3))
    if wanted.layer is not None:
        parts.append(("l.name = ?", (wanted.layer,)))
    if wanted.preferred_class is not None:
        parts.append(("k.name = ?", (wanted.preferred_class,)))
    if wanted.dead is not None:
        parts.append(("u.dead = ?", (wanted.dead,)))
    if wanted.low is not None:
        parts.append((f"{measure} >= ?", (wanted.low,)))
    if wanted.high is not None:
        parts.append((f"{measure} <= ?", (wanted.high,)))
    text = " AND ".join(text for text, _ in parts)
    return f" WHERE {text}" if text else "", tuple(value for _, values in parts for value in values)
