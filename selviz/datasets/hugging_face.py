"""Image sets of the Hugging Face hub, by the extra `hub`: `find("ORG/NAME,label=fine_label")` gives their pictures.

`hf-dataset:NAME` is what `datasets.load_dataset(NAME)` loads: a set of the hub (downloaded the first time) or a folder
of this machine (`hf-dataset:./NAME`). After commas may follow `config=`, `revision=` (a commit, a tag), and columns,
`image=` and `label=`. Evaluated are its `test` images, else `validation`, else a fifth of each class of `train`.
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as once
from typing import Any

import numpy as np

from selviz.config import HUB_SPEC
from selviz.datasets.decoding import EncodedPicture
from selviz.datasets.folders import TRAIN_SHARE, Files, Parts
from selviz.datasets.splits import stratified_split
from selviz.errors import SelvizError, first_line, unknown

SPEC = HUB_SPEC
OPTIONS = ("config", "revision", "image", "label")
HELD_OUT = ("test", "validation", "valid", "val", "dev")
LABELS = ("label", "labels", "class", "target")  # columns that are taken where several would do


@dataclass(frozen=True, eq=False)
class _Split:
    """Pictures and labels of a part of the set; labels are numbers of classes, -1 where there is none."""

    rows: Any  # datasets.Dataset, its pictures not decoded
    image: str
    labels: np.ndarray
    stamp: str

    def files(self, chosen: np.ndarray) -> Files:
        """Return the pictures of these rows."""

        def picture(row: int) -> EncodedPicture:
            return EncodedPicture(lambda: _encoded(self.rows[row][self.image]))

        rows = [int(row) for row in chosen]
        return Files([picture(row) for row in rows], self.labels[chosen], [(self.stamp, row, 0) for row in rows])


def find(spec: str) -> Parts:
    """Return the pictures of a set by its name and options; SelvizError says what it lacks.

    The hub is asked once in a process, a folder each time. No code of the hub is run: the library itself refuses sets
    that need some.
    """
    return _read(spec) if os.path.isabs(spec) else _read_once(spec)


@once
def _read_once(spec: str) -> Parts:
    return _read(spec)


def _read(spec: str) -> Parts:
    name, options = _parsed(spec)
    splits = _load(name, options)
    held_out = _held_out(splits, options)
    images = splits[held_out].features
    image = _image_column(name, images, options.get("image", ""))
    label = _label_column(name, images, options.get("label", ""))
    train_name = next((part for part in ("train", *splits) if part in splits and part != held_out), None)
    names, labels = _labels(name, {part: splits[part] for part in {held_out, train_name} if part}, label)
    parts = {
        part: _Split(
            splits[part].cast_column(image, _datasets().Image(decode=False)), image, labels[part],
            f"{SPEC}:{name} {splits[part]._fingerprint}",
        )
        for part in labels
    }  # fmt: skip
    about = f"{held_out} of the hub's {name}"
    everything = parts[held_out]
    rows = np.flatnonzero(everything.labels >= 0)
    if held_out == "train":
        train_rows, held_rows = stratified_split(everything.labels[rows], TRAIN_SHARE, seed=0)
        training, evaluation = everything.files(rows[train_rows]), everything.files(rows[held_rows])
        about = f"train of the hub's {name}, split by class, {TRAIN_SHARE:.0%} for training"
    else:
        evaluation = everything.files(rows)
        training = None
        if train_name is not None:
            training = parts[train_name].files(np.flatnonzero(parts[train_name].labels >= 0))
    _check(name, names, evaluation)

    def train() -> Files:
        if training is None:
            raise SelvizError(f"The set {name} has no training images; give --mean and --std of the network's images.")
        return training

    return Parts(names, evaluation, train, about, in_folder=False)


def _parsed(spec: str) -> tuple[str, dict[str, str]]:
    name, *parts = spec.split(",")
    options = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not sign or not value or key not in OPTIONS:
            raise unknown(f"option of {SPEC}:NAME", key, OPTIONS, "Write such as label=fine_label.")
        options[key] = value
    if not name:
        raise SelvizError(f"'{SPEC}:{spec}' names no set; write such as {SPEC}:ylecun/mnist.")
    return name, options


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise SelvizError(
            f"Image sets named {SPEC}:... need the package datasets, which is not here: pip install 'selviz[hub]'"
        ) from error
    return datasets


def _load(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    library = _datasets()
    if os.path.isabs(name) and not os.path.isdir(name):
        raise SelvizError(f"There is no folder {name}; give one with a data set of the hub's form, or a name.")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            found = library.load_dataset(name, options.get("config"), revision=options.get("revision"))
    except Exception as error:  # whatever the network, the hub or a file has to say
        reason = first_line(error).rstrip(".")
        raise SelvizError(
            f"The set {name} cannot be loaded from the Hugging Face hub ({reason[:300]}); check its name, connect this "
            "machine to the internet, or download it elsewhere and name its folder."
        ) from error
    return dict(found)


def _held_out(splits: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """Return the part that is evaluated: the first with labels in the order of HELD_OUT, else the training part."""
    for part in HELD_OUT:
        if part in splits and len(splits[part]) and _is_labelled(splits[part], options):
            return part
    return "train" if "train" in splits else next(iter(splits))


def _is_labelled(part: Any, options: Mapping[str, str]) -> bool:
    column = options.get("label") or next((name for name in LABELS if name in part.features), "")
    if column not in part.features:
        return True  # what is wrong with it is said later
    first = part.select_columns([column])[0][column]
    return first is not None and first != -1


def _image_column(name: str, features: Mapping[str, Any], wanted: str) -> str:
    pictures = [column for column, feature in features.items() if isinstance(feature, _datasets().Image)]
    if wanted and wanted not in pictures:
        raise unknown(f"column of pictures in {name}", wanted, pictures)
    if not pictures:
        raise SelvizError(f"The set {name} has no column of pictures; it has {', '.join(features)}.")
    return wanted or next((column for column in pictures if column in ("image", "img")), pictures[0])


def _label_column(name: str, features: Mapping[str, Any], wanted: str) -> str:
    if wanted:
        if wanted not in features:
            raise unknown(f"column of {name}", wanted, list(features))
        return wanted
    labels = [column for column, feature in features.items() if isinstance(feature, _datasets().ClassLabel)]
    usual = [column for column in LABELS if column in features]
    if len(labels) > 1 and not usual:
        raise SelvizError(
            f"The set {name} has several labels ({', '.join(labels)}); say which: {SPEC}:{name},label={labels[0]}"
        )
    if not (usual or labels):
        raise SelvizError(f"The set {name} has no labels; its columns are {', '.join(features)}: label=COLUMN")
    return usual[0] if usual else labels[0]


def _labels(name: str, parts: Mapping[str, Any], column: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the names of the classes, and each part's labels as their numbers, -1 for none."""
    values = {
        part: table.select_columns([column]).to_pandas()[column] if column in table.features else None
        for part, table in parts.items()
    }
    known = {part: series for part, series in values.items() if series is not None}
    feature = next(table.features[column] for table in parts.values() if column in table.features)
    names = getattr(feature, "names", None)
    if names is None:
        distinct = sorted({value for series in known.values() for value in series.dropna().unique()})
        if all(isinstance(value, int | np.integer) for value in distinct):
            names = [str(number) for number in range(int(max(distinct, default=-1)) + 1)]
        elif all(isinstance(value, str) for value in distinct):
            names = distinct
            known = {part: series.map({label: at for at, label in enumerate(names)}) for part, series in known.items()}
        else:
            raise SelvizError(f"The column {column} of the set {name} holds no classes; name another: label=COLUMN")
    labels = {part: series.fillna(-1).to_numpy().astype(np.int64) for part, series in known.items()}
    if any(len(found) and found.max() >= len(names) for found in labels.values()):
        raise SelvizError(f"The set {name} has labels beyond its {len(names)} classes; it is damaged.")
    return tuple(names), labels


def _check(name: str, classes: Sequence[str], files: Files) -> None:
    counts = np.bincount(files.labels, minlength=len(classes))
    if len(classes) < 2:
        raise SelvizError(f"The set {name} has {len(classes)} class; give one with two or more, or label=COLUMN.")
    if len(empty := np.flatnonzero(counts == 0)):
        raise SelvizError(
            f"{len(empty)} of the {len(classes)} classes of {name} have no evaluation image, first "
            f"{classes[empty[0]]!r}; give another set, or another column: label=COLUMN"
        )


def _encoded(value: Mapping[str, Any]) -> bytes:
    """Return a picture's file; a set made of a folder has only its path."""
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    with open(str(value["path"]), "rb") as file:
        return file.read()
