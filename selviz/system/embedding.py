"""Which pages of others may show the dashboard in a frame: `origins()`, as `selviz serve --embed ORIGIN` set them."""

import os
import re
from collections.abc import Iterable

from selviz.errors import SelvizError

VARIABLE = "SELVIZ_EMBED"
# Where notebooks run on this machine: Jupyter at any port, and the views of VS Code.
NOTEBOOKS = ("http://localhost:*", "http://127.0.0.1:*", "https://localhost:*", "vscode-webview:")
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:(\d{1,5}|\*))?|vscode-webview:")


def checked(origins: Iterable[str]) -> tuple[str, ...]:
    """Return the origins, without a slash at their end; SelvizError for what is none."""
    plain = tuple(origin.strip().rstrip("/") for origin in origins)
    for origin in plain:
        if not _ORIGIN.fullmatch(origin):
            raise SelvizError(
                f"{origin!r} is no origin of a page; give scheme and host, and a port where it has one, such as "
                "--embed https://hub.example.org"
            )
    return plain


def origins() -> tuple[str, ...]:
    """Return the origins that the environment names; none by default."""
    return checked(os.environ.get(VARIABLE, "").split())
