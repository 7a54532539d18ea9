"""The example ledger of docs/ledger.md, from registration on: python reproduction/example_ledger.py --data DIR

Small networks on digits (mnist-5k, cnn). The claims about alpha are registered before the networks of their seeds are
trained, those about units when the sealed fold of their network has never been read. Prints the ledger as Markdown.
"""

import argparse
import sys
from typing import Any

from selviz.config import RunConfig, run_name
from selviz.hypotheses import registry
from selviz.hypotheses.report import amount
from selviz.hypotheses.templates import TEMPLATES
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.text.numbers import p_value

SEEDS, ALPHAS = range(1, 6), (0.0, -1.0, -5.0, 1.0)
COST, UNITS = "Does alpha cost accuracy", "Do selective units matter"
OWN = """claim: In the last layer, the more selective a unit, the less active it is
table: units
runs: [{run}]
where: {{layer: relu4, dead: false}}
independent: unit
measure: mean_activation
with: si
statistic: rank correlation
direction: negative
smallest: 0.2
"""


def config(alpha: float, seed: int) -> RunConfig:
    return RunConfig("mnist-5k", "cnn", alpha=alpha, seed=seed)


def about_alpha(run: str) -> list[tuple[str, dict[str, Any]]]:
    seeds = {"run": run, "seeds": f"{SEEDS[0]}-{SEEDS[-1]}"}
    return [
        ("alpha", {**seeds, "alpha": -1, "claim": "no cost"}),
        ("alpha", {**seeds, "alpha": -1, "claim": "equivalent"}),
        ("alpha", {**seeds, "alpha": -5, "claim": "no cost"}),
        ("alpha", {**seeds, "alpha": 1, "claim": "cost"}),
    ]


def about_units(run: str) -> list[tuple[str, dict[str, Any]]]:
    others = ",".join(run_name(config(0.0, seed)) for seed in (1, 2, 3))
    return [
        ("selective", {"run": run, "k": 3}),
        ("predicts", {"run": run}),
        ("sufficient", {"run": run, "layer": "relu4", "class": "3", "k": 10}),
        ("necessary_units", {"run": run, "layer": "relu4", "class": "3", "k": 10}),
        ("replicates", {"run": run, "unit": "relu4:best", "class": "3", "runs": others}),
        ("single", {"run": run, "layer": "relu4", "class": "3"}),
        ("map", {"run": run, "unit": "relu3:best", "class": "3"}),
    ]


def standalone(run: str) -> list[tuple[str, dict[str, Any]]]:
    networks = ",".join(run_name(config(alpha, seed)) for alpha in ALPHAS for seed in SEEDS)
    return [
        ("necessary", {"run": run, "unit": "relu4:best", "class": "3"}),  # a layer of 64 units has too few for a study
        ("robust", {"runs": networks, "corruption": "gaussian_noise"}),
        ("own", {"yaml": OWN.format(run=run)}),
    ]


def make(store: Store) -> list[str]:
    """Return the keys of all claims, registered and tested in the order that keeps what they are about unseen."""
    run = run_name(config(0.0, 0))
    train_run(store, config(0.0, 0))
    keys = [_registered(store, *claim, study=COST, planned=4) for claim in about_alpha(run)]
    for alpha in ALPHAS:
        for seed in SEEDS:
            train_run(store, config(alpha, seed))
            print(f"trained alpha {alpha:g}, seed {seed}", file=sys.stderr)
    keys += [_registered(store, *claim, study=UNITS, planned=8) for claim in about_units(run)]
    keys += [_registered(store, *claim) for claim in standalone(run)]
    for key in keys:
        result = registry.run_test(store, key)
        print(f"{key}: {result['verdict']}", file=sys.stderr)
    return keys


def _registered(store: Store, template: str, asked: dict[str, Any], study: str = "", planned: int = 0) -> str:
    known = store.hypotheses()
    content = registry.preview(store, template, asked)
    there = known[known["statement"] == content["statement"]]
    if len(there):
        return str(there["hypothesis"].iloc[0])
    return str(registry.register(store, template, asked, study, planned)["hypothesis"])


def markdown(store: Store, keys: list[str]) -> str:
    """Return the ledger as a table, a row per claim."""
    table = registry.ledger(store).set_index("hypothesis")
    lines = [
        "| claim | study, level | kind | power | verdict | p | effect (interval), smallest that matters | Holm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key in keys:
        registered, result = registry.find(store, key)
        unit, row = TEMPLATES[registered["template"]].about.unit, table.loc[key]
        family = registered["family"]["name"]
        level = f"{family}, {registered['level']:.3g}" if family else f"{registered['level']:.3g}"
        parts = "; ".join(
            f"{part['name']}: {amount(part['effect'], unit)} ({amount(part['low'], unit)} to "
            f"{amount(part['high'], unit)}), {amount(part['margin'], unit)}"
            for part in (result or {}).get("parts", [])
        )
        statement = registered["statement"].replace("mnist-5k-cnn-", "").replace("|", "\\|")
        verdict = f"**{row['verdict']}**"
        cells = (statement, level, row["kind"], f"{row['power']:.2f}", verdict, p_value(row["p"]), parts)
        cells = (*cells, row["verdict_holm"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(
        [*lines, "", f"Head of the chain: `{table.attrs.get('head') or registry.ledger(store).attrs['head']}`."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="an empty folder for the store")
    store = Store(parser.parse_args().data)
    print(markdown(store, make(store)))


if __name__ == "__main__":
    main()
