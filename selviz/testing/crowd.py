"""Many visitors of the Silence page at once, who change what they ask as fast as they can, each answer checked.

    expected = questions(store, run, 40)
    tally = asyncio.run(crowd(address, run, expected, seconds=60, visitors=10, browsers=2))

Every visitor has questions of its own. One in three is changed before its answer came; then the newer one must win.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from selviz.runs.load import open_engine
from selviz.store import Store
from selviz.studies.ablation import run_ablation
from selviz.testing.dashboard import CHROMIUM, FLAGS
from selviz.testing.visitor import PATIENCE, Visitor
from selviz.text.unit_lists import format_units

MODES = {"zero": "zero", "mean": "mean", "shuffle": "another image", "scale": "scale"}  # as the page names them
FACTOR = 0.5  # with which the page scales at first
HURRY = 1 / 3
LOOK = """text => {
  const main = document.querySelector('[data-testid=stMain]');
  if (!main || !main.innerText.includes('silent: ' + text)) return null;
  const shown = {};
  for (const metric of main.querySelectorAll('[data-testid=stMetric]')) {
    const part = name => metric.querySelector(`[data-testid=stMetric${name}]`)?.innerText.trim() ?? '';
    shown[part('Label')] = part('Value');
    if (part('Label') === 'Accuracy after') shown.exact = part('Delta').startsWith('±');
  }
  return shown['Accuracy before'] && shown['Accuracy after'] ? shown : null;
}"""


@dataclass(frozen=True)
class Question:
    """Units as the address writes them, a mode, and the accuracies before and after as the page must write them."""

    units: str
    mode: str
    before: str
    after: str

    def query(self) -> str:
        return f"silence={self.units}" + ("" if self.mode == "zero" else f"&mode={self.mode}")


@dataclass
class Tally:
    """What came of the visits; times are in seconds, from sending a request on."""

    requests: int = 0
    superseded: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    browser_first: list[float] = field(default_factory=list)
    browser_settled: list[float] = field(default_factory=list)

    def check(self, question: Question, before: str, after: str) -> None:
        self.answers += 1
        if (before, after) != (question.before, question.after):
            difference = f"{before} -> {after}, not {question.before} -> {question.after}"
            self.wrong.append(f"{question.units} {question.mode}: {difference}")


def questions(store: Store, run: str, selections: int, seed: int = 0) -> list[Question]:
    """Return random selections of one to six units, each in every mode, with what `run_ablation` says of them."""
    generator = random.Random(seed)
    sizes = store.units(run).groupby("layer", sort=False).size().to_dict()
    engine, asked_questions = open_engine(store, run), []
    while len(asked_questions) < selections * len(MODES):
        every = [(layer, unit) for layer, size in sizes.items() for unit in range(size)]
        chosen = set(generator.sample(every, generator.randint(1, 6)))
        units = {layer: [unit for unit in range(size) if (layer, unit) in chosen] for layer, size in sizes.items()}
        units = {layer: numbers for layer, numbers in units.items() if numbers}
        text = format_units(units)
        if any(question.units == text for question in asked_questions):
            continue
        for mode in MODES:
            factor = FACTOR if mode == "scale" else None
            result = run_ablation(store, run, units, mode, factor=factor, draws=0, engine=engine)
            accuracies = (f"{100 * result[f'accuracy_{when}']:.1f} %" for when in ("before", "after"))
            asked_questions.append(Question(text, mode, *accuracies))
    engine.close()
    return asked_questions


async def crowd(
    address: str, run: str, questions: list[Question], seconds: float, visitors: int, browsers: int
) -> Tally:
    """Return visitors without and with a browser, together, for that many seconds."""
    tally, people = Tally(), visitors + browsers
    texts = list(dict.fromkeys(question.units for question in questions))
    own = [[question for question in questions if texts.index(question.units) % people == i] for i in range(people)]
    end = time.perf_counter() + seconds
    together = [visit(address, run, share, end, tally, seed) for seed, share in enumerate(own[:visitors])]
    if browsers:
        together.append(browse_all(address, run, own[visitors:], end, tally))
    await asyncio.gather(*together)
    return tally


async def visit(address: str, run: str, questions: list[Question], end: float, tally: Tally, seed: int) -> None:
    """Be one visitor without a browser: opens the page, then goes to other addresses or clicks another mode."""
    generator = random.Random(seed)
    now = generator.choice(questions)
    async with Visitor(address) as visitor:
        await visitor.go("silence", f"run={run}&{now.query()}")
        await _answered(visitor, now, tally)
        while time.perf_counter() < end or visitor.asked < 2:
            # Nobody clicks the mode that is lit: that may still be an older one than the one asked for last.
            lit = visitor.value("Set them to")
            same = [question for question in questions if question.units == now.units and [MODES[question.mode]] != lit]
            if generator.random() < 0.5:
                now = generator.choice(same)
                await visitor.choose("Set them to", [MODES[now.mode]])
            else:
                now = generator.choice([question for question in questions if question != now])
                await visitor.go("silence", now.query())
            if generator.random() < HURRY:
                await asyncio.sleep(generator.uniform(0, 0.3))
                tally.requests += 1
                tally.superseded += not shows_exactly(visitor, now)
            elif await _answered(visitor, now, tally) and generator.random() < 0.2:
                await asyncio.sleep(generator.uniform(0, 3))  # somebody who looks at the rest of the page
            tally.errors += visitor.errors()


async def _answered(visitor: Visitor, now: Question, tally: Tally) -> bool:
    """Wait for the answer to what was asked this moment, and checks it; False if it never came."""
    sent = time.perf_counter()
    tally.requests += 1
    try:
        tally.first.append(await visitor.until(lambda v: shows_something(v, now)) - sent)
        tally.settled.append(await visitor.until(lambda v: shows_exactly(v, now)) - sent)
    except TimeoutError:
        tally.errors += visitor.errors()
        silent = [text for text in visitor.texts() if "silent:" in text]
        shown = f"{silent} {visitor.metrics()} at {visitor.query}, told {visitor.told}, {visitor.finished=}"
        tally.lost.append(f"asked for {now.units} {now.mode}, got {shown}")
        return False
    if not any(text.endswith(f"silent:** `{now.units}`") for text in visitor.texts()):
        tally.errors.append(f"the page does not name {now.units}: {visitor.texts()}")
    tally.check(now, *(visitor.metrics()[f"Accuracy {when}"][0] for when in ("before", "after")))
    return True


def shows_something(visitor: Visitor, question: Question, alone: bool = False) -> bool:
    """Return whether the newest run has drawn this very question and a number for it.

    Which question it is, the page tells by its address, to which it adds the run. It does not where that is named
    already, as in a visitor's first request; so `alone`, that no older request is under way, has to be known then.
    """
    parameters = dict(parse_qsl(visitor.query if alone or visitor.asked == 1 else visitor.told or ""))
    is_question = parameters.get("silence") == question.units and parameters.get("mode", "zero") == question.mode
    return visitor.begun and is_question and any(label.startswith("Accuracy after") for label in visitor.metrics())


def shows_exactly(visitor: Visitor, question: Question, alone: bool = False) -> bool:
    """Return the same with the exact number. Streamlit may send the caption before the number, so both are looked
    at.
    """
    said = shows_something(visitor, question, alone) and any(text.startswith("Exact") for text in visitor.texts())
    return said and visitor.metrics()["Accuracy after"][1].startswith("±")


async def browse_all(
    address: str, run: str, own: list[list[Question]], end: float, tally: Tally, think: float = 0
) -> None:
    """Run visitors with a browser, one for each list of questions, who read for `think` seconds at most in between."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        await asyncio.gather(
            *(browse(browser, address, run, share, end, tally, i, think) for i, share in enumerate(own))
        )
        await browser.close()


async def browse(
    browser, address: str, run: str, questions: list[Question], end: float, tally: Tally, seed: int, think: float
) -> None:
    """Be one visitor in a browser, who types other addresses."""
    generator = random.Random(seed)
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    tab = await context.new_page()
    tab.on("pageerror", lambda error: tally.errors.append(f"in the browser: {error}"))
    while time.perf_counter() < end or not tally.browser_settled:
        now = generator.choice(questions)
        sent = time.perf_counter()
        await tab.goto(f"{address}/silence?run={run}&{now.query()}", wait_until="commit")
        tally.requests += 1
        if generator.random() < HURRY:
            await asyncio.sleep(generator.uniform(0, 2))
            tally.superseded += 1
            continue
        try:
            patience = {"timeout": 1000 * PATIENCE, "polling": 50}
            await tab.wait_for_function(LOOK, arg=now.units, **patience)
            tally.browser_first.append(time.perf_counter() - sent)
            exact = f"text => {{ const shown = ({LOOK})(text); return shown && shown.exact ? shown : null }}"
            shown = await (await tab.wait_for_function(exact, arg=now.units, **patience)).json_value()
            tally.browser_settled.append(time.perf_counter() - sent)
        except Exception as error:
            tally.lost.append(f"asked for {now.units} {now.mode} in a browser: {error}")
            break
        else:
            tally.check(now, shown["Accuracy before"], shown["Accuracy after"])
        broken = tab.locator("[data-testid=stException], [data-testid=stAlertContentError]")
        tally.errors += await broken.all_inner_texts()
        await asyncio.sleep(generator.uniform(0, think))
    await context.close()
