"""What is done to a store, each by a function of a Bench: `kills(bench, 100)`, `disk_full`, `clock`, `damage`, `moved`.

Each gives its counts, and adds to `bench.wrong` a sentence for everything that did not hold.
"""

import json
import os
import re
import shutil
import time

from selviz.testing.faults.bench import COMMANDS, RUN, Bench, one_sentence
from selviz.testing.faults.contents import content, readings, unsound

SHARED = {"thumbnails", "hypotheses", "runs", "images", "units", "class_means", "layers"}  # they name classes
AWAY = 3 * 86_400.0  # seconds by which the clock is set back


def kills(bench: Bench, number: int) -> dict:
    """Return `number` SIGKILLs at random moments of the commands; every second one hits the command that was to
    resume.
    """
    counts = {stage: {"kills": 0, "seconds_undisturbed": round(bench.took[stage], 2)} for stage in bench.stages}
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
            counts[stage]["kills"] += 1
            label = f"{stage}, killed after {moment:.2f} s"
            bench.wrong += [f"{label}: {trouble}" for trouble in unsound(bench.store(stage), bench.expected[stage])]
        bench.after(stage, f"{stage}, killed")
    return {"kills": done, "stages": counts}


def disk_full(bench: Bench, limits: tuple[int, ...]) -> dict:
    """Return every command with a limit on the size of a file, and again without."""
    refused = fitted = 0
    for stage in bench.stages:
        for limit in limits:
            data = bench.fresh(stage)
            status, printed = bench.run(COMMANDS[stage], data, limit)
            label = f"{stage} with files of at most {limit:,} bytes"
            if status == 0:
                fitted += 1
            else:
                refused += 1
                if trouble := one_sentence(status, printed):
                    # A sweep tells of each run that failed, and its own end.
                    failed = stage == "sweep" and "Traceback" not in printed and "cannot be written" in printed.lower()
                    if not failed and not (stage == "sweep" and "Cannot write" in printed and status in (1, 2)):
                        bench.wrong.append(f"{label}: {trouble}")
            bench.after(stage, label)
    return {"how": "RLIMIT_FSIZE", "refused_in_one_sentence": refused, "fitted": fitted}


def clock(bench: Bench) -> dict:
    """Return the commands with a clock three days behind the store's, a claim from the future, a file of the same
    time.
    """
    from selviz.store import write_stage
    from selviz.system.locks import Claim

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
        from selviz.store.queries import read

        seen.append(int(read({"f": file}, "SELECT max(number) AS n FROM f.numbers")["n"][0]))
    if seen != [1, 2]:
        bench.wrong.append(f"a replaced file of the same size and time was read as the old one: {seen}")
    return {"set_back_days": AWAY / 86_400, "commands": len(bench.stages), "seconds_until_an_old_claim_is_free": waited}


def damage(bench: Bench, places: int) -> dict:
    """Return a bit changed, and the end cut off, in each file: found by checksum and named; no page shows another
    number.
    """
    from selviz.store import Store, write_group
    from selviz.store.integrity import check_rest, check_run

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
            label = f"{file.relative_to(data)} {how}"
            problems = [p for p in (*check_run(store, RUN), *check_rest(store)) if not p.note]
            stems = {problem.file.stem for problem in problems}
            if file.stem in stems and any(problem.fix for problem in problems):
                caught += 1
            else:
                missed.append(label)
            seen = readings(store, RUN)
            refused += any(v.startswith("refused") and not whole[RUN][k].startswith("refused") for k, v in seen.items())
            lies = [k for k, v in seen.items() if not v.startswith("refused") and v != whole[RUN][k] and k != "runs"]
            if lies:
                bench.wrong.append(f"{label}: shown with other numbers: {', '.join(lies)}")
            shared = {"runs"} if file.is_relative_to(store.run_path(RUN)) else SHARED
            if how == "cut" and [
                k for k, v in readings(store, other).items() if v != whole[other][k] and k not in shared
            ]:
                bench.wrong.append(f"{label}: another run cannot be read")
        file.write_bytes(before)
    bench.wrong += [f"{label}: not found" for label in missed]
    return {"files": len(files), "damages": done, "found_and_named": caught, "refused_by_a_page": refused}


def moved(bench: Bench) -> dict:
    """Return a run on a folder of images, which is moved away; the command that the sentence names mends it."""
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
        bench.wrong.append("data set moved away and linked again: other numbers")
    return {"mended": same}
