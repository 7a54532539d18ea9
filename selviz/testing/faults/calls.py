"""Let the n-th call to the system fail in what the store does: `python -m selviz.testing.faults.calls [--every 9]`.

For each scenario, each kind of call and each error: n = 1, 2, ... until the operation makes no more such calls. After
each failure must hold: a sentence and no other exception; no word of damage, and no advice to remove anything; the same
result where there is one; the next try succeeds with the same result; no more files open than before, and no file left
behind. In a second round of some, every later call fails too, as on a disk that stays full. One JSON document: for each
scenario {"tries", "refused", "calls": {kind: the most calls of that kind}}, and "wrong": [a sentence each]. The process
must have been started with `injection.environment_of`; `benchmarks/failure/calls.py` does that.
"""

import argparse
import errno
import gc
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selviz.errors import SelvizError
from selviz.testing.faults.injection import failing

NEVER = re.compile(
    r"damaged|remove it|remove the|\brm \b|write it again|Traceback|is no zip file|is another one", re.IGNORECASE
)
Errors = Mapping[str, tuple[int, ...]]
READING: Errors = {"open": (errno.EMFILE, errno.EACCES, errno.EIO), "read": (errno.EIO,), "map": (errno.ENOMEM,)}
WRITING: Errors = {
    "open": (errno.EMFILE, errno.EACCES, errno.ENOSPC),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO),
    "sync": (errno.EIO,),
    "map": (errno.ENOMEM,),
}
STARTING: Errors = {"fork": (errno.EAGAIN, errno.ENOMEM), "open": (errno.EMFILE,)}
MAX_CALLS = 5000  # of one kind in one operation


@dataclass
class Scenario:
    """An operation in a folder, which returns something to compare; `prepare` comes before each try, undisturbed."""

    operation: Callable[[], object]
    errors: Errors
    prepare: Callable[[], object] = lambda: None
    lasting: bool = False  # whether all later calls of the kind fail too, in a second round


@dataclass
class Outcome:
    """What came of a scenario."""

    tries: int = 0
    refused: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def outcome(scenario: Scenario, folder: Path, every: int = 1) -> Outcome:
    """Let one call after the other fail, or every few of them, in each way."""
    found = Outcome()
    expected = _undisturbed(scenario)
    left = _files(folder)
    for kind, errors in scenario.errors.items():
        for error in errors:
            for later_too in (False, True) if scenario.lasting else (False,):
                _round(scenario, folder, found, expected, left, (kind, error, later_too), every)
    return found


def _round(
    scenario: Scenario,
    folder: Path,
    found: Outcome,
    expected: object,
    left: set[str],
    how: tuple[str, int, bool],
    every: int,
) -> None:
    kind, error, later_too = how
    for number in range(1, MAX_CALLS, every):
        scenario.prepare()
        before = _handles()
        label = f"{kind} {number} fails with {errno.errorcode[error]}{' and all after it' if later_too else ''}"
        with failing(kind, number, error, folder, later_too) as calls:
            try:
                result, trouble = scenario.operation(), None
            except SelvizError as problem:
                result, trouble = expected, None
                found.refused += 1
                if NEVER.search(str(problem)) or "\n" in str(problem):
                    trouble = str(problem)
            except BaseException as problem:  # whatever comes out is a finding
                result, trouble = expected, repr(problem)
        found.calls[kind] = max(found.calls.get(kind, 0), calls.made)
        if not calls.failed:
            return
        found.tries += 1
        if trouble or result != expected:
            found.wrong.append(f"{label}: {trouble or f'another result, {str(result)[:200]}'}")
        try:
            if (again := _undisturbed(scenario)) != expected:
                found.wrong.append(f"{label}: the next try has another result, {str(again)[:200]}")
        except BaseException as problem:
            found.wrong.append(f"{label}: the next try fails, {problem!r}")
        if (more := _handles() - before) > 1:
            found.wrong.append(f"{label}: {more} files stay open")
        if others := _files(folder) - left:
            found.wrong.append(f"{label}: left behind {sorted(others)[:3]}")


def _undisturbed(scenario: Scenario) -> object:
    scenario.prepare()
    return scenario.operation()


def _handles() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------------------- scenarios


def scenarios(folder: Path, data: str | None = None) -> Iterator[tuple[str, Scenario]]:
    """Yield the scenarios by name, over a store below `folder`: a copy of the one at `data`, or one that is made."""
    from selviz.store import Store

    store = Store(folder / "data")
    if data is not None:
        shutil.copytree(data, store.path)
    else:
        make_store(store.path)
    yield from _reading(store)
    yield from _writing(store, folder)
    yield from _copying(store, folder)
    yield from _working(store, folder)


def make_store(data: Path) -> None:
    """Train the run that the scenarios work on."""
    from selviz.config import RunConfig
    from selviz.runs.train import train_run
    from selviz.store import Store

    train_run(Store(data), RunConfig("digits", "cnn", epochs=1, max_images=60), lambda progress: None)


def _reading(store: Any) -> Iterator[tuple[str, Scenario]]:
    from selviz.maintenance.doctor import check_rest
    from selviz.maintenance.doctor import runs as examined
    from selviz.store import append, list_groups, queries, read_chain, run_list, sql_process, write_group
    from selviz.system.progress import silent

    run, counting = store.names()[0], "SELECT count(*) AS n FROM units"
    write_group(store.path, {"relu1": [1, 2]}, "some")
    append(store.path, lambda records: {"kind": "note"})

    def listed() -> object:
        row = store.runs().iloc[0]
        if row["state"] == "failed":  # the one run that could not be read; nobody is told to train it again
            if isinstance(row["resume"], str):
                return row["resume"]
            raise SelvizError(row["reason"])
        return row["state"]

    def groups() -> object:
        table = list_groups(store.path)
        for reason in table.attrs["left_out"].values():
            raise SelvizError(reason)
        return table["name"].tolist()

    def counted(ask: Callable[[], pd.DataFrame]) -> object:
        table = ask()
        return table["n"].tolist(), table.attrs["left_out"]

    def checked() -> object:
        rows = list(examined(store, silent))
        for row in rows:
            if row["state"] != "ok":
                raise SelvizError(f"{row['told']} {row['fix']}")
        return len(rows)

    forget = queries._results.clear
    yield "the list of runs", Scenario(listed, READING, run_list._finished.clear)
    yield "a table", Scenario(lambda: len(store.units(run)), READING, forget)
    yield "layers of many runs", Scenario(lambda: len(store.layers_of([run, run])), READING, forget)
    yield "an activation", Scenario(lambda: len(store.activations(run, "relu1", 1)), READING, forget)
    yield "pictures", Scenario(lambda: len(store.thumbnails(run, [0, 1])), READING, forget)
    yield "a query", Scenario(lambda: counted(lambda: store.sql(counting)), READING, forget)
    ask = lambda: sql_process.run_sql_in_subprocess(store.path, counting, None, 10, 60)  # noqa: E731
    yield "a visitor's query", Scenario(lambda: counted(ask), {"fork": STARTING["fork"]})
    yield "the ledger of claims", Scenario(lambda: _sound(read_chain(store.path)), READING)
    yield "the list of groups", Scenario(groups, READING)
    yield "doctor", Scenario(checked, READING, run_list._finished.clear)

    def rest() -> object:
        for problem in check_rest(store):
            raise SelvizError(f"{problem.told} {problem.fix}")
        return "whole"

    yield "doctor of claims and groups", Scenario(rest, READING)


def _sound(chain: Any) -> int:
    """Return the number of records of a ledger; SelvizError where one is wrong."""
    if chain.problems:
        raise SelvizError(chain.problems[0])
    return len(chain.records)


def _writing(store: Any, folder: Path) -> Iterator[tuple[str, Scenario]]:
    from selviz.store import Store, append, read_chain, stage_is_whole, write_activations, write_group, write_stage
    from selviz.system.locks import Claim, holder

    run, made = store.names()[0], folder / "made"
    rows = {"numbers": pd.DataFrame({"position": np.arange(500), "number": 7})}
    layers = {"layer": [0], "name": ["a"], "units": [3], "depth": [0.5], "signed": [False], "squeeze": [False]}
    images = {"image": range(4), "label": [0, 1, 0, 1], "prediction": [0, 1, 1, 1], "fold": [0, 1, 0, 1]}

    def clear() -> None:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()

    def stage() -> object:
        return write_stage(made / "run", "numbers", rows, {}).name, stage_is_whole(made / "run", "numbers")

    def capture() -> object:
        values = enumerate([np.arange(12, dtype=np.float32).reshape(4, 3)])
        write_activations(made / "run", pd.DataFrame(layers), pd.DataFrame(images), values, {})
        return stage_is_whole(made / "run", "capture")

    def record() -> object:
        number = append(made, lambda records: {"kind": "note"})["number"]
        return number, read_chain(made).problems

    def lock() -> object:
        with Claim(made / "claim.json", "a test"):
            return holder(made / "claim.json") is not None

    def unpacked() -> object:
        other = Store(made)
        return other.unpack(folder / "run.zip"), len(other.units(run)), other.runs()["state"].tolist()

    store.pack(run, folder / "run.zip")
    full = {"write": (errno.ENOSPC,)}
    yield "a stage that is written", Scenario(stage, WRITING, clear)
    yield "a stage on a disk that stays full", Scenario(stage, full, clear, lasting=True)
    yield "a capture", Scenario(capture, WRITING, clear)
    yield "a record of a claim", Scenario(record, WRITING, clear)
    yield "a lock", Scenario(lock, WRITING, clear)
    yield "a group", Scenario(lambda: write_group(made, {"relu1": [1]}, "some"), WRITING, clear)
    yield "a zip out", Scenario(lambda: store.pack(run, made / "out.zip").stat().st_size, WRITING, clear)
    yield "a zip in", Scenario(unpacked, WRITING, clear)


def _copying(store: Any, folder: Path) -> Iterator[tuple[str, Scenario]]:
    from PIL import Image

    from selviz import datasets
    from selviz.maintenance.migration import migrate
    from selviz.store import Store

    made, pictures, cache = folder / "made", folder / "pictures", folder / "cache"
    dice = np.random.default_rng(0)
    for number in range(8):
        path = pictures / ("train", "test")[number % 2] / ("a", "b")[number // 4] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 255, (12, 12, 3), np.uint8)).save(path)

    def clear() -> None:
        for left in (made, cache):
            shutil.rmtree(left, ignore_errors=True)
        made.mkdir()
        datasets._opened.clear()

    def stored() -> None:
        clear()
        Store(made).unpack(folder / "run.zip")

    def migrated() -> object:
        table = migrate(store.path, made / "new")
        for row in table.itertuples():
            if not row.done:
                raise SelvizError(row.told)
        return table["told"].tolist()

    def decoded() -> object:
        os.environ["SELVIZ_CACHE"] = str(cache)
        dataset = datasets.load(f"folder:{pictures}", image_size=8)
        return dataset.fingerprint, len(dataset.eval_labels), np.asarray(dataset.eval_pixels).sum().item()

    yield "a zip in that is there already", Scenario(lambda: Store(made).unpack(folder / "run.zip"), READING, stored)
    yield "a store in today's form", Scenario(migrated, WRITING, clear)
    yield "a folder of pictures", Scenario(decoded, WRITING, clear)


def _working(store: Any, folder: Path) -> Iterator[tuple[str, Scenario]]:
    import torch
    from torch import nn

    from selviz.hypotheses import registry
    from selviz.publishing.site import publish
    from selviz.runs.capturing import capture_model
    from selviz.store import Store, queries
    from selviz.store.files import read_json
    from selviz.store.notes import add_note, notes
    from selviz.store.stars import star
    from selviz.studies.feature_visualization import run_visualisation

    run, made = store.names()[0], folder / "made"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    images, labels = torch.randint(0, 255, (20, 1, 8, 8), dtype=torch.uint8), torch.arange(20) % 2

    def clear() -> None:
        shutil.rmtree(made, ignore_errors=True)
        queries._results.clear()
        made.mkdir()

    def copied() -> None:
        clear()
        shutil.copytree(store.path, made / "data")

    def noted() -> object:
        add_note(made / "data", run, "relu1:1", "an edge")
        return [note.text for note in notes(made / "data", run)]

    def starred_run() -> object:
        star(made / "data", run)
        return read_json(made / "data" / "starred.json")["run"]  # `starred` itself is never worth an error

    def tested() -> object:
        other = Store(made / "data")
        asked = {"run": run, "layer": "relu4", "class": "1"}
        key = registry.register(other, "single", asked)["hypothesis"]
        return registry.run_test(other, key)["verdict"]

    def imported() -> object:
        capture_model(Store(made), model, (images, labels), "imported")
        return len(Store(made).units("imported"))

    def published() -> object:
        return publish(store, run, made / "site").files, (made / "site" / "index.html").stat().st_size

    def drawn() -> object:
        return run_visualisation(Store(made / "data"), run, "relu1", 1)["pixels"].shape

    yield "a note", Scenario(noted, WRITING, copied)
    yield "a star", Scenario(starred_run, WRITING, copied)
    yield "a claim that is tested", Scenario(tested, WRITING, copied)
    yield "a network in memory", Scenario(imported, WRITING, clear)
    yield "a site", Scenario(published, WRITING, clear)
    yield "an image made for a unit", Scenario(drawn, WRITING, copied)


def _chosen(errors: Errors, calls: list[str]) -> Errors:
    """Return the kinds and errors that are named, such as "open" or "open:EMFILE"."""
    chosen = {
        kind: tuple(code for code in codes if {kind, f"{kind}:{errno.errorcode[code]}"} & set(calls))
        for kind, codes in errors.items()
    }
    return {kind: codes for kind, codes in chosen.items() if codes}


def main() -> None:
    """Run the scenarios and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="such as 'a table,a lock'")
    parser.add_argument("--calls", help="such as 'open,read:EIO' (default: all that a scenario names)")
    parser.add_argument("--list", action="store_true", help="only name the scenarios and the calls that fail in each")
    parser.add_argument("--every", type=int, default=1, help="try every n-th call alone (default: each)")
    parser.add_argument("--data", help="the store, with one run, to work on a copy of (default: one is made)")
    arguments = parser.parse_args()
    os.environ["SELVIZ_NO_DEMO"] = "1"
    chosen, found, wrong = arguments.only and arguments.only.split(","), {}, []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="selviz-calls-") as made:
        folder = Path(made).resolve()
        for name, scenario in scenarios(folder, arguments.data):
            if chosen and name not in chosen:
                continue
            if arguments.calls:
                scenario = replace(scenario, errors=_chosen(scenario.errors, arguments.calls.split(",")))
            if arguments.list:
                found[name] = [
                    f"{kind}:{errno.errorcode[n]}" for kind in scenario.errors for n in scenario.errors[kind]
                ]
                continue
            begun = time.monotonic()
            result = outcome(scenario, folder, arguments.every)
            seconds = round(time.monotonic() - begun, 1)
            found[name] = {"tries": result.tries, "refused": result.refused, "calls": result.calls, "seconds": seconds}
            wrong += [f"{name}: {trouble}" for trouble in result.wrong]
            print(name, found[name], result.wrong[:5], file=sys.stderr, flush=True)
    if arguments.list:
        print(json.dumps(found))
        return
    total = {"tries": sum(part["tries"] for part in found.values()), "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps({"scenarios": found, **total, "wrong": wrong}, indent=1))


if __name__ == "__main__":
    main()
