"""One DuckDB file a stage: `write_stage(folder, "metrics", {"units": table, ...}, provenance)`, read with `record`.

A stage is written below `partial/`, with its record (SHA-256, size, schema version, provenance), and the finished file
is moved into place: that one rename is the moment from which it exists. The record follows; should the process die
between the two, the record is still in `partial/` and is found there.
"""

import contextlib
import datetime
import functools
import itertools
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from selviz.errors import SelvizError, TransientError, unreadable
from selviz.store.files import (
    SCHEMA,
    StrPath,
    check_name,
    checksum,
    connect,
    file_sha256,
    leftovers,
    read_json,
    sql_path,
    write_json,
    writing,
)
from selviz.store.schema import stored_columns
from selviz.system.durable_files import move_into_place, replace
from selviz.system.listing import files_in

# Rows per row group. DuckDB's own 122,880 leave a third of every second block empty for floats (4.2 bytes a row instead
# of 3.9); larger ones gain nothing more and leave less for several threads to share.
ROW_GROUP = 983_040
_ROWS_A_BATCH = 1_000_000
_ACTIVATIONS = pa.schema(
    [("layer", pa.uint16()), ("unit", pa.uint32()), ("image", pa.uint32()), ("value", pa.float32())]
)

# What DuckDB chooses for these columns anyway: told beforehand it does not try the others, which takes a fifth of the
# time of writing. Values are left to it, since units that are mostly silent want another encoding than others.
_ENCODINGS = {"activations": {"layer": "rle", "unit": "rle", "image": "bitpacking"}}
# Small tables that the record repeats, so that those of thousands of runs are read without opening a file of each.
REPEATED = {"metrics": "layers"}
TABLE = "table"  # the field of the record that holds it

# What a stage's table may be given as; record batches are never in memory as a whole.
StageTable: TypeAlias = pd.DataFrame | pa.Table | Iterable[pa.RecordBatch]


def write_stage(run_dir: StrPath, stage: str, tables: Mapping[str, StageTable], provenance: Mapping[str, Any]) -> Path:
    """Write `<run_dir>/<stage>.duckdb` with `tables`, and its record beside it; returns the file's path.

    A table is a pandas or pyarrow table, or an iterable of pyarrow record batches, which is never in memory as a whole.
    A full or read-only disk raises SelvizError; whatever happens, the stage is there as a whole or as it was before.
    """
    run_dir = Path(run_dir)
    final = run_dir / f"{check_name('stage', stage)}.duckdb"
    partial = run_dir / "partial"
    temporary, wal = partial / final.name, partial / f"{final.name}.wal"
    with writing(final, temporary, wal):
        partial.mkdir(parents=True, exist_ok=True)
        settle(final)
        for leftover in (temporary, wal, *partial.glob(f".{stage}.json.*")):
            leftover.unlink(missing_ok=True)
        rows = write_tables(temporary, stage, tables)
        about = make_record(temporary, stage, rows, provenance)
        if isinstance(repeated := tables.get(REPEATED.get(stage, "")), pd.DataFrame):
            about |= {} if (columns := table_for_record(repeated)) is None else {TABLE: columns}
        pending = write_json(record_path(temporary), about)
        move_into_place(temporary, final)
        replace(pending, record_path(final))
    return final


def write_activations(
    run_dir: StrPath,
    layers: StageTable,
    images: StageTable,
    activations: Iterable[tuple[int, np.ndarray]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the capture stage: tables `layers` and `images` (columns as `store.schema.capture` declares them) and long
    rows of all activations.

    `activations` yields (layer position, float32 [N, U]) in forward order; one layer at a time is held in memory.
    """
    tables = {"layers": layers, "images": images, "activations": activation_rows(activations)}
    return write_stage(run_dir, "capture", tables, provenance)


def activation_rows(activations: Iterable[tuple[int, np.ndarray]]) -> Iterator[pa.RecordBatch]:
    """Yield (layer position, float32 [N, U]) -> record batches of (layer, unit, image, value), sorted in this order."""
    for layer, values in activations:
        values = np.asarray(values, dtype=np.float32)
        images, units = values.shape
        step = max(1, _ROWS_A_BATCH // max(images, 1))
        for first in range(0, units, step):
            block = np.ascontiguousarray(values[:, first : first + step].T)
            columns = [
                np.full(block.size, layer, np.uint16),
                np.repeat(np.arange(first, first + len(block), dtype=np.uint32), images),
                np.tile(np.arange(images, dtype=np.uint32), len(block)),
                block.reshape(-1),
            ]
            yield pa.record_batch([pa.array(column) for column in columns], schema=_ACTIVATIONS)


def record_path(file: Path) -> Path:
    """Return where the record of a stage file lies."""
    return file.with_suffix(".json")


def record(file: Path) -> dict[str, Any] | None:
    """Return the record of the stage at `file`, None if the stage is not there. One that does not fit raises
    SelvizError.
    """
    for attempt in range(3):
        try:
            size = os.stat(file).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(file, error) from error
        if fitting := _records(file, size):
            break
        time.sleep(0.02 * attempt)  # a writer may be between its two renames
    else:
        raise SelvizError(f"{file} is damaged: its {size:,} bytes are not what {record_path(file).name} says of it")
    if len(fitting) > 1:  # files of one size: the content decides
        fitting = [entry for entry in fitting if entry["sha256"] == checksum(file)] or fitting
    return fitting[0]


def table_for_record(table: pd.DataFrame) -> dict[str, list[float | None]] | None:
    """Return a small table of numbers as a record holds it: column -> values, None for what is not known.

    None where a number is infinite, which JSON cannot say.
    """
    columns = {str(name): values.to_numpy(dtype=np.float64, na_value=np.nan) for name, values in table.items()}
    if any(np.isinf(values).any() for values in columns.values()):
        return None
    return {
        name: [None if math.isnan(value) else value for value in values.tolist()] for name, values in columns.items()
    }


def recorded_table(file: Path) -> dict[str, list[float]] | None:
    """Return the small table that the record of the stage at `file` repeats, NaN for what is not known.

    None where it repeats none, as an earlier selviz wrote it. SelvizError where the stage is missing or damaged.
    """
    about = record(file)
    if about is None:
        raise SelvizError(f"{file} is missing")
    columns = about.get(TABLE)
    if not isinstance(columns, dict) or not columns or not columns.keys() <= _repeated_columns(file.stem):
        return None
    try:
        table = {name: [math.nan if value is None else float(value) for value in columns[name]] for name in columns}
    except (TypeError, ValueError):
        return None
    return table if len({len(values) for values in table.values()}) == 1 else None


@functools.cache
def _repeated_columns(stage: str) -> frozenset[str]:
    """Return the columns of the small table that a stage's record may repeat."""
    return frozenset(stored_columns(stage).get(REPEATED.get(stage, ""), {}))


def settle(file: Path) -> None:
    """Move the record that a killed writer left in `partial/` to its place, before something else takes its name."""
    pending = record_path(file.parent / "partial" / file.name)
    left = _pending(file)
    if left is not None and file.exists() and left.get("sha256") == file_sha256(file):
        replace(pending, record_path(file))


def clear_partial(run_dir: Path) -> None:
    """Remove a finished run's work in progress and what killed writers left of it; the run's claim must be held."""
    with writing(run_dir / "partial"):
        for file in files_in(run_dir, ".duckdb"):  # all of them: what is not settled is removed below
            settle(file)
        for file in leftovers(run_dir):
            file.unlink(missing_ok=True)
    shutil.rmtree(run_dir / "partial", ignore_errors=True)


def stage_is_whole(run_dir: StrPath, stage: str) -> bool:
    """Return whether the stage is there and its content still has the SHA-256 that it was written with (reads all
    of it).
    """
    file = Path(run_dir) / f"{check_name('stage', stage)}.duckdb"
    try:
        return any(entry["sha256"] == file_sha256(file) for entry in _records(file, file.stat().st_size))
    except TransientError:
        raise
    except (SelvizError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(file, error) from error


def _records(file: Path, size: int) -> list[dict[str, Any]]:
    """Return the records that fit a file of this size: its own, and that of a writer that died between the two
    renames.
    """
    records = [read_json(f"{os.path.splitext(file)[0]}.json"), _pending(file)]
    return [entry for entry in records if isinstance(entry, dict) and entry.get("bytes") == size]


def _pending(file: Path) -> dict[str, Any] | None:
    try:
        path = os.path.join(file.parent, "partial", f"{file.stem}.json")
        return cast("dict[str, Any] | None", read_json(path))
    except TransientError:
        raise
    except SelvizError:  # what lies in `partial/` may be damaged: it is made again
        return None


def make_record(file: Path, stage: str, rows: dict[str, int], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written beside a stage file."""
    return {
        "stage": stage,
        "sha256": file_sha256(file),
        "bytes": file.stat().st_size,
        "rows": rows,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "provenance": provenance,
    }


def write_tables(file: Path, stage: str, tables: Mapping[str, StageTable]) -> dict[str, int]:
    """Write a new DuckDB file with `tables` and a table `about`; returns the number of rows of each."""
    known, every = stored_columns(stage), stored_columns(stage, optional=False)
    if missing := sorted(set(known) - set(tables)):
        raise ValueError(f"stage {stage!r} lacks the tables {missing}")
    # Two threads compress twice as fast, and DuckDB keeps the rows in the order in which they come.
    with _attachable(file) as path:
        connection = connect(threads=2, memory_limit="1GB", preserve_insertion_order=True)
        try:
            connection.execute(f"ATTACH '{sql_path(path)}' AS stage (ROW_GROUP_SIZE {ROW_GROUP})")
            rows = {
                name: _write_table(connection, name, known.get(name), every.get(name), table)
                for name, table in tables.items()
            }
            about = {"schema": str(SCHEMA), "stage": stage, "rows": json.dumps(rows)}
            facts = pd.DataFrame({"key": list(about), "value": list(about.values())})
            _write_table(connection, "about", None, None, facts)
            connection.execute("CHECKPOINT stage")
            connection.execute("DETACH stage")
        finally:
            connection.close()
    return rows


@contextlib.contextmanager
def _attachable(file: Path) -> Iterator[Path]:
    """Lend a path under which DuckDB can make a new file: `file`, or where that has a question mark, a temporary one.

    DuckDB takes what follows a question mark for options, and makes its log in a folder that is not there.
    """
    if "?" not in sql_path(file):
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / file.name
        shutil.move(Path(folder) / file.name, file)


def _write_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    declared: dict[str, str] | None,
    needed: dict[str, str] | None,
    table: StageTable,
) -> int:
    types = declared or {}
    stream = _Stream(table, declared)
    if stream.reader is None:
        columns = [f'"{column}" {type_}' for column, type_ in types.items()]
        connection.execute(f'CREATE TABLE stage."{name}" ({", ".join(columns)})')
        return 0
    connection.register("source", stream.reader)
    if missing := [column for column in needed or {} if column not in stream.reader.schema.names]:
        raise ValueError(f"table {name!r} lacks the columns {missing}")
    extra = [column for column in stream.reader.schema.names if column not in types]
    columns = [
        f'CAST("{column}" AS {type_}) AS "{column}"'
        for column, type_ in types.items()
        if column in stream.reader.schema.names
    ]
    columns += [f'"{column}"' for column in extra]
    selection = f"SELECT {', '.join(columns)} FROM source"
    try:
        if (encodings := _ENCODINGS.get(name)) and not extra:
            encoded = [
                f'"{column}" {type_}' + (f" USING COMPRESSION {encodings[column]}" if column in encodings else "")
                for column, type_ in types.items()
                if column in stream.reader.schema.names
            ]
            connection.execute(f'CREATE TABLE stage."{name}" ({", ".join(encoded)})')
            created = connection.execute(f'INSERT INTO stage."{name}" {selection}')
        else:
            created = connection.execute(f'CREATE TABLE stage."{name}" AS {selection}')
    except duckdb.Error:
        if stream.error is not None:  # what went wrong is the caller's, not DuckDB's
            raise stream.error from None
        raise
    finally:
        connection.unregister("source")
        stream.close()
    return int(cast("tuple[Any, ...]", created.fetchone())[0])


class _Stream:
    """A table of any accepted kind as an Arrow stream, which remembers what its source raised."""

    def __init__(self, table: StageTable, declared: dict[str, str] | None) -> None:
        self.error: BaseException | None = None
        self._batches: Generator[pa.RecordBatch, None, None] | None = None
        if isinstance(table, pd.DataFrame):
            table = pa.Table.from_pandas(table, preserve_index=False)
        if isinstance(table, pa.Table):
            self.reader = table.to_reader()
            return
        batches: Iterator[pa.RecordBatch] = iter(table)
        first = next(batches, None)
        if first is None and declared is None:
            raise ValueError("a table without rows needs columns")
        self._batches = self._remember(itertools.chain([first], batches))
        self.reader = first and pa.RecordBatchReader.from_batches(first.schema, self._batches)

    def close(self) -> None:
        """End a source that was not read to its end, which would keep DuckDB's connection alive."""
        if self._batches is not None:
            self._batches.close()

    def _remember(self, batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
        try:
            yield from batches
        except BaseException as error:
            self.error = error
            raise
