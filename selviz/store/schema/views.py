"""The SQL views over many runs: `create_views(connection, sources, ["units"])`, `create_runs(connection, listing)`."""

from collections.abc import Iterable, Mapping

import duckdb
import pandas as pd
import pyarrow as pa

from selviz.store.schema import STAGES, stored_columns, view_query
from selviz.store.schema.declaration import Table
from selviz.store.schema.listing import HYPOTHESES, RUNS


def create_views(
    connection: duckdb.DuckDBPyConnection, runs: Mapping[str, dict[str, str]], wanted: Iterable[str]
) -> None:
    """Create the `wanted` views over `runs` (name -> stage -> attached file); without runs they have no rows."""
    without_rows = {} if runs else _without_rows(connection)
    for table in wanted:
        parts = [f"SELECT '{run}' AS run, * FROM ({view_query(table, sources)})" for run, sources in runs.items()]
        if not parts:
            parts = [f"SELECT '' AS run, * FROM ({view_query(table, without_rows)})"]
        connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


def _without_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    for stage in STAGES:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS no_{stage}")
        for table, columns in stored_columns(stage).items():
            declared = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
            connection.execute(f"CREATE TABLE IF NOT EXISTS no_{stage}.{table} ({declared})")
    return {stage: f"no_{stage}" for stage in STAGES}


def create_runs(connection: duckdb.DuckDBPyConnection, listing: pd.DataFrame) -> None:
    """Create the view `runs`, with numbers as numbers even where no run has one."""
    listing, declared = listing.copy(), _types(RUNS)
    for name in listing.columns:
        if name not in declared and listing[name].dtype == object:  # not the same type of value in every run
            listing[name] = listing[name].map(lambda value: None if pd.isna(value) else str(value))
    _create(connection, "runs", listing, declared)


def create_hypotheses(connection: duckdb.DuckDBPyConnection, ledger: pd.DataFrame) -> None:
    """Create the view `hypotheses`, the store's ledger."""
    _create(connection, "hypotheses", ledger, _types(HYPOTHESES))


def _types(table: Table) -> dict[str, str]:
    return {column.name: column.type for column in table.columns if column.type}


def _create(connection: duckdb.DuckDBPyConnection, name: str, frame: pd.DataFrame, types: dict[str, str]) -> None:
    columns = [
        f'CAST("{column}" AS {types[column]}) AS "{column}"' if column in types else f'"{column}"'
        for column in frame.columns
    ]
    connection.register("listed", pa.Table.from_pandas(frame, preserve_index=False))
    connection.execute(f"CREATE TABLE {name} AS SELECT {', '.join(columns)} FROM listed")
    connection.unregister("listed")
