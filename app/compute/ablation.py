"""What silencing units does, for pages: `answer(Asked(run, "relu3:4,7"), watch)`, `control(asked, "matched", 20)`.

Answers are kept for all visitors, under all that was asked; nothing in the shared network is changed, so visitors do
not meet. Batches of images take turns: first estimates before all else, control sets last, and visitors one after the
other. A newer request of a visitor ends the older one at its next batch; draws that were made until then are kept.
When nobody has asked for a while, the memory that answers start from is given back.
"""

import os
import shlex
import time
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import streamlit as st

from app.compute import scheduler, turns
from app.state import address, caches, reads
from app.state.navigation import page_at
from selviz.errors import SelvizError
from selviz.statistics import rank_among
from selviz.store import Store
from selviz.text import numbers as number_text
from selviz.text import safe_text

KEPT_MB = 100  # of answers, and as much of control draws
REST = 15.0  # seconds without a request, after which the values that answers start from are given back
TELL = 0.2  # seconds between two signs of how far the draws are
SEED = 0
QUICK = 2000  # images of the Unit page's figures, which are seen while paging through units


class Asked(NamedTuple):
    """One question: these units (as `links.units_to_text` writes them) of a run, and what is done to them.

    `keep` silences all other units of their layers instead; fold None means all evaluation images, `most` so many of
    them.
    """

    run: str
    units: str
    mode: str = "zero"
    factor: float | None = None
    keep: bool = False
    fold: int | None = None
    most: int | None = None


@st.cache_resource
def _answers() -> caches.Recent:
    return caches.Recent(KEPT_MB)


@st.cache_resource
def _draws() -> caches.Recent:
    return caches.Recent(KEPT_MB)


def budget() -> float:
    """Gigabytes that all engines of this process hold together: SELVIZ_CACHE_GB, else the library's default."""
    from selviz.ablation import CACHE_GB

    told = os.environ.get("SELVIZ_CACHE_GB") or str(CACHE_GB)
    try:
        return float(told)
    except ValueError:
        raise SelvizError(f"SELVIZ_CACHE_GB is {told!r}; give a number of gigabytes, such as 2.") from None


@st.cache_resource
def _memory():
    from selviz.ablation import BoundaryCache

    return BoundaryCache(budget())


@st.cache_resource
def _rest() -> caches.AfterRest:
    def give_back() -> None:
        held.clear()
        caches.trim()

    held = _memory()
    return caches.AfterRest(REST, give_back)


@st.cache_resource(max_entries=8, show_spinner=False, on_release=lambda engine: engine.close())
def _engine(folder: str, files: tuple, run: str, fold: int | None, most: int | None):
    from selviz.runs.load import open_engine

    return open_engine(Store(folder), run, fold, _memory(), reads.network(run), most)


def engine(run: str, fold: int | None, most: int | None = None):
    """The run's engine on the images of a fold (None: all), or the first of them; one object for all visitors."""
    return _engine(reads.data(), reads.run_version(run), run, fold, most)


def sample(run: str) -> tuple[int | None, str]:
    """How many images the Unit page's figures are of, None for all, and the sentence that says so where it is not all.

    The first evaluation images are nearly balanced over classes.
    """
    images = len(reads.store().images(run))
    if images <= QUICK:
        return None, ""
    return QUICK, f" Of the {images:,} images, the first {QUICK:,}, nearly as many of each class."


def _open(asked: Asked):
    """The engine and the chosen units by layer."""
    _rest().touch()
    found = engine(asked.run, asked.fold, asked.most)
    chosen, _ = address.text_to_units(asked.units, {layer.name: layer.units for layer in found.network.layers})
    return found, chosen


def answer(asked: Asked, watch: Callable = lambda estimate: None) -> dict:
    """What `selviz.studies.ablation.run_ablation` gives without controls; `watch` gets every estimate on the way to it."""
    from selviz.studies.ablation import run_ablation

    key = (reads.data(), reads.run_version(asked.run), asked)
    result = _answers().get(key)
    if result is None:
        opened, chosen = _open(asked)
        how = {"mode": asked.mode, "factor": asked.factor, "keep": asked.keep, "fold": asked.fold, "seed": SEED}
        how["turn"] = lambda batch: scheduler.turn(turns.SETTLING if batch else turns.FIRST)
        result = run_ablation(reads.store(), asked.run, chosen, **how, draws=0, engine=opened, watch=watch)
        _answers().put(key, result)
    return result


def control(asked: Asked, kind: str, draws: int, watch: Callable[[int], None] = lambda done: None) -> dict:
    """The accuracies under `draws` control sets and the rank of the chosen units among them (`statistics.Rank`).

    `kind` is "control" or "matched", as in `ablation.controls`; {"accuracies": []} where none can be drawn. These are
    the draws of `selviz ablate --draws`. `watch` gets the number of draws that are there.
    """
    from selviz import ablation
    from selviz.studies.ablation import unit_statistics

    key = (reads.data(), reads.run_version(asked.run), asked, kind)
    found: list[float] = _draws().get(key, [])
    if len(found) < draws:
        opened, chosen = _open(asked)
        stats = unit_statistics(reads.store(), asked.run, list(chosen))
        how = {"mode": asked.mode, "factor": asked.factor, "keep": asked.keep, "stats": stats, "seed": SEED}
        how["turn"] = lambda batch: scheduler.turn(turns.CONTROLS)
        told = time.monotonic()
        try:
            for accuracy in ablation.controls(opened, chosen, kind, draws, start=len(found), **how):
                found.append(accuracy)
                if time.monotonic() - told > TELL:
                    watch(len(found))
                    told = time.monotonic()
        finally:
            _draws().put(key, found)
            _rest().touch()
    found = found[:draws]
    rank = rank_among(answer(asked)["accuracy_after"], found)._asdict() if found else {}
    return {"accuracies": found, **rank}


def python(asked: Asked, units: dict, draws: int) -> str:
    """The call that gives what is on screen, to be run after `store = selviz.open(...)`."""
    settings = {"mode": asked.mode, "factor": asked.factor, "keep": asked.keep, "fold": asked.fold}
    defaults = {"mode": "zero", "factor": None, "keep": False, "fold": None}
    told = "".join(f", {name}={value!r}" for name, value in settings.items() if value != defaults[name])
    return (
        "from selviz.studies.ablation import run_ablation\n\n"
        f"result = run_ablation(store, {asked.run!r}, {units!r}{told}, draws={draws}, seed={SEED})"
    )


def shell(asked: Asked, units: dict, draws: int) -> str:
    """The command that gives what is on screen."""
    named = (f"--units {shlex.quote(address.units_to_text({layer: numbers}))}" for layer, numbers in units.items())
    parts = ["selviz ablate", asked.run, *named, f"--draws {draws}", f"--seed {SEED}"]
    parts += [f"--mode {asked.mode}"] if asked.mode != "zero" else []
    parts += [f"--factor {asked.factor:g}"] if asked.factor is not None else []
    parts += ["--keep"] if asked.keep else []
    parts += [f"--fold {asked.fold}"] if asked.fold is not None else []
    return " ".join([*parts, f"--data {shlex.quote(reads.data())}"])


def effect(run: str, layer: str, unit: int) -> None:
    """What silencing this one unit changes, and the way to the page that tells more."""
    st.subheader("What breaks without it", anchor=False)
    units = address.units_to_text({layer: [unit]})
    images, told = sample(run)
    result = answer(Asked(run, units, most=images))
    classes = pd.DataFrame(result["per_class"]).dropna(subset="change")
    most = classes.loc[classes["change"].abs().idxmax()]
    st.markdown(
        f"Accuracy goes from {number_text.percent(result['accuracy_before'])} to "
        f"{number_text.share(result['accuracy_after'], result['images'])}: {number_text.points(result['change'])}, "
        f"McNemar's exact test {number_text.p_value(result['mcnemar_p'])}. "
        + (
            f"Most changed class: {safe_text.plain(most['class'])}, {number_text.points(most['change'])} "
            f"({number_text.counted(most['images'], 'image')})."
            if most["change"]
            else "No class changes."
        )
        + told
    )
    st.page_link(
        page_at("ablation"),
        label="Silence it on the Ablation page, beside random units",
        icon=":material/content_cut:",
        query_params={"run": run, "layer": layer, "silence": units},
    )
