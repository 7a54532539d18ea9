"""What a kind of claim is made of: `Template`, and what its functions hand on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from selviz.store.partial_results import kept
from selviz.system.progress import Report, silent

# Each option: how it is called, whether it must be given, and what it means.
RUN = ("run", True, "the network")
UNIT = ("unit", True, "LAYER:NUMBER, or LAYER:best for the one that is most selective for the class on fold 0")
CLASS = ("class", True, "the class, by its name")
LAYER = ("layer", True, "the layer")
DRAWS = ("draws", False, "number of control sets")
CONTROLS = ("both", "random", "matched")


class Resolved(NamedTuple):
    """`settings` are plain values; `facts` is what power is simulated from; `stored` says which of the measured
    quantities are in the store already, `chosen` what was chosen on fold 0 for a test on fold 1 ("" for nothing)."""

    settings: dict
    runs: list[str]
    facts: dict
    stored: list[str]
    chosen: str


class Work(NamedTuple):
    """Where finished parts are kept, and who hears of the progress."""

    folder: Path
    report: Report = silent

    def keep(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays [n] by name: those that are kept under this name, else those that `make` gives, kept from now on."""
        tables = kept(self.folder / f"{name}.npz", lambda: {k: pd.DataFrame({"v": v}) for k, v in make().items()})
        return {key: table["v"].to_numpy() for key, table in tables.items()}


class About(NamedTuple):
    """What is told of one kind of claim; `told` is the model behind its power, in words, with `facts` put in."""

    title: str
    options: tuple
    smallest: float  # default of the smallest effect that matters
    unit: str  # of the effect: points are shares of 0..1 times 100
    told: str
    baselines: str
    intervenes: str  # "" where nothing is silenced
    replicates: bool = False
    distributed: bool = False
    saliency: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.options]


class Template(NamedTuple):
    """One kind of claim, as its file in `templates/` has it.

    words(settings)                         statement, quantity, direction, refuted, controls, statistic and sample
    resolve(store, asked, common)           Resolved; SelvizError for what does not exist or cannot be tested
    measure(store, settings, work)          the sample: arrays by name
    judge(sample, settings)                 the claim's parts; ValueError for a sample that cannot be judged
    simulate(generator, settings, facts, effect)    a sample of a model in which the effect is planted
    details(settings, sample, parts)        every control's result that is not in a null distribution already
    """

    about: About
    words: Callable[[Mapping], dict[str, str]]
    resolve: Callable[..., Resolved]
    measure: Callable[..., dict]
    judge: Callable[..., list]
    simulate: Callable[..., dict]
    details: Callable[..., dict]
