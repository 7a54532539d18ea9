"""Whether runs are what they were: `identity(store, run, stages)` at registration, `changes(store, registered)` before
a test.

All that a test reads is covered by checksums that were taken when it was written: weights, settings, and every stage
that the claim reads. A summary is not read by tests, but one that does not fit its stage is told.
"""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from selviz.errors import SelvizError, TransientError, told_by_system
from selviz.store import Store, read_json, stage_is_whole
from selviz.store.files import NETWORK, WEIGHTS, checksum
from selviz.store.images import image_folder
from selviz.store.integrity import LISTED, summary_problems
from selviz.store.schema import stages_read

ALWAYS = ("capture", "metrics")  # stages of every run; a claim may read others besides
FILES = ("config.json", NETWORK, WEIGHTS)
IMAGES = "images"  # a stage that lies with the data set, not with the run
# A sketch is so many sums of a network's numbers with random signs, and as many of its numbers in order of size.
SUMS, MOST_SKETCHED, MOST_SORTED = 8, 100_000, 2**20
NEAR = 2e-4  # as a share of all weights: networks trained apart differ by far more, a changed digit by less
NEAR_SORTED = 1e-6  # units in another order have the very same numbers


class Identity(TypedDict):
    """What tells that a run is the same one later; `network` is a digest of its weights, whatever their names.

    `sketch` tells networks that are nearly equal, and `like` is the digest of an earlier record's network that this one
    nearly equals.
    """

    run: str
    state: str  # finished or planned
    fingerprint: str | None  # of the images
    weights: str | None
    network: str | None
    files: dict[str, str]
    sketch: list[float] | None
    like: str | None


def stages_of(template: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the stages whose files a claim's identity covers: those of every run, and those that its table reads."""
    more = stages_read(settings["table"]) if template == "own" else ()
    return list(dict.fromkeys([*ALWAYS, *more]))


def stage_file(store: Store, run: str, stage: str) -> Path:
    """Return where a stage that a claim reads lies."""
    if stage != IMAGES:
        return store.run_path(run) / f"{stage}.duckdb"
    fingerprint: Any = (read_json(store.run_path(run) / "summary.json") or {}).get("fingerprint")
    return image_folder(store.path, fingerprint) / "images.duckdb"


def identity(store: Store, run: str, stages: Sequence[str] = ALWAYS) -> Identity:
    """Return what tells that a run, with these stages, is the same one later."""
    folder = store.run_path(run)
    try:
        summary = read_json(folder / "summary.json")
    except SelvizError:
        summary = None
    if not isinstance(summary, dict):
        return Identity(run=run, state="planned", fingerprint=None, weights=None, network=None, files={},
                        sketch=None, like=None)  # fmt: skip
    paths = {name: folder / name for name in FILES}
    paths |= {f"{stage}.duckdb": stage_file(store, run, stage) for stage in stages}
    files = {name: checksum(path) for name, path in paths.items() if path.exists()}
    network, sketch = _network(folder / WEIGHTS, files[WEIGHTS]) if WEIGHTS in files else (None, None)
    return Identity(
        run=run,
        state="finished",
        fingerprint=summary.get("fingerprint"),
        weights=files.get(WEIGHTS),
        network=network,
        files=files,
        sketch=list(sketch) if sketch else None,
        like=None,
    )


@functools.lru_cache(maxsize=1000)
def _network(path: Path, sha256: str) -> tuple[str, tuple[float, ...]]:
    """Return digest and sketch of the weights in a file with this checksum, the same under whatever names they have."""
    from safetensors.numpy import load_file

    try:
        with told_by_system(path):
            tensors = list(load_file(path).values())
    except TransientError:
        raise
    except (OSError, ValueError) as error:
        raise SelvizError(f"The weights in {path} cannot be read ({error}).") from error
    except Exception as error:  # safetensors has an exception of its own, of no public base
        raise SelvizError(f"The weights in {path} are damaged ({error}).") from error
    each = sorted(
        hashlib.sha256(repr((value.shape, str(value.dtype))).encode() + value.tobytes()).hexdigest()
        for value in tensors
    )
    return hashlib.sha256("".join(each).encode()).hexdigest(), sketch(tensors)


def sketch(tensors: Sequence[npt.NDArray[Any]]) -> tuple[float, ...]:
    """Return SUMS sums of all numbers with random signs, and SUMS of each tensor's sorted numbers, over their length.

    Of a large tensor some of the numbers count. Nearly equal networks have nearly equal sums, and those whose units are
    in another order equal sums of sorted numbers.
    """
    plain, ordered, length = np.zeros(SUMS), np.zeros(SUMS), 0.0
    floats = [value.astype(np.float64).ravel() for value in tensors if value.dtype.kind == "f" and value.size]
    for values in sorted(floats, key=lambda values: (values.size, float(np.abs(values).sum()))):
        some = values[:: -(-values.size // MOST_SKETCHED)]
        signs = np.random.default_rng(values.size).integers(0, 2, (SUMS, some.size), dtype=np.int8) * 2.0 - 1
        plain += signs @ some
        length += float(some @ some)
        if values.size <= MOST_SORTED:
            ordered += signs @ np.sort(values)[:: -(-values.size // MOST_SKETCHED)]
    both = np.concatenate([plain, ordered]) / max(math.sqrt(length), 1e-12)
    return tuple(float(f"{value:.9g}") for value in both)


def nearly_equal(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
    """Return whether two sketches are those of networks that are equal but for rounding, or for the order of units."""
    if not one or not other:
        return False
    apart = np.abs(np.asarray(one) - np.asarray(other))
    return bool((apart[:SUMS] < NEAR).all() or (apart[SUMS:] < NEAR_SORTED).all())


def with_likeness(identities: Sequence[Identity], records: Sequence[Mapping[str, Any]]) -> list[Identity]:
    """Return the identities, each with the digest of a network of an earlier record that it nearly equals."""
    known = {
        entry["network"]: entry["sketch"]
        for record in records
        if record.get("kind") in ("registered", "begun")
        for entry in record.get("runs", ())
        if entry.get("sketch")
    }
    found = []
    for entry in identities:
        like = [digest for digest, sums in known.items() if nearly_equal(sums, entry["sketch"])]
        found.append(Identity(**{**entry, "like": next((d for d in like if d != entry["network"]), None)}))
    return found


def changes(store: Store, record: Mapping[str, Any], since: str = "registration") -> list[str]:
    """Return a sentence for each run that was in the store when `record` was written, and is gone or another one now.

    The record is a registration, or that of a test which was begun.
    """
    problems = []
    for entry in record.get("runs", ()):
        if entry["state"] != "finished":
            continue
        stages = [name.removesuffix(".duckdb") for name in entry.get("files", {}) if name.endswith(".duckdb")]
        run, now = entry["run"], identity(store, entry["run"], stages or ALWAYS)
        if now["state"] != "finished":
            problems.append(f"run {run} was deleted after {since}")
        elif (now["weights"], now["fingerprint"]) != (entry["weights"], entry["fingerprint"]):
            problems.append(f"run {run} was changed after {since}")
        elif changed := sorted(name for name, sha in entry.get("files", {}).items() if now["files"].get(name) != sha):
            problems.append(f"{', '.join(changed)} of run {run} were changed after {since}")
    return problems


def tampered(store: Store, runs: Sequence[str], stages: Sequence[str] = ALWAYS) -> list[str]:
    """Return a sentence for each finished run whose files are not those that were written.

    Of `stages`, those that every run has must be there; another one may still be to be written.
    """
    problems = []
    for run in runs:
        folder = store.run_path(run)
        if not (folder / "summary.json").exists():
            continue
        found = _not_whole(store, run, stages) or _other_weights(store, run)
        problems += found or [f"{problem}; {store.rebuild_command(run, 'summary.json')}"
                              for problem in summary_problems(store, run)]  # fmt: skip
    return problems


def _not_whole(store: Store, run: str, stages: Sequence[str]) -> list[str]:
    """Return a sentence for the first of the stages that is not what was written."""
    for stage in stages:
        file = stage_file(store, run, stage)
        if (stage in ALWAYS or file.exists()) and not stage_is_whole(file.parent, stage):
            return [f"{file.name} of run {run} is not what was written: {store.rebuild_command(run, stage)}"]
    return []


def _other_weights(store: Store, run: str) -> list[str]:
    """Return a sentence where a run's weights do not have the checksum that its summary names."""
    folder = store.run_path(run)
    named = (read_json(folder / "summary.json") or {}).get(LISTED, {}).get(WEIGHTS)
    if named is None or not (folder / WEIGHTS).exists() or checksum(folder / WEIGHTS) == named:
        return []
    return [f"the weights of run {run} are not those that were written: {store.rebuild_command(run, 'weights')}"]


def same_networks(identities: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return pairs of runs that have the same weights under two names, or nearly so: one network, not two."""
    pairs = []
    for place, entry in enumerate(identities):
        for other in identities[:place]:
            same = entry["network"] and entry["network"] == other["network"]
            if same or nearly_equal(entry.get("sketch"), other.get("sketch")):
                pairs.append((other["run"], entry["run"]))
    return pairs


def shown_elsewhere(store: Store, runs: Sequence[str]) -> list[str]:
    """Return a sentence for each run whose sealed images another run of the same network shows.

    The same network evaluated on more images, or by an older selviz, which sealed none, shows what is sealed here.
    """
    table = store.runs()
    table = table[table["state"] == "finished"] if len(table) else table
    finished = {row["run"]: (row["fingerprint"], row["sealed_images"]) for row in table.to_dict("records")}
    told = []
    for run in runs:
        if run not in finished or not len(store.sealed_images(run)):
            continue
        own: Identity | None = None
        for other, split in finished.items():
            if other == run or split == finished[run]:  # of one split nothing sealed is shown
                continue
            own = own or identity(store, run, ())
            if same_networks([own, identity(store, other, ())]) and _shows_sealed(store, other, run):
                told.append(f"{other} is the same network as {run} and shows images that are sealed in it")
    return told


def _shows_sealed(store: Store, other: str, run: str) -> bool:
    """Return whether more than a hundredth of a run's sealed images are among those that another run shows."""
    sealed = store.thumbnails(run, store.sealed_images(run)["image"].tolist()).values()
    try:
        shown = set(store.thumbnails(other, store.images(other)["image"].tolist()).values())
    except SelvizError:  # what cannot be read shows nothing
        return False
    return sum(picture in shown for picture in sealed) > len(sealed) / 100


def seen_before(records: Sequence[Mapping[str, Any]], identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each run that is still to be trained here, but that an earlier record has as finished.

    Training is fixed by a run's settings: whoever deletes a run and trains it again knows how it ends.
    """
    known = {
        entry["run"]: record["number"]
        for record in records
        if record.get("kind") in ("registered", "begun")
        for entry in record.get("runs", ())
        if entry["state"] == "finished"
    }
    return [
        f"run {entry['run']} was in the store before (record {known[entry['run']]}), so its outcome could be seen"
        for entry in identities
        if entry["state"] == "planned" and entry["run"] in known
    ]
