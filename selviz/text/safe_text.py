"""Text of others made safe to show: `code` and `plain` in Markdown, `label` in Plotly's HTML, `printable` in a
terminal.

`short` is for where room is small, `spreadsheet_cell` for a cell of a CSV file.
"""

import html
import re
import unicodedata

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def code(text: object) -> str:
    """Return text of a name, a link or a class as Markdown that shows it as it is: no emphasis, links, colours or
    emoji.
    """
    text = re.sub(r"\s+", " ", str(text)).strip() or " "
    text = text if len(text) <= 120 else text[:117] + "..."
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def plain(text: object) -> str:
    """Return a class name in a sentence or on a button: as it is if it is only letters, digits and spaces, else
    `code`.
    """
    return str(text) if re.fullmatch(r"[^\W_]+( [^\W_]+)*", str(text)) else code(text)


def short(text: object, max_characters: int = 14) -> str:
    """Return at most `max_characters` characters of a name where room is short; not made safe for HTML or Markdown."""
    return str(text) if len(str(text)) <= max_characters else f"{str(text)[: max_characters - 1]}…"


def label(text: object) -> str:
    """Return the same for places that read a little HTML: Plotly's titles, ticks and hover boxes."""
    text = str(text)
    return html.escape(text if len(text) <= 40 else text[:37] + "...", quote=False)


def printable(text: str) -> str:
    """Return text for a terminal: what would steer it, or turn the order of its letters, is shown as `\\x1b`."""
    return "".join(char if char in "\n\t" or not _steers(char) else ascii(char)[1:-1] for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or char in _TURNS


def spreadsheet_cell(text: str) -> str:
    """Return text for a cell of a CSV file: an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
