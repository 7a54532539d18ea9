"""A stage that grows by parts: `merged(folder, "ablation", tables, ("layer", "metric"))` adds what it has of others."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from selviz.store.queries import read
from selviz.store.stage_files import stage_is_whole


def merged(folder: Path, stage: str, tables: dict[str, pd.DataFrame], key: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the new tables, each with the stored rows whose `key` columns are not among the new ones'.

    A stage that is missing or damaged has none.
    """
    if not stage_is_whole(folder, stage):
        return tables
    result = {}
    for name, table in tables.items():
        old = read({stage: folder / f"{stage}.duckdb"}, f"SELECT * FROM {stage}.{name}")
        new = set(zip(*(table[column] for column in key)))
        keep = [row not in new for row in zip(*(old[column] for column in key))]
        result[name] = pd.concat([old[keep], table]) if any(keep) else table
    return result
