"""What the store does while the n-th call to the system fails: `python benchmarks/failure/calls.py [--every 9]`.

One JSON document, as `selviz/testing/faults/calls.py` says. Needs Linux and a C compiler.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from selviz.testing.faults import calls  # noqa: E402
from selviz.testing.faults.injection import build, environment_of  # noqa: E402


def main() -> int:
    """Run the scenarios in a process in which calls can fail."""
    if {"-h", "--help"} & set(sys.argv):
        calls.main()
    with tempfile.TemporaryDirectory(prefix="selviz-calls-") as folder:
        environment = environment_of(build(Path(folder))) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "selviz.testing.faults.calls", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
