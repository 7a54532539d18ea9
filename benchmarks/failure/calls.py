"""What the store does while the n-th call to the system fails: `python benchmarks/failure/calls.py [--every 9]`.

One JSON document, as `selviz/testing/faults/calls.py` says, whose options it takes. Each scenario has a process of its
own, over copies of one store. Needs Linux and a C compiler.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from selviz.testing.faults import calls  # noqa: E402
from selviz.testing.faults.injection import build, environment_of  # noqa: E402


def main() -> int:
    """Run the scenarios in processes in which calls can fail, and print what came of all of them."""
    if {"-h", "--help"} & set(sys.argv):
        calls.main()
    words = sys.argv[1:]
    names = calls.NAMES
    if "--only" in words:
        at = words.index("--only")
        names, words = tuple(words[at + 1].split(",")), words[:at] + words[at + 2 :]
    begun = time.monotonic()
    total: dict = {"scenarios": {}, "tries": 0, "wrong": []}
    with tempfile.TemporaryDirectory(prefix="selviz-calls-") as folder:
        store = Path(folder) / "store"
        calls.make_store(store)
        environment = environment_of(build(Path(folder))) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for name in names:
            command = [
                sys.executable,
                "-m",
                "selviz.testing.faults.calls",
                "--data",
                str(store),
                "--only",
                name,
                *words,
            ]
            done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                total["wrong"].append(f"{name}: the process ended with status {done.returncode}")
                continue
            found = json.loads(done.stdout)
            total["scenarios"] |= found["scenarios"]
            total["tries"] += found["tries"]
            total["wrong"] += found["wrong"]
    print(json.dumps(total | {"seconds": round(time.monotonic() - begun, 1)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
