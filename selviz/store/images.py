"""The evaluation images of a data set, once for all its runs: `write_images(data, fingerprint, thumbnails, ...)`."""

import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from selviz.store.files import StrPath, check_name, cleaning_up, write_json, writing
from selviz.store.stage_files import make_record, record_path, stage_is_whole, write_tables
from selviz.system.durable_files import move_into_place, replace
from selviz.system.locks import Claim, holder

PIXELS = "pixels.safetensors"  # the images themselves, of runs that had them in memory


def image_folder(data: StrPath, fingerprint: str) -> Path:
    """Return where the images of the data set with this fingerprint lie."""
    return Path(data) / "images" / check_name("data set fingerprint", fingerprint)


def write_images(
    data: StrPath, fingerprint: str, thumbnails: Iterable[bytes], labels: ArrayLike, class_names: Sequence[str]
) -> Path:
    """Write thumbnails (PNG or any format that browsers show) and labels [N] once; returns the folder.

    What is there already stays. The folder appears as a whole, and of two writers the first one wins.
    """
    final = image_folder(data, fingerprint)
    if _whole(final):
        _sweep(final.parent)
        return final
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    file = temporary / "images.duckdb"
    tables = {
        "thumbnails": _rows(thumbnails, np.asarray(labels, dtype=np.int32)),
        "classes": pd.DataFrame({"class": np.arange(len(class_names)), "name": [str(name) for name in class_names]}),
    }
    try:
        with writing(final / file.name), Claim(_claim(temporary), f"the images {fingerprint}"):
            temporary.mkdir(parents=True)
            _sweep(final.parent)
            rows = write_tables(file, "images", tables)
            write_json(record_path(file), make_record(file, "images", rows, {"fingerprint": fingerprint}))
            if final.exists() and not _whole(final):  # damaged: out of the way, so that the new one can take its place
                replace(final, temporary / "damaged")
            try:
                move_into_place(temporary, final)
            except OSError:
                if not _whole(final):
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(final / "damaged", ignore_errors=True)
    return final


def _rows(thumbnails: Iterable[bytes], labels: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Record batches of image, label and picture; a thousand pictures at a time are in memory."""
    pictures = iter(thumbnails)
    for first in range(0, max(len(labels), 1), 1000):
        part = labels[first : first + 1000]
        images = np.arange(first, first + len(part))
        yield pa.record_batch(
            {"image": images, "label": part, "png": pa.array(islice(pictures, len(part)), pa.binary())}
        )


def _whole(folder: Path) -> bool:
    return stage_is_whole(folder, "images")


def _claim(temporary: Path) -> Path:
    return temporary.with_name(f"{temporary.name}.claim")


def _sweep(folder: Path) -> None:
    """Remove what writers left that were killed."""
    with cleaning_up():
        for claim in folder.glob(".*.claim"):
            if holder(claim) is None:
                shutil.rmtree(claim.with_suffix(""), ignore_errors=True)
                claim.unlink(missing_ok=True)
