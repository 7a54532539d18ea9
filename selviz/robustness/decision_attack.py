"""An attack that sees nothing but the predicted class: `rays(predict, pixels, labels)`; no gradient can hide from it.

RayS (Chen & Gu 2020, arXiv 2006.12792), L-infinity: along a direction whose entries are all +1 or -1 the distance to
the nearest wrong class is found by bisection; the signs of ever smaller blocks of pixels are turned, and stay turned
where that brings the wrong class nearer. Pixels are 0..255 and distances are in their units, as in `attacks`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from selviz.errors import SelvizError
from selviz.robustness.attacks import BATCH, check_epsilon

QUERIES = 500  # predictions of each image and its changes
TOLERANCE = 0.01  # of a distance, out of 255
RANGE = 255.0
Predict = Callable[[Tensor], Tensor]  # pixels [N, C, H, W] of 0..255 -> classes [N]


class Rays(NamedTuple):
    """The nearest wrong images of N that were found.

    `distance` is 0 for an image that is wrong already, infinite where none was found, and `pixels` are the image itself
    then; `queries` counts the predictions that were asked for, that of the image itself among them.
    """

    pixels: Tensor
    distance: Tensor
    queries: Tensor


def rays(predict: Predict, pixels: Tensor, labels: Tensor, stop_at: float = 0.0, queries: int = QUERIES) -> Rays:
    """Search, for each image [N, C, H, W], the nearest one that is not taken for its label [N], in maximum norm.

    An image is done when its distance is at most `stop_at`, when its `queries` are used up, or when no single pixel's
    sign brings it nearer. Nothing is random, and images do not depend on one another: whether one is beaten within an
    epsilon of at least `stop_at` does not depend on `stop_at`. Raises SelvizError for fewer than 2 queries.
    """
    check_epsilon(stop_at)
    if queries < 2:
        raise SelvizError(f"RayS has {queries} queries for each image; it needs 2, and hundreds to succeed.")
    parts = [
        _Search(predict, x.float(), y, stop_at, queries).run()
        for x, y in zip(torch.split(pixels, BATCH), torch.split(labels, BATCH), strict=True)
    ]
    return Rays(*(torch.cat(values) for values in zip(*parts)))


class _Search:
    """The search on one batch; each image has its own direction, distance and count."""

    def __init__(self, predict: Predict, pixels: Tensor, labels: Tensor, stop_at: float, queries: int):
        self.predict, self.pixels, self.labels, self.stop_at, self.limit = predict, pixels, labels, stop_at, queries
        images, self.size = len(pixels), pixels[0].numel()
        self.signs = torch.ones(images, self.size)
        self.distance = torch.full((images,), torch.inf)
        self.queries = torch.zeros(images, dtype=torch.int64)
        self.settled = torch.zeros(images, dtype=torch.bool)  # no single pixel helps any more

    def run(self) -> Rays:
        """Return what was found."""
        everyone = torch.arange(len(self.pixels))
        wrong = self._wrong(everyone, self.signs, torch.zeros(len(everyone)))
        self.distance[wrong] = 0.0
        self._try(self._active(), self.signs.clone())
        blocks = 1
        while len(self._active()):
            size = -(-self.size // blocks)
            before = self.distance.clone()
            for first in range(0, self.size, size):
                active = self._active()
                if not len(active):
                    break
                turned = self.signs.clone()
                turned[:, first : first + size] *= -1
                self._try(active, turned)
            if size == 1:  # a whole round over single pixels: where it brought nothing, no further one will
                self.settled |= self.distance == before
            blocks = min(2 * blocks, self.size)
        found = self.distance.isfinite()
        moved = self._moved(everyone, self.signs, torch.where(found, self.distance, 0.0))
        return Rays(moved, self.distance, self.queries)

    def _active(self) -> Tensor:
        going = (self.distance > self.stop_at) & (self.queries < self.limit) & ~self.settled & (self.distance > 0)
        return going.nonzero().flatten()

    def _try(self, rows: Tensor, signs: Tensor) -> None:
        """Take the new signs [N, D] for those rows where they bring the wrong class nearer, and find how near."""
        at = self.distance[rows].clamp(max=RANGE)
        rows = rows[self._wrong(rows, signs[rows], at)]
        low, high = torch.zeros(len(rows)), self.distance[rows].clamp(max=RANGE)
        open_ = torch.arange(len(rows))
        while True:
            open_ = open_[((high - low)[open_] > TOLERANCE) & (self.queries[rows[open_]] < self.limit)]
            if not len(open_):
                break
            middle = (low[open_] + high[open_]) / 2
            wrong = self._wrong(rows[open_], signs[rows[open_]], middle)
            high[open_[wrong]], low[open_[~wrong]] = middle[wrong], middle[~wrong]
        nearer = high < self.distance[rows]
        self.distance[rows[nearer]], self.signs[rows[nearer]] = high[nearer], signs[rows[nearer]]

    def _moved(self, rows: Tensor, signs: Tensor, distance: Tensor) -> Tensor:
        change = (distance[:, None] * signs).view(len(rows), *self.pixels.shape[1:])
        return (self.pixels[rows] + change).clamp(0, RANGE)

    def _wrong(self, rows: Tensor, signs: Tensor, distance: Tensor) -> Tensor:
        self.queries[rows] += 1
        return self.predict(self._moved(rows, signs, distance)).cpu() != self.labels[rows]
