"""A run as one zip file, for another store: `pack("data", run, fingerprint, "run.zip")`, `unpack("data", "run.zip")`.

The zip holds the run's finished files, the images of its data set, and `selviz-run.json`, which names each of them with
its size and SHA-256. Nothing in a zip is trusted: it comes from somebody else.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selviz.errors import SelvizError, TransientError, first_line, system_problem, unreadable
from selviz.store import untrusted_files
from selviz.store.files import (
    StrPath,
    check_name,
    cleaning_up,
    file_sha256,
    is_name,
    read_json,
    sealed,
    write_json,
    writing,
)
from selviz.store.images import PIXELS, image_folder
from selviz.store.notes import NOTES
from selviz.store.stage_files import record, record_path
from selviz.system.durable_files import move_into_place, replace
from selviz.system.listing import files_in

FORMAT = 1
MANIFEST = "selviz-run.json"
ARRIVED = "arrived.json"  # in the folder of a run that came in a zip; not taken along when it leaves
FACTS = ("config.json", "summary.json")
STAGES = ("capture", "metrics", "training")  # without one of them the pages have nothing to show
MOST_BYTES = 200 * 10**9
MOST_FILES = 200
MOST_JSON = 4 * 10**6
# Small DuckDB files are mostly empty blocks and shrink 350 times, large ones 4 times; a zip bomb shrinks 1,000 times.
MOST_SHRUNK, SMALL = 200, 64 * 10**6
_MEMBER = re.compile(r"(run|images)/[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}\.(json|duckdb|safetensors)")
_PIXELS = f"images/{PIXELS}"
_CHUNK = 2**20
_THEN = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that a run that is packed twice gives the same file
_ABANDONED = 24 * 3600.0  # seconds after which the folder of an import that was killed is swept


def pack(
    data: StrPath,
    run: str,
    fingerprint: str,
    path: StrPath,
    fix: Callable[[str], str] = lambda stage: "write it again",
    pixels: bool = False,
) -> Path:
    """Write the finished run and the images of its data set to the zip at `path`; returns the path.

    With `pixels` the images go along as the network saw them, where the store has them: a run captured from memory.
    What can be made again, such as pictures of units, stays at home. A missing or damaged file raises SelvizError with
    `fix(stage)`, the way to write it again.
    """
    folder, path = Path(data) / "runs" / check_name("run", run), Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise SelvizError(f"Cannot write {path}: give the name of a file in a folder that exists.")
    pixel_file = image_folder(data, fingerprint) / PIXELS
    if pixels and not pixel_file.exists():
        raise SelvizError(
            f"The store has no pixels of run {run}: it keeps those of images that were in memory (selviz.capture). "
            "Leave out --pixels, and give the data set along."
        )
    try:
        stages = sorted({*STAGES, *(file.stem for file in files_in(folder, ".duckdb") if is_name(file.name))})
    except OSError as error:
        raise unreadable(folder, error) from error
    plain = [*FACTS, *(name for name in untrusted_files.OPTIONAL if (folder / name).exists())]
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as archive:
            files = {f"run/{name}": _add(archive, f"run/{name}", folder / name) for name in plain if name not in FACTS}
            files |= {f"run/{name}": _add_text(archive, f"run/{name}", portable(folder / name)) for name in FACTS}
            for stage in stages:
                files |= _add_stage(archive, "run", folder / f"{stage}.duckdb", fix)
            files |= _add_stage(archive, "images", image_folder(data, fingerprint) / "images.duckdb", fix)
            if pixels:
                files[_PIXELS] = _add(archive, _PIXELS, pixel_file)
            manifest = {"format": FORMAT, "run": run, "fingerprint": fingerprint, "files": files}
            _add_text(archive, MANIFEST, json.dumps(manifest, indent=1))
        move_into_place(temporary, path)
    return path


def unpack(data: StrPath, path: StrPath, name: str | None = None) -> str:
    """Bring the run in the zip at `path` into the store, under `name` if one is given; returns the run's name.

    The run appears as a whole or not at all, and what is stored already stays as it is. A run that is there already
    with the same content is fine; other content under its name, and a zip that is damaged or holds anything but a run,
    raise SelvizError.
    """
    data, path = Path(data), Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            _check_room(data, archive, path)
            final = data / "runs" / check_name("run", name or manifest["run"])
            if not _is_there(final, manifest):
                _bring(archive, manifest, data, final, path)
            elif _PIXELS in manifest["files"] and not (image_folder(data, manifest["fingerprint"]) / PIXELS).exists():
                _bring_pixels(archive, manifest, data, final, path)
            return final.name
    except zipfile.BadZipFile as error:
        if str(error) == "File is not a zip file" and zipfile.is_zipfile(path):  # it hides what the system refused
            raise unreadable(path, error) from error
        raise _refused(path, f"it is no zip file or a damaged one ({error})") from None
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(path, f"it is no zip file or a damaged one ({error})") from None
    except OSError as error:
        if system_problem(error) is None:
            raise _refused(path, f"it is no zip file or a damaged one ({first_line(error)})") from None
        raise unreadable(path, error) from error


# ------------------------------------------------------------------------------------------------------------- packing


def _add_stage(
    archive: zipfile.ZipFile, where: str, file: Path, fix: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    try:
        about = record(file)
    except TransientError:
        raise
    except SelvizError as error:
        raise SelvizError(f"{error}; {fix(file.stem)}") from None
    if about is None:
        raise SelvizError(f"{file} is missing; {fix(file.stem)}")
    facts = _add(archive, f"{where}/{file.name}", file)
    if facts["sha256"] != about["sha256"]:
        raise SelvizError(f"{file} is damaged, or it was written again just now: try again, or {fix(file.stem)}")
    name = f"{where}/{record_path(file).name}"
    return {f"{where}/{file.name}": facts, name: _add_text(archive, name, json.dumps(sealed(about), indent=1))}


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with open(file, "rb") as source, archive.open(_entry(name), "w", force_zip64=True) as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def portable(file: Path) -> str:
    """Return the settings or the summary of a run as they travel: without the folders above that of the data set."""
    text = file.read_text(encoding="utf-8")
    value = read_json(file)
    kind, colon, path = str(value.get("dataset") if isinstance(value, dict) else "").partition(":")
    if not (colon and os.path.isabs(path)):
        return text
    return json.dumps(sealed({**value, "dataset": f"{kind}:{os.path.basename(path)}"}), indent=1, ensure_ascii=False)


def _add_text(archive: zipfile.ZipFile, name: str, text: str) -> dict[str, Any]:
    archive.writestr(_entry(name), text)
    return {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _THEN)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


# ----------------------------------------------------------------------------------------------------------- unpacking


def _refused(path: Path, why: str) -> SelvizError:
    wanted = "give a file that `selviz export RUN --to FILE.zip` wrote"
    return SelvizError(f"{path} cannot be imported: {why}; {wanted}.")


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return the manifest, once every name and size in the zip has been checked against it."""
    listed = archive.infolist()
    entries = {entry.filename: entry for entry in listed}
    if MANIFEST in entries and entries[MANIFEST].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, f"its {MANIFEST} is compressed in a way that selviz does not write")
    if MANIFEST not in entries:
        raise _refused(path, f"it holds no {MANIFEST}")
    if not len(entries) == len(listed) <= MOST_FILES or entries[MANIFEST].file_size > MOST_JSON:
        raise _refused(path, f"it holds {len(listed):,} files, some of them twice or too large")
    try:
        manifest: dict[str, Any] = json.loads(archive.read(entries.pop(MANIFEST)))
        form, files = manifest["format"], manifest["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        form = files = None
    if isinstance(form, int) and form > FORMAT:
        raise SelvizError(
            f"{path} was written by a newer selviz (format {form}, this one reads {FORMAT}); update selviz."
        )
    if form != FORMAT or not isinstance(files, dict):
        raise _refused(path, f"its {MANIFEST} is not one of selviz")
    for kind, key in (("run", "run"), ("data set fingerprint", "fingerprint")):
        check_name(kind, manifest.get(key))
    for name, entry in entries.items():
        if not _MEMBER.fullmatch(name) or stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(path, f"{name[:80]!r} is no file of a run")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(path, f"{name!r} is compressed in a way that selviz does not write")
        facts = files.get(name)
        if not isinstance(facts, dict) or facts.get("bytes") != entry.file_size:
            raise _refused(path, f"the size of {name!r} is not what its {MANIFEST} says")
        if name.endswith(".json") and entry.file_size > MOST_JSON:
            raise _refused(path, f"{name!r} has {entry.file_size:,} bytes")
    stages = {*STAGES, *(name[4:-7] for name in entries if name.startswith("run/") and name.endswith(".duckdb"))}
    wanted = {f"run/{name}" for name in FACTS} | {"images/images.duckdb", "images/images.json"}
    wanted |= {f"run/{stage}{suffix}" for stage in stages for suffix in (".duckdb", ".json")}
    for names in (set(entries), set(files)):
        if odd := sorted((names - {_PIXELS, *(f"run/{name}" for name in untrusted_files.OPTIONAL)}) ^ wanted):
            raise _refused(path, f"{odd[0][:80]!r} is {'missing' if odd[0] in wanted else 'no file of a run'}")
    return manifest


def _check_room(data: Path, archive: zipfile.ZipFile, path: Path) -> None:
    size, packed = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
    if size > min(MOST_BYTES, SMALL + MOST_SHRUNK * packed):
        raise _refused(path, f"its {packed:,} bytes would become {size:,}")
    folder = next(parent for parent in (data.absolute(), *data.absolute().parents) if parent.exists())
    if size > (free := shutil.disk_usage(folder).free):
        raise SelvizError(f"{path} needs {size:,} bytes and {folder} has {free:,} free; make room, then try again.")


def _bring(archive: zipfile.ZipFile, manifest: dict[str, Any], data: Path, final: Path, path: Path) -> None:
    pictures = image_folder(data, manifest["fingerprint"])
    place = f".{final.name[:80]}.{secrets.token_hex(4)}"
    run, images = final.parent / place, pictures.parent / place
    try:
        with writing(final):
            for part, folder in (("run", run), ("images", images)):
                _sweep(folder.parent)
                folder.mkdir(parents=True)
                _extract(archive, path, manifest, part, folder)
            if wrong := untrusted_files.validate_untrusted_run(run, images, manifest["fingerprint"]):
                raise _refused(path, wrong)
            _place_images(pictures, images, path)
            write_json(run / ARRIVED, {"format": manifest["format"], "run": manifest["run"]})
            try:
                move_into_place(run, final)
            except OSError:
                if not _is_there(final, manifest):  # else another process was faster
                    raise
    finally:
        for folder in (run, images):
            shutil.rmtree(folder, ignore_errors=True)


def _bring_pixels(archive: zipfile.ZipFile, manifest: dict[str, Any], data: Path, run: Path, path: Path) -> None:
    """Bring the pixels of a run that came without them."""
    pictures = image_folder(data, manifest["fingerprint"])
    images = pictures.parent / f".{run.name[:80]}.{secrets.token_hex(4)}"
    try:
        with writing(pictures / PIXELS):
            images.mkdir(parents=True)
            _extract(archive, path, manifest, "images", images)
            summary = read_json(run / "summary.json") or {}
            labels = untrusted_files.pictures(images / "images.duckdb")
            if wrong := untrusted_files.pixels_problem(images / PIXELS, labels, manifest["fingerprint"]):
                raise _refused(path, wrong)
            if untrusted_files.pictures(pictures / "images.duckdb") != labels:
                raise _refused(path, f"its images are not those of run {summary.get('run', run.name)}")
            replace(images / PIXELS, pictures / PIXELS)
    finally:
        shutil.rmtree(images, ignore_errors=True)


def _extract(archive: zipfile.ZipFile, path: Path, manifest: dict[str, Any], part: str, folder: Path) -> None:
    for name, facts in manifest["files"].items():
        if not name.startswith(f"{part}/"):
            continue
        digest, left = hashlib.sha256(), facts["bytes"]
        with archive.open(name) as source, open(folder / name.removeprefix(f"{part}/"), "xb") as target:
            while left >= 0 and (chunk := source.read(min(_CHUNK, left + 1))):
                left -= len(chunk)
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        if left or digest.hexdigest() != facts.get("sha256"):
            raise _refused(path, f"{name!r} is damaged: it is not what its {MANIFEST} says")


def _is_there(final: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the run is in the store with the same content; other content under its name raises SelvizError."""
    if not final.exists():
        return False
    for name, facts in manifest["files"].items():
        part, _, base = name.partition("/")
        if base == NOTES:  # people's, on both sides: they make no other run
            continue
        if part == "run" and (base in (*FACTS, *untrusted_files.OPTIONAL) or not base.endswith(".json")):
            try:
                same = file_sha256(final / base) == facts.get("sha256")
                if not same and base in FACTS:
                    same = hashlib.sha256(portable(final / base).encode()).hexdigest() == facts.get("sha256")
            except OSError as error:
                if system_problem(error) is not None:  # it may well be the same: nothing is known of its content
                    raise unreadable(final / base, error) from error
                same = False
            except TransientError:
                raise
            except SelvizError:
                same = False
            if not same:
                other = f"--name {final.name[:190]}-2"
                raise SelvizError(
                    f"The store has a run {final.name} already, and its {base} is another one; import this one under "
                    f"another name: {other}"
                )
    return True


def _place_images(final: Path, temporary: Path, path: Path) -> None:
    """Put images in place: those that are there stay if they are the same; damaged ones make room."""
    refused: OSError | None = None
    for _ in range(3):
        if (final / "images.duckdb").exists() and untrusted_files.files_problem([final / "images.duckdb"]) is None:
            if untrusted_files.pictures(final / "images.duckdb") != untrusted_files.pictures(
                temporary / "images.duckdb"
            ):
                raise _refused(path, "its images are not those that the store has of this data set")
            if (temporary / PIXELS).exists() and not (final / PIXELS).exists():
                replace(temporary / PIXELS, final / PIXELS)
            return
        if final.exists():
            replace(final, temporary / "damaged")
        try:
            move_into_place(temporary, final)
        except OSError as error:  # another process was faster, or the system refuses it
            refused = error
            continue
        shutil.rmtree(final / "damaged", ignore_errors=True)
        return
    if refused is not None and system_problem(refused) is not None:
        raise refused
    raise SelvizError(f"{final} cannot be written; remove it, then import the run again.")


def _sweep(folder: Path) -> None:
    with cleaning_up():
        for left in folder.glob(".*.*"):
            with cleaning_up():  # each alone: another user's may never be removed
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(left)
