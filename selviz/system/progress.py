"""How far long work is, as its caller hears it: `report({"run": run, "stage": "atlas", "done": 3, "of": 7})`."""

from collections.abc import Callable
from typing import TypedDict


class ProgressEvent(TypedDict, total=False):
    """One sign of progress: `done` of `of` parts of a stage of a run, and what the part is called."""

    run: str
    stage: str
    layer: str
    module: str
    done: int
    of: int
    skipped: str  # one sentence: what is left out, and why


Report = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Report to nobody."""
