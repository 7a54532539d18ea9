"""What the public functions return: typed results with `.to_pandas()`, `.figure()` and a view for notebooks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from selviz.errors import SelvizError
from selviz.store import Store
from selviz.text import numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go

SHOWN = 12  # rows of a table in a notebook


class Result:
    """One table, one sentence about it, and a figure of it."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the result's table."""
        raise NotImplementedError

    def figure(self, *, dark: bool = False) -> "go.Figure":
        """Return the result as a Plotly figure; needs the extra `plot`."""
        raise NotImplementedError

    def sentence(self) -> str:
        """Return what was found, in a sentence."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.sentence()}>"

    def _repr_html_(self) -> str:
        table = self.to_pandas()
        more = f"<p>{len(table) - SHOWN:,} more rows: <code>.to_pandas()</code></p>" if len(table) > SHOWN else ""
        return f"<p>{_escaped(self.sentence())}</p>{table.head(SHOWN).to_html(index=False, border=0)}{more}"


def _escaped(text: str) -> str:
    import html

    return html.escape(text)


def _figures() -> Any:
    try:
        import selviz.figures as figures
    except ImportError as error:
        raise SelvizError(
            f"Figures need plotly, which is not here ({error.name}): pip install 'selviz[plot]'"
        ) from None
    return figures


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A captured network in a store: `run.units()`; the instruments take it as their first argument."""

    name: str
    store: Store = field(compare=False)

    @property
    def summary(self) -> dict[str, Any]:
        """Return the run's settings and main numbers."""
        return dict(self.store.run(self.name))

    @property
    def test_accuracy(self) -> float:
        """Share of evaluation images (folds 0 and 1) that the network classifies rightly, 0..1."""
        return float(self.summary["test_accuracy"])

    @property
    def mean_si(self) -> float:
        """Return mean over layers of the mean class selectivity index of all units."""
        return float(self.summary["mean_si"])

    def layers(self) -> pd.DataFrame:
        """Return one row per layer, in forward order."""
        return self.store.layers(self.name)

    def units(self, layer: str | None = None) -> pd.DataFrame:
        """Return one row per unit: SI, its null, preferred class, ..."""
        return self.store.units(self.name, layer)

    def unit_figure(self, layer: str, unit: int, *, dark: bool = False) -> "go.Figure":
        """Return the unit's mean activation on each class, with intervals, as a Plotly figure."""
        row = self.store.unit(self.name, layer, unit)
        means = self.store.class_means(self.name, layer, unit)
        return _figures().unit.tuning(means, int(row["preferred_index"]), dark)

    def board(self, height: int = 420) -> Any:
        """Return the network as a widget of a notebook: a click silences a unit. Needs the extra `notebook`."""
        from selviz.api.board_widget import board_widget

        return board_widget(self, height)

    def to_pandas(self) -> pd.DataFrame:
        return self.layers()

    def figure(self, *, dark: bool = False) -> "go.Figure":
        return _figures().units.si_histograms(self.units(), list(self.summary["classes"]), dark)

    def sentence(self) -> str:
        about = self.summary
        return (
            f"{self.name}: test accuracy {numbers.share(about['test_accuracy'], about['images'])}, mean SI "
            f"{numbers.si(about['mean_si'])} (null {numbers.si(about['null_mean'])}), {about['units']:,} units in "
            f"{about['layers']} layers"
        )


@dataclass(frozen=True, repr=False)
class Ablation(Result):
    """What silencing units does to the accuracy; `details` has all of it, as `selviz ablate --json` prints it."""

    run: Run
    units: Mapping[str, list[int]]
    mode: str
    images: int
    accuracy_before: float
    accuracy_after: float
    mcnemar_p: float
    random: tuple[float, ...]  # accuracies after silencing as many random units of the same layers
    matched: tuple[float, ...]  # the same of units with nearly the same mean activation
    details: Mapping[str, Any] = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per class: images, before, after, and the change with its interval."""
        return pd.DataFrame(self.details["per_class"])

    def figure(self, *, dark: bool = False) -> "go.Figure":
        table = self.to_pandas()
        return _figures().ablation.before_and_after(table.assign(class_index=range(len(table))), dark)

    def sentence(self) -> str:
        count = sum(len(one) for one in self.units.values())
        change = numbers.points(self.accuracy_after - self.accuracy_before)
        text = (
            f"without {numbers.counted(count, 'unit')} of {self.run.name} accuracy goes from "
            f"{numbers.percent(self.accuracy_before)} to {numbers.share(self.accuracy_after, self.images)}, {change} "
            f"({numbers.p_value(self.mcnemar_p)})"
        )
        for what, drawn in (("random", self.random), ("matched", self.matched)):
            if drawn:
                text += f"; median of {len(drawn)} {what} sets {numbers.percent(float(np.median(drawn)))}"
        return text


@dataclass(frozen=True, repr=False)
class Curves(Result):
    """Accuracy while more and more units are silenced, by a metric and in random orders; `areas` under the curves."""

    run: Run
    metric: str
    areas: pd.DataFrame = field(compare=False)
    table: pd.DataFrame = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per layer, order and step."""
        return self.table

    def figure(self, layer: str | None = None, *, dark: bool = False) -> "go.Figure":
        """Return the curves of one layer (default: the last one measured)."""
        layers = list(dict.fromkeys(self.table["layer"]))
        if layer is not None and layer not in layers:
            raise SelvizError(f"There are no curves of {layer!r} here; there are those of {', '.join(layers)}.")
        return _figures().ablation.removal_curves(self.table[self.table["layer"] == (layer or layers[-1])], dark)

    def sentence(self) -> str:
        layers = self.areas["layer"].nunique()
        return f"curves of {self.run.name} by {self.metric}, for {numbers.counted(layers, 'layer')}"


@dataclass(frozen=True, repr=False)
class Atlas(Result):
    """What silencing every single unit does."""

    run: Run
    table: pd.DataFrame = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per unit: accuracy before and after, change of the loss, and its estimate."""
        return self.table

    def figure(self, layer: str | None = None, *, dark: bool = False) -> "go.Figure":
        """Return the effects of a layer's units (default: the last layer) on each class."""
        layers = list(dict.fromkeys(self.table["layer"]))
        effects = self.run.store.atlas_classes(self.run.name, layer or layers[-1])
        effects = effects.assign(
            value=100 * effects["change"],
            told=[f"unit {unit}, {name}: {numbers.points(change)}" for unit, name, change in
                  zip(effects["unit"], effects["class"], effects["change"], strict=True)],
        )  # fmt: skip
        return _figures().ablation.atlas_map(effects, "change, points", dark)

    def sentence(self) -> str:
        drop = self.table["before"] - self.table["after"]
        worst = self.table.iloc[int(np.argmax(drop))]
        return (
            f"{len(self.table):,} units of {self.run.name} silenced one by one: most is lost with unit "
            f"{int(worst['unit'])} of {worst['layer']}, {numbers.points(-float(drop.max()))}"
        )


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """Which pixels of an image a unit or a class's logit comes from: `map` [H, W], `values` [C, H, W]."""

    run: Run
    image: int
    method: str
    layer: str | None
    unit: int | None
    label: str | None
    map: np.ndarray = field(compare=False)
    values: np.ndarray = field(compare=False)
    details: Mapping[str, Any] = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per pixel: y, x, value."""
        y, x = np.indices(self.map.shape)
        return pd.DataFrame({"y": y.ravel(), "x": x.ravel(), "value": self.map.ravel()})

    def figure(self, *, dark: bool = False) -> "go.Figure":
        return _figures().attribution.pixel_map(self.map, dark)

    def sentence(self) -> str:
        target = f"unit {self.unit} of {self.layer}" if self.unit is not None else f"the logit of {self.label}"
        return f"{self.method} of {target} on image {self.image} of {self.run.name}: sum {self.map.sum():.3g}"


@dataclass(frozen=True, repr=False)
class Claim(Result):
    """A registered claim; `selviz.test(claim)` gives its verdict."""

    key: str
    template: str
    statement: str
    confirmatory: bool
    record: Mapping[str, Any] = field(compare=False)
    store: Store = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per part of the registration that is a sentence."""
        names = ("statement", "quantity", "direction", "refuted", "controls", "statistic", "sample")
        return pd.DataFrame({"part": names, "text": [str(self.record[name]) for name in names]})

    def figure(self, *, dark: bool = False) -> "go.Figure":
        """Return how likely its test is to support it, by how large the effect really is."""
        from selviz.hypotheses.power import CURVE_DRAWS
        from selviz.hypotheses.templates import TEMPLATES

        power = self.record["power"]
        table = pd.DataFrame(power["curve"], columns=["effect", "power"]).assign(draws=CURVE_DRAWS)
        expected = pd.DataFrame([{name: power[name] for name in ("effect", "power", "draws")}])
        table = pd.concat([table, expected]).sort_values("effect", ignore_index=True)
        return _figures().hypotheses.power_curve(table, power["smallest"], TEMPLATES[self.template].about.unit, dark)

    def sentence(self) -> str:
        return f"{self.key}, {'confirmatory' if self.confirmatory else 'exploratory'}: {self.statement}"


@dataclass(frozen=True, repr=False)
class Verdict(Result):
    """What a test of a registered claim found: `verdict` is one of the four in `docs/hypotheses.md`."""

    claim: Claim
    verdict: str
    p: float
    record: Mapping[str, Any] = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per part of the test: effect, interval, p."""
        return pd.DataFrame(self.record["parts"]).drop(columns="null", errors="ignore")

    def figure(self, *, dark: bool = False) -> "go.Figure":
        from selviz.hypotheses.templates import TEMPLATES

        unit = TEMPLATES[self.claim.template].about.unit
        return _figures().hypotheses.effects(pd.DataFrame(self.record["parts"]), unit, dark)

    def report(self, path: str | Path) -> Path:
        """Write the claim, its verdict and what it rests on as a page of its own; return its path."""
        from selviz.hypotheses.report import html_report

        target = Path(path)
        text = html_report(self.claim.store, self.claim.key)
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SelvizError(
                f"Cannot write {target} ({error.strerror}); name a file in a folder that exists."
            ) from None
        return target

    def sentence(self) -> str:
        return f"{self.claim.key} is {self.verdict} ({numbers.p_value(self.p)}): {self.claim.statement}"


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """The runs of a grid of settings."""

    runs: tuple[Run, ...]
    table: pd.DataFrame = field(compare=False)
    store: Store = field(compare=False)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run: settings, state, accuracy, mean SI."""
        return self.table

    def figure(self, *, dark: bool = False) -> "go.Figure":
        names = {run.name for run in self.runs}
        runs = self.store.runs()
        return _figures().runs.accuracy_against_si(runs[runs["run"].isin(names)], "mean_si", dark)

    def sentence(self) -> str:
        return f"{numbers.counted(len(self.runs), 'finished run')} of {len(self.table)}"


@dataclass(frozen=True, repr=False)
class Published(Result):
    """A run's static site: open `index` in a browser, or put `folder` on any web host."""

    folder: Path
    units: int
    files: int
    bytes: int
    run: Run

    @property
    def index(self) -> Path:
        """Return the site's first page."""
        return self.folder / "index.html"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per file of the site: its path below `folder`, and its bytes."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        rows = [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in files]
        return pd.DataFrame(rows, columns=["file", "bytes"])

    def figure(self, *, dark: bool = False) -> "go.Figure":
        return self.run.figure(dark=dark)

    def sentence(self) -> str:
        size = f"{self.files:,} files, {self.bytes / 1e6:.1f} MB"
        return f"{self.run.name} with a page for each of {self.units:,} units ({size}): {self.index}"
