"""`selviz doctor, migrate, relink`: what keeps a store in order."""

import argparse
from pathlib import Path

from selviz.cli.common import Commands, run_option, show, store_and_run
from selviz.errors import SelvizError
from selviz.text.tables import Progress


def doctor(args: argparse.Namespace) -> int:
    """Check packages, disk, every file of the store, data sets and work; says what is wrong, and exits with 1 if so."""
    from selviz.maintenance.doctor import examine
    from selviz.store import Store

    with Progress() as progress:
        rows = examine(Store(args.data), progress)
    errors = sum(row["state"] == "error" for row in rows)

    def text() -> str:
        lines = [f"{row['state']:<5} {row['what']:<9} {row['told']}" + _fix(row["fix"]) for row in rows]
        return "\n".join([*lines, f"{errors} to put right" if errors else "All is in order."])

    show(args, {"errors": errors, "mend": errors, "findings": rows}, text)
    return 1 if errors else 0


def _fix(command: str) -> str:
    return f"\n{'':<16}-> {command}" if command else ""


def migrate(args: argparse.Namespace) -> None:
    """Copy a store of an older selviz in today's form, with checksums; the original stays as it is."""
    from selviz.maintenance.migration import migrate as library

    rows = library(Path(args.data), Path(args.to))
    left = rows[~rows["done"]]
    lines = [f"{row.run}: {row.told}" if row.done else f"{row.run}: left out: {row.told}" for row in rows.itertuples()]
    show(args, rows, lambda: "\n".join([*lines, f"{len(rows) - len(left)} of {len(rows)} runs are in {args.to}"]))
    if len(left):
        raise SelvizError(f"{len(left)} runs of {args.data} were left out, such as {left['run'].iloc[0]}: see above.")


def _migrate_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--to", required=True, metavar="NEW", help="the folder of the copy")


def relink(args: argparse.Namespace) -> None:
    """Say where the images of a run are after their folder was moved; for all runs with the same images at once."""
    from selviz.runs.dataset_locations import relink as library

    store, run = store_and_run(args)
    result = library(store, run, args.dataset)
    show(args, result, lambda: f"{len(result['runs'])} runs now find their images in {result['dataset']}")


def _relink_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument("--dataset", required=True, metavar="folder:PATH", help="where the same images are now")


COMMANDS: Commands = {
    "doctor": (doctor, "selviz doctor", lambda sub: None),
    "migrate": (migrate, "selviz migrate --data old --to new", _migrate_options),
    "relink": (relink, "selviz relink birds-resnet20-a0 --dataset folder:/new/place/birds", _relink_options),
}
