"""How numbers are written in the documents of the reproductions: tables, intervals, p values, signs."""

import numpy as np

from selviz.statistics import over_seeds


def grid(columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def interval(values, scale: float = 1.0, digits: int = 1, change: bool = False) -> str:
    """`96.3 [96.1, 96.5]`: mean and 95 % interval over seeds; the mean alone where there are too few.

    A `change` has its sign: `+0.4`.
    """
    found = over_seeds(np.asarray(values, dtype=float) * scale)
    mean, low, high = (
        signed(value, digits) if change else f"{value:.{digits}f}".replace("-", "−")
        for value in (found.mean, found.low, found.high)
    )
    return mean if np.isnan(found.low) else f"{mean} [{low}, {high}]"


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`; a dash for none."""
    return "–" if np.isnan(p) else "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign, a minus for a hyphen."""
    return f"{value:+.{digits}f}".replace("-", "−")


def written(alpha: float) -> str:
    """`−1`."""
    return f"{alpha:g}".replace("-", "−")


def named(alpha: float) -> str:
    """`α −1`."""
    return f"α {written(alpha)}"
