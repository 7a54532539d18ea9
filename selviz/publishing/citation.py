"""How to cite selviz and the work that it rests on: `citation()`, one line."""

import re
from pathlib import Path

from selviz import __version__

FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"
FALLBACK = (
    f"selviz, version {__version__}. Methods: Leavitt & Morcos 2020, Selectivity considered harmful: evaluating the "
    "causal impact of class selectivity in DNNs, https://arxiv.org/abs/2003.01262."
)


def citation() -> str:
    """Return the line, from CITATION.cff where that lies next to the package."""
    try:
        text = FILE.read_text(encoding="utf-8")
    except OSError:
        return FALLBACK
    own, *others = re.split(r"^references:|^  - type:", text, flags=re.M)
    lines = [f"{_field(own, 'name')}: {_field(own, 'title')}, version {_field(own, 'version')}."]
    for other in filter(str.strip, others):
        names = " & ".join(re.findall(r"family-names: (.*)", other))
        lines.append(f"Methods: {names} {_field(other, 'year')}, {_field(other, 'title')}, {_field(other, 'url')}.")
    return " ".join(lines)


def _field(text: str, name: str) -> str:
    match = re.search(rf'^[ -]*{name}: "?(.*?)"?$', text, re.M)
    return match[1] if match else ""
