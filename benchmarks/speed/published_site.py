"""How large a published site is: `python benchmarks/speed/published_site.py` prints JSON.

    {"units", "images", "files", "megabytes", "by_sort", "seconds"}

A site of 1,000 units of a generated run whose pictures are as large as stored ones get (96 pixels) and compress as
photographs do, with an atlas and the attributions of every unit's top images. `by_sort` says which files the megabytes
are: the first page, the units' pages, the images, the attributions. The goal is under 60 MB.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.generated import Size, store
from selviz.publishing.attribution_pictures import pictures_of
from selviz.publishing.site import publish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1000, help="in four layers (default: 1,000)")
    parser.add_argument("--images", type=int, default=2000, help="evaluation images (default: 2,000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = Size(images=args.images, layers=4, units=args.units // 4, classes=10, photographs=True)
        made = store(Path(folder) / "store", "photographs", size, 1)
        run, begun = made.names()[0], time.monotonic()
        written = publish(made, run, Path(folder) / "site", pictures_of(made, run))
        seconds = time.monotonic() - begun
        sorts = {
            "first page": "index.html",
            "units": "units/*.html",
            "images": "images/*",
            "attributions": "units/*.webp",
        }
        megabytes = {
            sort: round(sum(path.stat().st_size for path in written.folder.glob(pattern)) / 1e6, 2)
            for sort, pattern in sorts.items()
        }
    result = {"units": written.units, "images": args.images, "files": written.files}
    result |= {"megabytes": round(written.bytes / 1e6, 1), "by_sort": megabytes, "seconds": round(seconds, 1)}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
