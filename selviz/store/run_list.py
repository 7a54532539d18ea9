"""Every run folder of a store in one table, finished or not: `list_runs(data)`; `state(folder)` for one."""

import contextlib
import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any, overload

import pandas as pd

from selviz.config import RunConfig, run_name
from selviz.errors import ExhaustedError, SelvizError, TransientError
from selviz.store.files import check_name, read_json
from selviz.store.schema.listing import RUNS
from selviz.system.locks import holder

MOST_REMEMBERED = 20_000  # rows of finished runs
Stamp = tuple[str | int | None, ...]  # tells one content of a finished run from another

# What the overview and scripts rely on; whatever else a summary holds as a plain value follows.
FIELDS = {column.name: column.type for column in RUNS.columns if column.type}


def list_runs(data: Path, names: list[str]) -> pd.DataFrame:
    """Return one row per run. `state` is finished, running, unfinished or failed; `resume` the command that goes on
    with it.

    The table of finished runs alone is remembered as its rows are: every page lists all runs.
    """
    stamps = tuple(_stamp(os.path.join(data, "runs", name)) for name in names)
    known = _tables.get(stamps)
    if known is not None and all(stamp in _finished for stamp in stamps):
        return known.copy()
    table = _table([_remembered(data, name, stamp) for name, stamp in zip(names, stamps)])
    if all(stamp in _finished for stamp in stamps):
        _tables.clear()
        _tables[stamps] = table.copy()
    return table


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    more = sorted({key for entry in rows for key in entry} - set(FIELDS))
    columns = {name: _column([entry.get(name) for entry in rows], kind) for name, kind in FIELDS.items()}
    return pd.DataFrame(columns | {name: pd.Series([entry.get(name) for entry in rows]) for name in more})


def _column(values: list[Any], kind: str) -> pd.Series:
    if kind == "VARCHAR":
        return pd.Series(values, dtype="object").astype("str")
    # What is no number is unknown, and whole numbers stay whole beside unknown ones.
    numbers = pd.to_numeric(pd.Series(values, dtype="object"), errors="coerce").astype("float64")
    return numbers.where(numbers.abs() < 2**53).round().astype("Int64") if kind == "BIGINT" else numbers


def row(data: Path, name: str) -> dict[str, Any]:
    """Return what is known of one run folder. What lies in it raises nothing: what cannot be read is `failed`.

    Where the system has nothing left to read it with, ExhaustedError says so.

    The row of a finished run is remembered as long as its settings and its summary are the same files.
    """
    return _remembered(data, name, _stamp(os.path.join(data, "runs", name)))


def _remembered(data: Path, name: str, stamp: Stamp | None) -> dict[str, Any]:
    if stamp in _finished:
        return dict(_finished[stamp])
    entry = _row(data, name)
    if entry["state"] == "finished" and stamp is not None:
        if len(_finished) >= MOST_REMEMBERED:
            _finished.clear()
        _finished[stamp] = dict(entry)
    return entry


def _stamp(folder: str) -> Stamp | None:
    """Tell one content of a finished run's settings and summary from another; None where there is no summary."""
    parts: list[str | int | None] = [folder]
    for name in ("summary.json", "config.json"):
        try:
            status = os.stat(os.path.join(folder, name))
            parts += [status.st_ino, status.st_mtime_ns, status.st_size]
        except OSError:
            if name == "summary.json":
                return None
            parts.append(None)
    return tuple(parts)


_PLAIN = (str, int, float, bool, type(None))
_finished: dict[Stamp, dict[str, Any]] = {}
_tables: dict[tuple[Stamp | None, ...], pd.DataFrame] = {}  # at most one


def _row(data: Path, name: str) -> dict[str, Any]:
    folder = data / "runs" / name
    config: dict[str, Any] = {}
    summary: dict[str, Any] | None = None
    reason: str | None = None
    passing = False
    try:
        check_name("run", name)
        config = _object(folder / "config.json")
        summary = _object(folder / "summary.json", None)
    except ExhaustedError:
        raise
    except SelvizError as error:
        reason, passing = str(error), isinstance(error, TransientError)
    entry = {"run": name, **_plain(config), **_plain(summary or {}), "reason": reason}
    entry["run"] = name  # a folder that was renamed goes by its new name
    live = None
    if reason is None and summary is None:
        try:
            live = holder(folder / "claim.json")
        except ExhaustedError:
            raise
        except TransientError as error:
            reason, passing = str(error), True
    if reason is not None:
        entry.update({"state": "failed", "reason": reason})
    elif summary is not None:
        entry["state"] = "finished"
    elif live is not None:
        entry["state"] = "running"
        entry["reason"] = f"process {live.get('pid')} on {live.get('host')} is working on it"
    else:
        entry.update(_cut_off(folder, config))
    if entry["state"] in ("unfinished", "failed") and not passing:
        entry["resume"] = resume_command(data, config, folder)
    return entry


def _cut_off(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    try:
        failure = _object(folder / "failed.json", None)
    except SelvizError as error:
        return {"state": "failed", "reason": str(error)}
    if failure is not None:
        return {"state": "failed", "reason": str(failure.get("reason") or "it failed")}
    if not config and _hardly_begun(folder):
        message = f"it was cut off before it began: type its command again, or remove {folder}"
        return {"state": "unfinished", "reason": message}
    if not config:
        return {"state": "failed", "reason": f"{folder} has no config.json, so nobody knows what it was: remove it"}
    return {"state": "unfinished", "reason": None}


def _hardly_begun(folder: Path) -> bool:
    """Return whether nothing but a claim or a temporary file is there yet."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return bool(names) and all(name.startswith(".") or name == "claim.json" for name in names)


def settings(folder: Path) -> dict[str, Any]:
    """Return what a run's config.json holds; where that is damaged, as much of it as its summary tells. {} if
    nothing.
    """
    try:
        return _object(folder / "config.json")
    except SelvizError:
        pass
    try:
        summary = _object(folder / "summary.json")
    except SelvizError:
        return {}
    if summary.get("kind") == "imported":
        return summary
    summary = {field.name: summary[field.name] for field in dataclasses.fields(RunConfig) if field.name in summary}
    # A summary has the mean and deviation that were used, whether or not they were given; the name tells.
    used = {name: ",".join(map(str, summary.get(name) or ())) for name in ("mean", "std")}
    for candidate in ({**summary, "mean": "", "std": ""}, {**summary, **used}):
        with contextlib.suppress(SelvizError, TypeError):
            if run_name(RunConfig(**candidate)) == folder.name:
                return candidate
    return {}


def resume_command(data: Path, config: dict[str, Any], folder: Path | None = None) -> str | None:
    """Return the command that goes on with a run of these settings; None if the settings are not known."""
    if not {"dataset", "model"} <= set(config):
        return None
    if config.get("kind") == "imported":
        command = _object(folder / "partial" / "import.json").get("command") if folder else None
        return command if isinstance(command, str) and command else None
    parts = ["selviz train", *(f"--{name} {shlex.quote(str(config[name]))}" for name in ("dataset", "model"))]
    for field in dataclasses.fields(RunConfig):
        value = config.get(field.name, field.default)
        if field.name in ("dataset", "model"):
            continue
        if value is None or pd.isna(value):  # a table of runs has no value there
            value = field.default
        if field.name in ("alpha", "seed", "epochs") or value != field.default:
            text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
            parts.append(f"--{field.name.replace('_', '-')}{'=' if field.name == 'alpha' else ' '}{text}")
    return " ".join([*parts, *data_option(data)])


def data_option(data: Path) -> list[str]:
    """Return `--data DIR` where it is not the default."""
    return [] if str(data) == "data" else [f"--data {shlex.quote(str(data))}"]


@overload
def _object(path: Path) -> dict[str, Any]: ...
@overload
def _object(path: Path, default: None) -> dict[str, Any] | None: ...
def _object(path: Path, default: Any = ...) -> dict[str, Any] | None:
    value = read_json(path)
    if value is None:
        return {} if default is ... else default
    if not isinstance(value, dict):
        raise SelvizError(f"Cannot read {path}: it holds no JSON object.")
    return value


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a table can hold; whole numbers beyond 64 bits, which none has, are left out."""
    return {
        key: value
        for key, value in settings.items()
        if isinstance(value, _PLAIN) and not (isinstance(value, int) and value.bit_length() > 63)
    }
