"""Names and small files of the store: `check_name("run", name)`, `write_json(path, {...})`, `with writing(path):`."""

import contextlib
import json
import os
import re
import secrets
from pathlib import Path

import duckdb

from selviz.access import check_writing
from selviz.errors import SelvizError

# Names come from command lines and URLs and become folders, so nothing in them may leave the folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")


def check_name(kind: str, name) -> str:
    """`name` itself if it can be the name of a `kind` ("run", "stage", ...); anything else raises SelvizError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SelvizError(
            f"{str(name)[:80]!r} cannot be the name of a {kind}: up to 200 letters, digits and . _ + = - are allowed, "
            f"a letter or digit first."
        )
    return name


def read_json(path):
    """What the file holds, None if there is no such file. A broken one raises SelvizError."""
    try:
        return json.loads(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        problem = f"Cannot read {path} ({error})"
        raise SelvizError(f"{problem}; it is damaged: remove it and run the command again.") from error


def write_json(path, value) -> Path:
    """Write `value` so that a reader sees the old file or the new one, whole. NaN is not JSON: store None."""
    path = Path(path)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    return path


@contextlib.contextmanager
def writing(path: Path, *temporaries: Path):
    """Whatever stops the writing of `path`, `temporaries` are removed; a full or read-only disk raises SelvizError.

    So does a process that may only read.
    """
    check_writing()
    try:
        yield
    except BaseException as error:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError | duckdb.OperationalError | duckdb.FatalException | duckdb.InternalException):
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise SelvizError(
                f"Cannot write {path} ({reason}); free some space, make the folder writable or name another store "
                f"with --data, then run the same command again: nothing that was stored is lost."
            ) from error
        raise


def connect(**settings) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory DuckDB that leaves nothing in the working folder and draws nothing on stdout."""
    connection = duckdb.connect(config={"temp_directory": "", **settings})
    connection.execute("SET enable_progress_bar = false")
    return connection


def quoted(path) -> str:
    """`path` as it stands between single quotes in SQL."""
    return str(path).replace("'", "''")
