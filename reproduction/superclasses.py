"""CIFAR-10 as animals and vehicles: `python reproduction/superclasses.py CIFAR TO` makes a folder with both.

The same pictures under other names (hard links where the disk can, else copies), as `folder:TO` reads them.
"""

import argparse
import os
import shutil
from pathlib import Path

SUPERCLASSES = {
    "animal": ("bird", "cat", "deer", "dog", "frog", "horse"),
    "vehicle": ("airplane", "automobile", "ship", "truck"),
}


def regroup(source: Path, target: Path) -> int:
    """Put the pictures of `source`/PART/CLASS into `target`/PART/SUPERCLASS as CLASS-NAME; how many there are.

    SystemExit where a class is missing, or where `target` has a picture already.
    """
    count = 0
    for part in ("train", "test"):
        for superclass, classes in SUPERCLASSES.items():
            folder = target / part / superclass
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise SystemExit(f"{folder} is not empty; name a new folder.")
            for name in classes:
                pictures = sorted((source / part / name).glob("*")) if (source / part / name).is_dir() else []
                if not pictures:
                    raise SystemExit(
                        f"{source / part / name} has no pictures; name a folder of CIFAR-10's ten classes."
                    )
                for picture in pictures:
                    _link(picture, folder / f"{name}-{picture.name}")
                count += len(pictures)
    return count


def _link(picture: Path, place: Path) -> None:
    try:
        os.link(picture, place)
    except OSError:  # another disk, or one without links
        shutil.copyfile(picture, place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "source", type=Path, metavar="CIFAR", help="a folder with train/ and test/, ten class folders each"
    )
    parser.add_argument("target", type=Path, metavar="TO", help="a new folder")
    arguments = parser.parse_args()
    print(f"{regroup(arguments.source, arguments.target):,} pictures in {arguments.target}")
