"""What commands share: options that several take, the store and run that they name, how results are shown.

A module of commands beside this one holds their functions, their options and the dict COMMANDS.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from selviz.config import IMAGE_SETTINGS, IMAGES, SETTINGS
from selviz.errors import SelvizError, unknown
from selviz.runs.run_names import full_name
from selviz.text.safe_text import printable
from selviz.text.tables import as_json
from selviz.text.unit_lists import parse_units

if TYPE_CHECKING:
    import pandas as pd

    from selviz.store import Store


# Name -> (function, example, what adds its options to a parser).
Commands = dict[str, tuple[Callable[..., Any], str, Callable[..., Any]]]
DEVICE = "inference_device"  # where an argument keeps what `device_option` was given
MAX_RANGE = 1_000_000  # in a range: a typing error is refused before it fills the memory


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one sentence with the command that helps."""

    def error(self, message: str) -> NoReturn:
        raise SelvizError(f"{message}. See: {self.prog} --help")


def one_unit(spec: str) -> tuple[str, int]:
    chosen = [(layer, number) for layer, numbers in parse_units([spec]).items() for number in numbers]
    if len(chosen) != 1:
        raise SelvizError(f"'{spec}' names {len(chosen)} units; give one, such as relu1:3.")
    return chosen[0]


def whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 0 or above")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def run_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", metavar="RUN", help="a run's name, or a beginning that only one run has")


def setting_options(sub: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add an option for each of these settings of a run, as `selviz.config` describes it."""
    for name in names:
        setting = SETTINGS[name]
        note = "" if setting.default in ("", 0) and setting.group == IMAGES else f" (default: {setting.default})"
        sub.add_argument(
            setting.option,
            type=whole if setting.group == IMAGES and setting.type is int else setting.type,
            default=setting.default,
            help=f"{setting.help}{note}",
        )


def dataset_options(sub: argparse.ArgumentParser, required: bool = True) -> None:
    """Add `--dataset` and how its images are prepared; `config.image_settings(vars(args))` are the latter."""
    sub.add_argument("--dataset", required=required, help=SETTINGS["dataset"].help)
    setting_options(sub, IMAGE_SETTINGS)


def device_option(sub: argparse.ArgumentParser) -> None:
    """Add `--device`, where the network computes; `selviz.cli.main` tells it to `selviz.networks.devices`."""
    sub.add_argument(
        "--device",
        dest=DEVICE,
        metavar="DEVICE",
        help="where the network computes: auto, cpu, cuda or mps (default: $SELVIZ_DEVICE, or cpu)",
    )


def cache_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--cache-gb", type=float, default=2.0, help="memory for values that are computed once (default: %(default)s)"
    )


def listing_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument("--layer", help="only this layer")
    sub.add_argument("--sort", metavar="COLUMN", help="such as si, largest first")
    sub.add_argument("--ascending", action="store_true", help="smallest first")
    sub.add_argument("--limit", type=positive, help="only so many rows")


def store_and_run(args: argparse.Namespace) -> "tuple[Store, str]":
    """Return the store and the full name of the run that `args.run` names or begins."""
    from selviz.store import Store

    store = Store(args.data)
    return store, full_name(store, args.run)


def in_order(frame: "pd.DataFrame", args: argparse.Namespace) -> "pd.DataFrame":
    """Return the rows in the order of --sort and --ascending, cut at --limit."""
    if args.sort:
        if args.sort not in frame.columns:
            raise unknown("column", args.sort, list(frame.columns))
        frame = frame.sort_values(args.sort, ascending=args.ascending, kind="stable")
    return frame if args.limit is None else frame.head(args.limit)


def show(args: argparse.Namespace, result: object, text: Callable[[], str]) -> None:
    print(as_json(result) if args.json else printable(text()))
