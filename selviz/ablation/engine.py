"""Logits under changes of units, batch by batch, from values that are computed once: `Engine(network, inputs, labels)`.

    engine = Engine(network, inputs, labels, cache=BoundaryCache(gigabytes=2))
    for rows, logits in engine.stream({"relu3": change}):   # a first small batch, then larger ones
        ...

The cache is shared: by all layers of a run, by runs, and by threads. What does not fit into its budget is computed anew
for every request, in the same batches: `engine.holds(layers)` tells, `engine.computed` counts these computations.
"""

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from selviz.ablation.tail import Tail
from selviz.datasets import Inputs
from selviz.errors import SelvizError
from selviz.networks.unit_edit import UnitEdit
from selviz.networks.unit_network import UnitNetwork

FIRST, LEAST, MOST = 50, 8, 500  # images in the first batch, and in the others
# Bytes of the widest layer in one batch. Larger blocks go back to the system when they are freed, and taking them again
# costs more than an activation function (tried: 8 MB takes a quarter less time than 16 MB, and 2 MB as long as 8).
BLOCK = 8 * 2**20
WIDER = 4  # times as many images at once where a tail's maps are small; the part before it still takes the widest ones
CACHE_GB = 2.0
NOTHING = "No unit is chosen; name units as LAYER:3,5, such as relu1:3,5."
Turn = Callable[[int], AbstractContextManager]
_numbers = itertools.count()


class BoundaryCache:
    """Lists of tensors by key under a budget, the longest unused given up first. Threads may share it."""

    def __init__(self, gigabytes: float = CACHE_GB):
        if not gigabytes >= 0:
            raise SelvizError(f"The memory for cached values is {gigabytes} GB; give 0 or more.")
        self.budget = int(min(gigabytes, 1e6) * 1e9)
        self.bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple, tuple[int, list]] = OrderedDict()
        self._making: dict[tuple, threading.Lock] = {}

    def get(self, key: tuple, make: Callable[[], list]) -> tuple[list, bool]:
        """(the value of `key`, whether it was held). Of several threads that want a new one, only one makes it."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][1], True
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._held:
                    return self._held[key][1], True
            value = make()
            with self._lock:
                self._keep(key, value)
                self._making.pop(key, None)
        return value, False

    def forget(self, owner) -> None:
        """Give up what belongs to `owner`, the first part of its keys."""
        with self._lock:
            for key in [key for key in self._held if key[0] == owner]:
                self.bytes -= self._held.pop(key)[0]

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._held.clear()
            self.bytes = 0

    def _keep(self, key: tuple, value: list) -> None:
        size = sum(part.nbytes for part in value if isinstance(part, Tensor))
        # Batches of the same owner and layers are wanted together: giving one up for another would lose them all.
        others = [other for other in self._held if other[:-1] != key[:-1]]
        if size > self.budget - self.bytes + sum(self._held[other][0] for other in others):
            return
        for other in others:
            if self.bytes + size <= self.budget:
                break
            self.bytes -= self._held.pop(other)[0]
        self._held[key] = (size, value)
        self.bytes += size


class Engine:
    """One network on fixed images [N, C, H, W] with labels [N], in the order in which results stream.

    `inputs` may also be anything that gives a batch for a slice, such as `datasets.Inputs`, which is not in memory.
    `images` [N] are the images' numbers, where they are not 0 to N - 1. Threads may share it: no request changes what
    another one sees.

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
    ):
        if not len(labels):
            raise SelvizError("There are no images to compare on; report on the other fold or on all images.")
        self.network, self.labels = network, labels
        self.images = list(range(len(labels)) if images is None else map(int, images))
        self.inputs = inputs.contiguous(memory_format=torch.channels_last) if isinstance(inputs, Tensor) else inputs
        self.cache = BoundaryCache() if cache is None else cache
        self.computed = 0
        self._first = first
        self._batch = batch or fitting(max(4 * math.prod(layer.shape[1:]) for layer in network.layers))
        self._most = batch or WIDER * self._batch
        self.slices = batches(len(labels), first, self._batch)
        self._owner = next(_numbers)
        self._lock = threading.Lock()
        self._tails: dict[tuple, Tail] = {}
        self._before: Tensor | None = None

    def __len__(self):
        return len(self.labels)

    def close(self) -> None:
        """Give the cached values back."""
        self.cache.forget(self._owner)

    @torch.inference_mode()
    def before(self) -> Tensor:
        """Logits [N, C] of the intact network, computed once."""
        if self._before is None:
            self._before = torch.cat([self.network.logits(self.inputs[rows]) for rows in self.slices])
        return self._before

    @torch.inference_mode()
    def stream(
        self, changes: Mapping[str, UnitEdit], turn: Turn | None = None
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(rows, logits before, logits after) batch by batch under a UnitEdit for each layer.

        Each batch is computed inside `turn(number)`, a context that may wait until others have had theirs; what it
        raises ends the stream, as where a newer request took this one's place.
        """
        if not changes:
            raise SelvizError(NOTHING)
        turn = turn or nullcontext
        tail = self.tail(changes)
        for number, rows in enumerate(self._slices(tail)):
            with turn(number):
                boundary = self._boundary(tail, number, rows)
                after = tail.logits(boundary, {name: change.of_images(rows) for name, change in changes.items()})
            yield rows, boundary[-1], after

    def logits(self, changes: Mapping[str, UnitEdit], turn: Turn | None = None) -> Tensor:
        """Logits [N, C] under a UnitEdit for each layer."""
        return torch.cat([after for _, _, after in self.stream(changes, turn)])

    @torch.inference_mode()
    def maps(self, name: str, units: Sequence[int]) -> Tensor:
        """The intact maps [N, k, *positions] of some units of a layer."""
        tail = self.tail([name])
        units = torch.as_tensor(units)
        parts = [self._boundary(tail, number, rows) for number, rows in enumerate(self._slices(tail))]
        picked = [tail.map(boundary, name).movedim(1, -1).index_select(-1, units) for boundary in parts]
        return torch.cat(picked).movedim(-1, 1)

    def statistics(self, name: str, units: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over images, [k] each, of the activations of some units, or of all."""
        maps = self.maps(name, range(self.network.layer(name).units) if units is None else units)
        activations = maps.flatten(2).mean(dim=2) if maps.dim() > 2 else maps
        return activations.mean(dim=0), activations.std(dim=0)

    def holds(self, names) -> bool:
        """Whether all boundary values of these layers fit into the cache; if not, each request computes the rest."""
        return self.tail(names).bytes_per_image * len(self) <= self.cache.budget

    def tail(self, names) -> Tail:
        """The Tail of these layers."""
        key = tuple(layer.name for layer in self.network.in_order(names))
        with self._lock:
            if key not in self._tails:
                self._tails[key] = Tail(self.network, key)
            return self._tails[key]

    def _slices(self, tail: Tail) -> list[slice]:
        """A tail's batches: the later its layers, the smaller its maps and the more images at once."""
        return batches(len(self), self._first, max(self._batch, min(self._most, fitting(tail.widest))))

    def _boundary(self, tail: Tail, number: int, rows: slice) -> list:
        key = (self._owner, tuple(layer.name for layer in tail.layers), number)
        value, held = self.cache.get(key, lambda: tail.boundary(self.inputs[rows]))
        if not held:
            with self._lock:
                self.computed += 1
        return value


def fitting(widest: int) -> int:
    """How many images at once: few enough that `widest` bytes of each are a block of memory that is reused."""
    return max(LEAST, min(MOST, BLOCK // widest))


def batches(images: int, first: int, batch: int) -> list[slice]:
    """Slices of 0..images: a small first one, so that an estimate comes soon, then larger ones."""
    starts = [0, *range(min(first, batch, images), images, batch)]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], images]) if end > start]
