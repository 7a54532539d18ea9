"""Five networks on 5,000 MNIST images, once a store: `main("data", report)` trains what is missing of them.

The app calls `start(data)`, which hands the work to a process of its own; any process may ask `status(data)`. The demo
is a chosen illustration: its settings were picked to show the published picture in about a minute, with one seed each.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from selviz.claims import Claim, holder, release
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.store import Store, read_json, write_json

# The baseline and the two ends first: after three runs the picture is there.
CONFIGS = tuple(RunConfig("mnist-5k", "cnn", alpha=alpha) for alpha in (0, -5, 5, -1, 1))
TOKEN = "SELVIZ_DEMO_TOKEN"


def start(data, again: bool = False) -> bool:
    """Start the demo in a process and session of its own; True if this call did it.

    Does nothing where it is running, was stopped or failed (unless `again`), is complete, or SELVIZ_NO_DEMO is 1.
    However many callers there are, `demo.lock` lets one of them through.
    """
    data = Path(data).resolve()
    if os.environ.get("SELVIZ_NO_DEMO") == "1" or _finished(data):
        return False
    if not again and (data / "demo.stopped").exists():
        return False
    try:
        token = Claim.create(data / "demo.lock", "the demo")
    except SelvizError:
        if holder(data / "demo.lock"):
            return False
        raise
    try:
        (data / "demo.stopped").unlink(missing_ok=True)
        with open(data / "demo.log", "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "selviz", "demo", "--data", str(data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # The app's folder is not on the child's path.
                env={
                    **os.environ,
                    TOKEN: token,
                    "PYTHONPATH": os.pathsep.join(filter(None, [_package_home(), os.environ.get("PYTHONPATH")])),
                },
            )
    except OSError as error:
        release(data / "demo.lock", token)
        raise SelvizError(f"The demo cannot be started ({error}); run it in a shell: selviz demo.") from error
    return True


def stop(data) -> None:
    """Ask the demo to stop, wherever it runs; after this only `start(data, again=True)` starts it."""
    write_json(Path(data) / "demo.stopped", {"reason": "stopped"})


def status(data) -> dict:
    """{"state", "reason", "runs": [{"run", "alpha", "state", "epoch", "epochs", "loss", "accuracy", "mean_si"}]}.

    `state` is running, stopped, failed, finished, or absent (never started, or cut off); a run's state is finished,
    running, or waiting.
    """
    data = Path(data)
    rows = [_run_status(data, config) for config in CONFIGS]
    stopped = read_json(data / "demo.stopped")
    reason = (stopped or {}).get("reason")
    if holder(data / "demo.lock"):
        state = "running"
    elif all(row["state"] == "finished" for row in rows):
        state = "finished"
    elif stopped is not None:
        state = "stopped" if reason == "stopped" else "failed"
    else:
        state = "absent"
    return {"state": state, "reason": reason if state == "failed" else None, "runs": rows}


def main(data, report: Callable[[dict], None] = lambda news: None) -> None:
    """Train the demo's runs that are not finished, one after the other; `report` as in `pipeline.train_run`.

    Raises SelvizError if another process is at it. What stops it leaves a reason in `demo.stopped`, so that the app
    does not start a failing demo over and over.
    """
    from selviz.pipeline import Stopped, train_run

    data = Path(data)
    token = os.environ.pop(TOKEN, None)
    claim = Claim.adopt(data / "demo.lock", token, "the demo") if token else Claim(data / "demo.lock", "the demo")
    with claim:
        if not token:
            (data / "demo.stopped").unlink(missing_ok=True)

        def tell(news: dict) -> None:
            if (data / "demo.stopped").exists() or claim.lost:
                raise Stopped
            report(news)

        store = Store(data)
        try:
            for number, config in enumerate(CONFIGS):
                news = {"runs_done": number, "runs": len(CONFIGS)}
                train_run(store, config, lambda part, news=news: tell({**news, **part}))
        except Stopped:
            raise SelvizError("The demo was stopped; finished runs are kept, go on with: selviz demo") from None
        except Exception as error:
            write_json(data / "demo.stopped", {"reason": str(error) or type(error).__name__})
            raise


def _finished(data: Path) -> bool:
    return all((data / "runs" / run_name(config) / "summary.json").exists() for config in CONFIGS)


def _run_status(data: Path, config: RunConfig) -> dict:
    run = run_name(config)
    folder = data / "runs" / run
    row = {"run": run, "alpha": config.alpha, "state": "waiting", "epoch": 0, "epochs": config.epochs}
    row |= {"loss": None, "accuracy": None, "mean_si": None}
    try:
        summary, progress = read_json(folder / "summary.json"), read_json(folder / "partial" / "progress.json")
    except SelvizError:
        return row
    if summary:
        facts = {"accuracy": summary.get("test_accuracy"), "mean_si": summary.get("mean_si_live")}
        return row | facts | {"state": "finished", "epoch": config.epochs}
    if holder(folder / "claim.json"):
        row["state"] = "running"
    if progress:
        facts = {"accuracy": progress.get("test_accuracy"), "mean_si": progress.get("mean_si_live")}
        row |= {key: value for key, value in facts.items() if value is not None}
        row |= {key: progress[key] for key in ("epoch", "loss") if key in progress}
    return row


def _package_home() -> str:
    return str(Path(__file__).resolve().parent.parent)
