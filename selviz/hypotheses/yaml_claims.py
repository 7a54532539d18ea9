"""A claim of one's own as a small YAML file: `settings = read_own(text)`.

    claim: In the last layer, units with a high SI are less active.
    table: units                       # any stored table
    runs: [mnist-5k-cnn-a0-s0-06d4ba30]
    where: {layer: relu4, dead: false}
    measure: mean_activation
    group: {si: {above: 0.5}}
    control: {si: {at most: 0.5}}
    statistic: difference of means     # or: rank correlation, with "with: si" in place of the groups
    direction: less                    # greater, less; of a correlation positive, negative
    independent: unit                  # a column whose values are independent of each other, or: rows
    smallest: 0.05

Nothing in it is executed: it is read by YAML's safe loader, and every word must be one that is known here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from selviz.errors import SelvizError, first_line, near, unknown

MAX_CHARACTERS = 20_000
MAX_BRACKETS = 200  # YAML's reader takes a time that grows with the square of their depth
OPERATIONS = ("is", "is not", "above", "at least", "below", "at most")
DIRECTIONS = {"difference of means": ("greater", "less"), "rank correlation": ("positive", "negative")}
ROWS = "rows"
NEEDED = ("claim", "table", "runs", "measure", "statistic", "direction", "smallest")
KNOWN = (*NEEDED, "independent", "where", "group", "control", "with")


def read_own(text: str) -> dict[str, Any]:
    """Return the settings that the YAML `text` writes out, checked as far as that needs no store; SelvizError
    otherwise.
    """
    claim = _load(text)
    if wrong := [name for name in claim if name not in KNOWN]:
        guess = near(wrong[0], KNOWN)
        hint = f" did you mean {guess[0]!r}?" if guess else ""
        raise SelvizError(f"The file has a key {wrong[0]!r} that is not known;{hint} Known keys: {', '.join(KNOWN)}.")
    if missing := [name for name in NEEDED if claim.get(name) in (None, "", [])]:
        raise SelvizError(f"The file lacks {', '.join(missing)}; see docs/hypotheses.md for an example.")
    for name in ("claim", "table", "measure", "statistic", "direction"):
        if not isinstance(claim[name], str):
            raise SelvizError(f"{name} in the file must be a text, not {type(claim[name]).__name__}.")
    if not isinstance(claim.get("independent"), str):
        raise SelvizError(
            "The file lacks independent, since rows are not independent because they are rows: add the line "
            "independent: unit (or run, layer, image or another column; rows that share its value are averaged), or "
            "independent: rows if each row is independent of all others."
        )
    if len(claim["claim"]) > 500:
        raise SelvizError("The claim has more than 500 characters; say it shorter.")
    if claim["statistic"] not in DIRECTIONS:
        raise unknown("statistic", claim["statistic"], list(DIRECTIONS))
    if claim["direction"] not in DIRECTIONS[claim["statistic"]]:
        raise unknown("direction", claim["direction"], DIRECTIONS[claim["statistic"]])
    runs = [claim["runs"]] if isinstance(claim["runs"], str) else claim["runs"]
    if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
        raise SelvizError("runs in the file must be names of runs: runs: [A, B].")
    correlation = claim["statistic"] == "rank correlation"
    if correlation != ("with" in claim) or correlation == ("group" in claim) or correlation == ("control" in claim):
        raise SelvizError(
            "A difference of means needs group and control; a rank correlation needs with, and no groups."
        )
    if correlation and not isinstance(claim["with"], str):
        raise SelvizError("with in the file must be the name of a column.")
    settings = {name: claim[name] for name in ("claim", "table", "measure", "statistic", "direction", "smallest")}
    settings["independent"] = claim["independent"]
    settings |= {"runs": list(dict.fromkeys(runs)), "where": _conditions(claim.get("where") or {}, "where")}
    if correlation:
        return {**settings, "with": claim["with"]}
    return {**settings, **{name: _conditions(claim[name], name) for name in ("group", "control")}}


def _load(text: str) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise SelvizError(f"The file has {len(text):,} characters; a claim has at most {MAX_CHARACTERS:,}.")
    if (brackets := text.count("[") + text.count("{")) > MAX_BRACKETS:
        raise SelvizError(f"The file has {brackets:,} brackets; a claim has at most {MAX_BRACKETS}.")
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise SelvizError("The file uses YAML aliases (*name); write the values out.")
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or first_line(error)
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise SelvizError(
            f"The file cannot be read{where} ({reason}); it may hold texts, numbers, lists and keys, and nothing in it "
            "is executed."
        ) from None
    except (ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:  # such as !!bool z
        raise SelvizError(f"The file cannot be read ({error}); see docs/hypotheses.md for an example.") from None
    if not isinstance(content, dict):
        raise SelvizError("The file must hold keys and values, such as claim: ...; see docs/hypotheses.md.")
    return content


def _conditions(content: Any, name: str) -> dict[str, list[Any]]:
    """Return {column: [operation, value]} of `{column: value}` or `{column: {operation: value}}`."""
    if not isinstance(content, dict) or (not content and name != "where"):
        raise SelvizError(f"{name} in the file must say which rows, such as {name}: {{si: {{above: 0.5}}}}.")
    conditions = {}
    for column, values in content.items():
        operation, value = (
            next(iter(values.items())) if isinstance(values, dict) and len(values) == 1 else ("is", values)
        )
        if operation not in OPERATIONS:
            raise unknown("operation", operation, OPERATIONS)
        if not isinstance(value, str | int | float | bool):
            raise SelvizError(f"{column} in {name} must be compared with a text or a number.")
        if operation not in ("is", "is not") and (isinstance(value, str | bool) or value != value):
            raise SelvizError(f"{column} {operation} needs a number, not {value!r}.")
        conditions[str(column)] = [operation, value]
    return conditions


def words(conditions: Mapping[str, list[Any]]) -> str:
    """Return conditions for a sentence."""
    return " and ".join(f"{column} {operation} {value}" for column, (operation, value) in conditions.items())


def rows(table: pd.DataFrame, conditions: Mapping[str, list[Any]]) -> npt.NDArray[np.bool_]:
    """Return which rows of a table meet all conditions, [n]; an unknown column raises SelvizError."""
    kept = np.ones(len(table), dtype=bool)
    for column, (operation, value) in conditions.items():
        if column not in table:
            raise unknown("column", column, list(table.columns))
        values = table[column]
        if isinstance(value, str) != (values.dtype.kind not in "biuf"):
            raise SelvizError(f"Column {column} cannot be compared with {value!r}.")
        kept &= {
            "is": lambda a, b: a == b,
            "is not": lambda a, b: a != b,
            "above": lambda a, b: a > b,
            "at least": lambda a, b: a >= b,
            "below": lambda a, b: a < b,
            "at most": lambda a, b: a <= b,
        }[operation](values, value).to_numpy(dtype=bool)
    return kept
