"""Reference pages that are written from the code: `python -m selviz.cli.reference docs/settings.md`."""

import dataclasses
import sys
from pathlib import Path

from selviz.config import SETTINGS, Setting

HEAD = """# Settings of a run

Written from `selviz/config.py` by `python -m selviz.cli.reference docs/settings.md`. Each is an option of
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


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(settings_page(), encoding="utf-8")
