"""What the terminal shows: `print(table(frame))`, `print(as_json(result))`, `with Progress() as report: ...`.

Numbers are worded as on the dashboard's pages: 96.1 % ± 0.6 (1,000 images), -3.2 points, p = 0.004.
"""

import datetime
import json
import math
import numbers
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np
import pandas as pd

from selviz.text import numbers as number_text
from selviz.text.numbers import p_value, share


def plain(value: object) -> object:
    """Return `value` with tables as lists of row objects and numpy's types as Python's; NaN and infinities become
    None.
    """
    if isinstance(value, pd.DataFrame):
        names, columns = list(value.columns), [value.iloc[:, i].tolist() for i in range(value.shape[1])]
        return [dict(zip(names, map(plain, row), strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | pd.Series):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if isinstance(value, str) else str(value)


def as_json(value: object) -> str:
    """Return one JSON document (RFC 8259: no NaN); what stdout cannot print is escaped."""
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(plain(value), indent=2, ensure_ascii=not readable, allow_nan=False)


def points(difference: float) -> str:
    """Return `-3.2 points` for a difference of two accuracies of 0..1; its minus is one that a shell understands."""
    return number_text.points(difference).replace(number_text.MINUS, "-")


def robustness_text(result: Mapping[str, Any]) -> str:
    """Return what `robustness.run_robustness` found: mean corruption accuracy, then the accuracy at each level."""
    settings = result["settings"]
    clean = settings[settings["kind"] == "clean"].iloc[0]
    lines = [f"{result['run']}: clean {share(clean['accuracy'], int(clean['images']))}"]
    for row in result["summary"].to_dict("records"):
        if row["family"] == "all":
            width = 50 * (row["high"] - row["low"])
            lines.append(
                f"mean corruption accuracy {100 * row['accuracy']:.1f} % ± {width:.1f} over {row['corruptions']} "
                f"corruptions x {row['severities']} severities ({row['kind']}), {100 * row['relative']:.1f} % of clean"
            )
    lines += corruption_error_lines(result) if "corruption_error" in result else []
    if len(families := result["summary"].query("family != 'all'")):
        shares = {
            "accuracy, %": [
                f"{100 * middle:.1f} ({100 * low:.1f} to {100 * high:.1f})"
                for middle, low, high in zip(families["accuracy"], families["low"], families["high"])
            ],
            "of clean, %": (100 * families["relative"].astype(float)).round(1).tolist(),
        }
        lines += ["", "mean accuracy by family, with 95 % interval for new images"]
        lines.append(table(families[["kind", "family", "corruptions", "severities"]].assign(**shares)))
    wide = settings[settings["kind"] != "clean"]
    for kind, title in (
        ("corruption", "severity"),
        ("corruption_cifar", "severity (constants of CIFAR-10-C)"),
        ("stored", "severity (stored images)"),
        ("attack", "epsilon / 255"),
    ):
        part = wide[wide["kind"] == kind]
        if part.empty:
            continue
        grid = (100 * part.pivot(index="name", columns="level", values="accuracy")).round(1)
        grid.columns = [f"{level:g}" for level in grid.columns]
        lines += ["", f"accuracy, %, by {title}", table(grid.reset_index())]
    if (settings["kind"] == "attack").any() and "masking" in result:
        lines += ["", result["masking"].replace(number_text.MINUS, "-")]
    return "\n".join(lines)


def corruption_error_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the mean corruption error of a run relative to its baseline, and that of its family over seeds, as lines;
    of a `corruption_error` (see `selviz.studies.corruption_error`) that is not defined the line says why.
    """
    errors = result["corruption_error"]
    lines = []
    for row in errors[errors["run"] == result["run"]].to_dict("records"):
        if not math.isnan(row["above_chance"]):
            low, high = 100 * row["above_chance_low"], 100 * row["above_chance_high"]
            lines.append(
                f"{100 * row['above_chance']:.1f} % of the clean accuracy above chance is left ({low:.1f} "
                f"to {high:.1f})"
            )
        if row["why"]:
            lines.append(f"mean corruption error: {row['why']}")
        elif row["baseline"] == row["run"]:
            lines.append("mean corruption error 100 %: this network is the baseline")
        else:
            lines.append(
                f"mean corruption error {100 * row['mce']:.1f} % of that of {row['baseline']} "
                f"({100 * row['mce_low']:.1f} to {100 * row['mce_high']:.1f} for new images), mean over "
                f"{row['corruptions']} corruptions"
            )
    seeds = result["corruption_error_over_seeds"]
    seeds = seeds[(seeds["measure"] == "mce") & (seeds["alpha"] != 0)]
    if len(seeds):
        told = {
            "mCE, %": [
                f"{100 * row.mean:.1f}"
                + ("" if math.isnan(row.low) else f" ({100 * row.low:.1f} to {100 * row.high:.1f})")
                for row in seeds.itertuples(index=False)
            ]
        }
        lines += [
            "",
            "mean corruption error by alpha, each network beside the baseline of its seed; interval over seeds",
        ]
        lines.append(table(seeds[["alpha", "n"]].assign(**told)))
    return lines


def cell(value: object, digits: int = 3) -> str:
    """Return one value in a table; what is missing is a dash, so that it is not taken for zero."""
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 and digits == 0 else f"{value:.{digits}f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def table(frame: pd.DataFrame, columns: Sequence[str] | None = None, width: int | None = None) -> str:
    """Return `frame` as aligned text: numbers to the right, words to the left; of `columns`, those that it has."""
    names = [name for name in columns if name in frame.columns] if columns else list(frame.columns)
    lines = []
    parts = []
    for position, name in enumerate(names):
        column = frame[name] if columns else frame.iloc[:, position]
        cells = [str(name), *_cells(column)]
        widest = max(map(len, cells))
        right = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        parts.append([text.rjust(widest) if right else text.ljust(widest) for text in cells])
    width = terminal_width(sys.stdout) if width is None else width
    shown = _columns_that_fit([len(cells[0]) for cells in parts], width)
    for row in zip(*parts[:shown], strict=True):
        lines.append("  ".join(row).rstrip())
    if shown < len(names):
        lines.append(f"(not shown at this width: {', '.join(map(str, names[shown:]))}; all are in --json)")
    return "\n".join(lines)


def terminal_width(stream: TextIO) -> int:
    """Return how many characters a line of the terminal has; of a file or a pipe, more than any line."""
    return shutil.get_terminal_size().columns if stream.isatty() else sys.maxsize


def _columns_that_fit(widths: Sequence[int], width: int) -> int:
    """Return how many columns, two spaces apart, stand in a line; at least one."""
    taken = [sum(widths[: number + 1]) + 2 * number for number in range(len(widths))]
    return max(1, sum(end <= width for end in taken)) if widths else 0


def _cells(column: pd.Series) -> list[str]:
    values = column.tolist()
    present = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if present and len(present) == sum(plain(value) is not None for value in values):
        if all(value == int(value) for value in present):  # whole numbers that a missing one turned into floats
            return ["-" if plain(value) is None else cell(int(value)) for value in values]
        if max(map(abs, present)) < 0.001 or max(map(abs, present)) >= 1e6:
            return ["-" if plain(value) is None else f"{value:.3g}" for value in values]
    return [cell(value) for value in values]


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return a finished run in one line."""
    return (
        f"{summary['run']}: test accuracy {share(summary['test_accuracy'], summary['images'])}, "
        f"mean SI {summary['mean_si']:.2f} ({summary['mean_si_live']:.2f} without dead units), "
        f"null {summary['null_mean']:.2f}"
    )


def ablation_text(result: Mapping[str, Any]) -> str:
    """Return what `interventions.run_ablation` found: before, after, change, random sets, and the table by class."""
    before, after, images = result["accuracy_before"], result["accuracy_after"], result["images"]
    where = "folds 0 and 1" if result["fold"] is None else f"fold {result['fold']}"
    lines = [
        f"before  {share(before, images)}, {where}",
        f"after   {share(after, images)}",
        f"change  {points(after - before)}, {result['lost']} images lost and {result['gained']} gained "
        f"(exact McNemar test: {p_value(result['mcnemar_p'])})",
    ]
    control = result["control"]
    if drawn := sorted(100 * value for value in control["accuracies"]):
        lines += [
            f"random  {pd.Series(drawn).median():.1f} %, {drawn[0]:.1f} to {drawn[-1]:.1f}, after silencing as many "
            f"random units of the same layers (median and range of {len(drawn)} draws);",
            f"        {100 * control['quantile']:.0f} % of the draws do more damage than the chosen units",
        ]
    matched = result["matched"]
    if drawn := sorted(100 * value for value in matched["accuracies"]):
        lines += [
            f"matched {pd.Series(drawn).median():.1f} %, {drawn[0]:.1f} to {drawn[-1]:.1f}, after silencing as many "
            f"other units with nearly the same mean activation ({len(drawn)} draws);",
            f"        {100 * matched['quantile']:.0f} % of the draws do more damage than the chosen units",
        ]
    elif "reason" in matched:
        lines.append(f"matched none: {matched['reason']}")
    classes = pd.DataFrame(result["per_class"])
    return "\n".join([*lines, "", table(classes, ["class", "images", "before", "after", "after_low", "after_high"])])


def areas_text(areas: pd.DataFrame, label: str = "layer") -> str:
    """Return the areas under the curves that `interventions.run_curves` found, one line a layer, random orders as
    a range.
    """
    rows = []
    for layer, part in areas.groupby(label, sort=False):
        by_direction = {direction: curves["area"] for direction, curves in part.groupby("direction")}
        random = by_direction["random"]
        rows.append(
            {
                label: layer,
                **{name: float(by_direction[name].iloc[0]) for name in ("descending", "ascending")},
                "random_mean": float(random.mean()),
                "random_low": float(random.min()),
                "random_high": float(random.max()),
            }
        )
    metric = areas["metric"].iloc[0]
    heading = f"mean accuracy while units are silenced in order of {metric} (ranked on fold 0, measured on fold 1)"
    return f"{heading}\n{table(pd.DataFrame(rows))}"


def early_text(areas: pd.DataFrame) -> str:
    """Return the areas under the curves that `early.run_early` found, one line an epoch."""
    return areas_text(areas, "epoch")


def agreement_text(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the rank correlations of `unit_metrics.agreement`, a table a layer."""
    parts = []
    for layer, matrix in tables.items():
        heading = f"{layer}: Spearman's rank correlation over {matrix.attrs['units']} live units"
        parts.append(f"{heading}\n{table(matrix.rename_axis('metric').reset_index())}")
    return "\n\n".join(parts)


def basis_text(frame: pd.DataFrame, baselines: Sequence[str]) -> str:
    """Return what `selviz basis` found, a line a run and layer, and what its columns are."""
    columns = "run layer pwcca null_pwcca ratio cka null_cka unit_si rotation_si found_si found_null".split()
    lines = [table(frame, columns)]
    if baselines:
        lines.append(
            f"pwcca: distance to {len(baselines)} baselines, those of the run's own seed left out; null: the same "
            "between baselines. A ratio of 1: no farther from them than they are from each other."
        )
    if "found_si" in frame:
        lines.append(
            "mean SI on fold 1 of the live units, of random rotations, and of the best linear map found on fold 0: a "
            "lower bound of the largest there is. Beside it, what that map gives under shuffled labels."
        )
    return "\n\n".join(lines)


def attribution_text(result: Mapping[str, Any]) -> str:
    """Return what `explanations.explain` found: the target, the map as shades, how complete and how faithful it is."""
    named = [f"{result['layer']} unit {result['unit']}"] if result["layer"] else []
    named += [f"class {result['class']}"] if result["class"] is not None else []
    target = " by way of ".join(reversed(named))
    options = ", ".join(f"{name} {value}" for name, value in result["parameters"].items())
    method = f"{result['method']} ({options})" if options else result["method"]
    lines = [
        f"{target} on image {result['image']} of {result['run']}, {method}, against a {result['baseline']} image",
        f"target    {result['value']:.4g} on the image, {result['baseline_value']:.4g} on the {result['baseline']} one",
    ]
    if result["delta"] is not None:
        lines.append(f"sum       {result['sum']:.4g}; it misses the change by {result['delta']:.2g}")
    for name in ("deletion", "insertion"):
        part = result[name]
        lines.append(
            f"{name:<9} {part['area']:.4g} under the curve; {len(part['random_areas'])} random orders have "
            f"{min(part['random_areas']):.4g} to {max(part['random_areas']):.4g}"
        )
    share = result["infidelity_share"]
    lines.append(f"infidelity {share:.2f} of that of an empty map" if math.isfinite(share) else "infidelity -")
    if result["sanity"] is None:
        lines.append("sanity    not checked for this method and layer: selviz sanity")
    else:
        last = result["sanity"].iloc[-1]
        lines.append(
            f"sanity    rank correlation {last['rank_correlation']:.2f} with the method's maps once all weights are "
            f"random ({int(last['images'])} images)"
        )
    return "\n".join([*lines, "", _shades(result["map"])])


def _shades(map_: np.ndarray, width: int = 48) -> str:
    """Return the map as characters, `+` shades where it is above 0 and `-` shades below, at most `width` a line."""
    step = -(-map_.shape[1] // width)
    map_ = map_[::step, ::step]
    top = float(np.abs(map_).max()) or 1.0
    shades = {True: " .:+#@", False: " ,;-=%"}
    return "\n".join("".join(shades[v >= 0][min(5, round(5 * abs(v) / top))] for v in row) for row in map_)


class Progress:
    """Progress on stderr, fed with the news of `selviz.runs.train`: {"run", "stage", ...} and what the stage adds.

    A bar on a terminal; elsewhere (a log file) one line for each stage and epoch.
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.title: str | None = None
        self.words = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        title = f"{event.get('run', '')} {event.get('stage', '')}".strip()
        changed, self.title = title != self.title, title
        done, total = _position(event)
        measured = [f"{name} {event[name]:.3f}" for name in ("loss", "test_accuracy", "mean_si") if name in event]
        if "layer" in event:
            measured += [event["layer"], *([f"{done} of {total}"] if total and not sys.stderr.isatty() else [])]
        if "epochs" in event and "epoch" in event:
            measured.insert(0, f"epoch {event['epoch']}/{event['epochs']}")
        before, self.words = self.words, ", ".join(measured) or self.words
        if not sys.stderr.isatty():
            if changed or "test_accuracy" in event or ("layer" in event and self.words != before):
                print(f"{title}: {', '.join(measured)}" if measured else title, file=sys.stderr, flush=True)
            return
        if changed:
            self.__exit__()
            if event.get("stage") != "finished":
                self._new_bar(title, leave=event.get("stage") == "training")
        if self.bar is not None:
            self.bar.set_postfix_str(self.words, refresh=False)
            self.bar.update(max(0.0, done / total - self.bar.n) if total else 0)

    def _new_bar(self, title: str, leave: bool) -> None:
        from tqdm import tqdm

        shape = "{desc} {percentage:3.0f} %|{bar:20}| {elapsed}, {remaining} left{postfix}"
        self.words = ""
        self.bar = tqdm(total=1.0, desc=title, file=sys.stderr, bar_format=shape, leave=leave, dynamic_ncols=True)


SWEEP_COLUMNS = "run state epoch epochs loss accuracy mean_si dead".split()
SWEEP_ROWS = 12
SWEEP_NUMBERS = 58  # characters of its other columns
SHORTEST_RUN = 16


def sweep_text(
    rows: Sequence[Mapping[Any, Any]], left: float | None = None, max_rows: int | None = None, width: int | None = None
) -> str:
    """Return how far a sweep is: one line, and a table of its runs (rows of `sweep.run_status`).

    With `max_rows`, only so many are listed: those that failed, are running, or wait, in this order. With `width`,
    names of runs are shortened in the middle, and every line is cut there.
    """
    count = {state: sum(row["state"] == state for row in rows) for state in ("finished", "running", "failed")}
    heading = f"{count['finished']} of {len(rows)} runs finished"
    heading += "".join(f", {count[state]} {state}" for state in ("running", "failed") if count[state])
    heading += f"; about {duration(left)} left" if left else ""
    order = ("failed", "running", "unfinished", "waiting", "finished")
    listed = list(rows) if max_rows is None else sorted(rows, key=lambda row: order.index(row["state"]))[:max_rows]
    reasons = [f"{row['run']}: {row['reason']}" for row in listed if row["reason"]]
    if width is None:
        return "\n".join([heading, table(pd.DataFrame(listed), SWEEP_COLUMNS), *reasons])
    room = max(SHORTEST_RUN, width - SWEEP_NUMBERS)
    lines = table(pd.DataFrame([{**row, "run": middle(row["run"], room)} for row in listed]), SWEEP_COLUMNS, width)
    return "\n".join(line[:width] for line in "\n".join([heading, lines, *reasons]).splitlines())


def middle(text: str, room: int) -> str:
    """Return `text` with its middle left out where it is longer than `room` characters."""
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[len(text) - end :]}"


def duration(seconds: float) -> str:
    """Return `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class SweepProgress:
    """Progress of a sweep on stderr, fed with {"runs": rows, "left": seconds}.

    A table that is redrawn on a terminal; elsewhere (a log file) one line for each run that ends.
    """

    def __init__(self) -> None:
        self.drawn = 0
        self.ended: set[str] | None = None

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Mapping[str, Any]) -> None:
        rows, left = event["runs"], event["left"]
        if sys.stderr.isatty():
            text = sweep_text(rows, left, SWEEP_ROWS, terminal_width(sys.stderr) - 1)
            up = f"\x1b[{self.drawn}F" if self.drawn else ""
            print(f"{up}\x1b[J{text}", file=sys.stderr, flush=True)
            self.drawn = text.count("\n") + 1
            return
        ended = {row["run"]: row for row in rows if row["state"] in ("finished", "failed")}
        for run, row in ended.items():
            if self.ended is not None and run not in self.ended:
                label = f"accuracy {row['accuracy']:.3f}" if row["accuracy"] is not None else row["reason"]
                after = f", about {duration(left)} left" if left else ""
                print(
                    f"{run} {row['state']}: {label} ({len(ended)} of {len(rows)}{after})", file=sys.stderr, flush=True
                )
        self.ended = set(ended)


def _position(event: Mapping[str, Any]) -> tuple[float, float]:
    """Return how far a stage is: (done, total); (0, 0) where the news do not say."""
    for name in ("done", "draw"):
        if name in event and "of" in event:
            return event[name], event["of"]
    if "images" in event and "of" in event:
        return event["images"], event["of"]
    if "epoch" in event and "epochs" in event:
        part = event["step"] / event["steps"] if event.get("steps") else 1
        return event["epoch"] - 1 + part, event["epochs"]
    return 0, 0
