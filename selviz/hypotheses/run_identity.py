"""Whether runs are what they were: `identity(store, run)` at registration, `changes(store, registered)` before a test.

All that a test reads is covered by checksums that were taken when it was written: weights, settings, the stages of the
capture and its measures. A summary is not read by tests, but one that does not fit its stage is told.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from selviz.errors import SelvizError
from selviz.store import Store, read_json, stage_is_whole
from selviz.store.files import NETWORK, WEIGHTS, checksum

STAGES = ("capture", "metrics")
FILES = ("config.json", NETWORK, WEIGHTS, *(f"{stage}.duckdb" for stage in STAGES))


class Identity(TypedDict):
    """What tells that a run is the same one later; `network` is a digest of its weights, whatever their names."""

    run: str
    state: str  # finished or planned
    fingerprint: str | None  # of the images
    weights: str | None
    network: str | None
    files: dict[str, str]


def identity(store: Store, run: str) -> Identity:
    """Return what tells that a run is the same one later."""
    folder = store.run_path(run)
    try:
        summary = read_json(folder / "summary.json")
    except SelvizError:
        summary = None
    if not isinstance(summary, dict):
        return Identity(run=run, state="planned", fingerprint=None, weights=None, network=None, files={})
    files = {name: checksum(folder / name) for name in FILES if (folder / name).exists()}
    return Identity(
        run=run,
        state="finished",
        fingerprint=summary.get("fingerprint"),
        weights=files.get(WEIGHTS),
        network=network_digest(store, run) if WEIGHTS in files else None,
        files=files,
    )


def network_digest(store: Store, run: str) -> str:
    """Return a digest of all tensors of a run's weights, the same under whatever names they are stored."""
    from safetensors.numpy import load_file

    try:
        tensors = load_file(store.run_path(run) / WEIGHTS)
    except (OSError, ValueError) as error:
        raise SelvizError(f"The weights of {run} cannot be read ({error}).") from error
    except Exception as error:  # safetensors has an exception of its own, of no public base
        raise SelvizError(f"The weights of {run} are damaged ({error}).") from error
    each = sorted(
        hashlib.sha256(repr((value.shape, str(value.dtype))).encode() + value.tobytes()).hexdigest()
        for value in tensors.values()
    )
    return hashlib.sha256("".join(each).encode()).hexdigest()


def changes(store: Store, registered: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each run that was in the store at registration, and is gone or is another one now."""
    problems = []
    for entry in registered["runs"]:
        if entry["state"] != "finished":
            continue
        run, now = entry["run"], identity(store, entry["run"])
        if now["state"] != "finished":
            problems.append(f"run {run} was deleted after registration")
        elif (now["weights"], now["fingerprint"]) != (entry["weights"], entry["fingerprint"]):
            problems.append(f"run {run} was changed after registration")
        elif changed := sorted(name for name, sha in entry.get("files", {}).items() if now["files"].get(name) != sha):
            problems.append(f"{', '.join(changed)} of run {run} were changed after registration")
    return problems


def tampered(store: Store, runs: Sequence[str]) -> list[str]:
    """Return a sentence for each finished run whose files are not those that were written."""
    problems = []
    for run in runs:
        folder = store.run_path(run)
        if not (folder / "summary.json").exists():
            continue
        for stage in STAGES:
            if not stage_is_whole(folder, stage):
                problems.append(
                    f"{stage}.duckdb of run {run} is not what was written: {store.rebuild_command(run, stage)}"
                )
                break
        else:
            problems += summary_problems(store, run)
    return problems


def summary_problems(store: Store, run: str) -> list[str]:
    """Return a sentence where a run's summary says another accuracy or SI than its own stages do."""
    summary, images, layers = store.run(run), store.images(run), store.layers(run)
    accuracy = float((images["label_index"] == images["prediction_index"]).mean())
    live = layers[layers["dead"] < layers["units"]]
    numbers = {
        "test_accuracy": accuracy,
        "mean_si": float(layers["mean_si"].mean()),
        "mean_si_live": float(live["mean_si_live"].mean()) if len(live) else 0.0,
    }
    return [
        f"summary.json of run {run} says {name} {summary[name]:.6g}, and what is stored gives {value:.6g}: it was "
        f"rewritten; {store.rebuild_command(run, 'summary.json')}"
        for name, value in numbers.items()
        if isinstance(summary.get(name), int | float) and abs(float(summary[name]) - value) > 1e-6
    ]


def same_networks(identities: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return pairs of runs that have equal weights under two names: one network, not two."""
    seen: dict[str, str] = {}
    pairs = []
    for entry in identities:
        if entry["network"] in seen:
            pairs.append((seen[entry["network"]], entry["run"]))
        elif entry["network"]:
            seen[entry["network"]] = entry["run"]
    return pairs


def seen_before(records: Sequence[Mapping[str, Any]], identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each run that is still to be trained here, but that an earlier record has as finished.

    Training is fixed by a run's settings: whoever deletes a run and trains it again knows how it ends.
    """
    known = {
        entry["run"]: record["number"]
        for record in records
        if record.get("kind") == "registered"
        for entry in record["runs"]
        if entry["state"] == "finished"
    }
    return [
        f"run {entry['run']} was in the store before (record {known[entry['run']]}), so its outcome could be seen"
        for entry in identities
        if entry["state"] == "planned" and entry["run"] in known
    ]
