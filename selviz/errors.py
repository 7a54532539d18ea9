"""The one exception that users see: `raise SelvizError("What is wrong; what would be right; the command for it.")`."""

import difflib
from collections.abc import Sequence

SHOWN = 12


class SelvizError(Exception):
    """A user's mistake or a broken environment, in one sentence that says how to go on. Never a bug of selviz."""


def near(name, known: Sequence[str]) -> list[str]:
    """At most three of `known` that `name` may have meant, the nearest first."""
    by_lower = {str(entry).lower(): str(entry) for entry in known}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.6)
    if not matches and str(name):
        matches = [lower for lower in by_lower if lower.startswith(str(name).lower())][:3]
    return [by_lower[match] for match in matches]


def unknown(kind: str, name, known: Sequence[str], fix: str = "") -> SelvizError:
    """`Unknown layer 'conv9'; did you mean 'conv3'? Known layers: conv1, conv2, conv3.` and `fix`; long lists cut."""
    known = [str(entry) for entry in known]
    guesses = near(name, known)
    text = f"Unknown {kind} {str(name)!r}"
    if guesses:
        text += f"; did you mean {' or '.join(repr(guess) for guess in guesses)}?"
    else:
        text += "."
    if known:
        shown = ", ".join(known[:SHOWN])
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        text += f" Known {_plural(kind)}: {shown}{more}."
    return SelvizError(f"{text} {fix}".rstrip())


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith(("s", "x", "ch")) else f"{kind}s"
