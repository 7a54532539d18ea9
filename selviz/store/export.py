"""One table of a run as a file that other programs read: `write_table(run, "units", files, path, "csv", fix)`."""

import secrets
from pathlib import Path

import duckdb

from selviz.errors import SelvizError
from selviz.store.files import sql_path, writing
from selviz.store.queries import Fix, opened
from selviz.store.schema import TABLES, view_query
from selviz.system.durable_files import move_into_place
from selviz.text.safe_text import FORMULA_STARTS

FORMATS = {"csv": "FORMAT csv, HEADER", "parquet": "FORMAT parquet", "json": "FORMAT json, ARRAY true"}


def write_table(run: str, table: str, files: dict[str, Path], path: Path, format: str, fix: Fix) -> Path:
    """Write one of TABLES, read from the stages' `files`, to `path` in one of FORMATS, and return the path.

    A folder that does not exist, and a place that cannot be written, raise SelvizError and leave nothing behind.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise SelvizError(f"Cannot write {path}: give the name of a file in a folder that exists.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    order = f" ORDER BY {TABLES[table].order}" if TABLES[table].order else ""
    sources = {stage: f"{stage}_file" for stage in files}
    query = f"SELECT '{run}' AS run, {view_query(table, sources).removeprefix('SELECT ')}{order}"
    with (
        opened({f"{stage}_file": file for stage, file in files.items()}, fix) as connection,
        writing(path, temporary),
    ):
        if format == "csv":
            query = _spreadsheet_safe(connection, query)
        connection.execute(f"COPY ({query}) TO '{sql_path(temporary)}' ({FORMATS[format]})")
        move_into_place(temporary, path)
    return path


def _spreadsheet_safe(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Return `query` with texts that a spreadsheet would take for formulas marked, as `spreadsheet_cell` does."""
    starts = ", ".join(f"chr({ord(start)})" for start in FORMULA_STARTS)
    columns = []
    for name, type_, *_ in connection.execute(f"DESCRIBE {query}").fetchall():
        safe = f'CASE WHEN left("{name}", 1) IN ({starts}) THEN chr(39) || "{name}" ELSE "{name}" END'
        columns.append(f'{safe} AS "{name}"' if type_ == "VARCHAR" else f'"{name}"')
    return f"SELECT {', '.join(columns)} FROM ({query})"
