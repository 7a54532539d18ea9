"""A data set of images that are in memory already: `from_memory(loader, "my images", classes=["cat", "dog"])`.

A network's inputs are numbers of any size, and a store keeps pixels, which with a mean and a standard deviation give
the inputs back. Inputs that were normalized from 8-bit images lie on 256 levels a channel, are kept as bytes and come
back to rounding; others are kept in half precision, black the smallest and white the largest value of their channel,
and `origin` says by how much that rounds them. What is computed of a run is computed on the images as they are stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selviz.datasets.dataset import Dataset
from selviz.datasets.preparation import Options, choose
from selviz.datasets.splits import balanced_order, folds
from selviz.errors import SelvizError
from selviz.system.image_fingerprint import fingerprint
from selviz.system.image_pixels import WHITE

SPEC = "memory"  # a run's data set is named memory:NAME
LEVELS = 256
FITS = 1e-3  # of a level: inputs that are as near to levels as this came from 8-bit images
FEWER = "give fewer of them, or a folder: selviz import."
IMAGE_KEYS = ("pixel_values", "image", "images", "img", "x", "inputs")  # in batches that are dicts
LABEL_KEYS = ("labels", "label", "y", "target", "targets")
SMALLEST, LARGEST = 4, 2**33  # images; bytes of pixels


def from_memory(
    data: object,
    name: str,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    max_images: int = 0,
) -> Dataset:
    """Return the evaluation images in `data` as a data set; it has no training images.

    `data` is a pair of images [N, C, H, W] and labels [N], a torch Dataset of (image, label), or a DataLoader of such
    batches (or of dicts with an image and a label). Images are inputs of the network, or uint8 pixels, which `mean` and
    `std` (of pixels / 255) normalise. With `mean` and `std` floating-point images are taken for pixels that were
    normalised by them. `classes` are the names of the labels 0, 1, ...; by default those that `data.classes` has, else
    the numbers. Raises SelvizError for images without labels, of several sizes, or not finite, and for labels outside
    the classes.
    """
    images, labels = _gathered(data)
    names = _class_names(classes, data, labels)
    if not torch.isfinite(images.float()).all():
        raise SelvizError("Some images have values that are not finite; an image is numbers, without NaN or infinity.")
    given = None if mean is None and std is None else _moments(mean, std, images.shape[1])
    pixels, mean_used, std_used = _as_pixels(images, given)
    rounding = _rounding(images, pixels, mean_used, std_used)
    order = balanced_order(labels.numpy(), seed=0)
    order = order[: max_images or len(order)]
    pixels, labels = pixels[order], labels[order]
    transform = "as they were in memory" if pixels.dtype == torch.uint8 else "in half precision"
    return Dataset(
        name=f"{SPEC}:{name}",
        class_names=tuple(names),
        eval_pixels=pixels,
        eval_labels=labels,
        eval_folds=torch.from_numpy(folds(labels.numpy())),
        mean=mean_used,
        std=std_used,
        fingerprint=fingerprint(pixels.numpy(), labels.numpy(), names),
        training=no_training_images,
        preparation=choose(Options(channels=pixels.shape[1]), [(pixels.shape[3], pixels.shape[2])]),
        origin={"transform": transform, "available": len(images), "skipped": [], **rounding},
    )


def no_training_images() -> tuple[Tensor, Tensor]:
    """Raise SelvizError: a run of images in memory has evaluation images only."""
    raise SelvizError("This run has only the evaluation images that it was captured on, and no training images.")


def _gathered(data: object) -> tuple[Tensor, Tensor]:
    """Return all images [N, C, H, W] and labels [N] int64 of a pair, a Dataset or a DataLoader."""
    if isinstance(data, tuple | list) and len(data) == 2 and not isinstance(data[0], tuple):
        images, labels = _tensor(data[0], "images"), _tensor(data[1], "labels")
    elif hasattr(data, "__iter__") or hasattr(data, "__getitem__"):
        images, labels = _gathered_batches(data)
    else:
        raise SelvizError(
            f"data is a {type(data).__name__}; give (images, labels), a Dataset of (image, label), or a DataLoader."
        )
    if images.dim() == 3:
        images = images.unsqueeze(1)  # grey images
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise SelvizError(
            f"The images have the shape {list(images.shape)}; give [N, C, H, W] with 1 or 3 channels, channels first."
        )
    if images.numel() > LARGEST:
        raise SelvizError(f"{len(images):,} images are more than fit here; {FEWER}")
    if labels.dim() != 1 or len(labels) != len(images):
        raise SelvizError(
            f"There are {len(images)} images and labels of the shape {list(labels.shape)}; give one each."
        )
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise SelvizError("The labels are not whole numbers; give the number of each image's class.")
    if len(images) < SMALLEST:
        raise SelvizError(f"There are {len(images)} images; at least {SMALLEST} are needed.")
    return images, labels.to(torch.int64)


def _gathered_batches(data: Any) -> tuple[Tensor, Tensor]:
    images, labels, values = [], [], 0
    whole_batches = hasattr(data, "batch_size") and getattr(data, "batch_size", None) is not None
    items: Iterable[Any] = data if hasattr(data, "__iter__") else (data[i] for i in range(len(data)))
    for number, item in enumerate(items):
        item = _pair_of(item)
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise SelvizError(
                f"What data gives at {number} is a {type(item).__name__}, not a pair of image and label; every image "
                "needs the number of its class."
            )
        image, label = _tensor(item[0], "images"), _tensor(item[1], "labels")
        images.append(image if whole_batches or image.dim() == 4 else image.unsqueeze(0))
        labels.append(label if label.dim() and (whole_batches or image.dim() == 4) else label.reshape(-1))
        values += images[-1].numel()
        if values > LARGEST:  # a set without an end would fill the memory
            raise SelvizError(f"{sum(map(len, images)):,} images and more are more than fit here; {FEWER}")
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise SelvizError(
                f"The images have several sizes ({list(images[0].shape[1:])} and {list(images[-1].shape[1:])}); bring "
                "them to one size first."
            )
    if not images:
        raise SelvizError("data is empty; give some labelled images.")
    return torch.cat(images), torch.cat(labels)


def _pair_of(item: object) -> object:
    """Return (image, label) of a dict, as the loaders of transformers give, and anything else as it is."""
    if not isinstance(item, Mapping):
        return item
    image = next((item[key] for key in IMAGE_KEYS if key in item), None)
    label = next((item[key] for key in LABEL_KEYS if key in item), None)
    if image is None or label is None:
        raise SelvizError(
            f"What data gives is a dict with {', '.join(map(str, item))}, and no pair of image and label; name its "
            "parts so, or give pairs."
        )
    return image, label


def _tensor(value: object, what: str) -> Tensor:
    """Return a tensor on the CPU, of a tensor, an array, a number or a picture."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if hasattr(value, "getbands"):  # a picture of Pillow, as torchvision's sets give without a transform
        array = np.asarray(value)
        value = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise SelvizError(f"The {what} in data are no numbers ({error}); give tensors or arrays.") from None


def _class_names(classes: Sequence[str] | None, data: object, labels: Tensor) -> list[str]:
    dataset = getattr(data, "dataset", data)
    known = classes if classes is not None else getattr(dataset, "classes", None)
    names = [str(name) for name in known] if known is not None else [str(i) for i in range(int(labels.max()) + 1)]
    if labels.min() < 0 or labels.max() >= len(names):
        raise SelvizError(
            f"Labels go from {int(labels.min())} to {int(labels.max())} and there are {len(names)} classes, 0 to "
            f"{len(names) - 1}; name every class: classes=[...]."
        )
    if len(set(names)) != len(names) or len(names) < 2:
        raise SelvizError(f"The classes are {names[:5]}; give two or more, each with a name of its own.")
    return names


def _moments(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> tuple[Tensor, Tensor]:
    if mean is None or std is None or len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise SelvizError(f"mean and std belong together, one number for each of {channels} channels, std above 0.")
    return torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)


def _as_pixels(
    images: Tensor, given: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[float, ...], tuple[float, ...]]:
    """Return (pixels, mean, std): inputs are (pixels / 255 - mean) / std.

    The pixels are uint8 where that is exact, else float16 (`selviz.system.image_pixels`).
    """
    if images.dtype == torch.uint8:
        mean, std = given or (torch.zeros(images.shape[1]).double(), torch.ones(images.shape[1]).double())
        return images, tuple(mean.tolist()), tuple(std.tolist())
    values = images.double()
    mean, std = given or _levels(values)
    exact = (values * std.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)) * WHITE
    whole = exact.round().clamp(0, WHITE)
    if float((exact - whole).abs().max()) <= FITS:
        return whole.to(torch.uint8), tuple(mean.tolist()), tuple(std.tolist())
    if given is not None and not -0.51 <= float(exact.min()) <= float(exact.max()) <= WHITE + 0.51:
        raise SelvizError("These images are no pixels that were normalised with this mean and std; leave both out.")
    return exact.clamp(0, WHITE).half(), tuple(mean.tolist()), tuple(std.tolist())


def _rounding(images: Tensor, pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> dict[str, float]:
    """Return by how much the inputs that the pixels give differ from the images.

    `rounded_by` is the largest difference, `rounded_share` the mean one as a share of the channel's mean deviation, in
    the channel where it is largest. Both are 0 for bytes.
    """
    by = share = 0.0
    if pixels.dtype != torch.uint8:
        for channel, (middle, spread) in enumerate(zip(mean, std)):
            values = images[:, channel].double()
            off = (pixels[:, channel].double() / WHITE - middle) / spread - values
            by = max(by, float(off.abs().max()))
            share = max(share, float(off.abs().mean() / (values - values.mean()).abs().mean()))
    return {"rounded_by": by, "rounded_share": share}


def _levels(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and std [C] with which 256 levels of pixels give these inputs [N, C, H, W], exactly where
    that can be.
    """
    means, stds = [], []
    for channel in values.transpose(0, 1).reshape(values.shape[1], -1):
        low, high = float(channel.min()), float(channel.max())
        distinct = channel[: 2**22].float().unique().double()
        counts = [LEVELS - 1]
        if 1 < len(distinct) <= LEVELS:
            gaps = distinct.diff()
            gap = float(gaps[gaps < 1.5 * gaps.min()].mean())  # one level, were all levels in use
            counts.insert(0, min(round((high - low) / gap), LEVELS - 1))
        for count in counts:
            step = (high - low) / count or 1 / 255
            at = (distinct - low) / step
            if float((at - at.round()).abs().max()) <= 10 * FITS:
                break
        std = 1 / (255 * step)
        means.append(-low * std)
        stds.append(std)
    return torch.tensor(means, dtype=torch.float64), torch.tensor(stds, dtype=torch.float64)
