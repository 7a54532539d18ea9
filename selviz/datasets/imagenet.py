"""ImageNet and Tiny ImageNet as their authors hand them out: `imagenet(root)` and `tiny_imagenet(root)` give the files.

Classes are WordNet ids in sorted order, as networks trained on ImageNet number them, shown by their words where the
folder (or torchvision, for all 1,000) has them.
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from selviz.datasets.folders import Files, Parts, check_classes, check_images, files_of, list_files
from selviz.datasets.split_folders import folders_in
from selviz.errors import SelvizError, system_problem, unreadable
from selviz.system.listing import names_in

DEVKIT = "ILSVRC2012_devkit_t12"
VAL_FOLDERS = ("val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val")


def tiny_imagenet(root: Path) -> Parts:
    """Return `train/<id>/images/`, and `val/images/` with `val/val_annotations.txt`; words in `words.txt`."""
    if not (root / "val" / "val_annotations.txt").is_file():
        raise SelvizError(
            f"{root} has no val/val_annotations.txt; give the folder tiny-imagenet-200 as it was unpacked, or use "
            "folder:PATH for class folders."
        )
    rows = [line.split("\t")[:2] for line in _lines(root / "val" / "val_annotations.txt")]
    if any(len(row) < 2 for row in rows):
        raise SelvizError(f"{root / 'val' / 'val_annotations.txt'} is damaged: each line names an image and its class.")
    classes = sorted({*folders_in(root / "train"), *(row[1] for row in rows)})
    evaluation = _labelled(root, [(root / "val" / "images" / name, wnid) for name, wnid in rows], classes)
    names = _named(classes, _words(root))
    return Parts(names, evaluation, lambda: _train(root / "train", classes), "tiny-imagenet: train/ and val/")


def imagenet(root: Path) -> Parts:
    """Return `train/<id>/` and `val/<id>/`; or the challenge's flat `val/`, labelled by its devkit or Kaggle's csv."""
    held_out = next((root / name for name in VAL_FOLDERS if (root / name).is_dir()), None)
    if held_out is None:
        raise SelvizError(f"{root} has no val/; give the folder that holds ImageNet's train/ and val/ as unpacked.")
    train = held_out.parent / ("train" if held_out.name == "val" else "ILSVRC2012_img_train")
    csv_file, kit = root / "LOC_val_solution.csv", root / DEVKIT / "data"
    words = _words(root)
    if inside := folders_in(held_out):
        classes = sorted({*inside, *(folders_in(train) if train.is_dir() else ())})
        check_classes(held_out, classes)
        evaluation = list_files(held_out, classes)
        check_images(held_out, classes, evaluation)
    elif csv_file.is_file():
        with open(csv_file, encoding="utf-8", newline="") as file:
            rows = [
                (row[0], row[1].split()[0]) for row in list(csv.reader(file))[1:] if len(row) > 1 and row[1].strip()
            ]
        classes = sorted({wnid for _, wnid in rows})
        evaluation = _labelled(root, [(held_out / f"{name}.JPEG", wnid) for name, wnid in rows], classes)
    elif (kit / "meta.mat").is_file():
        by_number, words = _devkit(kit)
        files = [held_out / name for name in names_in(held_out)[1] if name.endswith(".JPEG")]
        numbers = _lines(kit / "ILSVRC2012_validation_ground_truth.txt")
        if len(files) != len(numbers) or not {*numbers} <= {*by_number}:
            raise SelvizError(
                f"{held_out} has {len(files):,} images and {DEVKIT} names the classes of {len(numbers):,}; unpack "
                "both archives completely."
            )
        classes = sorted(by_number.values())
        evaluation = _labelled(root, [(file, by_number[n]) for file, n in zip(files, numbers)], classes)
    else:
        raise SelvizError(
            f"The images in {held_out} have no labels; put {DEVKIT}/ or LOC_val_solution.csv beside it, or sort them "
            "into a folder for each class."
        )
    return Parts(_named(classes, words), evaluation, lambda: _train(train, classes), f"imagenet: {held_out.name}/")


def _train(folder: Path, classes: list[str]) -> Files:
    if not folder.is_dir():
        raise SelvizError(f"There are no training images in {folder}; unpack them there, or give --mean and --std.")
    files = list_files(folder, classes)
    check_images(folder, classes, files)
    return files


def _labelled(root: Path, rows: list[tuple[Path, str]], classes: list[str]) -> Files:
    check_classes(root, classes)
    number = {wnid: label for label, wnid in enumerate(classes)}
    labels = np.array([number[wnid] for _, wnid in rows], np.int64)
    files = files_of(root, [path for path, _ in rows], labels)
    check_images(root, classes, files)
    return files


def _words(root: Path) -> dict[str, str]:
    """Return WordNet id -> words, of the files that come with either data set."""
    by_id = {}
    for name in ("words.txt", "LOC_synset_mapping.txt"):
        for line in _lines(root / name) if (root / name).is_file() else ():
            wnid, _, words = line.replace("\t", " ", 1).partition(" ")
            by_id[wnid] = words.strip()
    return by_id


def _named(classes: list[str], words: dict[str, str]) -> tuple[str, ...]:
    """Return the first word of each class; two classes of the same name, and those without words, show their id."""
    first = [words.get(wnid, "").split(",")[0].strip() for wnid in classes]
    if not any(first) and len(classes) == 1000 and all(wnid.startswith("n") for wnid in classes):
        from torchvision.models import ResNet18_Weights

        first = list(ResNet18_Weights.DEFAULT.meta["categories"])
    count = Counter(first)
    return tuple(
        wnid if not name else f"{name} ({wnid})" if count[name] > 1 else name for wnid, name in zip(classes, first)
    )


def _devkit(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return number in the challenge -> WordNet id, and id -> words, of the leaves in `meta.mat`."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(folder / "meta.mat", squeeze_me=True)["synsets"]
        leaves = [row for row in synsets if int(row["num_children"]) == 0]
        by_number = {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in leaves}
        return by_number, {str(row["WNID"]): str(row["words"]) for row in leaves}
    except Exception as error:  # scipy raises many kinds for a damaged file
        if system_problem(error):
            raise unreadable(folder / "meta.mat", error) from error
        raise SelvizError(f"{folder / 'meta.mat'} cannot be read ({error}); unpack {DEVKIT} again.") from error


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        if system_problem(error):
            raise unreadable(path, error) from error
        raise SelvizError(f"{path} cannot be read ({error}); unpack the data set again.") from error
