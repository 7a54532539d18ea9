"""Values in the middle of a run's network, kept on disk: `cuts = DiskCuts(folder, network, images)` for an `Engine`.

So the first request for a deep layer begins at the end of a stage and not at the pixels. They lie in the run's
`partial/cuts-<fingerprint>/`, one file per cut and a checksum per image, within a budget in bytes; the fingerprint is
that of the weights, the images and the library that computes. They may be deleted at any time, and whatever is missing
or damaged is computed again.
"""

import contextlib
import hashlib
import math
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selviz.ablation.cuts import cut_nodes
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.system.write_access import read_only

VARIABLE = "SELVIZ_CUTS_GB"
BUDGET_GB = 1.0  # per run
MIN_PASS_BYTES = 2e9  # of all maps of one pass over the images; below it, a pass takes a second or two
_WRITTEN = 1 << 32  # in a row's record, beside the CRC-32 of its values


def budget() -> int:
    """Return how many bytes of a run's cuts may lie on disk: SELVIZ_CUTS_GB, by default 1; 0 keeps none."""
    text = os.environ.get(VARIABLE) or str(BUDGET_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < math.inf:
        raise SelvizError(f"{VARIABLE} is {text!r}; give a number of gigabytes, such as 1, or 0 for none.")
    return int(gigabytes * 1e9)


def is_worthwhile(network: UnitNetwork, images: int) -> bool:
    """Return whether a pass over the images takes long enough for its values to be kept on disk."""
    return images * 4 * sum(math.prod(layer.shape) for layer in network.layers) >= MIN_PASS_BYTES


class DiskCuts:
    """`ablation.cuts.Cuts` in the folder of a run, for all N evaluation images of its data set."""

    def __init__(self, run_folder: Path, network: UnitNetwork, dataset: Dataset, max_bytes: int | None = None):
        self.images = len(dataset.eval_labels)
        self.folder = run_folder / "partial" / f"cuts-{_fingerprint(network, dataset)}"
        room = budget() if max_bytes is None else max_bytes
        self._shapes: dict[str, tuple[int, ...]] = {}
        for node, size in cut_nodes(network).items():
            if size * self.images <= room:
                room -= size * self.images
                self._shapes[node] = tuple(network.shapes[node][1:])
        self.nodes: Sequence[str] = tuple(self._shapes)

    def read(self, node: str, images: Sequence[int]) -> Tensor | None:
        """Return the values [N, ...] of a cut on these images; None unless all of them are there, unharmed."""
        try:
            records = np.memmap(self._records(node), np.uint64, "r", shape=(self.images,))[images]
            if not (records >= _WRITTEN).all():
                return None
            values = np.memmap(self._values(node), np.float32, "r", shape=(self.images, *self._stored(node)))[images]
        except (OSError, ValueError):
            return None
        values = np.ascontiguousarray(values)
        sums = np.array([zlib.crc32(row) for row in values], np.uint64)
        if not np.array_equal(sums | np.uint64(_WRITTEN), records):
            return None
        tensor = torch.from_numpy(values)
        return tensor.movedim(-1, 1) if tensor.dim() == 4 else tensor

    def write(self, node: str, images: Sequence[int], values: Tensor) -> None:
        """Keep the values of a cut on these images; a disk that is full or not to be written to keeps none."""
        if read_only():
            return
        stored = (values.movedim(1, -1) if values.dim() == 4 else values).contiguous().numpy()
        sums = np.array([zlib.crc32(row) for row in stored], np.uint64) | np.uint64(_WRITTEN)
        with contextlib.suppress(OSError, ValueError):
            if not self.folder.exists():
                self._begin()
            for path, size in ((self._values(node), stored[0].nbytes), (self._records(node), 8)):
                with open(path, "ab") as file:
                    if file.tell() != size * self.images:
                        file.truncate(size * self.images)
            shape = (self.images, *self._stored(node))
            np.memmap(self._values(node), np.float32, "r+", shape=shape)[images] = stored
            np.memmap(self._records(node), np.uint64, "r+", shape=(self.images,))[images] = sums

    def _begin(self) -> None:
        """Make the folder, and remove those of other weights or images."""
        for other in self.folder.parent.glob("cuts-*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _values(self, node: str) -> Path:
        return self.folder / f"{node}.f32"

    def _records(self, node: str) -> Path:
        return self.folder / f"{node}.crc"

    def _stored(self, node: str) -> tuple[int, ...]:
        """Return the shape of one image's values on disk: channels last."""
        shape = self._shapes[node]
        return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _fingerprint(network: UnitNetwork, dataset: Dataset) -> str:
    """Return what changes with the network's graph and weights, the images, and how they are computed."""
    images = f"{len(dataset.eval_labels)} {dataset.fingerprint} {dataset.mean} {dataset.std}"
    digest = hashlib.sha256(f"{torch.__version__} {images}".encode())
    digest.update(network.observer.code.encode())
    for name, tensor in sorted(network.root.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:16]
