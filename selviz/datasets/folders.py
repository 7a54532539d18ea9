"""Folders of images, one folder a class: `open_folder("folder:/path", Path("/path"), Options(), (), (), 0, report)`.

The folder holds class folders, or `train/` and `test/` (or `val/`) that do. Without a `train/` there are no training
images; without `test/` and `val/`, a fifth of each class is held out, always the same one.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from selviz.datasets import cache
from selviz.datasets.dataset import Dataset, moments
from selviz.datasets.decoding import Source, deepest, is_image, survey
from selviz.datasets.preparation import DEEP, DEPTHS, Options, choose
from selviz.datasets.split_folders import check_link, folders_in, read_layout
from selviz.datasets.splits import balanced_order, folds, stratified_split
from selviz.errors import SelvizError
from selviz.system.listing import walk
from selviz.system.progress import Report

TRAIN_SHARE = 0.8
IGNORED = ("Thumbs.db", "desktop.ini", "ehthumbs.db")  # that systems leave in folders of pictures
LISTED = 200  # skipped files that a run's record names; all are counted


class OtherFile(NamedTuple):
    """A file among the images that is none by its name: its path below the root, and its class's number."""

    path: str
    label: int

    @property
    def suffix(self) -> str:
        """Return `.heic`; "no suffix" where there is none."""
        return os.path.splitext(self.path)[1].lower() or "no suffix"


@dataclass(frozen=True, eq=False)
class Files:
    """Image files (or pictures of a table) [N] with labels [N], and their stamps: (path below the root, size, time).

    `others` are the files there that are no images by their names.
    """

    paths: Sequence[Source]
    labels: np.ndarray
    stamps: list[tuple[str, int, int]]
    others: tuple[OtherFile, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def pick(self, rows: np.ndarray) -> "Files":
        """Return these rows, in this order."""
        return Files([self.paths[i] for i in rows], self.labels[rows], [self.stamps[i] for i in rows], self.others)

    @cached_property
    def digest(self) -> str:
        """Return equal exactly if the same files, unchanged, have the same labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.labels, np.int64).tobytes())
        for stamp in self.stamps:
            digest.update(repr(stamp).encode(errors="surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True)
class Parts:
    """A data set's files: class names, the evaluation images, and where the training images come from.

    `in_folder`: they are files of their own, of which it can be told from names and times whether they changed.
    """

    class_names: tuple[str, ...]
    evaluation: Files
    training: Callable[[], Files]
    layout: str
    in_folder: bool = True


def find(root: Path, train_folder: str = "", test_folder: str = "") -> Parts:
    """Return the files of a folder in one of the layouts above. SelvizError says what the folder lacks.

    `train_folder` and `test_folder`, below the root, say which folder is which (`split_folders.read_layout`).
    """
    if not root.is_dir():
        raise SelvizError(
            f"There is no folder {root}; give one that holds a folder of images for each class: "
            "--dataset folder:/path/to/images"
        )
    parts = read_layout(root, train_folder, test_folder)
    note = f"; {parts.note}" if parts.note else ""
    held_out = parts.evaluation
    if held_out is None:
        source = parts.train or root
        classes = folders_in(source)
        check_classes(source, classes)
        files = list_files(source, classes)
        check_images(source, classes, files)
        rows, evaluation = stratified_split(files.labels, TRAIN_SHARE, seed=0)
        held = replace(files.pick(evaluation), others=())
        check_images(source, classes, held, "a fifth of its images is too few to hold out")
        layout = f"{source.name}/ split by class, {TRAIN_SHARE:.0%} for training{note}"
        return Parts(_texts(classes), files.pick(evaluation), lambda: files.pick(rows), layout)
    train = parts.train
    classes = same_classes(held_out, train)
    check_classes(held_out, classes)
    files = list_files(held_out, named_as_there(held_out, classes))
    check_images(held_out, classes, files)

    def training() -> Files:
        if train is None:
            raise SelvizError(
                f"{root} has no training images; add a folder train/ with the same classes, or use --epochs 0 for "
                "an untrained network."
            )
        files = list_files(train, named_as_there(train, classes))
        check_images(train, classes, files)
        return files

    shown = [str(folder.relative_to(root)) if folder != root else root.name for folder in (train, held_out) if folder]
    return Parts(_texts(classes), files, training, " and ".join(f"{name}/" for name in shown) + note)


def _training_paths(parts: Parts) -> Sequence[Source]:
    try:
        return parts.training().paths
    except SelvizError:
        return []


def _depth(files: Sequence[Source]) -> int:
    """Return the bits that the deep images among the files use: the smallest usual number that holds all of them."""
    largest = deepest(files)
    return next(bits for bits in DEPTHS if largest < 2**bits)


def same_classes(held_out: Path, train: Path | None) -> list[str]:
    """Return the class names of both folders, sorted; names that differ in case alone are one, as in the first."""
    names = {name.lower(): name for name in folders_in(train)} if train else {}
    return sorted({**{name.lower(): name for name in folders_in(held_out)}, **names}.values())


def named_as_there(folder: Path, classes: list[str]) -> list[str]:
    """Return the names that the classes have in this folder, which may differ in case."""
    there = {name.lower(): name for name in folders_in(folder)}
    return [there.get(name.lower(), name) for name in classes]


def open_parts(
    name: str,
    parts: Parts,
    options: Options,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    max_images: int,
    report: Report,
) -> Dataset:
    """Return the Dataset of these files: evaluation images decoded (or taken from the cache), training ones when
    asked for.

    `mean` and `std` () are computed over the training images, or over the evaluation images where there are no others.
    """
    order = balanced_order(parts.evaluation.labels, seed=0)
    available = len(order)
    evaluation = parts.evaluation.pick(order[:max_images] if max_images else order)
    sample = survey(evaluation.paths)
    preparation = choose(options, sample.sizes)
    if sample.deep:
        preparation = replace(preparation, depth=_depth([*evaluation.paths, *_training_paths(parts)]))
    found = cache.decoded(evaluation.paths, evaluation.stamps, preparation, report)
    if any(reason == DEEP for _, reason in found.skipped):
        # Of all images of the set: one image alone may use a part of the range.
        preparation = replace(preparation, depth=_depth([*evaluation.paths, *_training_paths(parts)]))
        found = cache.decoded(evaluation.paths, evaluation.stamps, preparation, report)
    labels = evaluation.labels[found.kept]
    reason = f"{len(found.skipped)} of the files cannot be read" if found.skipped else "allow more with --max-images"
    check_images(name, parts.class_names, replace(evaluation.pick(found.kept), others=()), reason)

    def training() -> tuple[cache.Decoded, np.ndarray]:
        files = parts.training()
        decoded = cache.decoded(files.paths, files.stamps, preparation, report)
        if any(reason == DEEP for _, reason in decoded.skipped):  # and none of the evaluation images is one
            deep = replace(preparation, depth=_depth(files.paths))
            decoded = cache.decoded(files.paths, files.stamps, deep, report)
        return decoded, files.labels[decoded.kept]

    def tensors() -> tuple[torch.Tensor, torch.Tensor]:
        decoded, train_labels = training()
        return torch.from_numpy(decoded.pixels), torch.from_numpy(train_labels)

    measured_on = "given"
    if not mean:
        try:
            counts, measured_on = training()[0].counts, "the training images"
        except SelvizError:
            counts, measured_on = found.counts, "the evaluation images"
        mean, std = moments(counts)
    skipped = [[str(evaluation.stamps[position][0]), why] for position, why in found.skipped]
    return Dataset(
        name=name,
        class_names=parts.class_names,
        eval_pixels=torch.from_numpy(found.pixels),
        eval_labels=torch.from_numpy(labels),
        eval_folds=torch.from_numpy(folds(labels)),
        mean=mean,
        std=std,
        fingerprint=cache.known_fingerprint(found, labels, parts.class_names),
        training=tensors,
        preparation=preparation,
        origin={
            "layout": parts.layout,
            "transform": str(preparation),
            "statistics": measured_on,
            "available": available,
            "files": parts.evaluation.digest[:16] if parts.in_folder else None,
            "other_files": dict(Counter(other.suffix for other in parts.evaluation.others).most_common(20)),
            "other": _texts_of([(other.path, other.suffix) for other in parts.evaluation.others[:LISTED]]),
            "skipped_images": len(skipped),
            "skipped": _texts_of(skipped[:LISTED]),
        },
    )


def list_files(root: Path, classes: list[str]) -> Files:
    """Return the image files below each class's folder, sorted by class and path. Links to folders are not followed.

    A link that leads out of the data set is refused: a folder that came from somebody else could name any file of this
    machine. SelvizError names the first one, unless SELVIZ_FOLLOW_LINKS is 1.
    """
    paths, labels, others = [], [], []
    for label, name in enumerate(classes):
        check_link(root, root / name)
        images = []
        for base, folders, files in walk(root / name):
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            images += [os.path.join(base, file) for file in files if is_image(file)]
            others += [
                OtherFile(os.path.relpath(os.path.join(base, file), root), label)
                for file in sorted(files)
                if not is_image(file) and not file.startswith(".") and file not in IGNORED
            ]
        for file in images:
            check_link(root, file)
        paths += sorted(images)
        labels += [label] * len(images)
    return replace(files_of(root, paths, np.asarray(labels, np.int64)), others=tuple(others))


def files_of(root: Path, paths: Sequence[str | Path], labels: np.ndarray) -> Files:
    """Return these files, each with its stamp; one that is not there has size and time 0."""
    stamps = []
    for file in paths:
        try:
            status = os.stat(file)
            stamps.append((os.path.relpath(file, root), status.st_size, status.st_mtime_ns))
        except OSError:
            stamps.append((os.path.relpath(file, root), 0, 0))
    return Files([Path(file) for file in paths], labels, stamps)


def check_classes(root: Path, classes: list[str]) -> None:
    """Raise SelvizError unless there are two classes or more."""
    if len(classes) < 2:
        has = f"one class folder only, {classes[0]}/" if classes else "no class folders"
        raise SelvizError(
            f"{root} has {has}; give a folder that holds a folder of images for each of at least two classes, or "
            "train/ and test/ that do."
        )


def check_images(
    where: object, classes: Sequence[str], files: Files, reason: str = "put images into it or remove its folder"
) -> None:
    """Raise SelvizError that names the first class without an image among the files, and what else it has."""
    counts = np.bincount(files.labels, minlength=len(classes))
    if empty := [label for label in range(len(classes)) if not counts[label]]:
        name, more = classes[empty[0]], f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        kinds = Counter(other.suffix for other in files.others if other.label == empty[0])
        if kinds:
            listed = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.most_common(3))
            raise SelvizError(
                f"Class {name!r}{more} of {where} has no image that can be read: {listed}; convert them to "
                "JPEG or PNG, or remove its folder."
            )
        raise SelvizError(f"Class {name!r}{more} of {where} has no image; {reason}.")


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    # A file name may hold bytes that are no text, and JSON must not.
    return tuple(os.fsencode(name).decode("utf-8", "replace") for name in names)


def _texts_of(pairs: Iterable[Iterable[str]]) -> list[list[str]]:
    return [list(_texts(pair)) for pair in pairs]
