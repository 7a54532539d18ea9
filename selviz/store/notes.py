"""Notes on a run, its units and groups: `add_note("data", run, "relu4:3", text, author)`, `notes("data", run)`.

They are one small file in the run's folder, which travels with the run; nothing that is computed depends on it.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from selviz.errors import SelvizError
from selviz.store.files import StrPath, check_name, read_json, write_json
from selviz.system.locks import Claim
from selviz.system.write_access import check_writing

NOTES = "notes.json"
RUN = "run"  # what a note on the run as a whole is about
MAX_TEXT, MAX_AUTHOR, MAX_ABOUT, MAX_NOTES = 2000, 80, 200, 1000
PATIENCE_S, POLL_S = 5.0, 0.05


class Note(NamedTuple):
    """A note: on `run`, on a unit such as `relu4:3`, or on a group such as `group 0123456789ab`; written in UTC."""

    about: str
    text: str
    author: str
    written: str


def notes(data: StrPath, run: str, about: str | None = None) -> list[Note]:
    """Return the notes on a run and all in it, oldest first, or those about one thing; what is no note is left out."""
    value = read_json(_path(data, run))
    found = []
    for row in value if isinstance(value, list) else []:
        if isinstance(row, dict) and all(isinstance(row.get(name), str) for name in Note._fields):
            found.append(Note(*(row[name] for name in Note._fields)))
    return [note for note in found if about is None or note.about == about]


def add_note(data: StrPath, run: str, about: str, text: str, author: str = "") -> Note:
    """Keep a note; an empty or too long text, or a run with MAX_NOTES of them, raises SelvizError."""
    check_writing()
    text, author = text.strip(), " ".join(author.split())
    if not text:
        raise SelvizError("A note needs a text.")
    for name, value, most in (("text", text, MAX_TEXT), ("author", author, MAX_AUTHOR), ("about", about, MAX_ABOUT)):
        if len(value) > most:
            raise SelvizError(f"The {name} of a note has at most {most:,} characters; this one has {len(value):,}.")
    if not _path(data, run).parent.is_dir():
        raise SelvizError(f"There is no run '{run}' in {data}. The runs: selviz runs")
    note = Note(about, text, author, datetime.now(UTC).isoformat(timespec="seconds"))
    with _alone(_path(data, run)):
        every = notes(data, run)
        if len(every) >= MAX_NOTES:
            raise SelvizError(f"{run} has {MAX_NOTES:,} notes; remove some first.")
        write_json(_path(data, run), [one._asdict() for one in (*every, note)])
    return note


def remove_note(data: StrPath, run: str, note: Note) -> None:
    """Take a note away; nothing happens where it is gone already."""
    check_writing()
    with _alone(_path(data, run)):
        every = notes(data, run)
        write_json(_path(data, run), [one._asdict() for one in every if one != note])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the file that is changed, as soon as nobody else does."""
    until = time.monotonic() + PATIENCE_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(Claim(path.with_suffix(".lock"), "the notes"))
                break
            except SelvizError:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL_S)
        yield


def _path(data: StrPath, run: str) -> Path:
    return Path(data) / "runs" / check_name("run", run) / NOTES
