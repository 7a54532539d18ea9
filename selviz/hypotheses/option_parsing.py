"""Numbers and names as a visitor writes them, and how many draws or controls a level needs; else a sentence why not."""

import math
import re
from collections.abc import Mapping
from typing import Any

from selviz.errors import SelvizError

MAX_DRAWS = 20_000


def smallest_needed(level: float) -> int:
    """Return how many controls the smallest p = 1 / (controls + 1) needs to reach the level."""
    return math.ceil(1 / level - 1 - 1e-9)


def smallest(value: Any) -> float:
    """Return the smallest effect that matters, a number above 0."""
    value = number(value, "smallest")
    if not value > 0:
        raise SelvizError(
            f"The smallest effect that matters is {value:g}; it must be above 0, for no data can rule out an effect of "
            f"0 exactly: --smallest 0.01."
        )
    return float(value)


def permutations(level: float) -> int:
    """Return how many permutations a test at this level takes."""
    return min(MAX_DRAWS - 1, max(1999, math.ceil(100 / level) - 1))


def reaching(level: float) -> int:
    """Return how many controls leave room: even with one control beyond the value p is at most the level."""
    return math.ceil(2 / level - 1 - 1e-9)


def draws(requested: Mapping[str, Any], level: float) -> int:
    """Return how many control sets are requested, enough for the level."""
    draws = count(requested.get("draws", max(99, reaching(level))), 1, "draws")
    if draws > MAX_DRAWS:
        raise SelvizError(f"{draws} draws are asked for; give at most {MAX_DRAWS:,}.")
    attainable(draws, level, "control sets", "draws can be raised: --draws")
    return draws


def attainable(controls: int, level: float, what: str, limit: str) -> None:
    """Raise SelvizError where so many controls cannot give a p at the level."""
    if 1 / (controls + 1) > level + 1e-12:
        raise SelvizError(
            f"With {controls} {what} the smallest possible p is 1/{controls + 1} = {1 / (controls + 1):.3g}, above the "
            f"corrected level {level:.3g}: this test cannot support anything. It needs {smallest_needed(level)} {what} "
            f"({limit})."
        )


def number(value: Any, name: str) -> float:
    """Return a finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SelvizError(f"{name} is {value!r}; give a number.")
    return number


def count(value: Any, least: int, name: str, max_count: int | None = None, layer: str = "") -> int:
    """Return a whole number in its range."""
    try:
        count = int(str(value))
    except ValueError:
        raise SelvizError(f"{name} is {value!r}; give a whole number.") from None
    if max_count is not None and count > max_count:
        raise SelvizError(f"{name} is {count}, and {layer} allows at most {max_count}.")
    if count < least:
        raise SelvizError(f"{name} is {count}; give at least {least}.")
    return count


def numbers(spec: Any, width: int, what: str) -> list[int]:
    """Return the numbers 0 to `width` - 1 that a text such as 3,5,8-11 names, in order."""
    if isinstance(spec, str):
        parts = [part.strip() for part in spec.split(",") if part.strip()]
    else:
        parts = [str(part) for part in spec]
    parsed: set[int] = set()
    for part in parts:
        match = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= width or last - first > 10_000:
            raise SelvizError(f"{part!r} is no part of {what}: numbers 0 to {width - 1}, such as 3,5,8-11.")
        parsed.update(range(first, last + 1))
    if not parsed:
        raise SelvizError(f"No number of {what} is named; write 3,5,8-11.")
    return sorted(parsed)


def names(spec: Any) -> list[str]:
    """Return the names that a text such as A,B lists."""
    return [name.strip() for name in spec.split(",") if name.strip()] if isinstance(spec, str) else list(spec)
