"""Numbers in the words that pages, commands and reports use: `share(0.961, 1000)`, `points(-0.032)`, `p_value(0.004)`.

    96.1 % ± 1.2 (1,000 images)    −3.2 points    p = 0.004    SI 0.41, null 0.05

The half width behind ± is that of the 95 % Wilson interval, so it also holds for new images.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

from selviz.statistics import wilson

MINUS = "−"


def whole(count: int) -> str:
    """Return 1000 -> 1,000."""
    return f"{int(count):,}"


def counted(count: int, thing: str) -> str:
    """Return `1 unit`, `12 units`."""
    return f"{whole(count)} {thing}" + ("" if count == 1 else "s" if not thing.endswith("s") else "es")


def signed(value: float, digits: int = 1) -> str:
    """Return +0.4, −3.2, and 0.0 without a sign."""
    rounded = round(value, digits)
    return f"{MINUS if rounded < 0 else '+' if rounded > 0 else ''}{abs(rounded):.{digits}f}"


def percent(value: float | None) -> str:
    """Return 0.9614 -> 96.1 %; a missing value is a dash."""
    return "–" if missing(value) else f"{100 * cast(float, value):.1f} %"


def share(value: float | None, images: int, of: str = "images") -> str:
    """Return an accuracy 0..1 with its uncertainty and its n: `96.1 % ± 1.2 (1,000 images)`."""
    if missing(value) or not images:
        return percent(value)
    low, high = wilson(round(cast(float, value) * images), images)
    return f"{percent(value)} ± {50 * float(high - low):.1f} ({whole(images)} {of})"


def points(change: float) -> str:
    """Return a difference of two accuracies 0..1 with its sign and unit: `−3.2 points`."""
    return f"{signed(100 * change)} points"


def p_value(p: float) -> str:
    """Return `p = 0.004` or `p < 0.001`."""
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def si(value: float | None) -> str:
    """Return a selectivity index, two digits."""
    return "–" if missing(value) else f"{value:.2f}".replace("-", MINUS)


def alpha(value: float | None) -> str:
    """Return -5.0 -> −5; a run without alpha has a dash."""
    return "–" if missing(value) else f"{value:g}".replace("-", MINUS)


def run(row: Mapping[Any, Any]) -> str:
    """Return a run in two words: its alpha, or that it is the untrained control or imported."""
    if missing(row["alpha"]):
        return "imported"
    return "untrained" if row.get("epochs") == 0 else f"α {alpha(row['alpha'])}"


def number(value: float | None) -> str:
    """Return three significant digits."""
    return "–" if missing(value) else f"{value:.3g}".replace("-", MINUS)


def missing(value: object) -> bool:
    """Return None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))
