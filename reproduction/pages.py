"""Writes every page that is made from the rows in reproduction/data/: `python reproduction/pages.py`, in seconds.

reproduction.md in docs/, with reproduction-natural.md, reproduction-early.md, reproduction-robustness.md and their
figures. No store and no network is needed.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from reproduction import early_training, first_paper, natural_images, robustness
from reproduction.rows import FOLDER

DOCS = Path(__file__).parents[1] / "docs"


def documents(folder: Path, data: Path = FOLDER) -> dict[str, str]:
    """Return each page by the name of its file, from the rows in `data`; figures go into `folder`."""
    early, robust = data / early_training.ROWS.name, data / robustness.NAME
    return {
        "reproduction.md": first_paper.document(folder, data),
        "reproduction-natural.md": natural_images.document(folder, data),
        "reproduction-early.md": early_training.page(pd.read_csv(early) if early.exists() else early_training.NOTHING),
        "reproduction-robustness.md": robustness.page(pd.read_csv(robust) if robust.exists() else pd.DataFrame()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=DOCS)
    arguments = parser.parse_args()
    for name, text in documents(arguments.to).items():
        (arguments.to / name).write_text(text)
        print(f"Wrote {arguments.to / name}", file=sys.stderr)
