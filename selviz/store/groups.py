"""Sets of units that have a name: `key = write_group("data", units, name="cats")`, `read_group("data", key)`.

A group is a small file that never changes, called by a hash of what it holds, so a link to it opens the same units as
long as it is there. One that was renamed is a new group; the old one is put aside, where links still find it.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selviz.errors import ExhaustedError, SelvizError, TransientError, unknown, unreadable
from selviz.store.files import StrPath, read_json, write_json
from selviz.system.write_access import check_writing

LONGEST_NAME = 80
_KEY = "[0-9a-f]{12}"


def write_group(data: StrPath, units: Mapping[str, Sequence[int]], name: str = "", run: str = "") -> str:
    """Store {layer: unit numbers} with a name and the run it was chosen in, both may be empty; returns its key.

    The same group written twice is one file. An empty group or a name of over 80 characters raises SelvizError.
    """
    units = {str(layer): sorted({int(unit) for unit in numbers}) for layer, numbers in units.items() if len(numbers)}
    name = " ".join(name.split())
    if not units:
        raise SelvizError("A group needs at least one unit.")
    if len(name) > LONGEST_NAME:
        raise SelvizError(f"The name of a group has at most {LONGEST_NAME} characters; this one has {len(name)}.")
    group = {"name": name, "run": run, "units": units}
    key = _key(group)
    path = _path(data, key)
    if not path.exists():
        write_json(path, group)
    return key


def read_group(data: StrPath, key: str) -> dict[str, Any]:
    """Return {"name", "run", "units"} of the group; SelvizError if there is none with this key, or if its file is
    damaged.
    """
    path = _path(data, key)
    group: dict[str, Any] | None = read_json(path)
    if group is None and (group := read_json(_aside(path))) is None:
        raise unknown("group", key, list_groups(data)["group"].tolist())
    units = group.get("units") if isinstance(group, dict) else None
    lists = list(units.values()) if isinstance(units, dict) else [None]
    if not all(isinstance(numbers, list) and all(type(unit) is int for unit in numbers) for numbers in lists):
        raise SelvizError(f"{path} holds no group of units; remove it.")
    group = {"name": str(group.get("name", "")), "run": str(group.get("run", "")), "units": units}
    if _key(group) != key:
        raise SelvizError(f"{path} is damaged: it does not hold the units that it was named after; remove it.")
    return group


def rename_group(data: StrPath, key: str, name: str) -> str:
    """Give a group another name; returns its new key. A link to the old key goes on to open the same units.

    SelvizError if there is no such group, or if the name is empty or too long.
    """
    check_writing()
    group = read_group(data, key)
    if not name.strip():
        raise SelvizError("A group needs a name; to remove one from the list, delete it.")
    new = write_group(data, group["units"], name, group["run"])
    path = _path(data, key)
    if new != key and path.exists():
        _aside(path).parent.mkdir(exist_ok=True)
        path.replace(_aside(path))
    return new


def delete_group(data: StrPath, key: str) -> None:
    """Remove a group; links to it say from then on that it is not there. SelvizError if there is none."""
    check_writing()
    read_group(data, key)
    path = _path(data, key)
    for place in (path, _aside(path)):
        place.unlink(missing_ok=True)


def list_groups(data: StrPath, run: str | None = None) -> pd.DataFrame:
    """Return the groups that have a name, of one run or of all: columns group (its key), name, run, count (of
    units).

    The table's attrs have "left_out": {file name: why it could not be read}, of which one does not hide the others.
    """
    rows, left_out = [], {}
    for path in _files(data):
        try:
            group = read_group(data, path.stem)
        except ExhaustedError:
            raise
        except SelvizError as error:
            left_out[path.name] = str(error)
            continue
        if group["name"] and run in (None, group["run"]):
            count = sum(len(numbers) for numbers in group["units"].values())
            rows.append((path.stem, group["name"], group["run"], count))
    table = pd.DataFrame(rows, columns=["group", "name", "run", "count"])
    table = table.sort_values(["name", "group"], ignore_index=True)
    table.attrs["left_out"] = left_out
    return table


def damaged_groups(data: StrPath) -> list[tuple[Path, str]]:
    """Return (file, what is wrong with it) of the groups that cannot be read."""
    damaged = []
    for path in _files(data):
        try:
            read_group(data, path.stem)
        except TransientError:  # nothing is known of its content, so nothing is to be removed
            raise
        except SelvizError as error:
            damaged.append((path, str(error)))
    return damaged


def _files(data: StrPath) -> list[Path]:
    """Return the groups' files, and not what something else has left among them."""
    try:
        names = os.listdir(Path(data) / "groups")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(Path(data) / "groups", error) from error
    return [Path(data) / "groups" / name for name in sorted(names) if re.fullmatch(rf"{_KEY}\.json", name)]


def _key(group: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()[:12]


def _path(data: StrPath, key: str) -> Path:
    if not re.fullmatch(_KEY, str(key)):
        raise SelvizError(f"{str(key)[:80]!r} is not the key of a group: 12 digits and letters a to f.")
    return Path(data) / "groups" / f"{key}.json"


def _aside(path: Path) -> Path:
    return path.parent / "renamed" / path.name
