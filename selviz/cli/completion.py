"""`selviz completion`: what makes a shell complete the commands."""

import argparse
from collections.abc import Mapping

from selviz.cli.common import Commands

SHELLS = ("bash", "zsh", "tcsh")
FOLDERS = ("DIR", "FOLDER", "NEW")  # the metavars of options that take a folder
FILES = ("FILE", "ZIP")
# A run is completed by the folders of the store `data`.
RUNS = {"bash": "_selviz_runs", "zsh": "_selviz_runs"}
PREAMBLE = {
    "bash": '_selviz_runs() { compgen -W "$(cd data/runs 2>/dev/null && echo *)" -- "$1"; }',
    "zsh": "_selviz_runs() { local -a runs; runs=(data/runs/*(N:t)); compadd -a runs; }",
}


def completion(args: argparse.Namespace) -> None:
    """Print what a shell needs to complete commands, options and names of runs."""
    print(script(args.shell))


def script(shell: str) -> str:
    """Return the completion of all commands for bash, zsh or tcsh."""
    import shtab

    from selviz.cli import parser

    top = parser()
    parsers = [top]
    for part in parsers:
        for action in part._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
                _make_public(action)
            elif completes := _values(action, shtab.FILE, shtab.DIRECTORY):
                action.complete = completes  # type: ignore[attr-defined]  # where shtab looks for it
    return str(shtab.complete(top, shell, preamble=PREAMBLE.get(shell, "")))


def _make_public(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Have shtab complete all commands: it leaves out those without a help of their own, which `--help` groups."""
    known = {action.dest for action in commands._choices_actions}
    for name, sub in commands.choices.items():
        if name not in known:
            about = (sub.description or "").partition(".")[0].partition(":")[0]
            commands._choices_actions.append(commands._ChoicesPseudoAction(name, [], about))


def _values(action: argparse.Action, files: Mapping[str, object], folders: Mapping[str, object]) -> object:
    """Return what shtab is to complete an action's values by, None where nothing is known of them."""
    if action.metavar == "RUN":
        return RUNS
    if action.metavar in FOLDERS:
        return folders
    return files if action.metavar in FILES else None


def _options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("shell", choices=SHELLS, help="such as: source <(selviz completion bash)")


COMMANDS: Commands = {"completion": (completion, "selviz completion bash", _options)}
