"""A class of thirty on one small machine: `python benchmarks/load/load.py [--quick]` prints one JSON document.

What visitors do, what is checked and what the figures mean stands in `selviz/testing/classroom.py`.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selviz.testing.classroom import QUICK, Options, visit_as_a_class

HELP = {
    "seconds": "of visits",
    "visitors": "without a browser",
    "greedy": "visitors who ask for what is heavy, in addition to the others",
    "browsers": "visitors with a browser",
    "think": "seconds of reading between two actions, on average",
    "units": "units that are looked at, of each run",
    "selections": "sets of units, each silenced in every mode",
    "runs": "runs of the store that are visited",
    "rest": "seconds after all have left; the server keeps their sessions for 120",
}


def main() -> None:
    """Let the class in and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, meaning in HELP.items():
        default = getattr(Options, name)
        parser.add_argument(f"--{name}", type=type(default), help=f"{meaning} (default: {default})")
    parser.add_argument("--data", help="a store with finished runs; it is copied first. One is made without")
    parser.add_argument("--quick", action="store_true", help="ten visitors for fifteen seconds")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    print(json.dumps(visit_as_a_class(replace(QUICK if given.pop("quick") else Options(), **given))))


if __name__ == "__main__":
    main()
