"""The layers of many runs of one network as one table: `together(layers, runs, files, fix)`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from selviz.errors import SelvizError, TransientError
from selviz.store.queries import Fix, read
from selviz.store.stage_files import recorded_table

AT_ONCE, READERS = 50, 2  # files that are opened together, and threads that do so


def together(one: pd.DataFrame, runs: list[str], files: list[Path], fix: Fix) -> pd.DataFrame:
    """Return `Store.layers` of each of `runs` [R], whose metrics are `files` [R], as one table with a column `run`.

    `one` is that of the first run. Layers are read from the stages' records, and where these lack them from the files,
    many at a time. A damaged file, and a run whose layers are others than the first run's, raises SelvizError.
    """
    names = one[["layer", "depth", "signed", "squeeze", "units"]]

    def part(first: int) -> pd.DataFrame:
        here = files[first:][:AT_ONCE]
        queries = (f"SELECT {first + n} AS number, * FROM m{n}.layers" for n in range(len(here)))
        return read({f"m{n}": file for n, file in enumerate(here)}, " UNION ALL BY NAME ".join(queries), (), fix)

    # Records are read by Python alone, where two threads take longer than one.
    if (layers := _recorded(files)) is None:
        with ThreadPoolExecutor(READERS) as readers:
            layers = pd.concat(readers.map(part, range(0, len(runs), AT_ONCE)))
    layers = layers.sort_values(["number", "layer"], kind="stable", ignore_index=True)
    whole = len(layers) == len(runs) * len(names)
    if not whole or (layers["units"].to_numpy() != np.tile(names["units"], len(runs))).any():
        raise SelvizError("These runs do not have the same layers.")
    repeated = pd.concat([names.drop(columns="units")] * len(runs), ignore_index=True)
    layers = layers.assign(**{str(name): repeated[name] for name in repeated})
    columns = list(one)
    layers = layers.reindex(columns=columns).astype(one.dtypes)
    return layers.assign(run=np.repeat(runs, len(names)))[["run", *columns]]


def _recorded(files: list[Path]) -> pd.DataFrame | None:
    """Return the layers in the records of metrics, as one table; `number` counts the files from 0.

    None where a record is damaged, lacks them, or has other columns than the first.
    """
    columns: dict[str, list[float]] = {}
    for number, file in enumerate(files):
        try:
            table = recorded_table(file)
        except TransientError:
            raise
        except SelvizError:  # whoever opens it says so, with the way to write it again
            return None
        if table is None or (columns and columns.keys() != {"number", *table}):
            return None
        table["number"] = [float(number)] * len(table["layer"])
        for name, values in table.items():
            columns.setdefault(name, []).extend(values)
    found = pd.DataFrame(columns)
    return found.astype({name: np.int64 for name in ("number", "layer", "units", "dead") if name in found})
