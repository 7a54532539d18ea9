"""`selviz COMMAND`: arguments in, one library call, a table or one JSON document out.

Each command is one function of a module here, named as the command. Only the commands that compute import torch, when
they run.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from selviz.cli import (
    ablation,
    attribution,
    basis,
    browse,
    common,
    groups,
    hypothesis,
    import_export,
    maintenance,
    robustness,
    serve,
    sweep,
    train,
    unit_measures,
)
from selviz.errors import SelvizError, unknown
from selviz.system.processes import end_soon

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
COMMANDS: common.Commands = {
    **train.COMMANDS,
    **sweep.COMMANDS,
    **browse.COMMANDS,
    **ablation.COMMANDS,
    **groups.COMMANDS,
    **unit_measures.COMMANDS,
    **attribution.COMMANDS,
    **robustness.COMMANDS,
    **basis.COMMANDS,
    **hypothesis.COMMANDS,
    **import_export.COMMANDS,
    **serve.COMMANDS,
    **maintenance.COMMANDS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 where a check found something, 2 after one sentence on stderr, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    end_soon()
    try:
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise unknown("command", argv[0], list(COMMANDS), "See: selviz --help")
        args = parser().parse_args(argv)
        args.argv = argv[1:]
        status = args.command(args) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _discard_stdout()
        return 0
    except (SelvizError, OSError) as error:
        _discard_stdout(only_if_broken=True)
        print(f"selviz: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nselviz: stopped; what is finished is kept, and `selviz runs` says how to resume.", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of `selviz`, one subparser a command."""
    top = common.Parser(
        prog="selviz",
        description="What single units of an image classifier respond to, and whether that matters.",
        epilog="selviz COMMAND --help explains a command and gives an example.",
    )
    from selviz import __version__

    top.add_argument("--version", action="version", version=f"selviz {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, (command, example, add) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.__doc__,
            description=command.__doc__,
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(sub)
        sub.add_argument("--data", metavar="DIR", default="data", help="the store (default: data)")
        sub.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else")
        sub.set_defaults(command=command)
    return top


def _discard_stdout(only_if_broken: bool = False):
    """Sends what is left in stdout's buffer nowhere, so that Python's exit does not fail over it a second time."""
    if only_if_broken:
        try:
            sys.stdout.flush()
            return
        except OSError:
            pass
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
