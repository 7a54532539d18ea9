"""Whether files that somebody else made are those of a finished run: `validate_untrusted_run(run_folder, images_folder,
fingerprint)`.

A DuckDB file can hold more than tables: a view in it could read other files of this machine when a page looks at it. A
stored network is run for the first time in a process of its own: `network_problems([run_folder, ...])`.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import duckdb
import pandas as pd
import safetensors

from selviz.config import first_invalid_setting, is_number
from selviz.errors import SelvizError, TransientError, first_line, system_problem, told_by_system, unreadable
from selviz.store.files import NETWORK, WEIGHTS, connect, file_sha256, read_json, sql_path
from selviz.store.images import PIXELS
from selviz.store.integrity import LISTED
from selviz.store.notes import NOTES
from selviz.store.queries import CONFIG
from selviz.store.schema import stored_columns
from selviz.store.stage_files import REPEATED, record, recorded_table, stage_is_whole
from selviz.system import image_pixels
from selviz.system.image_fingerprint import fingerprint as image_fingerprint
from selviz.system.listing import files_in
from selviz.system.processes import ROOT, TRIAL_MEMORY, environment, takes_more_than

# The network is data too, and checked step by step each time it is opened; notes are read as text alone.
OPTIONAL = (WEIGHTS, NETWORK, NOTES)
TRIAL_S = 90.0  # for a network to be tried
POLL_S = 0.1  # polling interval of the memory that the process takes
START_S = 300.0  # until its process has imported torch, on a machine that is busy
UNFIT = "does not fit its record"
OTHERS = """
    SELECT database_name FROM duckdb_views() WHERE NOT internal
    UNION SELECT database_name FROM duckdb_functions() WHERE NOT internal
    UNION SELECT database_name FROM duckdb_tables() WHERE upper(sql) LIKE '%GENERATED ALWAYS%'
"""
PLAIN_COLUMNS = """
    SELECT database_name, table_name, column_name || ' ' || data_type FROM duckdb_columns()
    WHERE NOT internal AND schema_name = 'main'
"""


def validate_untrusted_run(run: Path, images: Path, fingerprint: str) -> str | None:
    """Return what is wrong with a run's folder and the folder of its data set's images, None if they are sound."""
    if wrong := files_problem([*files_in(run, ".duckdb"), images / "images.duckdb"]):
        return wrong
    config, summary = (_object(run / name) for name in ("config.json", "summary.json"))
    if config is None or summary is None or not all(isinstance(config.get(key), str) for key in ("dataset", "model")):
        return "its settings or its summary are not those of a run"
    for settings in (config, summary):
        if odd := first_invalid_setting(settings):
            return f"its {odd} cannot be {str(settings[odd])[:80]!r}"
    if not isinstance(summary.get("origin") or {}, dict):
        return "its summary does not say where its images are from"
    numbers = [summary.get(key) for key in ("test_accuracy", "mean_si", "images", "units")]
    classes = summary.get("classes")
    if not all(map(is_number, numbers)):
        return "its summary lacks numbers that every run has"
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return "its summary lacks the names of the classes"
    if wrong := _repeated_problem(run / "metrics.duckdb"):
        return wrong
    with _alone([run / "capture.duckdb"]) as connection:
        counted = connection.execute("SELECT coalesce(sum(units), 0)::BIGINT FROM file0.layers").fetchone()
        (units,) = cast(tuple[int], counted)
        counted = connection.execute("SELECT count(*) FROM file0.activations").fetchone()
        (values,) = cast(tuple[int], counted)
        labels = _numbered(connection, "images")
        last = "SELECT fold FROM file0.images WHERE fold >= 2 OR image >= ? ORDER BY image"
        folds = [fold for (fold,) in connection.execute(last, [summary["images"]]).fetchall()]
    if units != summary["units"] or values != units * len(labels):
        return f"it has {values:,} activations of {units:,} units on {len(labels):,} images"
    if pictures(images / "images.duckdb") != (classes, labels) or summary.get("fingerprint") != fingerprint:
        return "its images are not those of its run"
    sealed = summary.get("sealed_images", 0)
    if not is_number(sealed) or folds != [2] * sealed:
        return "its sealed images are not those of its summary"
    numbered = [image for image, _ in labels] == list(range(summary["images"] + sealed))
    if not numbered or not all(label in range(len(classes)) for _, label in labels):
        return "its images do not fit its summary"
    listed = summary.get(LISTED, {})
    if not isinstance(listed, dict):
        return "its summary does not list its files"
    if (run / WEIGHTS).exists() and listed.get(WEIGHTS, known := file_sha256(run / WEIGHTS)) != known:
        return f"{WEIGHTS} is not what its summary says"
    labelled = (classes, labels)
    if (images / PIXELS).exists() and (wrong := pixels_problem(images / PIXELS, labelled, fingerprint)):
        return wrong
    if wrong := _weights_problem(run / WEIGHTS):
        return wrong
    if (problem := network_problems([run])[run]) is None:
        return None
    if problem.may_pass:
        raise TransientError(f"The run cannot be imported now: {problem.message}; nothing was stored, so try again.")
    return problem.message


class NetworkProblem(NamedTuple):
    """Why a stored network was not found to be sound; `may_pass` where that says nothing of the network itself."""

    message: str
    may_pass: bool = False


def network_problems(folders: Sequence[Path]) -> dict[Path, NetworkProblem | None]:
    """Return what is wrong with the stored network in each run's folder, None where there is none or it runs.

    Each runs in a process of its own kind, with limits of memory and time (`selviz.networks.first_run`): one that takes
    too much of either, or ends its process, is refused.
    """
    found: dict[Path, NetworkProblem | None] = dict.fromkeys(folders)
    left = [folder for folder in folders if (folder / NETWORK).exists()]
    while left:
        if (under_way := _try_networks(left, found)) is not None:
            left.remove(under_way)
        elif left:  # it never began: nothing was tried, so nothing is known to be sound
            problem = NetworkProblem("its network could not be tried: no process could be started for it", True)
            return {**found, **dict.fromkeys(left, problem)}
    return found


def _try_networks(left: list[Path], found: dict[Path, NetworkProblem | None]) -> Path | None:
    """Try networks in one process, moving each from `left` to `found`; return the one at which the process ended."""
    named = {os.path.abspath(folder): folder for folder in left}  # the process works in a folder of its own
    under_way, why = None, ""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "selviz.networks.first_run", *named],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(),
        )
    except (OSError, MemoryError):
        return None
    with process:
        try:
            for line in _lines(process):
                if "begins" in line:
                    under_way = named[line["begins"]]
                    continue
                folder, problem, under_way = named[line["folder"]], line["problem"], None
                message = f"its network cannot be used ({problem})"
                found[folder] = NetworkProblem(message, line["may_pass"]) if problem else None
                left.remove(folder)
        except TimeoutError:
            why = f"took more than {TRIAL_S:g} s"
            process.kill()
        except MemoryError:
            why = f"took more than {TRIAL_MEMORY / 2**30:g} GB of memory"
            process.kill()
    if under_way is not None:
        status = process.returncode
        outside = not why and status == -getattr(signal, "SIGKILL", 9)  # as where the machine has no memory left
        if outside:
            why = "was being tried when its process was ended from outside; try again"
        why = why or f"ended the process that tried it (status {status})"
        found[under_way] = NetworkProblem(f"its network {why}", outside)
    return under_way


def _lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines that a process writes until it ends.

    TimeoutError where it writes none for TRIAL_S seconds; MemoryError where it takes too much and cannot limit itself.
    """
    assert process.stdout is not None
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A thread that reads: Windows cannot wait for a pipe.
    reader = threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True)
    reader.start()
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            if takes_more_than(process, TRIAL_MEMORY):
                raise MemoryError from None
            continue
        if not line:
            return
        deadline = time.monotonic() + TRIAL_S
        yield json.loads(line)
    raise TimeoutError


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Hand over each line of a pipe, and an empty one at its end."""
    for line in pipe:
        lines.put(line)
    lines.put(b"")


def files_problem(files: list[Path]) -> str | None:
    """Return what is wrong with stage files: their records, or that they hold anything but tables with the known
    columns.
    """
    for file in files:
        try:
            record(file)
        except TransientError:
            raise
        except SelvizError as error:
            return f"{file.name} {'was written by a newer selviz' if 'newer selviz' in str(error) else UNFIT}"
        if not stage_is_whole(file.parent, file.stem):
            return f"{file.name} {UNFIT}"
    try:
        with _alone(files) as connection:
            others = {name for (name,) in connection.execute(OTHERS).fetchall()}
            columns = set(connection.execute(PLAIN_COLUMNS).fetchall())
    except duckdb.Error as error:
        if system_problem(error):
            raise unreadable(files[0].parent, error) from error
        return f"one of its files cannot be read ({first_line(error)})"
    for number, file in enumerate(files):
        if f"file{number}" in others:
            return f"{file.name} holds more than tables"
        for table, types in stored_columns(file.stem.partition("-")[0], optional=False).items():
            needed = {(f"file{number}", table, f"{name} {type_}") for name, type_ in types.items()}
            if missing := sorted(needed - columns):
                return f"{file.name} lacks the column {'.'.join(missing[0][1:])}"
    return None


def _repeated_problem(file: Path) -> str | None:
    """What is wrong with the small table that the record of a stage repeats."""
    if (repeated := recorded_table(file)) is None:
        return None
    with _alone([file]) as connection:
        stored = connection.execute(f"SELECT * FROM file0.{REPEATED[file.stem]}").df().astype(float)
    if set(repeated) != set(stored) or not stored.equals(pd.DataFrame(repeated)[list(stored)]):
        return f"{file.name} {UNFIT}"
    return None


def pictures(file: Path) -> tuple[list[str], list[tuple[int, int]]]:
    """Return (class names, (image, label) of each image) of the images of a data set."""
    with _alone([file]) as connection:
        names = connection.execute("SELECT name FROM file0.classes ORDER BY class").fetchall()
        return [name for (name,) in names], _numbered(connection, "thumbnails")


def _numbered(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[int, int]]:
    rows = connection.execute(f"SELECT image, label FROM file0.{table} ORDER BY image").fetchall()
    return [(int(image), -1 if label is None else int(label)) for image, label in rows]


def pixels_problem(file: Path, labelled: tuple[list[str], list[tuple[int, int]]], fingerprint: str) -> str | None:
    """Return what is wrong with the pixels that came with a run, None if they are those of its images.

    `labelled` is what `pictures` says of the images.
    """
    classes, rows = labelled
    try:
        with told_by_system(file), safetensors.safe_open(file, "numpy") as tensors:
            if sorted(tensors.keys()) != ["labels", "pixels"]:
                return "its pixels are not those of a run"
            shape, kind = tensors.get_slice("pixels").get_shape(), tensors.get_slice("pixels").get_dtype()
            if len(shape) != 4 or shape[0] != len(rows) or shape[1] not in (1, 3) or kind not in image_pixels.DTYPES:
                return "its pixels do not fit its images"
            pixels, labels = tensors.get_tensor("pixels"), tensors.get_tensor("labels")
    except FileNotFoundError:
        return "its pixels are missing"
    except safetensors.SafetensorError as error:
        return f"its pixels are damaged ({first_line(error)})"
    if wrong := image_pixels.problem(pixels):
        return wrong
    if labels.tolist() != [label for _, label in sorted(rows)]:
        return "its pixels have other labels than its images"
    return None if image_fingerprint(pixels, labels, classes) == fingerprint else "its pixels are not those of its run"


def _weights_problem(file: Path) -> str | None:
    """Return a run without weights can be looked at, though not ablated."""
    try:
        if file.exists():
            with told_by_system(file), safetensors.safe_open(file, "numpy") as weights:
                weights.keys()
    except safetensors.SafetensorError as error:
        return f"its weights are damaged ({error})"
    return None


def _object(file: Path) -> dict[str, Any] | None:
    try:
        value = read_json(file)
    except TransientError:
        raise
    except SelvizError:
        return None
    return value if isinstance(value, dict) else None


@contextlib.contextmanager
def _alone(files: list[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that can read these files, as file0, file1, ..., and nothing else, whatever they ask for."""
    connection = connect(**CONFIG, threads=1)
    try:
        for number, file in enumerate(files):
            connection.execute(f"ATTACH '{sql_path(file)}' AS file{number} (READ_ONLY)")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()
