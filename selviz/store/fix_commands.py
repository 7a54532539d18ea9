"""How to get back a file of a run: `sentence(data, run, stages)` for an error, `rebuild_command(data, run, what)`."""

from collections.abc import Collection
from pathlib import Path

from selviz.errors import SelvizError
from selviz.store import run_list
from selviz.store.files import read_json
from selviz.store.schema import STAGES


def sentence(data: Path, run: str, stages: Collection[str] = ("capture",)) -> str:
    """Return the end of a sentence: how to get back the files of these stages of a run in the store `data`."""
    folder = data / "runs" / run
    needed = [STAGES[name] for name in stages if name in STAGES]
    if any(stage.restore == "snapshots" for stage in needed):
        settings = {**_config(folder), "snapshots": 4}
        if again := run_list.resume_command(data, settings):
            return f"train it with snapshots: {again}"
    for stage in needed:
        if stage.restore == "command":
            return f"write it with: selviz {stage.command} {run}{in_store(data)}"
    if any(stage.restore == "train" for stage in needed) and (again := run_list.resume_command(data, _config(folder))):
        return f"remove the folder {folder}, then train it again with: {again}"
    return f"write it again with: selviz capture {run}{in_store(data)}"


def rebuild_command(data: Path, run: str, what: str = "capture") -> str:
    """Return the command that writes a file of a finished run again.

    `what` is a stage, "weights", config.json or summary.json.
    """
    folder = data / "runs" / run
    if what in STAGES and STAGES[what].restore == "command":
        return f"selviz {STAGES[what].command} {run}{in_store(data)}"
    if what in STAGES and STAGES[what].restore == "capture":
        return f"selviz capture {run}{in_store(data)}"
    again = run_list.resume_command(data, run_list.settings(folder)) or f"selviz import ... --name {run}"
    if what.endswith(".json"):
        return f"rm -f {folder / 'config.json'} {folder / 'summary.json'}; {again}"
    return f"rm -r {folder}; {again}"


def in_store(data: Path) -> str:
    """Return the option that names the store, with a space before it; nothing for the one that commands take anyway."""
    return "".join(f" {part}" for part in run_list.data_option(data))


def _config(folder: Path) -> dict[str, object]:
    """Return the run's settings; {} where they cannot be read, since this is the end of another sentence."""
    try:
        return read_json(folder / "config.json") or {}
    except SelvizError:
        return {}
