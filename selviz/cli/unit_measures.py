"""`selviz metrics, map`: measures of every unit beside SI, and their map."""

import argparse
from collections.abc import Sequence

from selviz.cli.common import Commands, in_order, listing_options, run_option, show, store_and_run
from selviz.errors import SelvizError
from selviz.text.tables import Progress, agreement_text, table

METRIC_COLUMNS = (
    "layer unit si ccmas precision localist auc average_precision informedness d_prime d_prime_class "
    "mutual_information sparseness superclass_si superclass dead"
).split()


def metrics(args: argparse.Namespace) -> None:
    """Compute every unit's measures of class selectivity beside SI, store and list them."""
    from selviz.selectivity.other_measures import agreement
    from selviz.studies.unit_measures import run_metrics

    chosen = superclasses(args.superclass)
    store, run = store_and_run(args)
    with Progress() as progress:
        frame = run_metrics(store, run, chosen, progress, again=args.again)
    if args.layer:
        frame = store.unit_metrics(run, args.layer)
    if args.agreement:
        correlations = agreement(frame)
        show(
            args,
            {name: matrix.to_dict() for name, matrix in correlations.items()},
            lambda: agreement_text(correlations),
        )
        return
    frame = in_order(frame, args)
    show(args, frame, lambda: table(frame, METRIC_COLUMNS))


def _metrics_options(sub: argparse.ArgumentParser) -> None:
    listing_options(sub)
    sub.add_argument(
        "--superclass",
        metavar="NAME=A,B",
        action="append",
        default=[],
        help="classes that count as one, for the SI of superclasses; repeat it for each superclass",
    )
    sub.add_argument("--agreement", action="store_true", help="rank correlations of the metrics within each layer")
    sub.add_argument("--again", action="store_true", help="compute them again even if they are there")


def superclasses(specs: Sequence[str]) -> dict[str, list[str]] | None:
    """Return `["even=0,2", "odd=1,3"]` -> `{"even": ["0", "2"], "odd": ["1", "3"]}`; None for no specs."""
    by_name: dict[str, list[str]] = {}
    for spec in specs:
        name, equals, members = spec.partition("=")
        if not (name.strip() and equals and members.strip()) or name.strip() in by_name:
            raise SelvizError(f"'{spec}' is no superclass, or its name stands twice; write NAME=CLASS,CLASS.")
        by_name[name.strip()] = [member.strip() for member in members.split(",")]
    return by_name or None


def unit_map(args: argparse.Namespace) -> None:
    """Lay out each layer's units on a map by their tuning (PCA and t-SNE), and store it."""
    from selviz.studies.unit_measures import run_unit_map

    store, run = store_and_run(args)
    with Progress() as progress:
        frame = run_unit_map(store, run, progress, again=args.again)
    show(args, frame, lambda: table(frame))


def _unit_map_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument("--again", action="store_true", help="compute it again even if it is there")


COMMANDS: Commands = {
    "metrics": (metrics, "selviz metrics mnist-5k-cnn-a0 --layer relu4 --sort auc --limit 10", _metrics_options),
    "map": (unit_map, "selviz map mnist-5k-cnn-a0", _unit_map_options),
}
