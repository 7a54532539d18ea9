"""A store that can only be read: `mounted(bench, "read-only", free)`, and a disk that is really full ("tmpfs")."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from selviz.testing.dashboard import ROOT
from selviz.testing.faults.bench import COMMANDS, RUN, TRAIN, Bench, one_sentence


def mounted(bench: Bench, kind: str, free: tuple[int, ...]) -> dict:
    """Return what needs a mount, in a process with a mount table of its own; {"skipped"} where that is refused."""
    place = bench.folder / f"mounted-{kind}"
    place.mkdir()
    shutil.copytree(bench.base[False], bench.folder / "readonly", dirs_exist_ok=True)
    (bench.folder / "bench.json").write_text(
        json.dumps({"key": bench.key, "stages": bench.stages, "expected": bench.expected, "free": free,
                    "files": {stage: sorted(files) for stage, files in bench.files.items()}})
    )  # fmt: skip
    mount = f"mount -t tmpfs -o size=20m none {place}"
    if kind == "read-only":
        mount = f"mount --bind {bench.folder / 'readonly'} {place} && mount -o remount,bind,ro {place}"
    inside = shlex.join([sys.executable, "-m", __package__, "--inside", kind, str(bench.folder)])
    options = ["-m"] if os.geteuid() == 0 else ["-rm"]
    words = ["unshare", *options, "sh", "-c", f"{mount} && {inside}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["may not mount here"])[-1]}
    result = json.loads(done.stdout)
    bench.wrong += result.pop("wrong")
    return result


def inside(kind: str, folder: Path) -> dict:
    """Return the same, in there."""
    known = json.loads((folder / "bench.json").read_text())
    bench = Bench.__new__(Bench)
    bench.folder, bench.wrong, bench.key, bench.stages = folder, [], known["key"], known["stages"]
    bench.expected, bench.files = known["expected"], {stage: set(files) for stage, files in known["files"].items()}
    bench.base = {True: folder / "empty", False: folder / "base"}
    place = folder / f"mounted-{kind}"
    if kind == "read-only":
        return {**_read_only(bench, place), "wrong": bench.wrong}
    bench.store = lambda stage: place / "store"
    refused = fitted = 0
    for stage in bench.stages:
        for free in known["free"]:
            data = bench.fresh(stage)
            with open(place / "balloon", "wb") as file:
                left = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - free
                os.posix_fallocate(file.fileno(), 0, max(left, 1))
            status, printed = bench.run(COMMANDS[stage], data)
            label = f"{stage} on a disk with {free:,} bytes free"
            if status == 0:
                fitted += 1
            else:
                refused += 1
                trouble = one_sentence(status, printed)
                if trouble and not (stage == "sweep" and "Traceback" not in printed and "the disk is full" in printed):
                    bench.wrong.append(f"{label}: {trouble}")
            (place / "balloon").unlink()
            bench.after(stage, label)
    return {"how": "tmpfs of 20 MB", "refused_in_one_sentence": refused, "fitted": fitted, "wrong": bench.wrong}


def _read_only(bench: Bench, data: Path) -> dict:
    reads = [f"layers {RUN}", f"units {RUN}", 'sql "select count(*) from activations"', f"ablate {RUN} --units relu4:1",
             "runs", "hypothesis list", "doctor"]  # fmt: skip
    for text in reads:
        status, printed = bench.run(text, data)
        if status != 0:
            bench.wrong.append(f"read-only: {text} ended with {status}: {printed[-300:]}")
    writes = [COMMANDS[stage] for stage in bench.stages if stage != "train"]
    writes += [TRAIN.replace("--alpha=-1", "--alpha=3"), f"relink {RUN} --dataset digits"]
    for text in writes:
        status, printed = bench.run(text, data)
        if trouble := one_sentence(status, printed, "Cannot write"):
            bench.wrong.append(f"read-only: {text} {trouble}")
    return {"read": len(reads), "refused_in_one_sentence": len(writes)}
