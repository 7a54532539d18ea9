"""How long a newcomer waits: `python benchmarks/speed/demo.py` prints first_run_s and demo_s as JSON.

The demo runs as the app starts it, in a process of its own on an empty store; both figures count from that start.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz.runs import demo
from selviz.store import Store

LONGEST = 600.0  # seconds


def demo_figures() -> dict:
    """Seconds to the first and to the last finished run, and what the five runs show."""
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as data:
        started = time.monotonic()
        demo.start(data)
        first = None
        while (state := demo.status(data))["state"] == "running":
            if first is None and any(run["state"] == "finished" for run in state["runs"]):
                first = time.monotonic() - started
            if time.monotonic() - started > LONGEST:
                demo.stop(data)
                raise SystemExit(f"the demo took more than {LONGEST:.0f} s")
            time.sleep(0.1)
        seconds = time.monotonic() - started
        if state["state"] != "finished":
            raise SystemExit(f"the demo ended as {state['state']}: {(Path(data) / 'demo.log').read_text()[-2000:]}")
        runs = Store(data).runs().sort_values("alpha")
        shown = runs[["alpha", "test_accuracy", "mean_si", "mean_si_live", "dead"]].to_dict("records")
        return {"first_run_s": first, "demo_s": seconds, "runs": shown}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(json.dumps(demo_figures()))
