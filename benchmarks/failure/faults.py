"""What breaks when processes are killed, disks fill up, files rot: `python benchmarks/failure/faults.py [--quick]`.

Prints one JSON document. The faults and the checks are in `selviz/testing/faults/`; `--help` has the rules.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    os.chdir(ROOT)
    # Its worker processes import the module that was started: it must be the package itself.
    os.execv(sys.executable, [sys.executable, "-m", "selviz.testing.faults", *sys.argv[1:]])
