"""Records that cannot be changed unnoticed: `append("data", lambda records: {...})`, `chain = read_chain("data")`.

Each record is a small numbered JSON file in `data/hypotheses/`. It holds the hash of the record before it and its own,
so a file that was edited, removed or slipped in shows. What the records mean is not this module's business.
"""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from selviz.errors import SelvizError, system_problem, unreadable
from selviz.store.files import SCHEMA, StrPath, cleaning_up, leftovers, newer, writing
from selviz.store.schema.listing import HYPOTHESES

FOLDER = "hypotheses"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_FILE = re.compile(r"(\d{6})\.json")


class Chain(NamedTuple):
    """The readable records in order, what is wrong with the files (a sentence each), and the hash of the last one."""

    records: list[dict[str, Any]]
    problems: list[str]
    head: str


def append(data: StrPath, make: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> dict[str, Any]:
    """Add the record that `make` gives of the records so far; returns it with its number, time and hashes.

    Of writers who come at the same moment each gets the next free number in turn, and `make` sees what the others
    wrote; whatever it raises, nothing is written. A chain with a problem takes no more records: SelvizError.
    """
    folder = Path(data) / FOLDER
    while True:
        chain = read_chain(data)
        if chain.problems:
            raise SelvizError(
                f"The records of this store do not hold together, so none can be added: {chain.problems[0]}"
            )
        content = make(chain.records)
        if taken := {"schema", "number", "written", "previous", "hash"} & set(content):
            raise ValueError(f"a record's own fields cannot be given: {sorted(taken)}")
        record = {
            "schema": SCHEMA,
            "number": len(chain.records) + 1,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "previous": chain.head,
            **content,
        }
        record["hash"] = record_hash(record)
        final = folder / f"{record['number']:06d}.json"
        temporary = folder / f".{final.name}.{secrets.token_hex(4)}"
        with writing(final, temporary):
            folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                _publish(temporary, final)
            except (FileExistsError, FileNotFoundError):  # or who was quicker has removed the temporary file
                continue
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        with cleaning_up():  # after writers who were killed, or who come too late for a number that is taken
            for left in leftovers(folder):
                if left.name[1:7] <= final.name[:6]:
                    left.unlink(missing_ok=True)
        return record


def _publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name; where that is taken, also by another machine, raise FileExistsError."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # A file system without hard links: the record is copied to a file that only one writer can make.
        content = temporary.read_bytes()
        with open(final, "xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                final.unlink()  # a record that is cut off would end the chain
                raise


def record_hash(record: dict[str, Any]) -> str:
    """Return SHA-256 of the record without its own hash, as JSON with sorted keys and no spaces."""
    content = {name: value for name, value in record.items() if name != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_chain(data: StrPath) -> Chain:
    """Return every record of the store, and whether the files still hold together."""
    folder, records, problems, head = Path(data) / FOLDER, [], [], ""
    numbers = sorted(int(match[1]) for match in map(_FILE.fullmatch, _names(folder)) if match)
    for number in range(1, (numbers[-1] if numbers else 0) + 1):
        name = f"{number:06d}.json"
        if number not in numbers:
            problems.append(f"{name} is missing")
            head = ""
            continue
        record = _record(folder / name)
        if record is None:
            problems.append(f"{name} is damaged: it holds no record")
            head = ""
            continue
        if isinstance(schema := record.get("schema"), int) and schema > SCHEMA:
            problems.append(str(newer(name, schema, record.get("selviz"))))
        elif record.get("hash") != _hash_or_none(record):
            problems.append(f"{name} was changed after it was written: its content does not have the hash it names")
        elif record.get("number") != number:
            problems.append(f"{name} is the record number {record.get('number')} under another name")
        elif record.get("previous") != head and (head or number == 1):
            problems.append(f"{name} does not follow on the record before it, which was changed or replaced")
        head = str(record.get("hash"))
        records.append(record)
    return Chain(records, problems, head)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, MemoryError) as error:
        if isinstance(error, FileNotFoundError) or system_problem(error) is None:
            return None
        raise unreadable(path, error) from error
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _hash_or_none(record: dict[str, Any]) -> str | None:
    try:
        return record_hash(record)
    except ValueError:  # NaN, which was never written
        return None


# ------------------------------------------------------------------------------------------------ hypotheses as a table

KEY = "hypothesis"
COLUMNS = {column.name: column.type for column in HYPOTHESES.columns}


def hypotheses(data: StrPath) -> pd.DataFrame:
    """Return one row per registered hypothesis, in order: what was claimed, what came of it; states registered,
    begun, tested,
    abandoned. `effect`, `low` and `high` are of the claim's first part."""
    rows: dict[str, dict[str, Any]] = {}
    for record in read_chain(data).records:
        kind, key = record.get("kind"), record.get(KEY)
        if kind == "registered":
            key = record["hash"][:10]
            rows[key] = {
                **{name: record.get(name) for name in ("template", "statement", "level")},
                KEY: key,
                "study": record["family"]["name"],
                "planned": record["family"]["planned"],
                "kind": "confirmatory" if record["confirmatory"] else "exploratory",
                "registered": record["written"],
                "state": kind,
                "begun": False,
                "smallest": record["settings"]["smallest"],
                "power": record["power"]["power"],
                "rules": record.get("rules", 1),
            }
        elif key in rows and kind == "begun":
            rows[key] |= {"state": kind, "begun": True}
        elif key in rows and kind == "abandoned":
            rows[key] |= {"state": kind}
        elif key in rows and kind == "result":
            first = record["parts"][0]
            rows[key] |= {
                "state": "tested",
                "verdict": record["verdict"],
                "p": record["p"],
                "tested": record["written"],
            }
            rows[key] |= {name: first[name] for name in ("effect", "low", "high")}
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    for name, kind in COLUMNS.items():
        if kind == "DOUBLE":
            table[name] = table[name].astype(float)
    return table
