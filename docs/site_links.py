"""For mkdocs: what a page links to outside this folder is named instead, as the site does not hold it."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with links to the repository's other files as their names."""
    return OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)
