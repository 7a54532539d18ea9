"""Decoded pixels on disk, so that a data set is decoded once: `kept(files, preparation, title, report)`.

An entry is a folder named by the files (path, size, time of change) and the preparation, below `$SELVIZ_CACHE`, else
`~/.cache/selviz`. Its pixels are mapped, not read: they take no memory of their own, however many they are. Entries can
be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selviz.datasets.dataset import channel_counts
from selviz.datasets.decoding import Skipped, Source, decode
from selviz.datasets.preparation import Preparation
from selviz.errors import SelvizError, unreadable
from selviz.system.durable_files import move_into_place
from selviz.system.image_fingerprint import fingerprint
from selviz.system.progress import Report

VERSION = 1  # of what decoding makes of the same file; another number decodes again
_DAMAGED = (FileNotFoundError, NotADirectoryError, KeyError, ValueError, TypeError)


@dataclass(frozen=True)
class Decoded:
    """uint8 `pixels` [N, C, H, W] of the files at positions `kept` [N]; `skipped` are (position, reason) of the others.

    `counts` [C, 256] says how often each value occurs in each channel; `entry` is the folder that holds all this.
    """

    entry: Path
    pixels: np.ndarray
    kept: np.ndarray
    skipped: list[Skipped]
    counts: np.ndarray


def folder() -> Path:
    """Return where selviz keeps what it can get again: decoded pixels, downloads."""
    base = os.environ.get("SELVIZ_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selviz"


def decoded(
    files: Sequence[Source], stamps: Sequence[tuple[str, int, int]], preparation: Preparation, report: Report
) -> Decoded:
    """Return the pixels of the files, decoded now if the cache does not hold them; `stamps` tell (path, size,
    time) of each.

    Raises SelvizError where no file is a picture, and where the cache cannot be written.
    """
    deep = (preparation.depth,) if preparation.depth else ()  # entries of older versions stay
    digest = hashlib.sha256(repr((VERSION, preparation, len(files), *deep)).encode())
    for stamp in stamps:
        digest.update(repr(stamp).encode(errors="surrogateescape"))
    entry = folder() / "pixels" / digest.hexdigest()[:20]
    if (cached := _read(entry)) is None:
        _write(entry, files, preparation, report)
        cached = _read(entry)
    if cached is None:
        raise SelvizError(f"The decoded images in {entry} cannot be read; remove that folder and start again.")
    return cached


def known_fingerprint(decoded_files: Decoded, labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Return `fingerprint` of the pixels with these labels and names, computed once: gigabytes take seconds to read."""
    about = hashlib.sha256(repr(tuple(class_names)).encode() + np.ascontiguousarray(labels, np.int64).tobytes())
    file = decoded_files.entry / f"fingerprint-{about.hexdigest()[:16]}"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{16}", text := file.read_text()):
            return text
    value = fingerprint(decoded_files.pixels, labels, class_names)
    with contextlib.suppress(OSError):
        file.write_text(value)
    return value


def _read(entry: Path) -> Decoded | None:
    try:
        about = json.loads((entry / "about.json").read_text())
        kept, counts = np.load(entry / "kept.npy"), np.asarray(about["counts"])
        shape = (len(kept), *about["shape"])
        if (entry / "pixels.u8").stat().st_size != np.prod(shape, dtype=np.int64):
            return None
        # Copy on write: torch wants an array that could be written, and nothing ever writes to it.
        pixels = np.memmap(entry / "pixels.u8", np.uint8, mode="c", shape=shape)
    except _DAMAGED:
        return None
    except (OSError, MemoryError) as error:  # what cannot be read now is not made again
        raise unreadable(entry, error) from error
    return Decoded(entry, pixels, kept, [tuple(pair) for pair in about["skipped"]], counts)


def _write(entry: Path, files: Sequence[Source], preparation: Preparation, report: Report) -> None:
    temporary = entry.with_name(f".{entry.name}.{secrets.token_hex(4)}")
    counts = np.zeros((preparation.channels, 256), np.int64)
    kept: list[int] = []
    expected = len(files) * preparation.channels * preparation.crop[0] * preparation.crop[1]
    try:
        temporary.mkdir(parents=True)
        if shutil.disk_usage(temporary).free < expected:
            raise OSError(f"{expected / 1e9:.1f} GB are needed and not free")
        with open(temporary / "pixels.u8", "wb") as file:

            def sink(pixels: np.ndarray, positions: list[int]) -> None:
                nonlocal counts
                file.write(np.ascontiguousarray(pixels))  # type: ignore[arg-type]  # an array is a Buffer to typeshed from Python 3.12 on
                counts += channel_counts(pixels)
                kept.extend(positions)

            skipped = decode(
                files, preparation, sink, lambda done: report({"stage": "decoding", "images": done, "of": len(files)})
            )
        if not kept:
            raise SelvizError(
                f"None of the {len(files):,} image files can be read ({files[0]}: {skipped[0][1]}); give a folder with "
                "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM pictures."
            )
        np.save(temporary / "kept.npy", np.asarray(kept, np.int64))
        about = {"shape": [preparation.channels, *preparation.crop], "skipped": skipped, "counts": counts.tolist()}
        (temporary / "about.json").write_text(json.dumps(about))
        if entry.exists() and _read(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
        try:
            move_into_place(temporary, entry)
        except OSError:
            if _read(entry) is None:  # another process was first
                raise
    except OSError as error:
        raise SelvizError(
            f"Decoded images cannot be kept in {entry.parent} ({error.strerror or error}); free some space, or name "
            f"another folder: SELVIZ_CACHE=/path/with/space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
