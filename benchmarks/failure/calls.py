"""What the store does while the n-th call to the system fails: `python benchmarks/failure/calls.py [--every=9]`.

One JSON document, as `selviz/testing/faults/calls.py` says, whose options it takes. Each kind of failure in each
scenario has a process of its own, over a copy of one store. Needs Linux and a C compiler.
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
    begun = time.monotonic()
    total: dict = {"scenarios": {}, "tries": 0, "wrong": []}
    with tempfile.TemporaryDirectory(prefix="selviz-calls-") as folder:
        store = Path(folder) / "store"
        calls.make_store(store)
        environment = environment_of(build(Path(folder))) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

        def tried(*words: str) -> dict | None:
            command = [sys.executable, "-m", "selviz.testing.faults.calls", "--data", str(store), *words]
            done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
            return json.loads(done.stdout) if done.returncode == 0 else None

        every = [word for word in sys.argv[1:] if word.startswith("--every")]  # as --every=9
        for name, kinds in (tried("--list", *sys.argv[1:]) or {}).items():
            sums = {"tries": 0, "refused": 0, "calls": {}, "seconds": 0.0}
            for kind in kinds:
                if (found := tried("--only", name, "--calls", kind, *every)) is None:
                    total["wrong"].append(f"{name}, {kind}: the process ended before its end")
                    continue
                part = found["scenarios"][name]
                for key in ("tries", "refused", "seconds"):
                    sums[key] = round(sums[key] + part[key], 1)
                for call, number in part["calls"].items():
                    sums["calls"][call] = max(number, sums["calls"].get(call, 0))
                total["tries"] += found["tries"]
                total["wrong"] += found["wrong"]
            total["scenarios"][name] = sums
            print(name, sums, total["wrong"][-3:], file=sys.stderr, flush=True)
    print(json.dumps(total | {"seconds": round(time.monotonic() - begun, 1)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
