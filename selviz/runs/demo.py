"""Five networks on 5,000 MNIST images, once a store: `main("data", report)` trains what is missing of them.

The app calls `start(data)`, which hands the work to a process of its own; any process may ask `status(data)`. The demo
is a chosen illustration: its settings were picked to show the published picture in about a minute, with one seed each.
"""

import os
from pathlib import Path
from typing import Any

from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.runs import background_jobs, sweep
from selviz.system.progress import Report, silent

# The baseline and the two ends first: after three runs the picture is there.
CONFIGS = tuple(RunConfig("mnist-5k", "cnn", alpha=alpha) for alpha in (0, -5, 5, -1, 1))


def place(data: str | Path) -> Path:
    """Return where the demo is kept among the store's jobs."""
    return Path(data).resolve() / "demo"


def start(data: str | Path, again: bool = False) -> bool:
    """Start the demo in a process and session of its own; True if this call did it.

    Does nothing where it is running, was stopped or failed (unless `again`), is complete, or SELVIZ_NO_DEMO is 1.
    """
    if os.environ.get("SELVIZ_NO_DEMO") == "1" or _finished(data):
        return False
    if not again and background_jobs.is_stopped(place(data)):
        return False
    return background_jobs.start(place(data), ["demo"], data, "the demo")


def stop(data: str | Path) -> None:
    """Ask the demo to stop, wherever it runs; after this only `start(data, again=True)` starts it."""
    background_jobs.stop(place(data))


def status(data: str | Path) -> dict[str, Any]:
    """Return {"state", "reason", "runs": rows of `sweep.run_status`}.

    `state` is running, stopped, failed, finished, or absent (never started, or cut off).
    """
    rows = [sweep.run_status(data, config) for config in CONFIGS]
    state, reason = background_jobs.state(place(data), all(row["state"] == "finished" for row in rows))
    return {"state": state, "reason": reason, "runs": rows}


def main(data: str | Path, report: Report = silent) -> None:
    """Train the demo's runs that are not finished, one after the other; `report` as in `sweep.run_sweep`.

    Raises SelvizError if another process is at it, or if a run failed. What stops it leaves a reason, so that the app
    does not start a failing demo over and over.
    """
    data = Path(data)
    with background_jobs.working(place(data), "the demo"):
        missing = [config for config in CONFIGS if not sweep.is_finished(data, config)]
        with sweep.watching(data, CONFIGS, report):
            reasons = sweep.train_all(data, missing, place(data), workers=1)
        for reason in reasons.values():
            raise SelvizError(reason)
    if background_jobs.is_stopped(place(data)):
        raise SelvizError("The demo was stopped; finished runs are kept, go on with: selviz demo")


def _finished(data: str | Path) -> bool:
    return all(sweep.is_finished(Path(data), config) for config in CONFIGS)
