"""What is in order on this machine and in this store, and what is not: `examine(Store("data"))` gives one row per
finding.

A row has `what` was looked at, `state` (ok, note: works as it is, error: to be put right), what is `told`, and
`fix`, the command for it.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from selviz.datasets import cache
from selviz.errors import SelvizError, TransientError
from selviz.runs import background_jobs
from selviz.runs.dataset_locations import resolve_location
from selviz.store import Store, untrusted_files
from selviz.store.files import NETWORK
from selviz.store.integrity import check_rest, check_run
from selviz.system.locks import holder
from selviz.system.processes import environment
from selviz.system.progress import Report, silent

LEAST_FREE = 2**30  # bytes: a run of the demo takes 5 MB, one of 10,000 images up to 200
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
Row = dict[str, str]
# The build for desktops, which corrupt-tta brings, needs libraries that servers lack.
OPENCV = "pip uninstall -y opencv-python && pip install opencv-python-headless"
IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        problem = ""
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps([name, problem]), file=sys.__stdout__, flush=True)
"""


class Need(NamedTuple):
    """What commands import when they run, and the extra of selviz that brings it."""

    commands: str
    modules: tuple[str, ...]
    extra: str = ""


NEEDS = (
    Need(
        "runs, layers, units, unit, groups, sql, export, migrate, relink, doctor, completion",
        ("duckdb", "pandas", "pyarrow", "scipy.stats", "filelock", "psutil", "shtab", "selviz.store",
         "selviz.maintenance.migration"),
    ),
    Need(
        "demo, train, sweep, import, capture",
        ("torch", "selviz.training.fabric", "torchvision", "safetensors.torch", "joblib", "selviz.runs.demo",
         "selviz.runs.importing", "selviz.runs.sweep"),
    ),
    Need(
        "ablate, curves, atlas, early, basis, metrics, map",
        ("sklearn.manifold", "sklearn.metrics", "selviz.studies.ablation", "selviz.studies.early_training",
         "selviz.studies.basis", "selviz.studies.unit_measures"),
    ),
    Need("attribute, sanity, publish", ("selviz.studies.attribution", "selviz.publishing.site")),
    Need("hypothesis", ("yaml", "selviz.hypotheses")),
    Need("serve", ("streamlit", "plotly.graph_objects", "selviz.figures"), "app"),
    Need("corruptions, robustness, dimensionality --corruption", ("corrupt_tta.corruptions",), "robustness"),
    Need("attributions by Captum itself, in place of the same computed here", ("captum.attr",), "captum"),
    Need("sweep --backend ray", ("ray",), "ray"),
    Need("sweep --backend dask", ("dask", "distributed"), "dask"),
    Need("import --model timm:...", ("timm",), "timm"),
    Need("import --model hf:... or timm:hf-hub:..., data sets hf-dataset:...", ("transformers", "datasets"), "hub"),
    Need("the board in notebooks", ("anywidget",), "notebook"),
)  # fmt: skip


def examine(store: Store, report: Report = silent) -> list[Row]:
    """Return every finding, in the order of the checks; every file of the store is read, and nothing is changed."""
    checks = (packages, imports, network, disk, runs, networks, datasets, records, work)
    return [row for check in checks for row in check(store, report)]


def packages(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether every package is there, and not too old."""
    wrong = []
    for requirement in needed():
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append((str(requirement), f"{requirement.name} is not installed"))
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(
                (str(requirement), f"{requirement.name} is {installed}, and {requirement.specifier} is needed")
            )
    for specifier, message in wrong:
        yield _row("packages", "error", message, f"pip install '{specifier}'")
    if not wrong:
        yield _row("packages", "ok", f"{len(needed())} packages are there and recent enough")


def needed() -> list[Requirement]:
    """Return what selviz and its dashboard need, as pyproject.toml says it."""
    if PROJECT.exists():  # a clone; an installed package has it in its metadata
        import tomllib

        project = tomllib.loads(PROJECT.read_text())["project"]
        return [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["app"]]
    requirements = [Requirement(text) for text in requires("selviz") or ()]
    return [part for part in requirements if part.marker is None or part.marker.evaluate({"extra": "app"})]


def imports(store: Store, report: Report) -> Iterator[Row]:
    """Yield what cannot be imported although a command needs it, and which extras are not installed."""
    problems = import_problems([module for need in NEEDS for module in need.modules])
    sound = True
    for need in NEEDS:
        module, problem = next(((name, problems[name]) for name in need.modules if name in problems), ("", ""))
        if not problem:
            continue
        package = f"'selviz[{need.extra}]'" if need.extra else "selviz"
        if need.extra and problem == f"ModuleNotFoundError: No module named {module.partition('.')[0]!r}":
            yield _row("imports", "note", f"{need.commands}: not installed", f"pip install {package}")
            continue
        sound = False
        fix = OPENCV if need.extra == "robustness" else f"pip install --force-reinstall {package}"
        yield _row("imports", "error", f"{need.commands}: {module} cannot be imported ({problem})", fix)
    if sound:
        yield _row(
            "imports", "ok", "what the commands need can be imported, each library tried in a process of its own"
        )


def import_problems(modules: Sequence[str]) -> dict[str, str]:
    """Import each module in a process of its own kind; return what went wrong, one line for each that cannot be."""
    problems = {}
    left = list(modules)
    while left:
        command = [sys.executable, "-P", "-c", IMPORT, *left]
        done = subprocess.run(command, capture_output=True, env=environment(), stdin=subprocess.DEVNULL)
        tried = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b'["')]
        problems.update({name: problem for name, problem in tried if problem})
        left = left[len(tried) :]
        if left:  # a library that is made for another processor, for instance, ends the process
            problems[left.pop(0)] = f"it ends the process that imports it (status {done.returncode})"
    return problems


def network(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether torch computes, and on what."""
    import torch

    try:
        weight = torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
        right = float(weight) == 9.0
    except RuntimeError as error:
        yield _row("torch", "error", f"torch cannot compute ({error})", "pip install --force-reinstall torch")
        return
    if not right:
        yield _row("torch", "error", "torch computes wrong results", "pip install --force-reinstall torch")
        return
    yield _row("torch", "ok", f"torch {torch.__version__} computes, with {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield _row("GPU", "ok", "none; training and silencing run on the processor")
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        yield _row("GPU", "ok", f"{name}: {free / 1e9:.1f} of {total / 1e9:.1f} GB are free")


def disk(store: Store, report: Report) -> Iterator[Row]:
    """Yield room in the store and in the folder of decoded images, and whether both can be written."""
    for what, folder, other in (("store", store.path, "--data DIR"), ("cache", cache.folder(), "SELVIZ_CACHE=DIR")):
        place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        message = f"{folder}: {free / 1e9:.1f} GB are free"
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            message = (
                f"{folder} cannot be written ({error.strerror}): what is stored can be looked at, and nothing added"
            )
            yield _row(what, "note", message, f"make it writable, or name another place: {other}")
            continue
        if free < LEAST_FREE:
            yield _row(what, "error", message, f"free some space, or name another place: {other}")
        else:
            yield _row(what, "ok", message)


def runs(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether each run is finished, and its files are what was written."""
    table = store.runs()
    whole, clean = 0, True
    for number, row in enumerate(table.to_dict("records")):
        report({"stage": "checking", "run": row["run"], "done": number, "of": len(table)})
        problems = check_run(store, row["run"]) if row["state"] in ("finished", "failed") else []
        for problem in problems:
            yield _row("runs", "note" if problem.note else "error", problem.told, problem.fix)
        clean = clean and not problems
        if row["state"] == "finished":
            whole += not any(not problem.note for problem in problems)
        elif row["state"] == "running":
            yield _row("runs", "note", f"run {row['run']}: {row['reason']}")
        elif not problems:
            reason = f" ({row['reason']})" if isinstance(row["reason"], str) else ""
            fix = row["resume"] if isinstance(row["resume"], str) else f"rm -r {store.run_path(row['run'])}"
            yield _row("runs", "note", f"run {row['run']} is {row['state']}{reason}", fix)
    yield _row("runs", "ok", f"{whole} of {len(table)} runs are finished and whole, every file by its checksum")


def networks(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether each stored network can be used: it is tried in a process of its own."""
    folders = [store.run_path(name) for name in store.names()]
    folders = [folder for folder in folders if (folder / NETWORK).exists() and (folder / "summary.json").exists()]
    problems = untrusted_files.network_problems(folders)
    for folder, problem in problems.items():
        if problem:
            remove = f"rm -r {shlex.quote(str(folder))}, then import it again"
            again = f"selviz doctor --data {shlex.quote(str(store.path))}"
            message = f"run {folder.name}: {problem.message}"
            yield _row("networks", "error", message, again if problem.may_pass else remove)
    if folders and not any(problems.values()):
        yield _row("networks", "ok", f"{len(folders)} imported networks run, each tried in a process of its own")


def datasets(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether the images of each finished run are where they were, which silencing and explaining need."""
    table = store.runs()
    table = table[table["state"] == "finished"] if len(table) else table
    missing = set()
    for row in table.to_dict("records"):
        try:
            spec = resolve_location(store.path, {"dataset": row["dataset"]}, row.get("fingerprint"))["dataset"]
        except SelvizError as error:
            yield _row("data sets", "error", str(error))
            continue
        kind, _, path = spec.partition(":")
        if path and spec not in missing and not Path(path).is_dir():
            missing.add(spec)
            fix = f"selviz relink {row['run']} --dataset {kind}:/new/place --data {store.path}"
            yield _row("data sets", "error", f"the images of run {row['run']} are not in {path} any more", fix)
    if not missing:
        yield _row("data sets", "ok", f"{table['dataset'].nunique() if len(table) else 0} data sets are in their place")


def records(store: Store, report: Report) -> Iterator[Row]:
    """Yield whether the ledger of hypotheses and the groups of units are as they were written."""
    problems = check_rest(store)
    for problem in problems:
        yield _row("records", "error", problem.told, problem.fix)
    if not problems:
        yield _row("records", "ok", f"the ledger of {len(store.hypotheses())} hypotheses and all groups hold together")


def work(store: Store, report: Report) -> Iterator[Row]:
    """Yield jobs that run, that failed, and claims that a process left behind."""
    stale = 0
    for claim in [*store.path.glob("runs/*/claim.json"), *store.path.glob("hypotheses/partial/*.claim")]:
        owner = holder(claim)
        if owner is None:
            stale += 1
        else:
            message = f"process {owner.get('pid')} on {owner.get('host')} works on {claim.parent.name}"
            yield _row("work", "note", message)
    for name in background_jobs.names(store.path):
        place = background_jobs.place(store.path, name)
        try:
            state, reason = background_jobs.state(place, finished=False)
        except TransientError as error:
            yield _row("work", "error", str(error))
            continue
        except SelvizError as error:
            yield _row("work", "error", str(error), f"rm {place}.*")
            continue
        if state == "running":
            yield _row("work", "note", f"job {name} is running")
        elif state == "failed":
            yield _row("work", "note", f"job {name} failed ({reason})", f"see {place}.log")
    message = f"{stale} claims of processes that are gone; the next command takes them over"
    yield _row("work", "ok", message if stale else "no claim is stale")


def _row(what: str, state: str, told: str, fix: str = "") -> Row:
    return {"what": what, "state": state, "told": re.sub(r"\s+", " ", told), "fix": fix}
