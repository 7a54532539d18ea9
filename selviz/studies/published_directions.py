"""Whether directions that Leavitt & Morcos 2020 report hold over networks: `directions(store, run)`.

Of arXiv 2007.04440: robustness to corruptions and to white-box attacks, and the dimensionality of the change under
perturbation, against selectivity. Of its successor arXiv 2010.07693: early dimensionality, that attacks raise it more
than corruptions do, and how gradients vary. Robustness is read above chance, and networks within noise of chance are
left out: they have nothing to lose.

The networks are those like one run (`families.siblings`) whose robustness and dimensionality are stored; a network
counts once. Which measure stands for a direction is selviz's own choice.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from selviz.robustness.bench import CORRUPTION
from selviz.runs.families import siblings
from selviz.statistics import correlation_interval, holm, mean_interval, rank_among, rank_correlation
from selviz.store import Store, stage_is_whole

MIN_NETWORKS, MIN_ALPHAS = 8, 3
SHUFFLES = 9999
LEVEL = 0.05
EARLY = 1 / 3  # of the depth
STAGES = ("robustness", "dimensionality")
ATTACKS = ("fgsm", "pgd")
REPRODUCED, OPPOSITE, NOT, UNTESTABLE = "reproduced", "the opposite", "not told apart", "not testable"


def measures(store: Store, run: str, kind: str = CORRUPTION) -> pd.DataFrame:
    """Return one row per network like `run` that has them stored: alpha, seed, mean SI, measures of `directions`.

    `kind` of corruptions (`robustness.bench`): with the constants of photographs or those of CIFAR-10-C.
    """
    rows = []
    for about in siblings(store.runs(), run).to_dict("records"):
        name = about["run"]
        if not all(stage_is_whole(store.run_path(name), stage) for stage in STAGES):
            continue
        row = {key: about[key] for key in ("run", "alpha", "seed", "mean_si", "mean_si_live")}
        table, images = store.robustness(name), store.images(name)
        chance = float(images["label_index"].value_counts(normalize=True).max())
        before = table[table["kind"] == "clean"].iloc[0]
        if before["low"] <= chance:
            continue
        clean = float(before["accuracy"]) - chance
        summary = store.robustness_summary(name).query("kind == @kind and family == 'all'")
        row["corruptions"] = (float(summary["accuracy"].iloc[0]) - chance) / clean if len(summary) else np.nan
        for attack in table.query("kind == 'attack' and level > 0").to_dict("records"):
            row[f"{attack['name']} {attack['level']:g}"] = (attack["accuracy"] - chance) / clean
        layers = store.dimensionality(name)
        for over, part in layers[layers["depth"] <= EARLY].groupby("over"):
            counts = part.groupby("kind")["components"].mean()
            row[f"early {over}"] = counts.get("clean", np.nan)
            for change in ("attack", "corruption"):
                row[f"change under {change}, early {over}"] = counts.get(change, np.nan)
            row[f"early {over} attack - corruption"] = counts.get("attack", np.nan) - counts.get("corruption", np.nan)
        gradients = store.gradient_variability(name)
        row["gradient over images"] = gradients["over_images"].mean()
        row["gradient over units"] = gradients["over_units"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def directions(store: Store, run: str, si: str = "mean_si_live", kind: str = CORRUPTION) -> pd.DataFrame:
    """Return one row per direction and measure: what is expected, n, effect with its 95 % interval, p, p_holm, verdict.

    The effect is Spearman's correlation with `si` over networks (permutation test, 9,999 shuffles), or, for the one
    that compares attacks with corruptions, the mean difference in components (t interval, sign-flip test). Reproduced:
    the interval lies on the expected side and p, Holm-corrected over all rows, is below 0.05. Not testable: fewer than
    8 networks or 3 alphas, a measure that is not stored, or an attack that leaves every network at or below chance.
    """
    return judged(measures(store, run, kind), si)


def judged(table: pd.DataFrame, si: str = "mean_si_live") -> pd.DataFrame:
    """Return the rows of `directions` for a table that `measures` gave."""
    rows = []
    for claim, column, expected in _claims(table):
        known = table.dropna(subset=[column, si]) if column in table else table[:0]
        row = {"direction": claim, "measure": column, "expected": "+" if expected > 0 else "-", "n": len(known)}
        enough = len(known) >= MIN_NETWORKS and known["alpha"].nunique() >= MIN_ALPHAS
        enough = enough and not (column.split()[0] in ATTACKS and (known[column] <= 0).all())
        paired = column.endswith("attack - corruption")
        effect = (_difference if paired else _correlation)(known, column, si) if enough else (np.nan,) * 4
        rows.append(
            {
                **row,
                **dict(zip(("effect", "low", "high", "p"), effect)),
                "unit": "components" if paired else "rho",
                "sign": expected,
            }
        )
    result = pd.DataFrame(rows)
    result["p_holm"] = holm(result["p"])
    result["verdict"] = [_verdict(row) for row in result.to_dict("records")]
    return result.drop(columns="sign")


def _claims(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    columns = [str(name) for name in table]
    known = {name: int(table[name].notna().sum()) for name in columns if name.split()[0] in ATTACKS}
    attacks = [name for name, count in known.items() if count == max(known.values())]
    attacks = sorted(attacks, key=lambda name: (name[:3], float(name.split()[-1])))
    overs = [over for over in ("units", "maps") if f"early {over}" in table] or ["units"]
    return [
        ("lower SI, more robust to corruptions", "corruptions", -1),
        *(("lower SI, less robust to attacks", name, 1) for name in attacks or ["pgd"]),
        *(
            (
                "the change under perturbation has more directions the lower the SI",
                f"change under {kind}, early {over}",
                -1,
            )
            for over in overs
            for kind in ("corruption", "attack")
            if f"change under {kind}, early {over}" in table
        ),
        *(("early dimensionality falls as SI rises", f"early {over}", -1) for over in overs),
        *(
            ("attacks change early layers in more directions", f"early {over} attack - corruption", 1)
            for over in overs
        ),
        *(("gradients vary more in high-SI networks", f"gradient over {over}", 1) for over in ("images", "units")),
    ]  # fmt: skip


def _correlation(known: pd.DataFrame, column: str, si: str) -> tuple[float, float, float, float]:
    x, y = known[si].to_numpy(), known[column].to_numpy()
    rho = rank_correlation(x, y)
    if np.isnan(rho):
        return (np.nan,) * 4
    generator = np.random.default_rng(0)
    ranks = [pd.Series(values).rank().to_numpy() for values in (x, y)]
    x, y = ((values - values.mean()) / values.std() for values in ranks)
    draws = generator.permuted(np.tile(y, (SHUFFLES, 1)), axis=1) @ x / len(y)
    return rho, *correlation_interval(rho, len(y)), rank_among(rho, draws).p


def _difference(known: pd.DataFrame, column: str, si: str) -> tuple[float, float, float, float]:
    values = known[column].to_numpy()
    low, high = mean_interval(values.mean(), values.std(ddof=1), len(values))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(SHUFFLES, len(values)))
    return values.mean(), float(low), float(high), rank_among(values.mean(), signs @ values / len(values)).p


def _verdict(row: Mapping[Hashable, Any]) -> str:
    if np.isnan(row["p"]):
        return UNTESTABLE
    if row["p_holm"] >= LEVEL or row["low"] <= 0 <= row["high"]:
        return NOT
    return REPRODUCED if np.sign(row["effect"]) == row["sign"] else OPPOSITE
