"""Runs by the beginning of their name: `full_name(store, "digits-cnn")`."""

from typing import TYPE_CHECKING

from selviz.errors import SelvizError

if TYPE_CHECKING:
    from selviz.store import Store


def full_name(store: "Store", run: str) -> str:
    """Return the name of the one run that `run` names or begins; `run` itself where there is none.

    Raises SelvizError for an empty name and for one that several runs begin with.
    """
    if not run.strip():
        raise SelvizError("The name of the run is empty; name one that this lists: selviz runs")
    names = store.names()
    if run in names:
        return run
    matches = [name for name in names if name.startswith(run)]
    if len(matches) > 1:
        raise SelvizError(f"{len(matches)} runs begin with '{run}', such as {', '.join(matches[:2])}; write more.")
    return matches[0] if matches else run
