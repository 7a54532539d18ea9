"""Reference pages that are written from the code: `python -m selviz.cli.reference docs` writes all of them."""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from selviz.config import SETTINGS, Setting
from selviz.store.schema import STAGES, TABLES, column_meaning, stages_read, table_meaning
from selviz.store.schema.declaration import Column, Derived

HEAD = """# Settings of a run

Written from `selviz/config.py` by `python -m selviz.cli.reference docs`. Each is an option of
`selviz train`; `selviz sweep` takes several values of it with commas between them (`--alphas=-1,0,1`, `--seeds 0-9`),
and a run's name covers every setting that is not at its default."""


def settings_page() -> str:
    """Return docs/settings.md: one table per group of settings."""
    groups = dict.fromkeys(setting.group for setting in SETTINGS.values())
    parts = [HEAD]
    for group in groups:
        rows = [_row(setting) for setting in SETTINGS.values() if setting.group == group]
        parts.append(
            "\n".join([f"## {group}\n", "| option | default | values | meaning |", "|---|---|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def _row(setting: Setting) -> str:
    default = "(must be given)" if setting.default is dataclasses.MISSING else f"`{setting.default}`"
    option = f"`{setting.option}`"
    if setting.plural:
        option += f", `{setting.sweep_option}`"
    return f"| {option} | {'' if default == '``' else default} | {_values(setting)} | {setting.help} |"


def _values(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    text = {int: "integer", float: "number", str: "text"}[setting.type]
    if setting.minimum is not None:
        text += f", at least {setting.minimum:g}"
    if setting.below is not None:
        text += f", below {setting.below:g}"
    return text


COMMANDS_HEAD = """# Commands, all options

Written from the code by `python -m selviz.cli.reference docs`. `selviz COMMAND --help` says the same. Every command
also takes `--data DIR`, the store (default: `data`), and `--json`: one JSON document on stdout, nothing else. An option
with a negative value is written `--alpha=-1`."""
TABLES_HEAD = """# Tables

Written from `selviz/store/schema/` by `python -m selviz.cli.reference docs`. Each is a view for `selviz sql`, the
*Data* page and `store.sql(...)`, and has a column `run` as well; `layer` and classes are names, the position of a class
in the class names is in a column that ends in `_index`."""


def commands_page() -> str:
    """Return docs/reference/commands.md: a section per command, by group."""
    from selviz.cli import COMMANDS, GROUPS, parser

    (subparsers,) = [part for part in parser()._actions if isinstance(part, argparse._SubParsersAction)]
    parts = [COMMANDS_HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        for name in names:
            command, example, _ = COMMANDS[name]
            about = " ".join((command.__doc__ or "").split())
            parts.append(f"### `selviz {name}`\n\n{about}\n\n```console\n$ {example}\n```")
            parts += _options_of(subparsers.choices[name], name)
    return "\n\n".join(parts) + "\n"


def _options_of(sub: argparse.ArgumentParser, name: str) -> list[str]:
    """Return the table of a command's options, and those of its own commands where it has some."""
    rows, parts = [], []
    for action in sub._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, parser in action.choices.items():
                parts += [f"#### `selviz {name} {inner}`", " ".join((parser.description or "").split())]
                parts += _options_of(parser, f"{name} {inner}")
        elif action.dest not in ("help", "data", "json") and action.help != argparse.SUPPRESS:
            rows.append(_option_row(action))
    head = "| argument | meaning |\n|---|---|"
    return ["\n".join([head, *rows]), *parts] if rows else parts


def _option_row(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else ""
    if action.choices is not None and not value:
        value = ", ".join(map(str, action.choices))
    named = ", ".join(action.option_strings) or value or action.dest
    shown = f"{named} {value or action.dest.upper()}" if action.option_strings and action.nargs != 0 else named
    text = " ".join(((action.help or "") % {**vars(action), "prog": "selviz"}).split())
    return f"| `{_cell(shown)}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return re.sub(r"([|<])", r"\\\1", text)


def tables_page() -> str:
    """Return docs/reference/tables.md: a section per table that readers see."""
    parts = [TABLES_HEAD]
    for name in ("runs", *TABLES, "hypotheses"):
        about = table_meaning(name)
        parts.append(f"## `{name}`\n\n{about[:1].upper()}{about[1:].rstrip('.')}.")
        if name in TABLES:
            stage = STAGES[stages_read(name)[0]]
            parts[-1] += f" Written by `selviz {stage.command}`." if stage.command else " In every finished run."
        rows = [f"| `{column}` | {type_} | {_cell(column_meaning(name, column))} |" for column, type_ in _columns(name)]
        parts.append("\n".join(["| column | type | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _columns(table: str) -> list[tuple[str, str]]:
    from selviz.store.schema.listing import HYPOTHESES, RUNS

    declared = {"runs": RUNS, "hypotheses": HYPOTHESES, **TABLES}[table]
    columns: list[tuple[str, str]] = []
    everything: tuple[Column | Derived, ...] = (*declared.columns, *declared.derived)
    for column in everything:
        is_name = isinstance(column, Column) and (column.is_class or column.name == "layer")
        type_ = "text" if is_name else column.type.lower() if isinstance(column, Column) else "computed"
        columns.append((column.name, type_))
    return columns


PAGES = {
    "settings.md": settings_page,
    "reference/commands.md": commands_page,
    "reference/tables.md": tables_page,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        path = Path(sys.argv[1]) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), encoding="utf-8", newline="\n")
