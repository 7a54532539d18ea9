"""Whether the files of a store are what was written: `check_run("data", run)` gives a Problem for each that is not.

Stage files have a record with their SHA-256, JSON files a seal; a run's summary lists the SHA-256 of the rest, and its
numbers are compared with those of the stages.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from selviz.errors import SelvizError, TransientError, unreadable
from selviz.statistics import wilson
from selviz.store.files import file_sha256, is_name, is_sealed, leftovers, read_json
from selviz.store.groups import damaged_groups
from selviz.store.images import image_folder
from selviz.store.ledger import read_chain
from selviz.store.schema import STAGES
from selviz.store.stage_files import record, record_path, stage_is_whole
from selviz.system.listing import files_in, walk
from selviz.system.locks import holder

if TYPE_CHECKING:
    from selviz.store.store import Store

LISTED = "files"  # in a summary: {path below the run's folder: SHA-256}
MAX_DIFFERENCE = 1e-6  # of a number in a summary from what the stages give
EVERY_RUN = ("capture", "metrics", "training")  # the stages that every run has


class Problem(NamedTuple):
    """One thing that is wrong, in a sentence, and the command that mends it. `note`: it works as it is."""

    file: Path
    told: str
    fix: str = ""
    note: bool = False


def checksums(run_dir: Path) -> dict[str, str]:
    """Return {path below the run's folder: SHA-256} of its finished files that have neither a record nor a seal:
    weights.
    """
    files = sorted(
        Path(base) / name for base, _, names in walk(run_dir) for name in names if name.endswith(".safetensors")
    )
    return {str(path.relative_to(run_dir)): file_sha256(path) for path in files if "partial" not in path.parts}


def check_run(store: "Store", run: str) -> list[Problem]:
    """Return what is wrong with the files of a finished run; every one of them is read to its end."""
    try:
        return _problems(store, run)
    except OSError as error:
        folder = store.run_path(run)
        return [Problem(folder, str(unreadable(folder, error)).removesuffix("."))]
    except TransientError as error:  # a folder that cannot be listed now, for instance
        return [Problem(store.run_path(run), str(error).removesuffix("."))]


def _problems(store: "Store", run: str) -> list[Problem]:
    folder, problems = store.run_path(run), []
    documents = {}
    for name in ("config.json", "summary.json", "network.json"):
        try:
            documents[name] = read_json(folder / name)
        except TransientError as error:
            problems.append(Problem(folder / name, str(error).removesuffix(".")))
        except SelvizError as error:
            problems.append(Problem(folder / name, str(error).removesuffix("."), store.rebuild_command(run, name)))
    summary = documents.get("summary.json") or {}
    stages = {*EVERY_RUN, *(path.stem for path in files_in(folder, ".duckdb") if is_name(path.name))}
    stages |= {path.stem for path in files_in(folder, ".json") if path.stem in STAGES}
    for stage in sorted(stages):
        problems += _stage(folder / f"{stage}.duckdb", store.rebuild_command(run, stage))
    if "fingerprint" in summary:
        problems += _stage(
            image_folder(store.path, summary["fingerprint"]) / "images.duckdb", store.rebuild_command(run)
        )
    for name, expected in summary.get(LISTED, {}).items():
        file, again = folder / name, store.rebuild_command(run, "weights")
        try:
            if file_sha256(file) != expected:
                problems.append(Problem(file, f"{file} does not have the checksum in the run's summary", again))
        except FileNotFoundError:
            problems.append(Problem(file, f"{file} is missing", again, note="/" in name))
        except TransientError as error:
            problems.append(Problem(file, str(error).removesuffix(".")))
    if summary and not problems:
        path = folder / "summary.json"
        again = store.rebuild_command(run, path.name)
        problems += [Problem(path, told, again) for told in summary_problems(store, run)]
    if summary and not is_sealed(folder / "summary.json"):
        message = f"run {run} was written by the first selviz: its settings, summary and weights have no checksum"
        problems.append(Problem(folder, message, f"selviz migrate --data {store.path} --to NEW", note=True))
    if not holder(folder / "claim.json"):
        message = "was left by a process that was killed"
        problems += [Problem(path, f"{path} {message}", f"rm {path}", note=True) for path in leftovers(folder, "**/.*")]
    return problems


def summary_problems(store: "Store", run: str) -> list[str]:
    """Return a sentence for each number of a run's summary that is not what the run's own stages give.

    A seal shows that nothing was changed since the summary was written; this, that what was written is true.
    """
    summary, images, layers = store.run(run), store.images(run), store.layers(run)
    right = int((images["label_index"] == images["prediction_index"]).sum())
    low, high = wilson(right, len(images))
    live = layers[layers["dead"] < layers["units"]]
    numbers = {
        "test_accuracy": right / max(len(images), 1),
        "test_accuracy_low": float(low),
        "test_accuracy_high": float(high),
        "mean_si": float(layers["mean_si"].mean()),
        "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
        "null_mean": float(layers["null_mean"].mean()),
        "dead": int(layers["dead"].sum()),
        "units": int(layers["units"].sum()),
        "layers": len(layers),
        "images": len(images),
    }
    if summary.get("sealed_images") is not None:
        numbers["sealed_images"] = len(store.sealed_images(run))
    return [
        f"summary.json of run {run} says {name} {summary[name]:.6g}, and what is stored gives {value:.6g}: it was "
        "rewritten"
        for name, value in numbers.items()
        if isinstance(summary.get(name), int | float) and abs(float(summary[name]) - value) > MAX_DIFFERENCE
    ]


def _stage(file: Path, fix: str) -> list[Problem]:
    try:
        if record(file) is None:
            return [Problem(file, f"{file} is missing", fix)]
        whole = stage_is_whole(file.parent, file.stem)
    except TransientError as error:  # nothing is known of its content, so nothing is to be written again
        return [Problem(file, str(error).removesuffix("."))]
    except SelvizError as error:
        return [Problem(file, str(error).removesuffix("."), fix)]
    if not whole:
        return [Problem(file, f"{file} does not have the checksum in {record_path(file).name}", fix)]
    return []


def check_rest(store: "Store") -> list[Problem]:
    """Return what is wrong with the hypotheses and the groups of units."""
    chain = read_chain(store.path)
    folder = store.path / "hypotheses"
    fix = f"put back a copy of that file, or begin a new ledger: mv {folder} {folder}-damaged"
    problems = [Problem(folder / text.split()[0], f"{folder / text}", fix) for text in chain.problems]
    for file, reason in damaged_groups(store.path):
        problems.append(Problem(file, reason.removesuffix("."), f"rm {file}"))
    return problems
