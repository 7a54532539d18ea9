"""How to get back a file of a run: `sentence(data, run, stages)` for an error, `command(data, run, what)` to type."""

from collections.abc import Collection
from pathlib import Path

from selviz.store import run_list
from selviz.store.files import read_json

WRITTEN_BY = {  # stage: command
    "ablation": "curves",
    "early": "early",
    "atlas": "atlas",
    "unit_metrics": "metrics",
    "unit_map": "map",
    "sanity": "sanity",
    "robustness": "robustness",
    "dimensionality": "dimensionality",
    "similarity": "basis",
    "linear_maps": "basis",
}


def sentence(data: Path, run: str, stages: Collection[str] = ("capture",)) -> str:
    """The end of a sentence: how to get back the files of these stages of a run in the store `data`."""
    folder = data / "runs" / run
    if "snapshots" in stages:
        settings = {**(read_json(folder / "config.json") or {}), "snapshots": 4}
        return f"train it with snapshots: {run_list.resume_command(data, settings)}"
    for stage, name in WRITTEN_BY.items():
        if stage in stages:
            return f"write it with: selviz {name} {run}{in_store(data)}"
    if "training" in stages:
        again = run_list.resume_command(data, read_json(folder / "config.json") or {})
        if again:
            return f"remove the folder {folder}, then train it again with: {again}"
    return f"write it again with: selviz capture {run}{in_store(data)}"


def command(data: Path, run: str, what: str = "capture") -> str:
    """The command that makes a file of a finished run anew: of a stage, "weights", config.json or summary.json."""
    folder = data / "runs" / run
    if what in WRITTEN_BY:
        return f"selviz {WRITTEN_BY[what]} {run}{in_store(data)}"
    if what in ("capture", "metrics"):
        return f"selviz capture {run}{in_store(data)}"
    again = run_list.resume_command(data, run_list.settings(folder)) or f"selviz import ... --name {run}"
    if what.endswith(".json"):
        return f"rm -f {folder / 'config.json'} {folder / 'summary.json'}; {again}"
    return f"rm -r {folder}; {again}"


def in_store(data: Path) -> str:
    """The option that names the store, with a space before it; nothing for the one that commands take anyway."""
    return "".join(f" {part}" for part in run_list.data_option(data))
