"""A store of an older selviz, copied in today's form: `migrate("data", "new")`. The original stays as it is.

What the first selviz wrote lacks the checksums of settings, summaries and weights, and opens without them.
"""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from selviz.errors import SelvizError
from selviz.store import Store, read_json, write_json
from selviz.store.files import is_sealed
from selviz.store.images import image_folder
from selviz.store.integrity import LISTED, check_run, checksums
from selviz.system.durable_files import move_into_place
from selviz.system.listing import walk

WHOLE = ("hypotheses", "groups", "places")  # folders of small files that are copied as they are


def migrate(source: Path, target: Path) -> pd.DataFrame:
    """Copy the store at `source` to `target`, its finished runs in today's form; one row per run: run, done, told.

    A run that is damaged, unfinished or of a newer selviz is left out, and said; one that is in `target` already stays.
    Raises SelvizError if `source` is no store, or if `target` is the same folder or lies within it.
    """
    source, target = Path(source), Path(target)
    store = Store(source)
    if not store.names():
        raise SelvizError(f"{source} holds no runs; name the store to copy: selviz migrate --data OLD --to NEW")
    if target.resolve().is_relative_to(source.resolve()):
        raise SelvizError(f"The copy would lie within {source}; name another folder: --to NEW")
    rows = []
    for run in store.names():
        try:
            rows.append({"run": run, "done": True, "told": _copy_run(store, run, target)})
        except SelvizError as error:
            rows.append({"run": run, "done": False, "told": str(error)})
    for name in WHOLE:
        if (source / name).is_dir() and not (target / name).exists():
            _copy_folder(source / name, target / name)
    return pd.DataFrame(rows)


def _copy_run(store: Store, run: str, target: Path) -> str:
    folder, final = store.run_path(run), Store(target).run_path(run)
    if final.exists():
        return "was there already"
    about = store.run(run)
    if damage := [problem for problem in check_run(store, run) if not problem.note]:
        fix = f"mend it first: {damage[0].fix}" if damage[0].fix else "nothing was copied of it; try again"
        raise SelvizError(f"{damage[0].told}; {fix}")
    pictures = image_folder(store.path, about["fingerprint"])
    if not image_folder(target, about["fingerprint"]).exists():
        _copy_folder(pictures, image_folder(target, about["fingerprint"]))
    _copy_folder(folder, final, _in_todays_form)
    return "copied as it is" if is_sealed(folder / "summary.json") else "copied, with checksums"


def _in_todays_form(folder: Path) -> None:
    for file in sorted(Path(base) / name for base, _, names in walk(folder) for name in names):
        if file.suffix == ".json" and not is_sealed(file):
            write_json(file, read_json(file))
    summary = read_json(folder / "summary.json")
    if LISTED not in summary:
        write_json(folder / "summary.json", {**summary, LISTED: checksums(folder)})


def _copy_folder(source: Path, final: Path, change: Callable[[Path], None] = lambda folder: None) -> None:
    """Make a copy that appears as a whole; `change` is made before it does."""
    temporary = final.with_name(f".{final.name[:80]}.{secrets.token_hex(4)}")
    try:
        left_out = shutil.ignore_patterns("partial", "claim.json*", ".*")
        shutil.copytree(source, temporary, ignore=left_out)
        change(temporary)
        move_into_place(temporary, final)
    except OSError as error:
        raise SelvizError(f"Cannot copy {source} to {final} ({error.strerror or error}); free some space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
