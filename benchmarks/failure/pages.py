"""Draw every page while the n-th call to the system fails: `python benchmarks/failure/pages.py STORE`.

One JSON document, as `selviz/testing/faults/pages.py` says; --every 7 --errors 1 is a short form. Needs a C compiler.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from selviz.testing.faults import pages  # noqa: E402
from selviz.testing.faults.injection import build, environment_of  # noqa: E402


def main() -> int:
    """Run the pages in a process in which calls can fail."""
    if {"-h", "--help"} & set(sys.argv):
        pages.main()
    with tempfile.TemporaryDirectory(prefix="selviz-pages-") as folder:
        environment = environment_of(build(Path(folder))) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "selviz.testing.faults.pages", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
