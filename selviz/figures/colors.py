"""The colors of the dashboard: `alpha(-5, dark=False)`, `classes(10, dark=False)`, `HEAT` for maps over images.

Alpha and classes never share a color, and all of them stay apart under simulated protanopia, deuteranopia and
tritanopia (Machado et al. 2009), in light and in dark; tests/figures/test_colors.py measures it.
"""

import functools
import math
from typing import cast

from plotly.colors import sample_colorscale

from selviz.palette import ALPHA, CHANGE, CLASSES, INK, OTHER

__all__ = ["ALPHA", "CHANGE", "CLASSES", "INK", "OTHER", "alpha", "alpha_sign", "classes", "fill"]

SUPPRESSED, BASELINE, ENCOURAGED = 0, 1, 2
BAND = {False: "rgba(138,143,152,0.22)", True: "rgba(154,160,170,0.22)"}
COUNTS = {False: ("#f1f1f3", "#9a9da6"), True: ("#23262e", "#70757f")}  # none to many
HEAT = "Viridis"  # perceptually even
FILL = 0.45  # opacity of a bar's inside; its outline has the full color
STRONGEST = 10.0  # alphas beyond it have the full color


@functools.lru_cache(maxsize=1024)
def alpha(value: float | None, dark: bool = False) -> str:
    """Return the color of an alpha: blue below 0, gray at 0 and for runs without one, orange above, fuller with
    its size.
    """
    low, middle, high = ALPHA[dark]
    if value is None or not math.isfinite(value) or value == 0:
        return middle
    share = min(1.0, 0.25 + 0.75 * math.log1p(10 * abs(value)) / math.log1p(10 * STRONGEST))
    return cast(str, sample_colorscale([middle, low if value < 0 else high], [share])[0])


def fill(hue: str) -> str:
    """The color of a bar's inside: whiskers are seen on it, on dark hues as on bright ones."""
    red, green, blue = (int(hue[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{FILL})"


def alpha_sign(value: float | None) -> str:
    """Down, neither or up, for places that take plain text only."""
    if value is None or not math.isfinite(value) or value == 0:
        return "●"
    return "▼" if value < 0 else "▲"


def classes(count: int, dark: bool = False, single_out: tuple[int, ...] = ()) -> list[str]:
    """Return one color per class, the same everywhere; with more than ten classes only those in `single_out` have
    one.
    """
    hues = CLASSES[dark]
    if count <= len(hues):
        return list(hues[:count])
    return [hues[single_out.index(c) % len(hues)] if c in single_out else OTHER[dark] for c in range(count)]


def heat_table() -> list[tuple[int, int, int]]:
    """Return the 256 colors of HEAT as (red, green, blue), 0..255."""
    return [tuple(round(255 * part) for part in rgb) for rgb in sample_colorscale(HEAT, 256, colortype="tuple")]
