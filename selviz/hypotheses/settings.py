"""From what a visitor asks to what is registered: `resolve(store, "necessary", {"run": ..., "unit": ...}, 0.05)`.

Everything that the test will need is fixed here, and everything that cannot be tested is refused here, in a sentence.
Units are chosen and matched on fold 0 only.
"""

from collections.abc import Mapping

from selviz.errors import SelvizError, unknown
from selviz.hypotheses import option_parsing
from selviz.hypotheses.template import Resolved
from selviz.hypotheses.templates import TEMPLATES
from selviz.store import Store


def resolve(store: Store, template: str, asked: Mapping, level: float, seed: int = 0) -> Resolved:
    """The settings of a claim at a corrected level 0..1. Raises SelvizError for what does not exist, for a smallest
    effect of 0, and for a test whose smallest possible p is above the level."""
    if template not in TEMPLATES:
        raise unknown("template", template, list(TEMPLATES))
    kind = TEMPLATES[template]
    known = {*kind.about.names, "smallest"} | ({"yaml"} if template == "own" else set())
    asked = {name: value for name, value in asked.items() if value not in (None, "", [], ())}
    if wrong := sorted(set(asked) - known):
        raise unknown(f"option of {template}", wrong[0], sorted(known))
    common = {"level": level, "seed": seed, "permutations": option_parsing.permutations(level)}
    if template == "own":
        return kind.resolve(store, asked, common)
    if missing := [name for name, needed, _ in kind.about.options if needed and name not in asked]:
        told = ", ".join(f"{name} ({text})" for name, _, text in kind.about.options if name in missing)
        raise SelvizError(f"{kind.about.title}: it needs {told}.")
    common["smallest"] = option_parsing.smallest(asked.get("smallest", kind.about.smallest))
    found = kind.resolve(store, asked, common)
    return found._replace(settings={**common, **found.settings})
