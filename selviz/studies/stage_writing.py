"""The one way in which a study writes a stage: lock the run, go on from finished parts, merge, write.

if is_up_to_date(folder, "atlas", settings): ...              # it is stored already
with writing_stage(store, run, "atlas") as stage:
    tables = stage.part("0", lambda: {"units": ...})          # computed once, kept until the stage is written
    stage.write({"atlas": tables["units"]}, settings)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from selviz.errors import SelvizError
from selviz.runs.stages import provenance
from selviz.store import Store, stage_is_whole, write_stage
from selviz.store.files import WEIGHTS, checksum, cleaning_up
from selviz.store.merging import merged
from selviz.store.partial_results import kept
from selviz.store.stage_files import record
from selviz.system.locks import Claim

Tables = dict[str, pd.DataFrame]
Settings = Mapping[str, Any]  # what goes into the stage's provenance: JSON values by name


class Parts:
    """Finished parts of a stage that is not yet whole, in the run's `partial/`; they hold numbers only.

    The same study again goes on where it was cut off; `again` makes each part again.
    """

    def __init__(self, folder: Path, stage: str, again: bool = False):
        self.folder, self.stage, self.again = folder, stage, again
        self._paths: list[Path] = []

    def part(self, key: str, make: Callable[[], Tables]) -> Tables:
        """Return the tables of the part `key`: those that are kept, else what `make` returns, which are kept."""
        path = self.folder / "partial" / f"{self.stage}-{key}.npz"
        self._paths.append(path)
        return kept(path, make, self.again)

    def discard(self) -> None:
        """Delete the parts that were asked for: the stage holds them now."""
        for path in self._paths:
            path.unlink(missing_ok=True)


class StageWriter(Parts):
    """A stage of one run while this process alone works on the run; made by `writing_stage`."""

    def write(self, tables: Tables, settings: Settings, merge_on: Sequence[str] = ()) -> None:
        """Write the stage with these settings in its provenance, and discard its parts.

        With `merge_on`, stored rows stay whose values in these columns are not among the new ones.
        """
        tables = merged(self.folder, self.stage, tables, merge_on) if merge_on else tables
        write_stage(self.folder, self.stage, tables, {**provenance(), **settings})
        self.discard()


@contextmanager
def writing_stage(store: Store, run: str, stage: str, again: bool = False) -> Iterator[StageWriter]:
    """Hold the run's lock while a stage of it is computed and written.

    Raises SelvizError where another process works on the run.
    """
    folder = store.run_path(run)
    with Claim(folder / "claim.json", f"run {run}"):
        yield StageWriter(folder, stage, again)


def stored_settings(folder: Path, stage: str) -> dict[str, Any] | None:
    """Return the provenance of a stored stage, its settings among it; None where it is missing or damaged."""
    written = record(folder / f"{stage}.duckdb") if stage_is_whole(folder, stage) else None
    return None if written is None else dict(written["provenance"])


def clear_leftovers(folder: Path, stage: str) -> None:
    """Remove what a writer left that was killed when its stage was in place already: finished parts and its claim.

    For a study that has nothing to add. Where somebody else is at work, or nothing may be written, all stays.
    """
    with cleaning_up(), suppress(SelvizError):
        parts, claim = list((folder / "partial").glob(f"{stage}-*.npz")), folder / "claim.json"
        if parts or claim.exists():
            with Claim(claim, f"run {folder.name}"):
                for path in parts:
                    path.unlink(missing_ok=True)


def is_up_to_date(folder: Path, stage: str, settings: Settings) -> bool:
    """Return whether the stage is stored, whole and made with these settings."""
    stored = stored_settings(folder, stage)
    up_to_date = stored is not None and all(stored.get(name) == value for name, value in settings.items())
    if up_to_date:
        clear_leftovers(folder, stage)
    return up_to_date


def capture_version(store: Store, run: str) -> str:
    """Return what changes when the run is captured again: the SHA-256 of its capture, "" without one."""
    captured = record(store.run_path(run) / "capture.duckdb")
    return str(captured["sha256"]) if captured else ""


def weights_version(store: Store, run: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of the run's weights."""
    return checksum(store.run_path(run) / WEIGHTS)[:16]
