"""A claim of one's own: a comparison of groups of rows of a stored table, or a rank correlation of two columns."""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from selviz import statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import decision, name_lookup, option_parsing, simulating, words, yaml_claims
from selviz.hypotheses.decision import Part
from selviz.hypotheses.template import About, Resolved, Work
from selviz.store import TABLES, Store, stage_is_whole
from selviz.store.schema import stages_read


def say(s: Mapping) -> dict[str, str]:
    if s["statistic"] == "rank correlation":
        quantity = f"Spearman's correlation of {s['measure']} with {s['with']} in the table {s['table']}"
        controls, more = f"{s['permutations']} random orders of {s['with']}", s["direction"]
    else:
        quantity = f"mean of {s['measure']} in the table {s['table']} where {words.conditions(s['group'])}"
        controls = f"the rows where {words.conditions(s['control'])}"
        more = "higher" if s["direction"] == "greater" else "lower"
    return {
        "statement": s["claim"],
        "quantity": quantity,
        "direction": f"{more}, by {s['smallest']:g} or more",
        "refuted": words.refuted(s, "the effect in that direction", lambda x: f"{x:g}"),
        "controls": controls,
        "statistic": f"permutation test, {s['statistic']}",
        "sample": f"rows of {words.listed(s['runs'])}"
        + (f" where {words.conditions(s['where'])}" if s["where"] else "")
        + "; rows are taken as independent",
    }


def resolve(store: Store, asked: Mapping, common: Mapping) -> Resolved:
    if "yaml" not in asked:
        raise SelvizError("A claim of one's own needs a YAML file: --file claim.yaml (docs/hypotheses.md).")
    level = common["level"]
    settings = yaml_claims.read_own(asked["yaml"])
    if settings["table"] not in TABLES:
        raise unknown("table", settings["table"], list(TABLES))
    runs = [name_lookup.run_of(store, name) for name in settings["runs"]]
    smallest = option_parsing.smallest(asked.get("smallest", settings["smallest"]))
    settings |= {
        "runs": runs,
        "smallest": smallest,
    }
    settings |= common
    settings["of"] = f"rows of {settings['table']}"
    stages = [stage for stage in stages_read(settings["table"]) if stage != "images"]
    there = [run for run in runs if all(stage_is_whole(store.run_path(run), stage) for stage in stages)]
    facts = {"assumed": True, "first": 30, "second": 30, "spread": 1.0}
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
                f"With {len(first)} rows{'' if settings['statistic'] == 'rank correlation' else f' and {len(second)}'} "
                f"the smallest possible p is {smallest_p:.3g}, above the corrected level {level:.3g}; take more rows."
            )
    stored = [f"the table {settings['table']} of {run}" for run in there]
    return Resolved(settings, runs, facts, stored, "")


def measure(store: Store, settings: Mapping, work: Work) -> dict:
    """The rows of a claim of one's own."""
    return rows(store, settings)


def judge(sample: Mapping, settings: Mapping) -> list[Part]:
    """A claim of one's own: a difference of means or a rank correlation."""
    return (
        _differs(sample, settings)
        if settings["statistic"] == "difference of means"
        else decision.correlates(sample, settings)
    )


def details(settings: Mapping, sample: Mapping, parts: list[Part]) -> dict:
    return {}  # the parts have it all


def simulate(generator, settings: Mapping, facts: Mapping, effect: float) -> dict:
    if settings["statistic"] == "rank correlation":
        return simulating.correlated(generator, settings, facts, effect)
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group = generator.normal(sign * effect, facts["spread"], facts["first"])
    return {"group": group, "control": generator.normal(0, facts["spread"], facts["second"])}


def rows(store: Store, settings: Mapping) -> dict:
    """{"group", "control"} or {"first", "second"}: numbers from the stored table of all runs that are named."""
    table = settings["table"]
    if table not in TABLES or table == "activations":
        raise SelvizError(f"The table {table} cannot be used in a claim; see: selviz sql --help")
    frame = pd.concat([store.table(run, table).assign(run=run) for run in settings["runs"]], ignore_index=True)
    frame = frame[yaml_claims.rows(frame, settings["where"])]
    if settings["statistic"] == "rank correlation":
        pair = frame[[_numeric(frame, settings[name]) for name in ("with", "measure")]].dropna()
        first, second = (pair[settings[name]].to_numpy(float) for name in ("with", "measure"))
        if len(first) < 4 or not np.ptp(first) or not np.ptp(second):
            raise SelvizError(
                f"A rank correlation needs at least 4 rows that vary in both columns; {len(first)} are left."
            )
        return {"first": first, "second": second}
    measure = frame[_numeric(frame, settings["measure"])].to_numpy(float)
    kept_rows = {name: yaml_claims.rows(frame, settings[name]) & ~np.isnan(measure) for name in ("group", "control")}
    if (kept_rows["group"] & kept_rows["control"]).any():
        raise SelvizError(
            "Some rows are in the group and in the control group; make the conditions exclude each other."
        )
    sample = {name: measure[rows] for name, rows in kept_rows.items()}
    if min(map(len, sample.values())) < 2:
        raise SelvizError(
            f"The group has {len(sample['group'])} rows and the control group {len(sample['control'])}; both need 2."
        )
    return sample


def _numeric(frame: pd.DataFrame, column: str) -> str:
    numbers = frame.select_dtypes(["number", "bool"]).columns.tolist()
    if column not in numbers:
        raise unknown("column of numbers", column, numbers)
    return column


def _differs(sample: Mapping, settings: Mapping) -> list[Part]:
    """`group` and `control`: a measure of two groups of rows; their difference of means in the claim's direction."""
    sign = -1.0 if settings["direction"] == "less" else 1.0
    group, control = sign * np.asarray(sample["group"], float), sign * np.asarray(sample["control"], float)
    effect, low, high, _ = statistics.welch(group, control, 0.0, decision.confidence(settings["level"]))
    everything, ways = np.concatenate([group, control]), math.comb(len(group) + len(control), len(group))
    if exact := ways <= decision.MOST_EXACT:
        sums = np.array(
            [everything[list(rows)].sum() for rows in itertools.combinations(range(len(everything)), len(group))]
        )
    else:
        generator = np.random.default_rng(settings["seed"])
        orders = (generator.permutation(everything) for _ in range(settings["permutations"]))
        sums = np.array([order[: len(group)].sum() for order in orders])
    null = sums / len(group) - (everything.sum() - sums) / len(control)
    p, smallest = decision.permutation_p(effect, null, exact)
    how = "all" if exact else "random"
    return [
        Part(
            "difference of means",
            f"permutation of the groups, {len(null):,} ({how}) orders, one-sided; interval by Welch's t",
            effect, low, high, p, smallest, effect, null.tolist(), 0.0, settings["smallest"],
            len(everything), settings.get("of", "rows"),
        )
    ]  # fmt: skip


ABOUT = About(
    title="A claim of one's own",
    options=(("file", True, "a YAML file: table, measure, groups, statistic (docs/hypotheses.md)"),),
    smallest=0.0,
    unit="",
    told="the measure is normal",
    baselines="a control group of rows, or random orders",
    intervenes="",
)
