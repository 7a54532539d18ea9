"""A claim of one's own: a comparison of groups of rows of a stored table, or a rank correlation of two columns."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, template, yaml_claims
from selviz.hypotheses.decision import Part, part
from selviz.hypotheses.template import About, Facts, Resolved, Sample, Settings, Work
from selviz.store import TABLES, Store, stage_is_whole
from selviz.store.schema import stages_read


def say(s: Settings) -> dict[str, str]:
    """Say the claim in words."""
    if s["statistic"] == "rank correlation":
        quantity = f"Spearman's correlation of {s['measure']} with {s['with']} in the table {s['table']}"
        controls, more = f"{s['permutations']} random orders of {s['with']}", s["direction"]
    else:
        quantity = f"mean of {s['measure']} in the table {s['table']} where {yaml_claims.words(s['group'])}"
        controls = f"the rows where {yaml_claims.words(s['control'])}"
        more = "higher" if s["direction"] == "greater" else "lower"
    unit = "each row is taken as independent of the others"
    if s["independent"] != yaml_claims.ROWS:
        unit = f"what is independent is {s['independent']}: rows that share it are averaged"
    return {
        "statement": f"{s['claim'].rstrip('.')} (by {s['smallest']:g} or more).",
        "quantity": quantity,
        "direction": f"{more}, by {s['smallest']:g} or more",
        "refuted": template.refuted(s, "the effect in that direction", lambda x: f"{x:g}"),
        "controls": controls,
        "statistic": f"permutation test, {s['statistic']}",
        "sample": f"rows of {template.listed(s['runs'])}"
        + (f" where {yaml_claims.words(s['where'])}" if s["where"] else "")
        + f"; {unit}",
    }


def resolve(store: Store, requested: Mapping[str, Any], common: Mapping[str, Any]) -> Resolved:
    """Return the claim as it is registered."""
    if "yaml" not in requested:
        raise SelvizError("A claim of one's own needs a YAML file: --file claim.yaml (docs/hypotheses.md).")
    level = common["level"]
    settings = yaml_claims.read_own(requested["yaml"])
    if settings["table"] not in TABLES:
        raise unknown("table", settings["table"], list(TABLES))
    runs = [name_lookup.run_of(store, name) for name in settings["runs"]]
    smallest = option_parsing.smallest(requested.get("smallest", settings["smallest"]))
    settings |= {"runs": runs, "smallest": smallest, **common, "fold": 1}
    settings["smallest"] = smallest
    rows_text = f"rows of {settings['table']}"
    independent = settings["independent"]
    settings["of"] = rows_text if independent == yaml_claims.ROWS else f"means by {independent}"
    stages = [stage for stage in stages_read(settings["table"]) if stage != "images"]
    there = [run for run in runs if all(stage_is_whole(store.run_path(run), stage) for stage in stages)]
    facts: dict[str, Any] = {"assumed": True, "first": 30, "second": 30, "spread": 1.0}
    if len(there) == len(runs):
        sample = rows(store, settings)
        first, second = (sample[name] for name in (("first", "second") if "first" in sample else ("group", "control")))
        if settings["statistic"] == "rank correlation":
            smallest_p = 1 / math.factorial(len(first)) if len(first) <= 7 else 1 / (settings["permutations"] + 1)
            facts = {"assumed": False, "first": len(first)}
        else:
            smallest_p = max(1 / (settings["permutations"] + 1), 1 / math.comb(len(first) + len(second), len(first)))
            # The groups' own spread, without the difference between them, which is what is asked.
            spread = math.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
            facts = {"assumed": False, "first": len(first), "second": len(second), "spread": float(spread) or 1e-9}
        if smallest_p > level:
            raise SelvizError(
                f"With {len(first)} {settings['of']}"
                f"{'' if settings['statistic'] == 'rank correlation' else f' and {len(second)}'} the smallest possible "
                f"p is {smallest_p:.3g}, above the corrected level {level:.3g}; take more of them."
            )
    stored = [f"the table {settings['table']} of {run}" for run in there]
    return Resolved(settings, runs, facts, stored, "")


def measure(store: Store, settings: Settings, work: Work) -> Sample:
    """Return the rows of a claim of one's own."""
    return rows(store, settings)


def judge(sample: Sample, settings: Settings) -> list[Part]:
    """Judge a difference of means or a rank correlation."""
    if settings["statistic"] == "difference of means":
        return _differs(sample, settings)
    return decision.correlates(sample, settings)


def details(settings: Settings, sample: Sample, parts: Sequence[Part]) -> dict[str, Any]:
    """Return nothing: the parts have it all."""
    return {}


def simulate(generator: np.random.Generator, settings: Settings, facts: Facts, effect: float) -> Sample:
    """Return a sample of normal numbers with that effect."""
    if settings["statistic"] == "rank correlation":
        return template.correlated(generator, settings, facts, effect)
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group = generator.normal(sign * effect, facts["spread"], facts["first"])
    return {"group": group, "control": generator.normal(0, facts["spread"], facts["second"])}


def rows(store: Store, settings: Settings) -> Sample:
    """Return {"group", "control"} or {"first", "second"}: numbers from the stored table of all runs that are named.

    Rows that share the value of the column that says what is independent are averaged first.
    """
    table = settings["table"]
    if table not in TABLES or table == "activations":
        raise SelvizError(f"The table {table} cannot be used in a claim; see: selviz sql --help")
    frame = pd.concat([store.table(run, table).assign(run=run) for run in settings["runs"]], ignore_index=True)
    frame = frame[yaml_claims.rows(frame, settings["where"])]
    independent = settings["independent"]
    if independent != yaml_claims.ROWS and independent not in frame:
        raise unknown("column", independent, list(frame.columns))

    def means(part: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        part = part.dropna(subset=columns)
        if independent == yaml_claims.ROWS:
            return part[columns].astype(float)
        return part.groupby(independent)[columns].mean().astype(float)

    if settings["statistic"] == "rank correlation":
        names = [_numeric(frame, settings[name]) for name in ("with", "measure")]
        pair = means(frame, names)
        first, second = (pair[name].to_numpy() for name in names)
        if len(first) < 4 or not np.ptp(first) or not np.ptp(second):
            raise SelvizError(
                f"A rank correlation needs at least 4 {settings['of']} that vary in both columns; {len(first)} "
                "are left."
            )
        return {"first": first, "second": second}
    name = _numeric(frame, settings["measure"])
    chosen = {side: yaml_claims.rows(frame, settings[side]) for side in ("group", "control")}
    if (chosen["group"] & chosen["control"]).any():
        raise SelvizError(
            "Some rows are in the group and in the control group; make the conditions exclude each other."
        )
    sample = {side: means(frame[inside], [name])[name].to_numpy() for side, inside in chosen.items()}
    if min(map(len, sample.values())) < 2:
        raise SelvizError(
            f"The group has {len(sample['group'])} {settings['of']} and the control group {len(sample['control'])}; "
            "both need 2."
        )
    return sample


def _numeric(frame: pd.DataFrame, column: str) -> str:
    numbers = frame.select_dtypes(["number", "bool"]).columns.tolist()
    if column not in numbers:
        raise unknown("column of numbers", column, numbers)
    return column


def _differs(sample: Sample, settings: Settings) -> list[Part]:
    """Judge `group` and `control`, a measure of two groups: their difference of means in the claim's direction."""
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group, control = sign * np.asarray(sample["group"], float), sign * np.asarray(sample["control"], float)
    estimate = statistics.welch_estimate(group, control)
    everything, ways = np.concatenate([group, control]), math.comb(len(group) + len(control), len(group))
    if exact := ways <= decision.MAX_EXACT:
        sums = np.array(
            [everything[list(chosen)].sum() for chosen in itertools.combinations(range(len(everything)), len(group))]
        )
    else:
        generator = np.random.default_rng(settings["seed"])
        orders = (generator.permutation(everything) for _ in range(settings["permutations"]))
        sums = np.array([order[: len(group)].sum() for order in orders])
    null = sums / len(group) - (everything.sum() - sums) / len(control)
    p, smallest = decision.permutation_p(estimate.effect, null, exact)
    how = "all" if exact else "random"
    return [
        part(
            "difference of means",
            f"permutation of the groups, {len(null):,} ({how}) orders, one-sided; interval by Welch's t",
            estimate, settings, n=len(everything), of=settings.get("of", "rows"), null=null, p=p, smallest_p=smallest,
        )
    ]  # fmt: skip


ABOUT = About(
    title="A claim of one's own",
    options=(("file", True, "a YAML file: table, measure, groups, statistic (docs/hypotheses.md)"),),
    smallest=0.0,
    unit="",
    model="the measure is normal",
    baselines="a control group of rows, or random orders",
    intervenes="",
    quantity="stored tables",
    subject=("table", "runs", "where", "measure", "statistic", "group", "control", "with", "direction"),
    samples="rows",
    largest=math.inf,
    reads=("capture", "metrics"),
)
