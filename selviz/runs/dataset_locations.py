"""Where a data set's folder is now: `relink(Store("data"), run, "folder:/new/place")`, `resolve_location(data,
settings, about)`.

A run's files never change, so a folder of images that was moved is noted beside them, once for all runs that were made
with the same images: `data/places/<fingerprint>.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selviz import datasets
from selviz.config import absolute_spec, image_settings
from selviz.datasets.in_memory import SPEC
from selviz.errors import SelvizError
from selviz.store import Store, read_json, write_json
from selviz.store.files import check_name
from selviz.store.run_archive import ARRIVED


def relink(store: Store, run: str, spec: str) -> dict[str, Any]:
    """Note that the images of `run`, and of all runs with the same images, are now at `spec`; {"runs", "dataset"}.

    Raises SelvizError if they are not the very images, in pixels and labels, that the run was made with.
    """
    about, spec = store.run(run), absolute_spec(spec)
    made_with = {name: about[name] for name in ("mean", "std") if about.get(name)}
    dataset = datasets.load(spec, **{**image_settings(about), **made_with})
    if dataset.fingerprint != about["fingerprint"]:
        raise SelvizError(
            f"The images in {spec} are not those of run {run} (fingerprint {dataset.fingerprint}, not "
            f"{about['fingerprint']}); name the folder that was moved, or a whole copy of it."
        )
    write_json(_path(store.path, dataset.fingerprint), {"dataset": spec})
    table = store.runs()
    same = table["fingerprint"] == dataset.fingerprint
    return {"dataset": spec, "runs": table.loc[same, "run"].tolist()}


def named_here(data: str | Path, run: str, settings: Mapping[str, Any], fingerprint: str | None) -> dict[str, Any]:
    """Return `resolve_location` of a run; SelvizError where the place is what another store's run says, and nobody
    here named it.

    A zip comes from somebody else, and could name any folder of this machine to be read.
    """
    where = resolve_location(data, settings, fingerprint)
    kind, colon, _ = str(where["dataset"]).partition(":")
    if (
        colon
        and kind != SPEC
        and (Path(data) / "runs" / run / ARRIVED).exists()
        and not _path(data, str(fingerprint)).exists()
    ):
        raise SelvizError(
            f"Run {run} came from another store, and its images are looked for only where you say that they are: "
            f"selviz relink {run} --dataset {kind}:/place"
        )
    return where


def resolve_location(data: str | Path, settings: Mapping[str, Any], fingerprint: str | None) -> dict[str, Any]:
    """Return a run's settings with the place where its data set is now."""
    moved = read_json(_path(data, fingerprint)) if fingerprint else None
    spec = moved.get("dataset") if isinstance(moved, dict) else None
    return {**settings, **({"dataset": spec} if isinstance(spec, str) else {})}


def _path(data: str | Path, fingerprint: str) -> Path:
    return Path(data) / "places" / f"{check_name('data set fingerprint', fingerprint)}.json"
