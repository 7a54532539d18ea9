"""What hostile input does: `python benchmarks/failure/fuzz.py [--quick] [--seed 0] [--only zips]`, one JSON document.

The inputs and what watches them are in `selviz/testing/hostile/`; `--help` has the rules.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selviz.testing.hostile.fuzz import main

if __name__ == "__main__":
    sys.exit(main())
