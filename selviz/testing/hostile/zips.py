"""Zips of runs as a stranger makes them: `forge(path, {"run/config.json": b"{}"})`, `bent(dice, path, place)`."""

import hashlib
import io
import json
import random
import stat
import warnings
import zipfile
from pathlib import Path

from selviz.store.files import sealed
from selviz.store.run_archive import MANIFEST
from selviz.testing.hostile.texts import word


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def forge(path: Path, change: dict[str, bytes | None], honest: bool = True, **manifest) -> Path:
    """Return the zip at `path` with other files in it (None takes one out); an `honest` manifest says so."""
    files = {**members(path), **change}
    files = {name: content for name, content in files.items() if content is not None}
    about = json.loads(files.pop(MANIFEST))
    if honest:
        facts = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in files.items()}
        about["files"] = facts
    forged = path.with_name("forged.zip")
    with zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST, json.dumps({**about, **manifest}))
    return forged


NAMES = (
    "../evil.json", "/tmp/evil.json", "run/../../evil.json", "run\\..\\evil.json", "C:evil.json", "run/evil.py", "run/.hidden.json",
    "images/config.json", "run/sub/evil.json", "run/claim.json", "evil", "run/", "run/" + "x" * 300 + ".json", "run/caf\u00e9.json",
    "run/weights.safetensors", "run/network.json", "run/partial/checkpoint.pt", "__MACOSX/run/config.json", "run/config.json\0.txt",
)  # fmt: skip


def bent(dice: random.Random, original: Path, place: Path) -> bytes:
    """Return the content of a zip that a stranger made of the one at `original`; `place` is a folder of canaries."""
    files = members(original)
    about, kind = json.loads(files.pop(MANIFEST)), dice.randrange(14)
    name = dice.choice(list(files))
    honest, compressed, twice, links = True, zipfile.ZIP_DEFLATED, None, ()
    if kind == 0:
        files[dice.choice(NAMES)] = dice.choice([b"{}", b"", b"x" * 100])
        honest = dice.random() < 0.5
    elif kind == 1:
        about["run"] = dice.choice([word(dice, place), word(dice, place), None, 5, ["a"], "..", str(place / "run")])
    elif kind == 2:
        about["fingerprint"] = dice.choice([word(dice, place), None, {}, "../../x"])
    elif kind == 3:
        files[name] = dice.choice(
            [bytes(dice.choice([10**6, 50_000_000])), b"[" * 100_000, b"", b"\xff\xfe", files[name][:-1]]
        )
    elif kind == 4:
        damaged = bytearray(files[name])
        for _ in range(dice.randrange(1, 20)):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        files[name], honest = bytes(damaged), dice.random() < 0.7
    elif kind in (5, 6, 7):  # as somebody writes it who knows how a run looks
        facts = json.loads(files[inside := dice.choice(["run/config.json", "run/summary.json"])])
        keys = [*facts, "dataset", "model", "classes", "origin", "kind", "layers", "weights", "network", "epochs"]
        for key in dice.sample(keys, dice.randrange(1, 4)):
            facts[key] = dice.choice(
                [
                    word(dice, place),
                    f"folder:{place}",
                    f"imagenet:{place}",
                    f"{place}/evil.py:make",
                    [word(dice, place) for _ in range(4)],
                    {word(dice, place): 1},
                    10**400,
                    -1,
                    None,
                    1e308,
                    True,
                ]
            )
        files[inside] = json.dumps(sealed(facts) if dice.random() < 0.8 else facts).encode()
        if inside == "run/summary.json" and dice.random() < 0.3:
            files.pop("run/config.json")
    elif kind == 8:
        twice = name
    elif kind == 9:
        links = (name,)
    elif kind == 10:
        about[dice.choice(["format", "files", "run"])] = dice.choice(
            [2, "1", None, [], {"run/config.json": {"bytes": -1}}, 10**400]
        )
        honest = False
    elif kind == 11:
        compressed = dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    elif kind == 12:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("run/config.json", b"{}" * 10**6)
        files["run/inner.duckdb"] = inner.getvalue()
    if honest:
        facts = {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in files.items()}
        about["files"] = facts
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compressed) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice
        for entry, content in [*files.items(), *([(twice, b"{}")] if twice else [])]:
            info = zipfile.ZipInfo(entry.replace("\0", "\uf000"))
            info.compress_type = compressed
            if entry in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
        archive.writestr(MANIFEST, json.dumps(about))
    content = bytearray(buffer.getvalue().replace("\uf000".encode(), b"\0\0\0"))
    if kind == 13:
        for _ in range(dice.randrange(1, 8)):
            if dice.random() < 0.3:
                del content[dice.randrange(len(content)) :]
                content = content or bytearray(b"P")
            else:
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(content)
