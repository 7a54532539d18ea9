"""Logits under edits of units, batch by batch, from values that are computed once: `Engine(network, inputs, labels)`.

    engine = Engine(network, inputs, labels, cache=BoundaryCache(gigabytes=2))
    for rows, before, after in engine.stream({"relu3": edit}):   # a first small batch, then larger ones
        ...

The cache is shared: by all layers of a run, by runs, and by threads. What does not fit into its budget is computed
again for every request, in the same batches: `engine.holds(layers)` tells, `engine.computed` counts these computations.
"""

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from selviz.ablation.boundary_cache import CACHE_GB, BoundaryCache
from selviz.ablation.cuts import Cuts, CutValues
from selviz.ablation.tail import Boundary, Prepared, Tail
from selviz.datasets import Inputs
from selviz.errors import SelvizError
from selviz.networks import graph_nodes
from selviz.networks.unit_edit import UnitEdit
from selviz.networks.unit_network import UnitNetwork

__all__ = ["CACHE_GB", "BoundaryCache", "Engine", "Turn", "batches", "fitting"]

FIRST, LEAST, MOST = 50, 8, 500  # images in the first batch, and in the others
# Bytes of the widest layer in one batch. Larger blocks go back to the system when they are freed, and taking them again
# costs more than an activation function (tried: 8 MB takes a quarter less time than 16 MB, and 2 MB as long as 8).
BLOCK = 8 * 2**20
WIDER = 4  # times as many images at once where a tail's maps are small; the part before it still takes the widest ones
NOTHING = "No unit is chosen; name units as LAYER:3,5, such as relu1:3,5."
Turn = Callable[[int], AbstractContextManager[object]]
_numbers = itertools.count()


class Engine:
    """One network on fixed images [N, C, H, W] with labels [N], in the order in which results stream.

    `inputs` may also be anything that gives a batch for a slice, such as `datasets.Inputs`, which is not in memory.
    `images` [N] are the images' numbers, where they are not 0 to N - 1. `cuts` keeps values in the middle of the
    network for longer than the process lives, so that a layer that nobody silenced before need not begin at the pixels.
    `predictions` [N] are those of the intact network, where they are known beforehand. Threads may share it: no request
    changes what another one sees.

    There is no half precision: CPUs without instructions for it compute it no faster, and the first estimate comes soon
    because its batch is small.
    """

    def __init__(
        self,
        network: UnitNetwork,
        inputs: Tensor | Inputs,
        labels: Tensor,
        cache: BoundaryCache | None = None,
        batch: int | None = None,
        first: int = FIRST,
        images: Sequence[int] | None = None,
        cuts: Cuts | None = None,
        predictions: Tensor | None = None,
    ):
        if not len(labels):
            raise SelvizError("There are no images to compare on; report on the other fold or on all images.")
        self.network, self.labels, self.predictions = network, labels, predictions
        self.images = list(range(len(labels)) if images is None else map(int, images))
        self.inputs = inputs.contiguous(memory_format=torch.channels_last) if isinstance(inputs, Tensor) else inputs
        self.cache = BoundaryCache() if cache is None else cache
        # Values kept on disk would have to travel to another device.
        self.cuts = CutValues(network, cuts) if cuts is not None and network.device.type == "cpu" else None
        self.computed = 0
        self._first = first
        self._batch = batch or fitting(max(4 * math.prod(layer.shape[1:]) for layer in network.layers))
        self._max_batch = batch or WIDER * self._batch
        self.slices = batches(len(labels), first, self._batch)
        self._owner = next(_numbers)
        self._lock = threading.Lock()
        self._tails: dict[tuple[str, ...], Tail] = {}
        self._before: Tensor | None = None  # [N, C], as far as `_known` says
        self._known = torch.zeros(len(labels), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.labels)

    def close(self) -> None:
        """Give the cached values back."""
        self.cache.forget(self._owner)

    @property
    def classes(self) -> int:
        """Return the number of the network's classes, C."""
        return int(self.network.shapes[graph_nodes.logits_node(self.network.graph).name][-1])

    @torch.inference_mode()
    def before(self) -> Tensor:
        """Return the logits [N, C] of the intact network; those that a request has met are not computed again."""
        while not bool(self._known.all()):
            rows = next(rows for rows in self.slices if not bool(self._known[rows].all()))
            self._keep_before(rows, self._intact(rows))
        assert self._before is not None
        return self._before

    def _intact(self, rows: slice) -> Tensor:
        if self.cuts is not None:
            values = self.cuts.logits(self.images[rows])
            if values is not None:
                return values
        return self.network.logits(self.inputs[rows])

    def _keep_before(self, rows: slice, logits: Tensor) -> None:
        with self._lock:
            if self._before is None:
                self._before = logits.new_empty(len(self), logits.shape[1], device=self.labels.device)
            if not bool(self._known[rows].all()):
                self._before[rows] = logits.to(self._before.device)
                self._known[rows] = True

    @torch.inference_mode()
    def stream(self, edits: Mapping[str, UnitEdit], turn: Turn | None = None) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Return (rows, logits before, logits after) batch by batch under an edit of each layer.

        Each batch is computed inside `turn(number)`, a context that may wait until others have had theirs; what it
        raises ends the stream, as where a newer request took this one's place.
        """
        if not edits:
            raise SelvizError(NOTHING)
        turn = turn or nullcontext
        tail = self.tail(edits)
        for number, rows in enumerate(self.slices_of(tail)):
            with turn(number):
                boundary = self.boundary(tail, number, rows)
                after = tail.logits(boundary, {name: edit.of_images(rows) for name, edit in edits.items()})
            yield rows, boundary[-1].to(self.labels.device), after

    def logits(self, edits: Mapping[str, UnitEdit], turn: Turn | None = None) -> Tensor:
        """Return logits [N, C] under an edit of each layer."""
        return torch.cat([after for _, _, after in self.stream(edits, turn)])

    @torch.inference_mode()
    def maps(self, name: str, units: Sequence[int] | Tensor) -> Tensor:
        """Return the intact maps [N, k, *positions] of some units of a layer."""
        tail, chosen = self.tail([name]), torch.as_tensor(units).to(self.network.device)
        parts = [self.boundary(tail, number, rows) for number, rows in enumerate(self.slices_of(tail))]
        picked = [tail.map(boundary, name).movedim(1, -1).index_select(-1, chosen) for boundary in parts]
        return torch.cat(picked).movedim(-1, 1).to(self.labels.device)

    def statistics(self, name: str, units: Sequence[int] | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation over images, [k] each, of the activations of some units, or of all."""
        maps = self.maps(name, range(self.network.layer(name).units) if units is None else units)
        activations = maps.flatten(2).mean(dim=2) if maps.dim() > 2 else maps
        return activations.mean(dim=0), activations.std(dim=0)

    def holds(self, names: Iterable[str]) -> bool:
        """Return whether all boundary values of these layers fit into the cache; each request computes the rest."""
        return self.tail(names).bytes_per_image * len(self) <= self.cache.budget

    def tail(self, names: Iterable[str]) -> Tail:
        """Return the Tail of these layers."""
        key = tuple(layer.name for layer in self.network.in_order(names))
        with self._lock:
            if key not in self._tails:
                self._tails[key] = Tail(self.network, key)
            return self._tails[key]

    def slices_of(self, tail: Tail) -> list[slice]:
        """Return a tail's batches: the later its layers, the smaller its maps and the more images at once."""
        return batches(len(self), self._first, max(self._batch, min(self._max_batch, fitting(tail.widest))))

    def boundary(self, tail: Tail, number: int, rows: slice) -> Boundary:
        """Return what the tail starts from on its batch `number`, these rows: held, from a cut, or from the pixels."""
        value, held = self.cached(
            tuple(layer.name for layer in tail.layers), lambda: self._boundary(tail, rows), number
        )
        if not held:
            with self._lock:
                self.computed += 1
            self._keep_before(rows, value[-1])
        return value

    def prepared(self, tail: Tail, boundary: Boundary, number: int) -> Prepared:
        """Return what many edits of the tail's batch `number` share, held where it fits beside the boundary values."""
        if (tail.bytes_per_image + tail.shared_bytes_per_image) * len(self) > self.cache.budget:
            return tail.prepared(tail.shared(boundary))
        names = tuple(layer.name for layer in tail.layers)
        shared, _ = self.cached(("", *names), lambda: tail.shared(boundary), number)
        return tail.prepared(shared)

    def _boundary(self, tail: Tail, rows: slice) -> Boundary:
        if self.cuts is None:
            return tail.boundary(self.inputs[rows])
        values = self.cuts.values(tail.cached, self.images[rows])
        return self.cuts.from_pixels(tail.cached, self.inputs[rows], self.images[rows]) if values is None else values

    def cached(
        self, what: tuple[str, ...], make: Callable[[], list[Tensor]], number: int = 0
    ) -> tuple[list[Tensor], bool]:
        """Return (what `make` returns, held in the cache under these names and number; whether it was held)."""
        return self.cache.get((self._owner, what, number), make)


def fitting(widest: int) -> int:
    """Return how many images at once: few enough that `widest` bytes of each are a block of memory that is reused."""
    return max(LEAST, min(MOST, BLOCK // widest))


def batches(images: int, first: int, batch: int) -> list[slice]:
    """Return slices of 0..images: a small first one, so that an estimate comes soon, then larger ones."""
    starts = [0, *range(min(first, batch, images), images, batch)]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], images]) if end > start]
