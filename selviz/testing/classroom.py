"""A class of thirty on one small machine: `visit_as_a_class(Options(visitors=4, seconds=3))`.

Visitors come over Streamlit's WebSocket protocol, each with a session of its own, and at random look at a page, silence
units, ask for an attribution, or follow somebody's link in a new session. Between two actions they read for a while
(exponential, `think` seconds on average). Some more do the same on the Silence page in a browser. The greedy ones
never read: they ask for a thousand control sets, made images and the atlas, one after the other.

What pages say of the run, the unit, the attribution and the silenced units is compared with answers of the library,
computed beforehand in this process: `wrong_answers`. `lost`: what was asked for did not come in PATIENCE seconds.
`errors`: exceptions and error boxes on a page, and exceptions in the server's log. Times run from sending a request to
the last number (`settled`), for silenced units also to the first estimate (`first`): median and 95th percentile.

Memory is the server's (resident set, MB): `before` at rest, `rest` seconds after one visitor has seen every page of
every run; `over_time`; `after`, `rest` seconds after all have left. The store in `data` is copied first.
"""

import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from selviz.config import RunConfig
from selviz.runs.load import load_network, open_engine
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies.ablation import run_ablation
from selviz.testing.crowd import MODES, Question, Tally, browse_all, questions, shows_exactly, shows_something
from selviz.testing.dashboard import page_paths, raised, resident, serving
from selviz.testing.visitor import Visitor
from selviz.text import numbers as number_text

OWN_VISITS = ("unit", "silence", "claims", "early")  # pages that actions of their own open, or that say no accuracy
METHODS = ("integrated_gradients", "gradient_x_input", "occlusion")
OFTEN = {"page": 4, "unit": 3, "silence": 3, "attribution": 2, "link": 1}
TOLERANCE = 1.15


@dataclass(frozen=True)
class Options:
    """Who comes, for how long, and what of the store they see."""

    seconds: float = 600
    visitors: int = 30
    greedy: int = 2  # visitors who ask for what is heavy, in addition to the others
    browsers: int = 2
    think: float = 8  # seconds of reading between two actions, on average
    units: int = 20  # units that are looked at, of each run
    selections: int = 20  # sets of units, each silenced in every mode
    runs: int = 3  # runs of the store that are visited
    rest: float = 130  # seconds after all have left; the server keeps their sessions for 120
    data: str | None = None  # a store with finished runs; one is made without


QUICK = Options(seconds=15, visitors=10, greedy=1, browsers=1, think=3, units=4, selections=4, runs=1, rest=4)


class Action(NamedTuple):
    """What a visitor does: a page with an address, and what it must then say."""

    kind: str
    path: str
    query: str
    says: tuple[str, ...]
    metrics: dict[str, str]


def plan(store: Store, run: str, units: int, selections: int, seed: int = 0) -> tuple[list[Action], list[Question]]:
    """Return everything that visitors may do with a run, with the library's answers."""
    summary, generator = store.run(run), random.Random(seed)
    about = (f"accuracy {number_text.share(summary['test_accuracy'], summary['images'])}",)
    left_out = OWN_VISITS if summary.get("alpha") == 0 else (*OWN_VISITS, "lesson")  # the lesson is on the baseline
    pages = [page for page in page_paths() if page not in left_out]
    actions = [Action("page", page, f"run={run}", about, {}) for page in pages]
    engine, network = open_engine(store, run), load_network(store, run)
    for row in generator.sample(store.units(run).to_dict("records"), units):
        actions += _of_unit(store, run, row, about, engine, network, generator.choice(METHODS))
    engine.close()
    return actions, questions(store, run, selections, seed)


def _of_unit(store: Store, run: str, row: dict, about, engine, network, method: str) -> list[Action]:
    from selviz.attribution import Target, attribute, faithfulness

    layer, unit = row["layer"], int(row["unit"])
    effect = run_ablation(store, run, {layer: [unit]}, draws=0, engine=engine)
    after = number_text.share(effect["accuracy_after"], effect["images"])
    silent = f"Accuracy goes from {number_text.percent(effect['accuracy_before'])} to {after}"
    address = f"run={run}&layer={layer}&unit={unit}"
    numbers = {"SI": number_text.si(row["si"]), "Mean activation": number_text.number(row["mean_activation"])}
    values = store.activations(run, layer, unit).sort_values(["value", "image"], ascending=[False, True])
    image = int(values["image"].iloc[0])
    graph, dataset = network
    inputs = dataset.normalise(dataset.eval_pixels[image : image + 1])
    black = dataset.normalise(dataset.eval_pixels[:1] * 0)
    target = Target(layer, unit, None)
    flat = attribute(graph, target, inputs, method, baseline=black).maps[0]
    faithful = faithfulness(graph, target, inputs, flat, baseline=black)
    says = (f"Image {image}:", f"insertion: area {number_text.number(faithful['insertion']['area'])}, higher than")
    if method == "integrated_gradients":
        says += (f"The pixels account for a change of {number_text.number(float(flat.sum()))}",)
    query = f"{address}&evidence=pixels&technique={method}"
    return [
        Action("unit", "unit", address, (*about, silent), numbers),
        Action("attribution", "unit", query, (*about, *says), numbers),
    ]


class Counts:
    """What came of the visits; times in seconds by kind of action."""

    def __init__(self):
        self.settled, self.first = defaultdict(list), defaultdict(list)
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.errors: list[str] = []
        self.checked = 0
        self.greedy: list[float] = []
        self.left_alone = 0


async def do(visitor: Visitor, action: Action, counts: Counts) -> None:
    sent = time.perf_counter()
    try:
        await visitor.open(action.path, action.query)
    except TimeoutError:
        counts.lost.append(f"{action.path}?{action.query}: {visitor.texts()[-3:]}")
        return
    counts.settled[action.kind].append(time.perf_counter() - sent)
    texts, numbers = visitor.texts(), {label: value for label, (value, _) in visitor.metrics().items()}
    missing = [said for said in action.says if not any(said in text for text in texts)]
    missing += [f"{label} {value}" for label, value in action.metrics.items() if numbers.get(label) != value]
    counts.checked += len(action.says) + len(action.metrics)
    if missing:
        counts.wrong.append(f"{action.path}?{action.query} does not say {missing}")
    counts.errors += visitor.errors()


async def silence(visitor: Visitor, run: str, question: Question, counts: Counts, kind: str) -> None:
    sent = time.perf_counter()
    try:
        await visitor.go("silence", f"run={run}&{question.query()}")
        counts.first[kind].append(await visitor.until(lambda v: shows_something(v, question, True)) - sent)
        counts.settled[kind].append(await visitor.until(lambda v: shows_exactly(v, question, True)) - sent)
    except TimeoutError:
        counts.lost.append(f"{question.units} {question.mode}: {visitor.query}, {visitor.metrics()}")
        return
    counts.checked += 2
    accuracies = tuple(visitor.metrics()[f"Accuracy {when}"][0] for when in ("before", "after"))
    if accuracies != (question.before, question.after):
        counts.wrong.append(f"{question.units} {question.mode}: {accuracies}, not {question}")
    counts.errors += visitor.errors()


async def visit(address: str, runs: dict, end: float, think: float, counts: Counts, seed: int) -> None:
    """Be one visitor: something at random, then a while of reading, until the time is over."""
    generator = random.Random(seed)
    await asyncio.sleep(generator.uniform(0, think))
    async with Visitor(address) as visitor:
        while time.perf_counter() < end or not visitor.asked:
            run = generator.choice(list(runs))
            actions, requests = runs[run]
            kind = generator.choices(list(OFTEN), OFTEN.values())[0]
            if kind == "link":
                async with Visitor(address) as guest:
                    await silence(guest, run, generator.choice(requests), counts, kind)
            elif kind == "silence":
                await silence(visitor, run, generator.choice(requests), counts, kind)
            else:
                await do(visitor, generator.choice([one for one in actions if one.kind == kind]), counts)
            await asyncio.sleep(generator.expovariate(1 / think))


async def greed(address: str, runs: dict, counts: Counts, seed: int) -> None:
    """Be a visitor who asks for all that is heavy and never reads, until it is cancelled.

    One whose page has not ended after PATIENCE goes on to the next, as somebody would whom the fair line keeps waiting.
    """
    generator = random.Random(seed)

    async def ask(path: str, query: str) -> None:
        sent = time.perf_counter()
        try:
            await visitor.open(path, query)
            if path == "silence" and visitor.enabled("Compute it now"):
                await visitor.press("Compute it now")
                await visitor.until(lambda v: v.finished)
            counts.greedy.append(time.perf_counter() - sent)
        except TimeoutError:
            counts.left_alone += 1
        counts.errors += visitor.errors()

    async with Visitor(address) as visitor:
        while True:
            run = generator.choice(list(runs))
            actions, requests = runs[run]
            await ask("silence", f"run={run}&show=atlas&{generator.choice(requests).query()}")
            await ask("silence", f"run={run}&draws=1000&{generator.choice(requests).query()}")
            query = generator.choice([one for one in actions if one.kind == "unit"]).query
            await ask("unit", f"{query}&evidence=made&drawn={generator.randrange(10**6)}")


async def crowd(address: str, runs: dict, seconds: float, options: Options, counts: Counts) -> Tally:
    """Return all of them together, for that long; the tally is of those in browsers."""
    end, tally = time.perf_counter() + seconds, Tally()
    run = next(iter(runs))
    own = [runs[run][1][number :: options.browsers] for number in range(options.browsers)]
    people = [visit(address, runs, end, options.think, counts, seed) for seed in range(options.visitors)]
    greedy = [asyncio.create_task(greed(address, runs, counts, 1000 + seed)) for seed in range(options.greedy)]
    if own:
        people.append(browse_all(address, run, own, end, tally, options.think))
    await asyncio.gather(*people)
    for task in greedy:
        task.cancel()
    for ended in await asyncio.gather(*greedy, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            counts.errors.append(f"a greedy visitor: {type(ended).__name__}: {ended}")
    return tally


def summary(seconds: list[float]) -> dict:
    """Return number, median and 95th percentile in milliseconds."""
    ordered = sorted(seconds)
    at = min(len(ordered) - 1, round(0.95 * (len(ordered) - 1))) if ordered else 0
    return {
        "n": len(ordered),
        "median_ms": round(1e3 * statistics.median(ordered)) if ordered else None,
        "p95_ms": round(1e3 * ordered[at]) if ordered else None,
    }


async def measure(address: str, server: int, runs: dict, options: Options) -> dict:
    """Warm the server up, lets the class in, waits until it has rested."""
    warm = Counts()
    async with Visitor(address) as visitor:
        for run, (actions, requests) in runs.items():
            once = [next(one for one in actions if one.kind == kind) for kind in ("unit", "attribution")]
            for action in [*(one for one in actions if one.kind == "page"), *once]:
                await do(visitor, action, warm)
            await silence(visitor, run, requests[0], warm, "silence")
    await asyncio.sleep(options.rest)
    before, over_time, started = resident(server), [], time.perf_counter()

    async def watch() -> None:
        while True:
            over_time.append((round(time.perf_counter() - started), round(resident(server))))
            await asyncio.sleep(min(2.0, options.seconds / 10))

    watching, counts = asyncio.create_task(watch()), Counts()
    tally = await crowd(address, runs, options.seconds, options, counts)
    watching.cancel()
    print(f"{counts.checked} numbers checked", file=sys.stderr, flush=True)
    await asyncio.sleep(options.rest)
    after = resident(server)
    kinds = {kind: {"settled": summary(counts.settled[kind])} for kind in OFTEN}
    for kind in ("silence", "link"):
        kinds[kind]["first"] = summary(counts.first[kind])
    kinds["browser"] = {"settled": summary(tally.browser_settled), "first": summary(tally.browser_first)}
    kinds["greedy"] = {"settled": summary(counts.greedy), "not_ended_in_time": counts.left_alone}
    wrong, lost = counts.wrong + tally.wrong, counts.lost + tally.lost
    errors = warm.errors + warm.wrong + counts.errors + tally.errors
    return {
        "actions": kinds,
        "checked_numbers": counts.checked + 2 * tally.answers,
        "wrong_answers": len(wrong),
        "lost": len(lost),
        "errors": len(errors),
        "memory_mb": {
            "before": before,
            "peak": max(size for _, size in over_time),
            "after": after,
            "ratio": after / before,
            "back": after <= TOLERANCE * before,
            "over_time": over_time[:: max(1, len(over_time) // 30)],
        },
        "examples": {"wrong": wrong[:5], "lost": lost[:5], "errors": errors[:5]},
    }


def visit_as_a_class(options: Options) -> dict:
    """Serve a store to a class of visitors and return what they saw, how long it took and what the server held."""
    torch.set_num_threads(1)  # as the server: other sums round otherwise
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as made:
        place, path = Path(made) / "store", Path(made) / "server.log"
        if options.data:
            shutil.copytree(options.data, place)
        store = Store(place)
        if not options.data:
            for alpha in (-1, 0):
                train_run(store, RunConfig("mnist-5k", "cnn", alpha=alpha, epochs=2))
        names = store.names()[: options.runs]
        runs = {run: plan(store, run, options.units, options.selections) for run in names}
        print(f"answers of the library for {len(names)} runs are there", file=sys.stderr, flush=True)
        servers: list = []
        with (
            path.open("wb") as log,
            serving(place, started=servers.append, log=log, SELVIZ_NO_DEMO="0") as address,
        ):
            measured = asyncio.run(measure(address, servers[0].pid, runs, options))
        logged = raised(path)
        measured["errors"] += len(logged)
        measured["examples"]["server_log"] = logged[:5]
        settings = {name: value for name, value in asdict(options).items() if name not in ("data", "runs")}
        return {**measured, **settings, "runs": names, "modes": list(MODES)}
