"""Images with labels, ready for a network: `dataset.inputs("eval")`, `dataset.normalise(dataset.eval_pixels[rows])`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from selviz.datasets.preparation import Options, Preparation, choose
from selviz.datasets.splits import SEALED, balanced_order, folds
from selviz.system.image_fingerprint import fingerprint
from selviz.system.image_pixels import WHITE


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and evaluation images. Pixels are uint8 [N, C, H, W]; evaluation images that were in memory and have
    more than 256 levels are float16, of the same range 0..255 (`selviz.system.image_pixels`). Labels are int64 [N] into
    `class_names`.

    Evaluation images lie in a fixed order in which every prefix is nearly balanced over classes; `eval_folds` [N] is
    0 or 1, stratified by class, and 2 for the last third, which is sealed (`splits.folds`). `mean` and `std` are per
    channel, of the training pixels scaled to 0..1 unless they were
    given. `training()` gives training pixels and labels, which are read only when they are asked for. `mirrors` says
    whether an image's mirror image shows the same class, as it does not for digits. `origin` says where the images come
    from, in plain values: "transform", "available" evaluation images before `max_images`, "skipped" [[file, reason]].
    """

    name: str
    class_names: tuple[str, ...]
    eval_pixels: Tensor
    eval_labels: Tensor
    eval_folds: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    training: Callable[[], tuple[Tensor, Tensor]]
    mirrors: bool = True
    preparation: Preparation | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor]:
        return self.training()

    @property
    def train_pixels(self) -> Tensor:
        """Return uint8 [N, C, H, W]; raises SelvizError where there are no training images."""
        return self._train[0]

    @property
    def train_labels(self) -> Tensor:
        """Return int64 [N]; raises SelvizError where there are no training images."""
        return self._train[1]

    @property
    def channels(self) -> int:
        """Return channels of an image: 1 or 3."""
        return self.eval_pixels.shape[1]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return float32 inputs [N, C, H, W] of pixels of any type: (pixels / 255 - mean) / std per channel."""
        mean = torch.tensor(self.mean, device=pixels.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, -1, 1, 1)
        return (pixels.float() / WHITE).sub_(mean).div_(std)

    def inputs(self, part: str = "eval") -> Tensor:
        """Return all normalised inputs of the "train" or "eval" part, float32 [N, C, H, W]."""
        return self.normalise(self.train_pixels if part == "train" else self.eval_pixels)

    def prepare(self, picture: Image.Image) -> Tensor:
        """Return uint8 [C, H, W] of any picture, as the data set's own were prepared; ValueError where that cannot
        be.
        """
        height, width = self.eval_pixels.shape[2:]
        preparation = self.preparation or choose(Options(channels=self.channels), [(width, height)])
        return torch.from_numpy(preparation.pixels(picture).copy())

    @property
    def sealed_images(self) -> int:
        """Return how many of the evaluation images, the last ones, are sealed."""
        return int((self.eval_folds == SEALED).sum())

    def with_sealed(self, images: int) -> "Dataset":
        """Return the same images with the last `images` sealed: as in a run that was captured so."""
        if images == self.sealed_images:
            return self
        return replace(self, eval_folds=torch.from_numpy(folds(self.eval_labels.numpy(), images)))

    def without_sealed(self) -> "Dataset":
        """Return the data set with only the evaluation images that everybody may look at, folds 0 and 1."""
        if not (sealed := self.sealed_images):
            return self
        keep = slice(0, len(self.eval_labels) - sealed)
        return replace(
            self,
            eval_pixels=self.eval_pixels[keep],
            eval_labels=self.eval_labels[keep],
            eval_folds=self.eval_folds[keep],
            training=lambda: self._train,
        )

    def view(self, rows: slice | Tensor = slice(None)) -> "Inputs":
        """Return the same of some evaluation images, each normalised when it is asked for."""
        return Inputs(self, torch.arange(len(self.eval_labels))[rows])

    @property
    def example(self) -> Tensor:
        """Return one normalised input [1, C, H, W], for tracing."""
        return self.normalise(self.eval_pixels[:1])


class Inputs:
    """Normalised evaluation inputs that are not in memory: `inputs[10:20]` is float32 [10, C, H, W], channels last."""

    def __init__(self, dataset: Dataset, rows: Tensor):
        self.shape: tuple[int, ...] = (len(rows), *dataset.eval_pixels.shape[1:])
        self.nbytes = 4 * math.prod(self.shape)
        self._dataset, self._rows = dataset, rows

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor | np.ndarray | list[int]) -> Tensor:
        pixels = self._dataset.eval_pixels[self._rows[rows]]
        return self._dataset.normalise(pixels.contiguous(memory_format=torch.channels_last))


def assemble(
    name: str,
    class_names: Sequence[str],
    train_pixels: np.ndarray,
    train_labels: np.ndarray,
    eval_pixels: np.ndarray,
    eval_labels: np.ndarray,
) -> Dataset:
    """Return a Dataset of numpy arrays uint8 [N, C, H, W] and int [N]; orders and folds the evaluation images."""
    order = balanced_order(eval_labels, seed=0)
    eval_pixels, eval_labels = eval_pixels[order], eval_labels[order]
    train = torch.from_numpy(train_pixels.copy()), torch.from_numpy(train_labels.astype(np.int64))
    mean, std = moments(channel_counts(train_pixels))
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        eval_pixels=torch.from_numpy(eval_pixels.copy()),
        eval_labels=torch.from_numpy(eval_labels.astype(np.int64)),
        eval_folds=torch.from_numpy(folds(eval_labels)),
        mean=mean,
        std=std,
        fingerprint=fingerprint(eval_pixels, eval_labels, class_names),
        training=lambda: train,
        origin={"transform": "as they are", "available": len(eval_labels), "skipped": []},
    )


def channel_counts(pixels: np.ndarray) -> np.ndarray:
    """Return how often each of the 256 values occurs in each channel of uint8 pixels [N, C, H, W]: int64 [C, 256]."""
    channels = range(pixels.shape[1])
    return np.stack([np.bincount(pixels[:, channel].reshape(-1), minlength=256) for channel in channels])


def moments(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, 0..1 with 6 digits, of the pixels counted in [C, 256].

    A channel without any variation gets 1 as its deviation, so that nothing is divided by 0.
    """
    scaled, share = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = share @ scaled
    std = np.sqrt((share * (scaled - mean[:, None]) ** 2).sum(axis=1)).round(6)
    return tuple(mean.round(6).tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
