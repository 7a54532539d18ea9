"""`selviz COMMAND`: arguments in, one library call, a table or one JSON document out.

Each command is one function of a module here, named as the command. Only the commands that compute import torch, when
they run.
"""

import argparse
import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence

from selviz.cli import (
    ablation,
    attribution,
    basis,
    browse,
    common,
    completion,
    groups,
    hypothesis,
    import_export,
    maintenance,
    publish,
    robustness,
    serve,
    sweep,
    train,
    unit_measures,
)
from selviz.errors import SelvizError, unknown
from selviz.system.processes import end_soon
from selviz.text.safe_text import printable

DEVICE_VARIABLE = "SELVIZ_DEVICE"  # `networks.devices.VARIABLE`, which would import torch
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
    **publish.COMMANDS,
    **maintenance.COMMANDS,
    **completion.COMMANDS,
}
# How `selviz --help` lists them; each command stands in one group.
GROUPS = {
    "Begin": ("demo", "serve"),
    "Make runs": ("train", "sweep", "import", "capture"),
    "Look at runs and units": ("runs", "layers", "units", "unit", "groups", "metrics", "map"),
    "Silence units": ("ablate", "curves", "atlas", "early"),
    "Explain units": ("attribute", "sanity"),
    "Bad images, attackers, other bases": ("corruptions", "robustness", "dimensionality", "basis"),
    "Test claims": ("hypothesis",),
    "Tables, files, the store": ("sql", "export", "publish", "doctor", "migrate", "relink", "completion"),
}
FIRST_STEPS = """selviz shows what single units of an image classifier respond to, and whether that matters.

Begin with:
  selviz demo     trains five small networks on digits, in about a minute
  selviz serve    opens the dashboard on them
  selviz runs     lists the networks that there are

All commands: selviz --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 where a check found something, 2 after one sentence on stderr, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    end_soon()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console of Windows may lack ± or α: no reason to stop
            stream.reconfigure(errors="replace")
    try:
        if not argv:
            print(FIRST_STEPS)
            return 0
        position = _command_position(argv)
        if position is not None and argv[position] not in COMMANDS:
            raise unknown("command", argv[position], list(COMMANDS), "See: selviz --help")
        args = parser().parse_args(argv)
        args.argv = argv[position + 1 :] if position is not None else []
        with _device(getattr(args, common.DEVICE, None)):
            status = int(args.command(args) or 0)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _discard_stdout()
        return 0
    except (SelvizError, OSError) as error:
        _discard_stdout(only_if_broken=True)
        print(printable(f"selviz: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nselviz: stopped; what is finished is kept, and `selviz runs` says how to resume.", file=sys.stderr)
        return INTERRUPTED


@contextlib.contextmanager
def _device(name: str | None) -> Iterator[None]:
    """Have networks compute where --device says, in this process and those that it starts, while the block lasts."""
    before = os.environ.get(DEVICE_VARIABLE)
    if name:
        os.environ[DEVICE_VARIABLE] = name
    try:
        yield
    finally:
        if name:
            os.environ.pop(DEVICE_VARIABLE)
            if before is not None:
                os.environ[DEVICE_VARIABLE] = before


def _command_position(argv: Sequence[str]) -> int | None:
    """Return where the command stands in `argv`, behind options that may stand before it; None where there is none."""
    skip = False
    for position, word in enumerate(argv):
        if skip:
            skip = False
        elif not word.startswith("-"):
            return position
        else:
            skip = word == "--data"
    return None


def parser() -> argparse.ArgumentParser:
    """Return the parser of `selviz`, with one subparser per command."""
    top = common.Parser(
        prog="selviz",
        description="What single units of an image classifier respond to, and whether that matters.",
        epilog=f"{_command_list()}\n\nselviz COMMAND --help explains a command and gives an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from selviz import __version__

    top.add_argument("--version", action="version", version=f"selviz {__version__}")
    top.add_argument("--data", metavar="DIR", default="data", help="the store (default: data)")
    top.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else")
    commands = top.add_subparsers(metavar="COMMAND", required=True, help="one of those below")
    for name, (command, example, add_options) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            description=command.__doc__,
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(sub)
        # Both may stand before the command too: left out here, they keep the value that they got there.
        left_out = argparse.SUPPRESS
        sub.add_argument("--data", metavar="DIR", default=left_out, help="the store (default: data)")
        sub.add_argument(
            "--json", action="store_true", default=left_out, help="one JSON document on stdout, nothing else"
        )
        sub.set_defaults(command=command)
    return top


def _command_list() -> str:
    """Return the commands by group, with the first line of what each does."""
    width = max(map(len, COMMANDS)) + 4
    lines = []
    for title, names in GROUPS.items():
        lines.append(f"\n{title}:")
        for name in names:
            text = " ".join((COMMANDS[name][0].__doc__ or "").split())
            head, indent = f"  {name:<{width - 2}}", " " * width
            lines += textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines).strip()


def _discard_stdout(only_if_broken: bool = False) -> None:
    """Send what is left in stdout's buffer nowhere, so that Python's exit does not fail over it a second time."""
    if only_if_broken:
        try:
            sys.stdout.flush()
            return
        except OSError:
            pass
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
