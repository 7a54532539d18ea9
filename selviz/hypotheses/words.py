"""Pieces of the sentences that say a claim."""

from collections.abc import Callable, Mapping


def points(value: float) -> str:
    return f"{100 * value:g} points"


def unit_of(s: Mapping) -> str:
    return f"unit {s['unit']} of {s['layer']}"


def refuted(s: Mapping, effect: str, how: Callable = points) -> str:
    return f"An interval of {effect} that lies wholly below {how(s['smallest'])}."


def conditions(conditions: Mapping) -> str:
    return " and ".join(f"{column} {op} {value}" for column, (op, value) in conditions.items())


def listed(names, most: int = 4) -> str:
    names = list(map(str, names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
