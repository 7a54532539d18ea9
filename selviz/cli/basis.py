"""`selviz basis`: is the selectivity gone, or hidden in another basis?"""

import argparse
import sys
from typing import TYPE_CHECKING, cast

from selviz.cli.common import Commands, device_option, positive, show
from selviz.runs.run_names import full_name
from selviz.text.tables import Progress, basis_text

if TYPE_CHECKING:
    import pandas as pd


def basis(args: argparse.Namespace) -> None:
    """Compare a run's layers with baselines' in any basis, and look for each layer's most selective linear map."""
    from selviz.errors import SelvizError
    from selviz.runs.families import siblings
    from selviz.store import Store
    from selviz.studies import basis as basis_study

    store = Store(args.data)
    runs = [full_name(store, name) for name in args.run]
    for run in runs:
        store.run(run)
    if args.family:
        runs = list(dict.fromkeys([*runs, *siblings(store.runs(), runs[0])["run"]]))
    named = [full_name(store, name) for name in args.baseline.split(",") if name]
    baselines = named or basis_study.baselines_of(store, runs[0])
    with Progress() as progress:
        similar = None
        try:
            basis_study.check_baselines(store, baselines)
            similar = basis_study.run_similarity(store, runs, baselines, args.images, report=progress, again=args.again)
        except SelvizError as error:
            if named or args.no_maps:
                raise
            print(f"selviz: no PWCCA: {error}", file=sys.stderr)
            baselines = []
        settings = {"restarts": args.restarts, "steps": args.steps, "images": args.images, "again": args.again}
        every = [] if args.no_maps else list(dict.fromkeys([*baselines, *runs]))
        maps = {run: basis_study.run_linear_maps(store, run, **settings, report=progress) for run in every}
    # With --no-maps an error of PWCCA was raised above, so there is a table.
    frame = cast("pd.DataFrame", basis_study.summary(store, similar, maps))
    show(args, {"baselines": baselines, "layers": frame}, lambda: basis_text(frame, baselines))


def _basis_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    sub.add_argument("run", metavar="RUN", nargs="+", help="a run's name, or a beginning that only one run has")
    sub.add_argument(
        "--baseline",
        metavar="A,B,C",
        default="",
        help="at least three runs of different seeds (default: those that differ from RUN by alpha and seed only and "
        "have alpha 0)",
    )
    sub.add_argument(
        "--family", action="store_true", help="also every run that differs from RUN by alpha and seed only"
    )
    sub.add_argument("--no-maps", action="store_true", help="PWCCA and CKA only, no search for linear maps")
    sub.add_argument("--images", type=positive, default=2000, help="so many evaluation images (default: %(default)s)")
    sub.add_argument("--restarts", type=positive, default=6, help="of the search, at least 5 (default: %(default)s)")
    sub.add_argument("--steps", type=positive, default=200, help="of each restart (default: %(default)s)")
    sub.add_argument("--again", action="store_true", help="compute everything again")


COMMANDS: Commands = {
    "basis": (basis, "selviz basis mnist-5k-cnn-a-1-s0 --family", _basis_options),
}
