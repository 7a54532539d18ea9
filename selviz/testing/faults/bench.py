"""Commands of selviz, each in a process of its own, and what they give undisturbed: `Bench(folder, ["train"], seed)`.

The processes are forked from one that has torch loaded (`WORK`, once LOADED is its preload).
"""

import json
import multiprocessing
import os
import random
import re
import resource
import shlex
import shutil
import sys
import time
from pathlib import Path

from selviz.testing.faults.contents import content, names, unsound

WORK = multiprocessing.get_context("forkserver")
LOADED = (
    "selviz.cli selviz.runs.train selviz.runs.sweep selviz.studies.ablation selviz.robustness "
    "selviz.hypotheses.registry selviz.hypotheses.samples selviz.text.tables "
    "selviz.store.integrity sklearn.datasets joblib"
).split()

RUN = "digits-cnn-a-1-s0-906936d8"
TRAIN = "train --dataset digits --model cnn --alpha=-1 --epochs 1 --max-images 60"
COMMANDS = {  # those in EMPTY begin with an empty store, the others with a run and a registered hypothesis
    "train": TRAIN,
    "capture": f"capture {RUN}",
    "atlas": f"atlas {RUN}",
    "robustness": f"robustness {RUN} --corruption fog --severity 1 --severity 3 --attack fgsm --epsilon 4 --images 60",
    "hypothesis": "hypothesis test KEY",
    "sweep": "sweep --dataset digits --model cnn --alphas=-1,0 --epochs 1 --max-images 60 --workers 1 --threads 1",
}
EMPTY = ("train", "sweep")


def command(words: list[str], output: str, limit: int | None, shift: float) -> None:
    """Run in the child one command of selviz; what it prints goes to the file `output`."""
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
        command = f"hypothesis register selective --run {RUN} --k 3 --layer relu4 --json"
        self.key = json.loads(self.must(command, self.base[False]))["hypothesis"]
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
        """Return a new copy of the store with which a stage begins."""
        shutil.rmtree(self.store(stage), ignore_errors=True)
        return shutil.copytree(self.base[stage in EMPTY], self.store(stage))

    def begin(self, text: str, data: Path, limit: int | None = None, shift: float = 0.0):
        words = [*shlex.split(text.replace("KEY", getattr(self, "key", ""))), "--data", str(data)]
        process = WORK.Process(target=command, args=(words, str(self.folder / "output"), limit, shift))
        process.start()
        return process

    def run(self, text: str, data: Path, limit: int | None = None, shift: float = 0.0) -> tuple[int, str]:
        """Return (exit status, all that was printed)."""
        process = self.begin(text, data, limit, shift)
        process.join()
        return process.exitcode, (self.folder / "output").read_text(errors="replace")

    def must(self, text: str, data: Path) -> str:
        status, printed = self.run(text, data)
        if status != 0:
            raise SystemExit(f"selviz {text} ended with {status}: {printed}")
        return printed[printed.index("{") :] if "--json" in text else printed

    def after(self, stage: str, label: str) -> None:
        """Check that the store opens, shows nothing partial as complete, and the same command ends where it should."""
        self.wrong += [f"{label}: {trouble}" for trouble in unsound(self.store(stage), self.expected[stage])]
        status, printed = self.run(COMMANDS[stage], self.store(stage))
        if status != 0:
            self.wrong.append(f"{label}: the same command again ended with {status}: {printed[-400:]}")
            return
        digests = content(self.store(stage))
        expected = self.expected[stage]
        if different := [key for key in {*digests, *expected} if digests.get(key) != expected.get(key)]:
            self.wrong.append(f"{label}: afterwards other {', '.join(sorted(different))}")
        if left := sorted(names(self.store(stage)) - self.files[stage]):
            self.wrong.append(f"{label}: left behind {', '.join(left)}")


def one_sentence(status: int, printed: str, start: str = "") -> str | None:
    """Return what is wrong with the words of a command that had to refuse; None if nothing."""
    said = [line for line in re.split(r"[\r\n]+", printed) if line.startswith("selviz: ")]
    if "Traceback" in printed or status != 2 or len(said) != 1 or start not in said[0]:
        return f"ended with {status} and said {printed[-300:]!r}"
    return None
