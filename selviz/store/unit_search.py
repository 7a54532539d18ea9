"""Units found, ordered and cut into pages by DuckDB: `rows(stages, Wanted(layer="relu3", metric="auc"), limit=500)`.

Gives a query and its parameters. Whatever a visitor may have typed is a parameter; the text of a query is put together
from what stands in this file.
"""

from typing import NamedTuple

from selviz.errors import unknown

STAGES = ("metrics", "capture", "images")  # that every query reads
MORE = ("unit_metrics", "atlas")  # stages that are read where a run has them
_METRICS = ("si", "mean_activation", "max_activation", "std", "zero_share")
_UNIT_METRICS = ("ccmas", "precision", "localist", "auc", "average_precision", "informedness", "d_prime")
_UNIT_METRICS += ("mutual_information", "sparseness")
MEASURES = {  # column: (its stage, its value, NULL where there is none)
    **{name: ("metrics", f"nullif(u.{name}, 'nan'::DOUBLE)") for name in _METRICS},
    **{name: ("unit_metrics", f"nullif(m.{name}, 'nan'::DOUBLE)") for name in _UNIT_METRICS},
    "drop": ("atlas", "-100 * (a.after - a.before)"),  # of accuracy, in points, when the unit alone is silent
}
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


def measures(stages) -> list[str]:
    """The measures that a run with these stages has."""
    return [name for name, (stage, _) in MEASURES.items() if stage in stages]


def rows(
    stages, wanted: Wanted, order: str = "measure", descending: bool = True, limit: int | None = None, offset: int = 0
) -> tuple[str, tuple]:
    """The units with every measure; of equals, those of earlier layers and lower numbers come first.

    `order`: "measure" (that of `wanted`, units without a value last), "si" (largest first), "class" (preferred class,
    then SI) or "unit".
    """
    if order not in ORDERS:
        raise unknown("order", order, list(ORDERS))
    measure = _measure(stages, wanted.metric)
    by = ORDERS[order].format(measure=measure, direction="DESC" if descending else "ASC")
    condition, parameters = _condition(measure, wanted)
    more = "".join(f", {MEASURES[name][1]} AS {name}" for name in measures(stages) if name not in _METRICS)
    query = (
        "SELECT l.name AS layer, u.* EXCLUDE (layer, preferred_class), k.name AS preferred_class, "
        f"u.preferred_class AS preferred_index{more} {_source(stages)}{condition} "
        f"ORDER BY {', '.join(filter(None, (by, 'l.layer', 'u.unit')))}"
    )
    if limit is not None:
        query, parameters = f"{query} LIMIT ? OFFSET ?", (*parameters, limit, offset)
    return query, parameters


def summary(stages, wanted: Wanted) -> tuple[str, tuple]:
    """One row: how many units, how many dead, lowest and highest value of the measure, their layers (a list)."""
    measure = _measure(stages, wanted.metric)
    condition, parameters = _condition(measure, wanted)
    query = (
        f"SELECT count(*) AS units, count(*) FILTER (WHERE u.dead) AS dead, min({measure}) AS lowest, "
        f"max({measure}) AS highest, list(DISTINCT l.name) AS layers {_source(stages)}{condition}"
    )
    return query, parameters


def _source(stages) -> str:
    return _FROM + "".join(join for stage, join in _JOINED.items() if stage in stages)


def _measure(stages, name: str) -> str:
    if name not in measures(stages):
        raise unknown("measure", name, measures(stages))
    return MEASURES[name][1]


def _condition(measure: str, wanted: Wanted) -> tuple[str, tuple]:
    parts = []
    if wanted.find:
        found = "contains(lower(l.name), lower(?)) OR ends_with(lower(l.name) || ':' || u.unit, lower(?))"
        parts.append((f"({found} OR contains(lower(k.name), lower(?)))", (wanted.find,) * 3))
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
