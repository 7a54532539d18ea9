"""What a kind of claim is made of: `Template`, and what its functions hand on; pieces of their sentences and models.

A new kind of claim is one file in `templates/`: `ABOUT` and the functions that `Template` names. Nothing else has to be
touched: the registry, the power, the report, the commands and the page take it from there.
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from selviz.hypotheses.decision import Part
from selviz.store import Store
from selviz.store.files import writing
from selviz.system.durable_files import move_into_place
from selviz.system.progress import Report, silent

# Each option: its name, whether it must be given, and what it means.
Option = tuple[str, bool, str]
RUN: Option = ("run", True, "the network")
UNIT: Option = (
    "unit", True, "LAYER:NUMBER, or LAYER:best for the one that is most selective for the class on fold 0",
)  # fmt: skip
CLASS: Option = ("class", True, "the class, by its name")
LAYER: Option = ("layer", True, "the layer")
DRAWS: Option = ("draws", False, "number of control sets")
CONTROLS = ("both", "random", "matched")
GAINED = 0.1  # images that silencing puts right for each one that it loses, where the store does not tell

Settings = Mapping[str, Any]
Facts = Mapping[str, Any]
Sample = Mapping[str, Any]
Array = npt.NDArray[Any]


class Resolved(NamedTuple):
    """A claim as it is registered.

    `settings` are plain values, among them `fold`, the images that the test reads (2: sealed); `facts` is what power is
    simulated from; `stored` says which measured quantities are in the store already; `chosen` what was chosen on fold 0
    ("" for nothing).
    """

    settings: dict[str, Any]
    runs: list[str]
    facts: dict[str, Any]
    stored: list[str]
    chosen: str


class Work(NamedTuple):
    """Where finished parts of a test are kept until it ends, and who hears of the progress.

    The parts are enciphered with `key`: nobody reads the outcome of a test by chance before it has a verdict. (It is no
    secret from someone who writes a program: whoever has the network can compute what the test computes.)
    """

    folder: Path
    report: Report = silent
    key: str = ""

    def keep(self, name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Return arrays by name: those that are kept under this name, else those that `make` returns, kept from now on.

        A part that is damaged is made again.
        """
        path = self.folder / f"{name}.part"
        try:
            data = self._enciphered(name, path.read_bytes())
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                with np.load(io.BytesIO(data[32:]), allow_pickle=False) as arrays:
                    return dict(arrays)
        except FileNotFoundError:
            pass
        made = make()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **made)
        temporary = path.with_name(f".{path.name}")
        with writing(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(buffer.getvalue()).digest()
            temporary.write_bytes(self._enciphered(name, digest + buffer.getvalue()))
            move_into_place(temporary, path)
        return made

    def _enciphered(self, name: str, data: bytes) -> bytes:
        stream = hashlib.shake_256(f"{self.key} {name}".encode()).digest(len(data))
        return (np.frombuffer(data, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


class About(NamedTuple):
    """What is said of one kind of claim; `model` is the model behind its power, in words, with `facts` put in."""

    title: str
    options: tuple[Option, ...]
    smallest: float  # default of the smallest effect that matters
    unit: str  # of the effect: points are shares of 0..1 times 100, "" is a number without unit
    model: str
    baselines: str
    intervenes: str  # "" where nothing is silenced
    quantity: str  # claims about one quantity of the same networks are one family
    subject: tuple[str, ...]  # the settings that say what exactly is claimed: equal ones repeat a claim
    kinds: tuple[str, ...] = ()  # settings that name kinds of networks: claims about these are one family
    samples: str = "images"  # what the claim's interval is for: new images, networks, rows or starts
    largest: float = 1.0  # effect that can be
    difference_is_small: bool = False  # whether it claims that a difference lies within a margin
    replicates: bool = False
    distributed: bool = False
    saliency: bool = False
    reads: tuple[str, ...] = ("capture",)  # the stages that are compared with the network before a test

    @property
    def names(self) -> list[str]:
        """Return the names of its options."""
        return [name for name, _, _ in self.options]


class Template(NamedTuple):
    """One kind of claim, as its file in `templates/` has it.

    words(settings)                         statement, quantity, direction, refuted, controls, statistic and sample
    resolve(store, requested, common)       Resolved; SelvizError for what does not exist or cannot be tested
    measure(store, settings, work)          the sample: arrays by name
    judge(sample, settings)                 the claim's parts; ValueError for a sample that cannot be judged
    simulate(generator, settings, facts, effect)    a sample of a model in which the effect is planted
    details(settings, sample, parts)        every control's result that is not in a null distribution already
    """

    about: About
    words: Callable[[Settings], dict[str, str]]
    resolve: Callable[[Store, Mapping[str, Any], Mapping[str, Any]], Resolved]
    measure: Callable[[Store, Settings, Work], Sample]
    judge: Callable[[Sample, Settings], list[Part]]
    simulate: Callable[[np.random.Generator, Settings, Facts, float], Sample]
    details: Callable[[Settings, Sample, Sequence[Part]], dict[str, Any]]


# ---------------------------------------------------------------------------------------------- pieces of the sentences


def points(value: float) -> str:
    """Return a share as points: `10 points`, `1 point`."""
    return f"{100 * value:g} point{'' if 100 * value == 1 else 's'}"


def unit_of(settings: Settings) -> str:
    """Return what a unit is called in a sentence."""
    return f"unit {settings['unit']} of {settings['layer']}"


def refuted(settings: Settings, effect: str, how: Callable[[float], str] = points) -> str:
    """Return the observation that would refute a claim."""
    return f"An interval of {effect} that lies wholly below {how(settings['smallest'])}."


def listed(names: Sequence[Any], max_names: int = 4) -> str:
    """Return the first names, and how many more there are."""
    texts = list(map(str, names))
    return ", ".join(texts[:max_names]) + (f" and {len(texts) - max_names} more" if len(texts) > max_names else "")


def images_text(settings: Settings) -> str:
    """Return which images a test reads."""
    fold = settings["fold"]
    return f"fold {fold}, sealed until the test" if fold == 2 else f"fold {fold} (this run has no sealed fold)"


# ----------------------------------------------------------------------------- pieces of the models of simulated
# samples


def correlated(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return `first` and `second`: normal pairs with a Spearman correlation in the claim's direction."""
    first, second = pairs(generator, facts["first"], effect)
    return {"first": first, "second": second if settings["direction"] == "positive" else -second}


def labels(settings: Settings, inside: int, total: int) -> Array:
    """Return labels [of] of which the first `inside` are the claim's class."""
    classes = np.full(total, settings["class_index"] + 1)
    classes[:inside] = settings["class_index"]
    return classes


def lost_images(generator: np.random.Generator, net: Any, gained: float) -> Array:
    """Return 1 for each image that is lost, -1 for each that is gained, int8 of the shape of `net`, the difference of
    the two chances; `gained` is how many are gained for each one lost, 0 up to 1.
    """
    lost = np.clip(np.asarray(net, float) / (1 - gained), 0, 1)
    drawn = generator.random(lost.shape)
    found: Array = (drawn < lost).astype(np.int8) - (drawn > 1 - gained * lost).astype(np.int8)
    return found


def set_chances(generator: np.random.Generator, mean: float, spread: float, shape: Any) -> Array:
    """Return what control sets lose, of this mean and standard deviation: gamma distributed, so never below 0."""
    scale = spread**2 / mean
    found: Array = np.minimum(generator.gamma(mean / scale, scale, shape), 1.0)
    return found


def pairs(generator: np.random.Generator, size: int, correlation: float) -> tuple[Array, Array]:
    """Return normal pairs of a Spearman correlation: Pearson's is 2 sin(pi rho / 6) (Pearson 1907)."""
    r = 2 * math.sin(math.pi * min(max(correlation, -1.0), 1.0) / 6)
    first, second = generator.normal(size=(2, size))
    return first, r * first + math.sqrt(max(0.0, 1 - r**2)) * second


def blocks(entries: Sequence[Any], size: int = 25) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield a name and the entries of each block: what is kept as one part."""
    for first in range(0, len(entries), size):
        yield f"sets-{first}", entries[first : first + size]
