"""What a page that AppTest ran says: `text(page)`, `address_of(page)`, `metrics(page)`."""

import json
from pathlib import Path

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"


def text(page) -> str:
    """All that the page says in words."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "code")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def address_of(page) -> dict:
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def metrics(page) -> dict:
    return {metric.label: (metric.value, metric.delta) for metric in page.metric}


def board(page, key: str = "start") -> dict:
    """The view that a page sent to its board."""
    sent = [element.proto for element in page.get("bidi_component")]
    return next(json.loads(one.json) for one in sent if one.id.endswith(f"board-of-{key}"))


def answered(page) -> dict | None:
    """What a page sent to its board ahead of the rest, at last; None where nothing was."""
    sent = [element.proto for element in page.get("bidi_component")]
    ahead = [json.loads(one.json) for one in sent if "board-answer-" in one.id]
    return ahead[-1] if ahead else None
