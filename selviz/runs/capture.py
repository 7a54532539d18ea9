"""What every unit does on every evaluation image, for any number of images: `record(network, inputs, ...)`.

The values lie in files, and what was cut off goes on at the last finished chunk of images.
"""

import itertools
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selviz.datasets import Inputs
from selviz.errors import SelvizError
from selviz.networks.activations import batch_size
from selviz.networks.unit_network import UnitNetwork
from selviz.store.files import read_json, write_json, writing
from selviz.system.progress import Report, silent

CHUNK_BYTES = 256 * 2**20  # of activations that are held in memory, and computed again after a cut


@dataclass(frozen=True, eq=False)
class Recorded:
    """`logits` [N, C] and `layers`, one [N, U] each: float32 arrays in files, which `discard` deletes."""

    folder: Path
    logits: np.ndarray
    layers: list[np.ndarray]

    def discard(self) -> None:
        """Delete the files; the arrays must not be used any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


@torch.inference_mode()
def record(
    network: UnitNetwork,
    inputs: Tensor | Inputs,
    classes: int,
    folder: Path,
    key: str,
    report: Report = silent,
    batch: int | None = None,
) -> Recorded:
    """Return logits and activations of inputs [N, C, H, W] as arrays in files of `folder`; a call with the same
    `key` resumes.

    Memory does not grow with N: batches are gathered to a chunk, and a finished chunk is written into the arrays, which
    lie unit by unit. `key` names weights, images and their preparation. `report` gets {"images", "of"} after each
    batch, of `batch_size` images by default. Raises SelvizError where the network does not have `classes` outputs, and
    where the disk is full.
    """
    batch = batch or batch_size(network)
    images, units = len(inputs), [layer.units for layer in network.layers]
    chunk = max(1, CHUNK_BYTES // (4 * sum(units) * batch)) * batch
    about = {"key": key, "images": images, "units": units, "classes": classes}
    progress = folder / "progress.json"
    with writing(folder / "activations.f32"):
        known = _progress(progress) or {}
        done = known.get("done", 0) if {**known, **about, "chunk": chunk} == known else 0
        values = _array(folder / "activations.f32", (sum(units), images), fresh=not done)
        scores = _array(folder / "logits.f32", (images, classes), fresh=not done)
        checks = []
        for first in range(0, done, chunk):  # what a cut-off capture left is used as far as it is whole
            last = min(first + chunk, images)
            # numpy's types call an array a buffer from Python 3.12 on only.
            if zlib.crc32(values[:, first:last].tobytes(), zlib.crc32(scores[first:last])) != known["checks"][0]:  # type: ignore[arg-type]
                done = first
                break
            checks.append(known["checks"].pop(0))
        for first in range(done, images, chunk):
            last = min(first + chunk, images)
            held = np.empty((sum(units), last - first), np.float32)
            for start in range(first, last, batch):
                rows = slice(start, min(start + batch, last))
                logits, activations = network.observe(inputs[rows].contiguous(memory_format=torch.channels_last))
                _check_outputs(logits, classes)
                scores[rows] = logits.float().cpu().numpy()
                here = slice(rows.start - first, rows.stop - first)
                held[:, here] = torch.cat(activations, dim=1).float().cpu().numpy().T
                report({"images": rows.stop, "of": images})
            values[:, first:last] = held
            values.flush()
            scores.flush()
            # As above: numpy's types.
            checks.append(zlib.crc32(held, zlib.crc32(scores[first:last])))  # type: ignore[arg-type]
            write_json(progress, {**about, "done": last, "chunk": chunk, "checks": checks})
    bounds = np.cumsum([0, *units])
    return Recorded(folder, scores, [values[low:high].T for low, high in itertools.pairwise(bounds)])


def _progress(path: Path) -> dict[str, Any] | None:
    try:
        progress = read_json(path)
    except SelvizError:  # a damaged file costs the chunks, not the run
        return None
    return progress if isinstance(progress, dict) and isinstance(progress.get("checks"), list) else None


def _array(path: Path, shape: tuple[int, int], fresh: bool) -> np.memmap:
    """Return a float32 array in a file whose blocks exist: a full disk is an error now and not a signal later."""
    size = 4 * shape[0] * shape[1]
    if not fresh and path.stat().st_size == size:
        return np.memmap(path, np.float32, mode="r+", shape=shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    return np.memmap(path, np.float32, mode="r+", shape=shape)


def _check_outputs(logits: Tensor, classes: int) -> None:
    if logits.dim() != 2 or logits.shape[1] != classes:
        raise SelvizError(
            f"The network gives {' x '.join(map(str, logits.shape[1:]))} outputs an image, and the data set has "
            f"{classes} classes; use a data set whose class folders are the network's classes, in their order."
        )
