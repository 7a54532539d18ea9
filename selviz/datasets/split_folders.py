"""Which folders of a data set are its parts and which its classes: `layout = read_layout(Path("images"))`.

A folder is a part (`train/`, `Testing/`, `seg_test/`) only if its siblings are parts with class folders of the same
names; a class may be called train. Names are compared without case. Where that leaves a choice, nothing is guessed:
the error names what is there and how to say which folder is which.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from selviz.datasets.decoding import is_image
from selviz.errors import SelvizError, system_problem, unreadable
from selviz.system.listing import names_in, walk

TRAIN = ("train", "training")
EVALUATION = ("test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev", "holdout")
# The first of them that is there: a test set is for the end, a validation set where there is no test set.
RANKS = {
    "test": 0,
    "testing": 0,
    "eval": 1,
    "evaluation": 1,
    "holdout": 1,
    "val": 2,
    "valid": 2,
    "validation": 2,
    "dev": 2,
}
# Folders of images, and of what is said of each, as data sets for detection and segmentation have them.
IMAGES = ("image", "images", "img", "imgs", "jpegimages", "photos", "pictures")
SAID = ("label", "labels", "annotation", "annotations", "annots", "mask", "masks", "segmentations", "boxes")
ENDINGS = "(set|data|images|imgs|split)?"
SHOWN = 6  # folders that an error names
ASK = "say which: --train-folder NAME --test-folder NAME"


@dataclass(frozen=True)
class Layout:
    """The folders of class folders: `train` or `evaluation` may be missing; `note` says what was left out."""

    train: Path | None
    evaluation: Path | None
    note: str = ""


def read_layout(root: Path, train_folder: str = "", test_folder: str = "") -> Layout:
    """Return where the training and evaluation images of a folder are; SelvizError where that is not clear.

    `train_folder` and `test_folder` are paths below the root that say so, "." for the root itself.
    """
    if train_folder or test_folder:
        return Layout(_given(root, train_folder, "--train-folder"), _given(root, test_folder, "--test-folder"))
    names = folders_in(root)
    homes = {name: _class_home(root / name) for name in names}
    classes = {name: tuple(folders_with_images(home)) for name, home in homes.items()}
    parts = {name: role_of(name) for name in names if len(classes[name]) > 1}
    roles = {name: role for name, role in parts.items() if role}
    if not roles:
        # A class may be called train, and then its siblings are classes too.
        _check_not_parts_of_classes(root, names)
        _check_not_parts(root, names, classes)
        return Layout(None, None)
    with_images = [name for name in names if name not in parts and _has_images(root / name)]
    others = [name for name in parts if name not in roles and _alike(classes[name], classes[next(iter(roles))])]
    if others:
        raise SelvizError(
            f"{root} holds {_listed([*roles, *others])}, all with the class folders "
            f"{_listed(classes[others[0]])}; {ASK}."
        )
    if len(parts) > len(roles):
        if len(roles) > 1 and all(_alike(classes[name], classes[next(iter(roles))]) for name in roles):
            raise SelvizError(f"{root} holds {_listed(parts)}, and not all of them have the same class folders; {ASK}.")
        return Layout(None, None)
    flat = [name for name in with_images if role_of(name)]
    if len(roles) == 1:
        (name,) = roles
        if flat:
            raise SelvizError(
                f"{root} holds {name}/ with class folders and {_listed(flat)} with images and no class folders; put "
                "those into a folder for each class, or say what to use: "
                f"--{'train' if roles[name] == 'train' else 'test'}-folder {name}."
            )
        if set(map(str.lower, classes[name])) & {other.lower() for other in with_images}:
            raise SelvizError(
                f"{root} holds {name}/ with the class folders {_listed(classes[name])}, and such folders beside it; "
                f"{ASK}, with . for {root.name}/ itself."
            )
        if with_images:  # a class of that name, with folders of its own
            return Layout(None, None)
    elif not all(_alike(classes[name], classes[next(iter(roles))]) for name in roles):
        if with_images:
            return Layout(None, None)
        _check_same_classes(root, roles, classes)
    train = [name for name, role in roles.items() if role == "train"]
    ranked = sorted((name for name, role in roles.items() if role != "train"), key=lambda name: RANKS[roles[name]])
    same_rank = [name for name in ranked if RANKS[roles[name]] == RANKS[roles[ranked[0]]]]
    if len(train) > 1 or len(same_rank) > 1:
        raise SelvizError(f"{root} holds {_listed(train if len(train) > 1 else same_rank)}; {ASK}.")
    unused = [name for name in names if name not in (*train, *ranked[:1])]
    return Layout(
        homes[train[0]] if train else None,
        homes[ranked[0]] if ranked else None,
        f"{_listed(unused)} left out" if unused else "",
    )


def _given(root: Path, name: str, option: str) -> Path | None:
    if not name:
        return None
    folder = (root / name).resolve()
    if not folder.is_dir() or not folder.is_relative_to(root.resolve()):
        inside = folders_in(root)
        raise SelvizError(
            f"{option} names {name}, and {root} has no such folder; it holds {_listed(inside) if inside else 'none'}."
        )
    return _class_home(root / name) if name not in (".", "./") else root


def role_of(name: str) -> str:
    """Return the part of a data set that a folder's name stands for, "" for none: `train` for `seg_train`."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    roles = {
        "train" if part in TRAIN else part
        for word in words
        for part in (*TRAIN, *EVALUATION)
        if re.fullmatch(part + ENDINGS, word)
    }
    return roles.pop() if len(roles) == 1 else ""


def _class_home(folder: Path) -> Path:
    """Return the folder itself, or the one it holds and nothing else: `seg_train/seg_train/`."""
    for _ in range(3):
        inside = folders_in(folder)
        if len(inside) != 1 or _images_in(folder) or not folders_in(folder / inside[0]):
            break
        folder = folder / inside[0]
    return folder


def _check_not_parts(root: Path, names: Sequence[str], classes: dict[str, tuple[str, ...]]) -> None:
    """Raise SelvizError where all folders hold the same class folders, so that they are likely parts and not
    classes.
    """
    holding = [name for name in names if len(classes[name]) > 1]
    direct = [name for name in names if _images_in(root / name)]
    if len(holding) > 1 and not direct and all(_alike(classes[name], classes[holding[0]]) for name in holding):
        raise SelvizError(
            f"{root} holds {_listed(holding)}, each with the class folders {_listed(classes[holding[0]])}: they look "
            f"like parts of a data set and not like classes; {ASK}, or --test-folder . if they are classes."
        )
    roles = [name for name in names if role_of(name)]
    if len(roles) > 1 and len(roles) == len(names):
        raise SelvizError(
            f"{root} holds {_listed(roles)} with images and not two class folders each; put images into a folder for "
            "each class, or say --test-folder . if they are the classes."
        )
    if len(names) == 1 and len(folders_in(root / names[0])) > 1 and not _images_in(root / names[0]):
        raise SelvizError(f"{root} holds one folder alone, {names[0]}/; give that one: folder:{root / names[0]}")


def _check_not_parts_of_classes(root: Path, names: Sequence[str]) -> None:
    """Raise SelvizError where class folders hold the parts, or the folders are of images and what is said of them."""
    inner = {name: [part for part in folders_with_images(root / name) if role_of(part)] for name in names}
    roles = {role_of(part) for parts in inner.values() for part in parts}
    if len(names) > 1 and "train" in roles and len(roles) > 1:
        examples = [f"{name}/{part}" for name, parts in inner.items() for part in parts]
        raise SelvizError(
            f"{root} holds the parts of the data set inside its class folders: {_listed(examples)}; turn them round, a "
            "train/ and a test/ that hold the class folders, or say --test-folder . to look at all of their images."
        )
    pictures = [name for name in names if name.lower() in IMAGES]
    if pictures and len(names) > 1 and all(name.lower() in (*IMAGES, *SAID) for name in names):
        said = [name for name in names if name not in pictures]
        raise SelvizError(
            f"{root} holds {_listed(pictures)} and {_listed(said)}, which are no classes: selviz takes an image's "
            "class from its folder; put the images into a folder for each class, or say --test-folder . if these are "
            "the classes."
        )


def _check_same_classes(root: Path, roles: Iterable[str], classes: dict[str, tuple[str, ...]]) -> None:
    first, *others = roles
    for other in others:
        own, theirs = ({name.lower() for name in classes[part]} for part in (first, other))
        if different := sorted(own ^ theirs):
            raise SelvizError(
                f"{first}/ and {other}/ in {root} do not have the same class folders: {_listed(different)} "
                f"{'is' if len(different) == 1 else 'are'} in one alone; make them the same, or {ASK}."
            )


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    return {name.lower() for name in one} == {name.lower() for name in other}


def folders_in(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted; hidden ones and those of archives' makers are left out."""
    try:
        with os.scandir(root) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
            )
    except OSError as error:
        if system_problem(error):
            raise unreadable(root, error) from error
        raise SelvizError(f"The folder {root} cannot be read ({error.strerror}).") from error
    for name in names:
        check_link(root, root / name)  # before anybody looks into it
    return names


def folders_with_images(root: Path) -> list[str]:
    """Return the folders in `root` with an image somewhere below."""
    return [name for name in folders_in(root) if _has_images(root / name)]


def _images_in(folder: Path) -> bool:
    return any(is_image(name) for name in names_in(folder)[1])


def _has_images(folder: Path) -> bool:
    return any(is_image(file) for _, _, files in walk(folder) for file in files)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name}/" for name in names[:SHOWN]) + more


def check_link(root: Path, path: str | Path) -> None:
    """Raise SelvizError for a link that leads out of the data set's folder, unless SELVIZ_FOLLOW_LINKS is 1."""
    if not os.path.islink(path) or os.environ.get("SELVIZ_FOLLOW_LINKS") == "1":
        return
    home = os.path.realpath(root.parent if role_of(root.name) else root)
    if not os.path.realpath(path).startswith(f"{home}{os.sep}"):
        raise SelvizError(
            f"{path} is a link that leads out of the data set's folder; put the images themselves there, or set "
            "SELVIZ_FOLLOW_LINKS=1 to follow such links."
        )
