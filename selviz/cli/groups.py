"""`selviz groups list|show|add|rename|delete`: sets of units with a name, which links and the dashboard open."""

import argparse
import sys

from selviz.cli.common import Commands, show
from selviz.errors import SelvizError, unknown
from selviz.runs.run_names import full_name
from selviz.store import Store, delete_group, list_groups, read_group, rename_group, write_group
from selviz.text.tables import table
from selviz.text.unit_lists import parse_units

NEEDS = {"show": "a group", "add": "the run of the units", "rename": "a group", "delete": "a group"}


def groups(args: argparse.Namespace) -> None:
    """List the named groups of units, show one, make one of units of a run, rename or delete one."""
    if args.action != "list" and not args.what:
        raise SelvizError(f"Name {NEEDS[args.action]}. See: selviz groups --help")
    if args.action in ("add", "rename") and not (args.name or "").strip():
        raise SelvizError(f"The group needs a name: selviz groups {args.action} {args.what} --name NAME")
    if args.action in ("list", "add") and args.what:
        args.what = full_name(Store(args.data), args.what)
    if args.action == "list":
        listed = list_groups(args.data, args.what)
        for reason in listed.attrs["left_out"].values():
            print(f"selviz: left out: {reason}", file=sys.stderr)
        show(
            args, listed, lambda: table(listed) if len(listed) else "No group has a name yet: selviz groups add --help"
        )
    elif args.action == "add":
        _print_group(args, write_group(args.data, _units(args), args.name, args.what))
    elif args.action == "rename":
        _print_group(args, rename_group(args.data, args.what, args.name))
    elif args.action == "show":
        _print_group(args, args.what)
    else:
        group = read_group(args.data, args.what)
        delete_group(args.data, args.what)
        show(args, {"deleted": args.what}, lambda: f"Deleted {group['name'] or args.what}; links to it say so.")


def _units(args: argparse.Namespace) -> dict[str, list[int]]:
    """Return the units of --units, every one of which the run has."""
    chosen, layers = parse_units(args.units or []), Store(args.data).layers(args.what).set_index("layer")["units"]
    for layer, units in chosen.items():
        if layer not in layers.index:
            raise unknown("layer", layer, layers.index.tolist())
        if units[-1] >= layers[layer]:
            raise SelvizError(f"Unknown unit '{units[-1]}': layer {layer} has the units 0 to {layers[layer] - 1}.")
    return chosen


def _print_group(args: argparse.Namespace, key: str) -> None:
    group = {"group": key, **read_group(args.data, key)}
    units = " ".join(f"--units {layer}:{','.join(map(str, numbers))}" for layer, numbers in group["units"].items())
    lines = [f"{key}  {group['name']}", units, f"silence it with: selviz ablate {group['run'] or 'RUN'} {units}"]
    show(args, group, lambda: "\n".join(lines))


def _options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("action", choices=("list", *NEEDS))
    sub.add_argument("what", nargs="?", metavar="GROUP", help="the key of a group; to add, and to list, a run's name")
    sub.add_argument("--name", help="to add and to rename: what it is called, at most 80 characters")
    sub.add_argument("--units", metavar="LAYER:3,5", action="append", help="to add; repeat it for more layers")


COMMANDS: Commands = {
    "groups": (groups, 'selviz groups add mnist-5k-cnn-a0 --units relu4:3,5-7 --name "like eights"', _options),
}
