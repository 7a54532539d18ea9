"""Images with labels, ready for a network: `load("mnist-5k").inputs("eval")` is [1000, 1, 28, 28], normalised.

A data set is named by one text, its spec:

    mnist-5k, digits      come with installed packages
    mnist, fashion-mnist, cifar10, cifar100, svhn      downloaded by torchvision the first time
    folder:PATH           class folders, in PATH or in its train/ and test/ (or val/); `split_folders` says more
    imagenet:PATH, tiny-imagenet:PATH      as their authors hand them out; `imagenet` says more
    hf-dataset:NAME      of the Hugging Face hub, by the package datasets; `hugging_face` says more

and prepared by options, which `selviz train` and others take as `--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
--image-size 224 --resize-size 256 --interpolation bicubic --channels 3 --max-images 10000`, RunConfig as fields of the
same names (IMAGE_SETTINGS there) and `load` as keywords. What is left out is chosen by the images: mean and standard
deviation of the training images; their own size where most share one of at most 256 pixels, else 224 after a shorter
side of 256; colour for folders. `max_images` keeps that many evaluation images, stratified; the last third of them is
sealed, or `further_sealed` more images where the data set has them to spare.

To add a data set, write a function that returns a Dataset (`bundled.split` and `assemble` make one of arrays) and name
it in DATASETS.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache as once
from pathlib import Path

import numpy as np
import torch

from selviz.datasets import hugging_face
from selviz.datasets.bundled import digits, mnist_5k
from selviz.datasets.dataset import Dataset, Inputs, assemble, channel_counts, moments
from selviz.datasets.downloads import DOWNLOADS
from selviz.datasets.folders import Parts, find, open_parts
from selviz.datasets.imagenet import imagenet, tiny_imagenet
from selviz.datasets.preparation import Options, choose
from selviz.datasets.splits import SEALED, balanced_order, folds, stratified_split
from selviz.errors import SelvizError, unknown
from selviz.system.image_fingerprint import fingerprint
from selviz.system.progress import Report, silent

__all__ = [
    "DATASETS", "LAYOUTS", "SEALED", "Dataset", "Inputs", "assemble",
    "balanced_order", "files_digest", "fingerprint", "folds", "load", "stratified_split",
]  # fmt: skip

DATASETS: dict[str, Callable[[], Dataset]] = {"mnist-5k": mnist_5k, "digits": digits, **DOWNLOADS}
LAYOUTS: dict[str, Callable[..., Parts]] = {
    "folder": find,
    "imagenet": imagenet,
    "tiny-imagenet": tiny_imagenet,
}
_OPEN = 6  # data sets that a process keeps open; their pixels are mapped, not in memory
_opened: OrderedDict[tuple[object, ...], Dataset] = OrderedDict()
_lock = threading.Lock()


def load(
    spec: str,
    *,
    mean: str | Sequence[float] = (),
    std: str | Sequence[float] = (),
    image_size: int = 0,
    resize_size: int = 0,
    interpolation: str = "",
    channels: int = 0,
    max_images: int = 0,
    further_sealed: int = 0,
    train_folder: str = "",
    test_folder: str = "",
    report: Report = silent,
) -> Dataset:
    """Return the data set of that spec; the same object as long as its files stay the same.

    `mean` and `std` are numbers or a text such as "0.485,0.456,0.406"; `report` gets {"stage": "decoding", "images",
    "of"}. Raises SelvizError for an unknown name (with the near matches), a folder that cannot be used, and options
    that do not fit.
    """
    options = Options(image_size, resize_size, interpolation, channels)
    mean, std = numbers("mean", mean), numbers("std", std)
    if len(mean) != len(std):
        raise SelvizError("mean and std belong together, one number a channel: --mean 0.5,0.5,0.5 --std 0.2,0.2,0.2")
    if max_images < 0:
        raise SelvizError(f"max_images is {max_images}; give 1 or more, or leave it out for all images.")
    if further_sealed and not max_images:
        raise SelvizError(
            f"All evaluation images are used, so none are left to seal {further_sealed} further ones: say how many are "
            "evaluated with --max-images, or leave --further-sealed out and a third of them is sealed."
        )

    def opened(name: str, parts: Parts) -> Dataset:
        shown = open_parts(name, parts, options, mean, std, max_images + further_sealed, report)
        return _with_further(shown, max_images, further_sealed)

    kind, colon, path = spec.partition(":")
    if colon and kind in LAYOUTS:
        root = Path(os.path.abspath(os.path.expanduser(path)))
        if not path:
            raise SelvizError(f"'{spec}' names no folder; write {kind}:/path/to/images.")
        if (train_folder or test_folder) and kind != "folder":
            raise SelvizError(f"--train-folder and --test-folder are for folder:PATH; {kind}: knows its own folders.")
        folders = (train_folder, test_folder) if kind == "folder" else ()
        parts = LAYOUTS[kind](root, *folders)
        key: tuple[object, ...] = (kind, root, folders, options, mean, std, max_images, further_sealed,
                                  parts.evaluation.digest)  # fmt: skip
        if not mean:
            key = (*key, _training_digest(parts))
        dataset = _kept(key, lambda: opened(f"{kind}:{root}", parts))
    elif colon and kind == hugging_face.SPEC and not (train_folder or test_folder):
        parts = hugging_face.find(path)
        training = None if mean else _training_digest(parts)
        key = (spec, options, mean, std, max_images, further_sealed, parts.evaluation.digest, training)
        dataset = _kept(key, lambda: opened(spec, parts))
    elif train_folder or test_folder:
        raise SelvizError(f"--train-folder and --test-folder are for folder:PATH, and {spec} is none.")
    elif spec in DATASETS:
        dataset = _named(spec, DATASETS[spec], options, mean, std, max_images, further_sealed)
    else:
        raise unknown("data set", spec, [*DATASETS, *(f"{kind}:PATH" for kind in LAYOUTS), f"{hugging_face.SPEC}:NAME"])
    if len(dataset.mean) != dataset.channels:
        raise SelvizError(
            f"{len(dataset.mean)} numbers were given for mean and std, and the images have {dataset.channels} "
            f"channel{'s' if dataset.channels > 1 else ''}; give one a channel, or --channels {len(dataset.mean)}."
        )
    return dataset


def files_digest(spec: str, train_folder: str = "", test_folder: str = "") -> str | None:
    """Change with the evaluation files of `folder:PATH` and its like (names, sizes, times); None for other data sets.

    Raises SelvizError where they are not there.
    """
    kind, colon, path = spec.partition(":")
    if not colon or kind not in LAYOUTS:
        return None
    folders = (train_folder, test_folder) if kind == "folder" else ()
    return LAYOUTS[kind](Path(path), *folders).evaluation.digest[:16]


def _kept(key: tuple[object, ...], make: Callable[[], Dataset]) -> Dataset:
    with _lock:
        dataset = _opened.get(key)
    dataset = dataset or make()  # outside the lock: decoding takes long, and others want other data sets
    with _lock:
        dataset = _opened.setdefault(key, dataset)
        _opened.move_to_end(key)
        while len(_opened) > _OPEN:
            _opened.popitem(last=False)
    return dataset


def numbers(name: str, value: str | Sequence[float]) -> tuple[float, ...]:
    """Return "0.485,0.456,0.406" -> (0.485, 0.456, 0.406), numbers as they are; SelvizError for anything else."""
    try:
        parsed = tuple(float(part) for part in (value.split(",") if isinstance(value, str) and value else value))
    except (ValueError, TypeError, OverflowError):
        parsed = (float("nan"),)
    if not all(np.isfinite(parsed)) or (name == "std" and not all(part > 0 for part in parsed)):
        above = " above 0" if name == "std" else ""
        raise SelvizError(f"{name} is {value!r}; give one number{above} a channel: --{name}=0.485,0.456,0.406")
    return parsed


def _training_digest(parts: Parts) -> str | None:
    try:
        return parts.training().digest
    except SelvizError:
        return None


@once
def _named(
    name: str,
    make: Callable[[], Dataset],
    options: Options,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    max_images: int,
    further_sealed: int = 0,
) -> Dataset:
    """Return a data set by name, prepared; `make` is part of the key, so that a name can come to mean another data
    set.
    """
    dataset = make()
    if options:
        dataset = _prepared(dataset, options)
    if max_images and max_images + further_sealed < len(dataset.eval_labels):
        dataset = _shortened(dataset, max_images + further_sealed)
    dataset = _with_further(dataset, max_images, further_sealed)
    return replace(dataset, mean=mean, std=std) if mean else dataset


def _with_further(dataset: Dataset, shown: int, further: int) -> Dataset:
    """Return the data set with `further` images sealed after the `shown` ones; SelvizError if it has not so many."""
    if not further:
        return dataset
    available = int(dataset.origin.get("available", len(dataset.eval_labels)))
    if shown + further > available:
        raise SelvizError(
            f"{dataset.name} has {available:,} evaluation images: beside the {shown:,} of --max-images there are "
            f"{max(available - shown, 0):,} further ones, and --further-sealed asks for {further:,}."
        )
    return dataset.with_sealed(further)


def _prepared(dataset: Dataset, options: Options) -> Dataset:
    """Return the same images in another size or with another number of channels; their order and folds stay."""
    from PIL import Image

    height, width = dataset.eval_pixels.shape[2:]
    if not options.channels:
        options = replace(options, channels=dataset.channels)
    preparation = choose(options, [(width, height)])

    def prepare(pixels: torch.Tensor) -> torch.Tensor:
        pictures = (Image.fromarray(a[0] if len(a) == 1 else np.moveaxis(a, 0, -1)) for a in pixels.numpy())
        return torch.from_numpy(np.stack([preparation.pixels(picture) for picture in pictures]))

    evaluation = prepare(dataset.eval_pixels)
    train = prepare(dataset.train_pixels), dataset.train_labels
    mean, std = moments(channel_counts(train[0].numpy()))
    return replace(
        dataset,
        eval_pixels=evaluation,
        mean=mean,
        std=std,
        fingerprint=fingerprint(evaluation.numpy(), dataset.eval_labels.numpy(), dataset.class_names),
        training=lambda: train,
        preparation=preparation,
        origin={**dataset.origin, "transform": str(preparation)},
    )


def _shortened(dataset: Dataset, images: int) -> Dataset:
    """Return the first evaluation images, which are nearly balanced over classes."""
    pixels, labels = dataset.eval_pixels[:images], dataset.eval_labels[:images]
    return replace(
        dataset,
        eval_pixels=pixels,
        eval_labels=labels,
        eval_folds=torch.from_numpy(folds(labels.numpy())),
        fingerprint=fingerprint(pixels.numpy(), labels.numpy(), dataset.class_names),
    )
