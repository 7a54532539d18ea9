"""Silence units for pages: `ablate(AblationRequest(run, "relu3:4,7"))`, `control_accuracies(request, "matched", 20)`.

Results are cached for all visitors under the whole request; nothing in the shared network is changed, so visitors do
not meet. Batches of images take turns: first estimates before all else, control sets last, and visitors one after the
other. A newer request of a visitor ends the older one at its next batch; draws that were made until then are kept.
When nobody has request for a while, the memory that results start from is given back.
"""

import os
import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from selviz.errors import SelvizError
from selviz.statistics import rank_among
from selviz.store import Store
from selviz.text import unit_lists

from ..state import caches, reads
from . import queues, scheduler

if TYPE_CHECKING:
    from selviz.ablation import BoundaryCache
    from selviz.ablation.engine import Engine

CACHE_MB = 100  # of results, and as much of control draws
IDLE_S = 15.0  # without a request, after which the values that results start from are given back
PROGRESS_S = 0.2  # between two reports of how far the draws are
SEED = 0
MAX_UNIT_PAGE_IMAGES = 2000  # of the Unit page's figures, which are seen while paging through units

Units = dict[str, list[int]]
Result = dict[str, Any]  # what selviz.studies.ablation.run_ablation returns


class AblationRequest(NamedTuple):
    """These units (as `unit_lists.format_units` writes them) of a run, and what is done to them.

    `keep` silences all other units of their layers instead; fold None means all evaluation images, `max_images` only
    the first so many of them.
    """

    run: str
    units: str
    mode: str = "zero"
    factor: float | None = None
    keep: bool = False
    fold: int | None = None
    max_images: int | None = None


@st.cache_resource
def _results() -> caches.PickledLRU:
    return caches.PickledLRU(CACHE_MB)


@st.cache_resource
def _draws() -> caches.PickledLRU:
    return caches.PickledLRU(CACHE_MB)


def budget() -> float:
    """Return the gigabytes that all engines of this process hold together: SELVIZ_CACHE_GB, else the default."""
    from selviz.ablation import CACHE_GB

    setting = os.environ.get("SELVIZ_CACHE_GB") or str(CACHE_GB)
    try:
        return float(setting)
    except ValueError:
        raise SelvizError(f"SELVIZ_CACHE_GB is {setting!r}; give a number of gigabytes, such as 2.") from None


@st.cache_resource
def _boundary_cache() -> "BoundaryCache":
    from selviz.ablation import BoundaryCache

    return BoundaryCache(budget())


@st.cache_resource
def _idle_timer() -> caches.IdleTimer:
    boundary_cache = _boundary_cache()

    def give_back() -> None:
        boundary_cache.clear()
        caches.trim_memory()

    return caches.IdleTimer(IDLE_S, give_back)


@st.cache_resource(max_entries=8, show_spinner=False, on_release=lambda engine: engine.close())
def _engine(folder: str, version: tuple, run: str, fold: int | None, max_images: int | None) -> "Engine":
    from selviz.runs.load import open_engine

    return open_engine(Store(folder), run, fold, _boundary_cache(), reads.network(run), max_images)


def engine(run: str, fold: int | None, max_images: int | None = None) -> "Engine":
    """Return the run's engine on the images of a fold (None: all), or the first of them; one for all visitors."""
    return _engine(reads.data(), reads.run_version(run), run, fold, max_images)


def image_limit(run: str) -> tuple[int | None, str]:
    """Return how many images the Unit page's figures are of, None for all, and the sentence that says so.

    The first evaluation images are nearly balanced over classes.
    """
    images = len(reads.store().images(run))
    if images <= MAX_UNIT_PAGE_IMAGES:
        return None, ""
    first = f"the first {MAX_UNIT_PAGE_IMAGES:,}, nearly as many of each class"
    return MAX_UNIT_PAGE_IMAGES, f" Of the {images:,} images, {first}."


def _open(request: AblationRequest) -> tuple["Engine", Units]:
    """Return the engine and the chosen units by layer."""
    _idle_timer().touch()
    opened = engine(request.run, request.fold, request.max_images)
    sizes = {layer.name: layer.units for layer in opened.network.layers}
    chosen, _ = unit_lists.parse_existing_units(request.units, sizes)
    return opened, chosen


def _options(request: AblationRequest) -> dict[str, Any]:
    return {"mode": request.mode, "factor": request.factor, "keep": request.keep, "seed": SEED}


def ablate(request: AblationRequest, on_estimate: Callable[[Any], object] = lambda estimate: None) -> Result:
    """Return what `selviz.studies.ablation.run_ablation` does without controls; `on_estimate` gets every estimate."""
    from selviz.studies.ablation import run_ablation

    key = (reads.data(), reads.run_version(request.run), request)
    result = _results().get(key)
    if result is None:
        opened, chosen = _open(request)
        options = {**_options(request), "fold": request.fold}
        options["turn"] = lambda batch: scheduler.turn(queues.SETTLING if batch else queues.FIRST)
        result = run_ablation(reads.store(), request.run, chosen, **options, draws=0, engine=opened, watch=on_estimate)
        _results().put(key, result)
    return result


def control_accuracies(
    request: AblationRequest, control: str, draws: int, on_progress: Callable[[int], object] = lambda done: None
) -> Result:
    """Return the accuracies under `draws` control sets and the rank of the chosen units among them.

    `control` is "control" (random sets) or "matched", as in `ablation.controls`; {"accuracies": []} where none can be
    drawn. These are the draws of `selviz ablate --draws`. `on_progress` gets the number of draws so far.
    """
    from selviz import ablation
    from selviz.studies.ablation import unit_statistics

    key = (reads.data(), reads.run_version(request.run), request, control)
    accuracies: list[float] = _draws().get(key, [])
    if len(accuracies) < draws:
        opened, chosen = _open(request)
        stats = unit_statistics(reads.store(), request.run, list(chosen))
        options = {**_options(request), "stats": stats}
        options["turn"] = lambda batch: scheduler.turn(queues.CONTROLS)
        reported = time.monotonic()
        try:
            for accuracy in ablation.controls(opened, chosen, control, draws, start=len(accuracies), **options):
                accuracies.append(accuracy)
                if time.monotonic() - reported > PROGRESS_S:
                    on_progress(len(accuracies))
                    reported = time.monotonic()
        finally:
            _draws().put(key, accuracies)
            _idle_timer().touch()
    accuracies = accuracies[:draws]
    rank = rank_among(ablate(request)["accuracy_after"], accuracies)._asdict() if accuracies else {}
    return {"accuracies": accuracies, **rank, **(_balance(request, draws) if control == "matched" else {})}


def _balance(request: AblationRequest, draws: int) -> Result:
    """Return how alike chosen and matched units are, {"balance"}, or why there is no matched set, {"reason"}."""
    from selviz import ablation
    from selviz.studies.ablation import unit_statistics

    key = (reads.data(), reads.run_version(request.run), request.units, "balance", draws)
    balance = _results().get(key)
    if balance is None:
        opened, chosen = _open(request)
        stats = unit_statistics(reads.store(), request.run, list(chosen))
        balance = ablation.balance(opened, chosen, draws, stats, SEED)
        _results().put(key, balance)
    return balance


def python_call(request: AblationRequest, units: Units, draws: int) -> str:
    """Return the call that computes what is on screen, to be run after `store = selviz.open(...)`."""
    settings = {"mode": request.mode, "factor": request.factor, "keep": request.keep, "fold": request.fold}
    defaults = {"mode": "zero", "factor": None, "keep": False, "fold": None}
    changed = "".join(f", {name}={value!r}" for name, value in settings.items() if value != defaults[name])
    return (
        "from selviz.studies.ablation import run_ablation\n\n"
        f"result = run_ablation(store, {request.run!r}, {units!r}{changed}, draws={draws}, seed={SEED})"
    )


def shell_command(request: AblationRequest, units: Units, draws: int) -> str:
    """Return the command that computes what is on screen."""
    named = (f"--units {shlex.quote(unit_lists.format_units({layer: numbers}))}" for layer, numbers in units.items())
    parts = ["selviz ablate", request.run, *named, f"--draws {draws}", f"--seed {SEED}"]
    parts += [f"--mode {request.mode}"] if request.mode != "zero" else []
    parts += [f"--factor {request.factor:g}"] if request.factor is not None else []
    parts += ["--keep"] if request.keep else []
    parts += [f"--fold {request.fold}"] if request.fold is not None else []
    return " ".join([*parts, f"--data {shlex.quote(reads.data())}"])
