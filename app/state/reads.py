"""What pages read: `store().units(run)`, `class_names(run)`, `network(run)`.

The store is the folder in SELVIZ_DATA, else `data/` beside the package. It caches the tables that it reads itself,
within a bound in bytes, so pages call its methods as they are.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from selviz.store import Store

from . import caches

if TYPE_CHECKING:
    from selviz.datasets import Dataset
    from selviz.networks.unit_network import UnitNetwork

ROOT = Path(__file__).resolve().parents[2]


def data() -> str:
    """Return the store's folder."""
    in_repository = (ROOT / "app").exists()  # else it was installed from a wheel: the store is where one works
    return os.environ.get("SELVIZ_DATA") or str((ROOT if in_repository else Path.cwd()) / "data")


def store() -> Store:
    """Return the store; cheap to make."""
    return Store(data())


def run_version(run: str) -> tuple[str, ...]:
    """Return what changes when a file of the run changes: name, inode, time, size of each, as one text, which
    hashes fast.
    """
    try:
        with os.scandir(store().run_path(run)) as entries:
            files = (
                (entry.name, entry.stat())
                for entry in entries
                if entry.is_file() and not entry.name.startswith("notes.")
            )
            return (
                "\n".join(sorted(f"{name} {stat.st_ino} {stat.st_mtime_ns} {stat.st_size}" for name, stat in files)),
            )
    except OSError:
        return ()


def stage_versions(runs: Sequence[str], stage: str) -> tuple[str, ...]:
    """What changes when this stage of one of many runs does: inode, time and size of its file, "" where it is not."""
    folder, versions = os.path.join(data(), "runs"), []
    for run in runs:
        try:
            status = os.stat(os.path.join(folder, run, f"{stage}.duckdb"))
            versions.append(f"{status.st_ino} {status.st_mtime_ns} {status.st_size}")
        except OSError:
            versions.append("")
    return ("\n".join(versions),)


def class_names(run: str) -> list[str]:
    """Return the class names of the run's data set, in their order."""
    first = store().layers(run)["layer"].iloc[0]
    return store().class_means(run, first, 0)["class"].tolist()


def runs() -> pd.DataFrame:
    """Return every run of the store, whatever its state, as the page found it when it began."""
    cached = st.session_state.get("runs")
    return store().runs() if cached is None else cached


@st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
def _network(folder: str, files: tuple, run: str) -> "tuple[UnitNetwork, Dataset]":
    from selviz.runs.load import load_network

    loaded = load_network(Store(folder), run)
    caches.freeze_garbage()
    return loaded


def network(run: str) -> "tuple[UnitNetwork, Dataset]":
    """Return network and data set of a run. One object for all visitors: it is read, never changed."""
    return _network(data(), run_version(run), run)


def watched(run: str) -> bool:
    """Return whether its network could not be traced: its units were watched at import, and nothing can be
    computed again.
    """
    return store().run(run).get("traced") == "watched"
