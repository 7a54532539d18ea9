"""The run that a store's owner has starred, which every visitor sees first: `star("data", run)`, `starred("data")`."""

from pathlib import Path

from selviz.errors import SelvizError
from selviz.store.files import StrPath, check_name, read_json, write_json
from selviz.system.write_access import check_writing


def starred(data: StrPath) -> str | None:
    """Return the starred run; None where none is, or where the file is damaged: a star is never worth an error."""
    try:
        value = read_json(_path(data))
    except SelvizError:
        return None
    run = value.get("run") if isinstance(value, dict) else None
    return run if isinstance(run, str) else None


def star(data: StrPath, run: str | None) -> None:
    """Star a run in place of the one that was; None takes the star away."""
    check_writing()
    write_json(_path(data), {"run": None if run is None else check_name("run", run)})


def _path(data: StrPath) -> Path:
    return Path(data) / "starred.json"
