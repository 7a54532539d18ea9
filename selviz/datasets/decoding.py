"""Image files become pixels, by several workers: `decode(files, preparation, sink)` leaves out what is no picture."""

import io
import itertools
import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from selviz.datasets.preparation import DEEP, Preparation, deep_values, is_deep
from selviz.errors import SelvizError, system_problem, unreadable

# Pillow's other formats hand files to other programs (EPS) or are no photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm".split()
MOST_PIXELS = 100_000_000
CHUNK = 64  # images
Skipped = tuple[int, str]  # position of a file and the reason why it is left out


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A picture that lies in a table and not in a file of its own; `read` returns its bytes."""

    read: Callable[[], bytes]

    def __str__(self) -> str:
        return "a picture of the set"


Source = str | Path | EncodedPicture


def is_image(name: str) -> bool:
    """Return whether a file's name says that it is a picture."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def open_picture(file: Source | IO[bytes]) -> Image.Image:
    """Return the picture in a path or an open file, its pixels not read yet; ValueError says why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = io.BytesIO(file.read()) if isinstance(file, EncodedPicture) else file
            picture = Image.open(opened, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("it is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise ValueError("it has too many pixels") from None
    except (OSError, MemoryError, SyntaxError, ValueError, TypeError, OverflowError) as error:
        _raise_if_refused(file, error)
        raise ValueError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
    if picture.width * picture.height > MOST_PIXELS or not picture.width * picture.height:
        raise ValueError(f"it has {picture.width} x {picture.height} pixels")
    return picture


def read_picture(file: Source | IO[bytes], preparation: Preparation) -> np.ndarray:
    """Return uint8 [C, H, W] of the picture in a path or an open file; ValueError says why there is none."""
    picture = open_picture(file)
    try:
        with picture, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_deep(picture) and not preparation.depth:
                raise ValueError(DEEP)
            return preparation.pixels(picture)
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        _raise_if_refused(file, error)
        raise ValueError(str(error) or type(error).__name__) from None


def _raise_if_refused(file: Source | IO[bytes], error: Exception) -> None:
    """Raise TransientError where the system did not let the file be read: to leave it out would be remembered."""
    if isinstance(error, OSError | MemoryError) and system_problem(error):
        raise unreadable(file if isinstance(file, str | Path) else "a picture", error) from error


class Survey(NamedTuple):
    """(width, height) of each picture of a sample, and whether one of them has more than 8 bits a channel."""

    sizes: list[tuple[int, int]]
    deep: bool


def survey(files: Sequence[Source], max_files: int = 500) -> Survey:
    """Open at most `max_files` of the files, evenly spread; those that are no picture are left out."""
    sizes, deep = [], False
    for file in files[:: -(-len(files) // max_files) or 1]:
        try:
            with open_picture(file) as picture:
                sizes.append(picture.size)
                deep = deep or is_deep(picture)
        except ValueError:
            pass
    return Survey(sizes, deep)


def deepest(files: Sequence[Source], workers: int | None = None) -> int:
    """Return the largest number in the pictures of more than 8 bits a channel among the files; 0 without any."""

    def largest(file: Source) -> int:
        try:
            with open_picture(file) as picture:
                return int(deep_values(picture).max(initial=0)) if is_deep(picture) else 0
        except SelvizError:
            raise
        except Exception as error:  # a damaged file may make a decoder raise anything; decoding says so
            _raise_if_refused(file, error)
            return 0

    with ThreadPoolExecutor(workers or count_workers()) as pool:
        return max(pool.map(largest, files, chunksize=CHUNK), default=0)


def decode(
    files: Sequence[Source],
    preparation: Preparation,
    sink: Callable[[np.ndarray, list[int]], None],
    report: Callable[[int], None] = lambda done: None,
    workers: int | None = None,
) -> list[Skipped]:
    """Hand uint8 [n, C, H, W] and the n positions in `files` to `sink`, in their order, chunk by chunk.

    Returns (position, reason) of the files that are left out; `report` gets the number of files that are done.
    """
    workers = workers or count_workers()
    skipped: list[Skipped] = []
    pending: deque[Future[tuple[np.ndarray, list[int], list[Skipped]]]] = deque()
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        chunks = iter(range(0, len(files), CHUNK))
        try:
            while True:
                for first in itertools.islice(chunks, 2 * workers - len(pending)):
                    pending.append(pool.submit(_chunk, files[first : first + CHUNK], first, preparation))
                if not pending:
                    return skipped
                pixels, kept, left_out = pending.popleft().result()
                if kept:
                    sink(pixels, kept)
                skipped += left_out
                done += len(kept) + len(left_out)
                report(done)
        finally:
            for future in pending:
                future.cancel()


def count_workers() -> int:
    """Return threads that decode: one a processor that this process may use, at most 16."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 16)


def _chunk(
    files: Sequence[Source], first: int, preparation: Preparation
) -> tuple[np.ndarray, list[int], list[Skipped]]:
    pixels = np.empty((len(files), preparation.channels, *preparation.crop), np.uint8)
    kept: list[int] = []
    skipped: list[Skipped] = []
    for position, file in enumerate(files, start=first):
        try:
            pixels[len(kept)] = read_picture(file, preparation)
            kept.append(position)
        except ValueError as error:
            skipped.append((position, str(error)))
    return pixels[: len(kept)], kept, skipped
