"""What breaks when processes are killed, disks fill up, files rot: `python benchmarks/faults.py` prints one document.

    {"kills": {"kills", "stages": {...}}, "disk_full": {...}, "read_only": {...}, "clock": {...}, "damage": {...},
     "moved": {...}, "wrong": [...], "seconds"}

`wrong` has a sentence for everything that did not hold; it should be empty. Each command of `selviz` runs in a process
of its own, forked from one that has torch loaded. After each fault the store is opened and checked, the same command
runs again, and weights (SHA-256) and all tables but timings must be those of a run that nothing disturbed. A full disk
is a limit on the size of a file (RLIMIT_FSIZE), which needs no rights; where mounting is allowed (`unshare -rm`), a
small tmpfs that is really full, and a mount that can only be read, besides. --quick takes less than a minute, --short a
few seconds.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "SELVIZ_NO_DEMO": "1"}
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WORK = multiprocessing.get_context("forkserver")
LOADED = "selviz.cli selviz.pipeline selviz.interventions selviz.robustness selviz.sweep selviz.hypotheses.records"
LOADED += " selviz.hypotheses.samples selviz.printing selviz.studies sklearn.datasets selviz.store.checks joblib"

RUN = "digits-cnn-a-1-s0-906936d8"
TRAIN = "train --dataset digits --model cnn --alpha=-1 --epochs 1 --max-images 60"
COMMANDS = {  # "new": begins with an empty store, the others with one that holds a run and a registered hypothesis
    "train": TRAIN,
    "capture": f"capture {RUN}",
    "atlas": f"atlas {RUN}",
    "robustness": f"robustness {RUN} --corruption fog --severity 1 --severity 3 --attack fgsm --epsilon 4 --images 60",
    "hypothesis": "hypothesis test KEY",
    "sweep": "sweep --dataset digits --model cnn --alphas=-1,0 --epochs 1 --max-images 60 --workers 1 --threads 1",
}
EMPTY = ("train", "sweep")
SHARED = {"thumbnails", "hypotheses", "runs", "images", "units", "class_means", "layers"}  # they name classes
TIMES = {"seconds", "created", "train_seconds", "written", "registered", "tested", "threads"}
SIZES = {  # kills, sizes of files at which the disk is full, places of a changed bit in each file
    "full": (100, (20_000, 300_000, 900_000, 1_200_000), 5),
    "quick": (12, (300_000,), 1),
    "short": (3, (300_000,), 1),
}
AWAY = 3 * 86_400.0  # seconds by which the clock is set back


# ----------------------------------------------------------------------------------------- commands in forked processes


def command(words: list[str], output: str, limit: int | None, shift: float) -> None:
    """In the child: one command of selviz; what it prints goes to the file `output`."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if shift:
        _set_back(shift)
    from selviz.cli import main

    os._exit(_status(main, words))


def _status(main, words: list[str]) -> int:
    try:
        status = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _set_back(shift: float) -> None:
    import datetime

    now, given = time.time, datetime.datetime

    class Earlier(given):
        @classmethod
        def now(cls, tz=None):
            return given.fromtimestamp(now() - shift, tz)

    time.time = lambda: now() - shift
    datetime.datetime = Earlier


class Bench:
    """A base store, and for each stage what its command gives undisturbed and how long that takes."""

    def __init__(self, folder: Path, stages: list[str], seed: int):
        self.folder, self.random, self.stages = folder, random.Random(seed), stages
        self.wrong: list[str] = []
        self.base = {True: folder / "empty", False: folder / "base"}
        self.base[True].mkdir(parents=True)
        self.must(TRAIN, self.base[False])
        asked = f"hypothesis register selective --run {RUN} --k 3 --layer relu4 --json"
        self.key = json.loads(self.must(asked, self.base[False]))["hypothesis"]
        self.expected, self.took, self.files = {}, {}, {}
        for stage in stages:
            started = time.monotonic()
            self.must(COMMANDS[stage], self.fresh(stage))
            self.took[stage] = time.monotonic() - started
            self.expected[stage] = content(self.store(stage))
            self.files[stage] = names(self.store(stage))

    def store(self, stage: str) -> Path:
        return self.folder / stage

    def fresh(self, stage: str) -> Path:
        """A new copy of the store with which a stage begins."""
        shutil.rmtree(self.store(stage), ignore_errors=True)
        return shutil.copytree(self.base[stage in EMPTY], self.store(stage))

    def begin(self, text: str, data: Path, limit: int | None = None, shift: float = 0.0):
        words = [*shlex.split(text.replace("KEY", getattr(self, "key", ""))), "--data", str(data)]
        process = WORK.Process(target=command, args=(words, str(self.folder / "output"), limit, shift))
        process.start()
        return process

    def run(self, text: str, data: Path, limit: int | None = None, shift: float = 0.0) -> tuple[int, str]:
        """(exit status, all that was printed)."""
        process = self.begin(text, data, limit, shift)
        process.join()
        return process.exitcode, (self.folder / "output").read_text(errors="replace")

    def must(self, text: str, data: Path) -> str:
        status, printed = self.run(text, data)
        if status != 0:
            raise SystemExit(f"selviz {text} ended with {status}: {printed}")
        return printed[printed.index("{") :] if "--json" in text else printed

    def after(self, stage: str, told: str) -> None:
        """The store opens, shows nothing partial as complete, and the same command ends where it should."""
        self.wrong += [f"{told}: {trouble}" for trouble in unsound(self.store(stage), self.expected[stage])]
        status, printed = self.run(COMMANDS[stage], self.store(stage))
        if status != 0:
            self.wrong.append(f"{told}: the same command again ended with {status}: {printed[-400:]}")
            return
        found = content(self.store(stage))
        expected = self.expected[stage]
        if different := [key for key in {*found, *expected} if found.get(key) != expected.get(key)]:
            self.wrong.append(f"{told}: afterwards other {', '.join(sorted(different))}")
        if left := sorted(names(self.store(stage)) - self.files[stage]):
            self.wrong.append(f"{told}: left behind {', '.join(left)}")


# --------------------------------------------------------------------------------------------------- what a store holds


def names(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def content(data: Path) -> dict[str, str]:
    """A digest of each table, file of weights, summary and hypothesis of the store, without times."""
    from selviz.store import Store, read_json

    store, found = Store(data), {}
    for run in store.names():
        folder = store.run_path(run)
        summary = {key: value for key, value in (read_json(folder / "summary.json") or {}).items() if key not in TIMES}
        found[f"{run} summary"] = json.dumps(summary, sort_keys=True)
        for file in sorted(folder.rglob("*.safetensors")):
            found[f"{run} {file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("*.duckdb")):
            found |= {f"{run} {file.stem}.{table}": digest for table, digest in tables(file).items()}
    for row in store.hypotheses().to_dict("records"):
        found[f"hypothesis {row['statement']}"] = str({key: row[key] for key in row if key not in TIMES})
    return found


def tables(file: Path) -> dict[str, str]:
    import duckdb
    import pandas as pd

    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file}' AS f (READ_ONLY)")
        listed, found = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'f'", {}
        for (name,) in connection.execute(listed).fetchall():
            table = connection.execute(f'SELECT * FROM f."{name}"').df()
            table = table.drop(columns=[column for column in table if column in TIMES])
            rows = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
            found[name] = hashlib.sha256(rows + str(list(table)).encode()).hexdigest()
        return found


def unsound(data: Path, expected: dict[str, str]) -> list[str]:
    """What a store must not show: a finished run or a stage that is not whole, or that is not what it should become."""
    from selviz.errors import SelvizError
    from selviz.store import Store, read_chain, stage_is_whole
    from selviz.store.checks import check_run

    store, troubles = Store(data), []
    try:
        rows = store.runs().to_dict("records")
        store.sql("SELECT count(*) FROM runs")
        troubles += [f"the chain of hypotheses: {problem}" for problem in read_chain(data).problems]
    except SelvizError as error:
        return [f"the store does not open: {error}"]
    for row in rows:
        folder = store.run_path(row["run"])
        full = row["state"] == "failed" and str(row["reason"]).startswith("Cannot write")
        if row["state"] not in ("finished", "unfinished", "running") and not full:
            troubles.append(f"{row['run']} is {row['state']}: {row['reason']}")
        if row["state"] == "finished":
            troubles += [problem.told for problem in check_run(store, row["run"]) if not problem.note]
            for name in ("units", "class_means", "images", "epochs"):
                getattr(store, name)(row["run"])
        for file in folder.glob("*.duckdb"):
            if not stage_is_whole(folder, file.stem):
                troubles.append(f"{file.name} is there and not whole")
                continue
            for table, digest in tables(file).items():
                if digest != expected.get(f"{row['run']} {file.stem}.{table}"):
                    troubles.append(f"{file.name} shows other rows of {table}")
    return troubles


# ---------------------------------------------------------------------------------------------------------- experiments


def kills(bench: Bench, number: int) -> dict:
    """`number` SIGKILLs at random moments of the commands; every second one hits the command that was to resume."""
    found = {stage: {"kills": 0, "seconds_undisturbed": round(bench.took[stage], 2)} for stage in bench.stages}
    done, tries = 0, 0
    while done < number and tries < 3 * number:
        stage = bench.stages[tries % len(bench.stages)]
        tries += 1
        bench.fresh(stage)
        for _ in range(min(2, number - done)):
            moment = bench.random.uniform(0.0, bench.took[stage])
            begun = time.monotonic()
            process = bench.begin(COMMANDS[stage], bench.store(stage))
            process.join(moment)
            process.kill()
            process.join()
            if process.exitcode != -9:  # it was faster this time
                bench.took[stage] = min(bench.took[stage], time.monotonic() - begun)
                continue
            done += 1
            found[stage]["kills"] += 1
            told = f"{stage}, killed after {moment:.2f} s"
            bench.wrong += [f"{told}: {trouble}" for trouble in unsound(bench.store(stage), bench.expected[stage])]
        bench.after(stage, f"{stage}, killed")
    return {"kills": done, "stages": found}


def one_sentence(status: int, printed: str, start: str = "") -> str | None:
    """What is wrong with the words of a command that had to refuse; None if nothing."""
    said = [line for line in re.split(r"[\r\n]+", printed) if line.startswith("selviz: ")]
    if "Traceback" in printed or status != 2 or len(said) != 1 or start not in said[0]:
        return f"ended with {status} and said {printed[-300:]!r}"
    return None


def disk_full(bench: Bench, limits: tuple[int, ...]) -> dict:
    """Every command with a limit on the size of a file, and again without."""
    refused = fitted = 0
    for stage in bench.stages:
        for limit in limits:
            data = bench.fresh(stage)
            status, printed = bench.run(COMMANDS[stage], data, limit)
            told = f"{stage} with files of at most {limit:,} bytes"
            if status == 0:
                fitted += 1
            else:
                refused += 1
                if trouble := one_sentence(status, printed):
                    # A sweep tells of each run that failed, and its own end.
                    failed = stage == "sweep" and "Traceback" not in printed and "cannot be written" in printed.lower()
                    if not failed and not (stage == "sweep" and "Cannot write" in printed and status in (1, 2)):
                        bench.wrong.append(f"{told}: {trouble}")
            bench.after(stage, told)
    return {"how": "RLIMIT_FSIZE", "refused_in_one_sentence": refused, "fitted": fitted}


def clock(bench: Bench) -> dict:
    """The commands with a clock three days behind the store's, a claim from the future, a file of the same time."""
    from selviz.claims import Claim
    from selviz.store import Store, write_stage

    for stage in bench.stages:
        data = bench.fresh(stage)
        status, printed = bench.run(COMMANDS[stage], data, shift=AWAY)
        if status != 0 or content(data) != bench.expected[stage]:
            bench.wrong.append(f"{stage} with the clock set back ended with {status}: {printed[-300:]}")
    data = bench.fresh("atlas") if "atlas" in bench.stages else bench.fresh(bench.stages[0])
    claim = data / "claims" / "claim.json"
    claim.parent.mkdir()
    ahead = time.time() + AWAY
    claim.write_text(json.dumps({"token": "t", "host": "elsewhere", "pid": 1, "heartbeat": ahead}))
    os.utime(claim, (ahead, ahead))
    started = time.monotonic()
    try:
        with Claim(claim, "it"):
            waited = time.monotonic() - started
    except Exception as error:
        waited = None
        bench.wrong.append(f"a claim from the future that nobody renews is never free: {error}")
    import pandas as pd

    folder, seen = data / "runs" / "r", []
    for number in (1, 2):
        file = write_stage(folder, "numbers", {"numbers": pd.DataFrame({"number": [number] * 9})}, {})
        os.utime(file, (1, 1))
        from selviz.store.reading import read

        seen.append(int(read({"f": file}, "SELECT max(number) AS n FROM f.numbers")["n"][0]))
    if seen != [1, 2]:
        bench.wrong.append(f"a replaced file of the same size and time was read as the old one: {seen}")
    assert Store(data) is not None
    return {"set_back_days": AWAY / 86_400, "commands": len(bench.stages), "seconds_until_an_old_claim_is_free": waited}


def readings(store, run: str) -> dict:
    """What each kind of page asks of a run: a digest, or "refused" where it is told that a file is damaged."""
    import pandas as pd

    from selviz.errors import SelvizError
    from selviz.pipeline import load_network
    from selviz.store import read_chain

    def weights():
        network, _ = load_network(store, run)
        return pd.DataFrame({"w": [float(value.double().sum()) for value in network.root.state_dict().values()]})

    def hypotheses():
        if problems := read_chain(store.path).problems:  # which every list and page says beside them
            raise SelvizError(problems[0])
        return store.hypotheses()

    calls = {name: (lambda name=name: getattr(store, name)(run)) for name in
             ("layers", "units", "class_means", "images", "epochs", "epoch_layers", "atlas", "robustness")}  # fmt: skip
    calls |= {
        "run": lambda: pd.DataFrame({"run": [json.dumps(store.run(run), sort_keys=True)]}),
        "runs": lambda: store.runs().drop(columns=["reason", "resume"]),
        "matrix": lambda: pd.DataFrame(store.matrix(run, "relu3")),
        "thumbnails": lambda: pd.DataFrame({"png": [str(png) for png in store.thumbnails(run, range(60)).values()]}),
        "weights": weights,
        "hypotheses": hypotheses,
    }
    found = {}
    for name, call in calls.items():
        try:
            table = call()
            rows = pd.util.hash_pandas_object(table.astype(str), index=False).to_numpy()
            found[name] = hashlib.sha256(rows).hexdigest()
        except SelvizError as error:
            found[name] = f"refused: {error}"
    return found


def damage(bench: Bench, places: int) -> dict:
    """A bit changed, and the end cut off, in each file: found by checksum and named; no page shows another number."""
    from selviz.store import Store, write_group
    from selviz.store.checks import check_rest, check_run

    data = bench.folder / "damage"
    shutil.copytree(bench.base[False], data)
    for stage in ("atlas", "robustness", "hypothesis"):
        if stage in bench.stages:
            bench.must(COMMANDS[stage], data)
    store = Store(data)
    write_group(data, {"relu4": [1, 2]}, "two", RUN)
    other = "other"
    shutil.copytree(store.run_path(RUN), store.run_path(other))
    whole = {run: readings(store, run) for run in (RUN, other)}
    own = [store.run_path(RUN), data / "images", data / "hypotheses", data / "groups"]
    files = [file for folder in own for file in sorted(folder.rglob("*")) if file.is_file()]
    files = [file for file in files if file.parent.name != "corrupted"]  # made again where a byte changed
    done = caught = refused = 0
    missed: list[str] = []
    for file in files:
        before = file.read_bytes()
        spoilt = [("cut", before[: len(before) // 2])] + ([("emptied", b"")] if places > 1 else [])
        for _ in range(places):
            content = bytearray(before)
            content[bench.random.randrange(len(content))] ^= 1 << bench.random.randrange(8)
            spoilt.append(("changed", bytes(content)))
        for how, content in spoilt:
            file.write_bytes(content)
            done += 1
            told = f"{file.relative_to(data)} {how}"
            problems = [p for p in (*check_run(store, RUN), *check_rest(store)) if not p.note]
            stems = {problem.file.stem for problem in problems}
            if file.stem in stems and any(problem.fix for problem in problems):
                caught += 1
            else:
                missed.append(told)
            seen = readings(store, RUN)
            refused += any(v.startswith("refused") and not whole[RUN][k].startswith("refused") for k, v in seen.items())
            lies = [k for k, v in seen.items() if not v.startswith("refused") and v != whole[RUN][k] and k != "runs"]
            if lies:
                bench.wrong.append(f"{told}: shown with other numbers: {', '.join(lies)}")
            shared = {"runs"} if file.is_relative_to(store.run_path(RUN)) else SHARED
            if how == "cut" and [
                k for k, v in readings(store, other).items() if v != whole[other][k] and k not in shared
            ]:
                bench.wrong.append(f"{told}: another run cannot be read")
        file.write_bytes(before)
    bench.wrong += [f"{told}: not found" for told in missed]
    return {"files": len(files), "damages": done, "found_and_named": caught, "refused_by_a_page": refused}


def moved(bench: Bench) -> dict:
    """A run on a folder of images, which is moved away; the command that the sentence names mends it."""
    from PIL import Image

    from selviz.datasets import load

    digits = load("digits")
    for name, pixels, labels in (
        ("train", digits.train_pixels[:200], digits.train_labels),
        ("test", digits.eval_pixels[:40], digits.eval_labels),
    ):
        for number, (image, label) in enumerate(zip(pixels, labels)):
            path = bench.folder / "here" / name / f"class{int(label)}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(path)
    data = bench.folder / "moved"
    spec = f"folder:{bench.folder / 'here'}"
    bench.must(f"train --dataset {spec} --model cnn --epochs 1 --batch-size 50", data)
    (run,) = (path.name for path in (data / "runs").iterdir())
    ask = f"ablate {run} --units relu4:1-5 --json"
    before = json.loads(bench.must(ask, data))
    (bench.folder / "here").rename(bench.folder / "there")
    status, printed = bench.run(ask, data)
    if trouble := one_sentence(status, printed, "selviz relink"):
        bench.wrong.append(f"data set moved away: {trouble}")
        return {"mended": False}
    named = re.search(r"selviz (relink \S+ --dataset \S+)", printed)[1].replace(
        "/new/place", str(bench.folder / "there")
    )
    bench.must(named, data)
    same = json.loads(bench.must(ask, data)) == before
    if not same:
        bench.wrong.append("data set moved away and linked anew: other numbers")
    return {"mended": same}


def mounted(bench: Bench, kind: str, free: tuple[int, ...]) -> dict:
    """What needs a mount, in a process with a mount table of its own; {"skipped"} where that is refused."""
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
    inside = shlex.join([sys.executable, __file__, "--inside", kind, str(bench.folder)])
    options = ["-m"] if os.geteuid() == 0 else ["-rm"]
    done = subprocess.run(["unshare", *options, "sh", "-c", f"{mount} && {inside}"], capture_output=True, text=True)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["may not mount here"])[-1]}
    found = json.loads(done.stdout)
    bench.wrong += found.pop("wrong")
    return found


def inside(kind: str, folder: Path) -> dict:
    """The same, in there."""
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
            told = f"{stage} on a disk with {free:,} bytes free"
            if status == 0:
                fitted += 1
            else:
                refused += 1
                trouble = one_sentence(status, printed)
                if trouble and not (stage == "sweep" and "Traceback" not in printed and "No space left" in printed):
                    bench.wrong.append(f"{told}: {trouble}")
            (place / "balloon").unlink()
            bench.after(stage, told)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--short", action="store_true", help="a few seconds: what a test runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places (default: %(default)s)")
    parser.add_argument("--kills", type=int, help="so many of them (default: 100; 8 with --quick, 2 with --short)")
    parser.add_argument("--only", help="such as kills,damage")
    parser.add_argument("--stages", help=f"only these of {','.join(COMMANDS)}")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    WORK.set_forkserver_preload(LOADED.split())
    if args.inside:
        print(json.dumps(inside(args.inside[0], Path(args.inside[1]))))
        return
    started = time.monotonic()
    number, limits, places = SIZES["short" if args.short else "quick" if args.quick else "full"]
    stages = args.stages.split(",") if args.stages else ["train", "atlas"] if args.short else list(COMMANDS)
    free = (100_000,) if args.quick else (50_000, 400_000, 900_000)
    everything = {"kills", "disk_full", "tmpfs", "read_only", "clock", "damage", "moved"}
    chosen = set(args.only.split(",")) if args.only else everything
    chosen = {"kills", "disk_full"} if args.short else chosen
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        bench = Bench(Path(folder), stages, args.seed)
        experiments = {
            "kills": lambda: kills(bench, args.kills or number),
            "moved": lambda: moved(bench),
            "read_only": lambda: mounted(bench, "read-only", free),
            "clock": lambda: clock(bench),
            "disk_full": lambda: disk_full(bench, limits),
            "tmpfs": lambda: mounted(bench, "tmpfs", free),
            "damage": lambda: damage(bench, places),
        }
        found = {}
        for name, experiment in experiments.items():
            if name in chosen:
                begun = time.monotonic()
                found[name] = {**experiment(), "seconds": round(time.monotonic() - begun, 1)}
                print(name, found[name], bench.wrong, file=sys.stderr)
    found |= {"wrong": bench.wrong, "seed": args.seed, "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
