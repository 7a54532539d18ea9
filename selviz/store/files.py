"""Names and small files of the store: `check_name("run", name)`, `write_json(path, {...})`, `with writing(path):`.

A JSON object is written with the schema version, selviz's own, and a seal: the SHA-256 of all the rest, which every
reader checks. So a byte that changed on the disk is an error and not another number.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from selviz import __version__
from selviz.errors import SelvizError, TransientError, first_line, system_problem, told_by_system, unreadable
from selviz.system.durable_files import move_into_place
from selviz.system.write_access import check_writing

StrPath = str | os.PathLike[str]

SCHEMA = 1
SEAL = ("schema", "selviz", "seal")
WEIGHTS = "weights.safetensors"
NETWORK = "network.json"  # an imported run's network, as `selviz.networks.graph_format` stores it

# Names come from command lines and URLs and become folders, so nothing in them may leave the folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")
_NOT_ON_WINDOWS = re.compile(
    r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*\.", re.IGNORECASE
)  # devices; a dot at the end
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")


def is_name(name: str) -> bool:
    """Return whether a file or folder can be one of the store's, and not one that something else has left there."""
    return bool(_NAME.fullmatch(name))


def check_name(kind: str, name: object) -> str:
    """Return `name` if it can be the name of a `kind` ("run", "stage", ...); anything else raises SelvizError."""
    if not isinstance(name, str) or not is_name(name):
        raise SelvizError(
            f"{str(name)[:80]!r} cannot be the name of a {kind}: up to 200 letters, digits and . _ + = - are allowed, "
            f"a letter or digit first."
        )
    if sys.platform == "win32" and _NOT_ON_WINDOWS.fullmatch(name):
        raise SelvizError(f"Windows has no folder called {name!r}; choose another name for the {kind}.")
    return name


def read_json(path: StrPath) -> Any:
    """Return what the file holds, without its seal; None if there is no such file.

    One that is broken, changed since it was written, or of a newer selviz raises SelvizError; one that the system does
    not let us read, TransientError.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, MemoryError) as error:
        if system_problem(error) is None:  # such as a folder of that name
            raise _damaged(path, first_line(error)) from error
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    return unsealed(path, value)


def unsealed(path: StrPath, value: Any) -> Any:
    """Return `value`, read from `path`, without its seal, which is checked; what never had one comes back as it is."""
    if not isinstance(value, dict):
        return value
    if isinstance(schema := value.get("schema"), int) and schema > SCHEMA:
        raise newer(path, schema, value.get("selviz"))
    if "seal" not in value and "selviz" not in value:  # the first selviz wrote neither
        return value
    if value.get("seal") != seal(value):
        raise _damaged(path, "its content does not have the checksum that it names")
    return {name: part for name, part in value.items() if name not in SEAL}


def is_sealed(path: StrPath) -> bool:
    """Return whether the JSON file at `path` has a seal; those of the first selviz have none."""
    try:
        return "seal" in json.loads(Path(path).read_bytes())
    except OSError as error:
        if system_problem(error) is not None:
            raise unreadable(path, error) from error
        return False
    except (ValueError, TypeError, RecursionError):
        return False


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value` with schema, version and seal, as it is written."""
    value = {"schema": SCHEMA, "selviz": __version__, **value}
    return {**value, "seal": seal(value)}


def seal(value: Mapping[str, Any]) -> str:
    """Return SHA-256 of all of `value` but its seal, as JSON with sorted keys and no spaces."""
    content = {name: part for name, part in value.items() if name != "seal"}
    return hashlib.sha256(_as_sealed(content).encode()).hexdigest()


_as_sealed = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def newer(path: StrPath, schema: int, version: object) -> SelvizError:
    """Return the refusal of a file that a later selviz wrote."""
    version = f"{version}, " if isinstance(version, str) else ""
    return SelvizError(
        f"{path} was written by a newer selviz ({version}schema {schema}); this one is {__version__} and reads schema "
        f"{SCHEMA}: update selviz"
    )


def _damaged(path: StrPath, reason: str) -> SelvizError:
    return SelvizError(f"Cannot read {path} ({reason}); it is damaged: remove it and run the command again.")


def write_json(path: StrPath, value: object) -> Path:
    """Write `value` so that a reader sees the old file or the new one, whole; a dict gets its seal.

    NaN is not JSON: store None. Half a character, which no file can hold, raises SelvizError.
    """
    try:
        value = sealed(value) if isinstance(value, dict) else value
        text = (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError as error:
        raise SelvizError(f"{error.object[error.start : error.end]!r} is half a character; write it again.") from None
    return write_bytes(path, text)


def write_bytes(path: StrPath, content: bytes) -> Path:
    """Write `content` so that a reader sees the old file or the new one, whole, and a crash leaves one of them."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        move_into_place(temporary, path)
    return path


def checksum(path: StrPath) -> str:
    """Return SHA-256 of the file; read again only if the file is another one by device, inode, size or time of
    change.

    Raises as `file_sha256`.
    """
    with told_by_system(path):
        status = os.stat(path)
    key = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if (known := _checksums.get(key)) is None:
        if len(_checksums) >= MOST_CHECKSUMS:
            _checksums.clear()
        known = _checksums[key] = file_sha256(path)
    return known


def file_sha256(path: StrPath) -> str:
    """Return SHA-256 of the file, which is read as a whole.

    Raises FileNotFoundError where there is none, and TransientError where the system does not let it be read.
    """
    with told_by_system(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MOST_CHECKSUMS = 10_000
_checksums: dict[tuple[str, int, int, int, int], str] = {}


def leftovers(folder: Path, pattern: str = ".*") -> list[Path]:
    """Return the temporary files in a folder that nobody is at work in: their writers were killed."""
    return [path for path in folder.glob(pattern) if _TEMPORARY.fullmatch(path.name)]


def cleaning_up() -> contextlib.AbstractContextManager[None]:
    """Return a context for the removal of what others left: what the system refuses in it stays for the next time.

    The work that cleans up is done, or goes on without it, so it must not fail for that.
    """
    return contextlib.suppress(OSError, MemoryError, TransientError)


@contextlib.contextmanager
def writing(path: Path, *temporaries: Path) -> Iterator[None]:
    """Do as `writing_outside` of a store, where a process that may only read raises SelvizError first."""
    check_writing()
    with writing_outside(path, *temporaries):
        yield


@contextlib.contextmanager
def writing_outside(path: Path, *temporaries: Path) -> Iterator[None]:
    """Remove `temporaries` whatever stops the writing of `path`; a full or read-only disk raises TransientError."""
    try:
        yield
    except BaseException as error:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        refused = isinstance(
            error, OSError | MemoryError | duckdb.OperationalError | duckdb.FatalException | duckdb.InternalException
        )
        # Other libraries, such as safetensors, put the system's words into an exception of their own.
        if refused or (isinstance(error, Exception) and not isinstance(error, SelvizError) and system_problem(error)):
            reason = system_problem(error) or getattr(error, "strerror", None) or first_line(error)
            raise TransientError(
                f"Cannot write {path} ({reason}); free some space, make the folder writable or name another store "
                f"with --data, then run the same command again: nothing that was stored is lost."
            ) from error
        raise


def connect(**settings: Any) -> duckdb.DuckDBPyConnection:
    """Return a fresh in-memory DuckDB that leaves nothing in the working folder and draws nothing on stdout."""
    connection = duckdb.connect(config={"temp_directory": "", **settings})
    with contextlib.suppress(duckdb.InvalidInputException):  # in a notebook without ipywidgets, where there is none
        connection.execute("SET enable_progress_bar = false")
    return connection


def sql_path(path: Path) -> str:
    """Return `path` as it stands between single quotes in SQL.

    It is absolute, since DuckDB takes what stands before a first colon for the name of an extension, and `~` for home.
    """
    return os.path.abspath(path).replace("'", "''")
