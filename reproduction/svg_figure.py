"""How the figures of the reproductions are drawn and written: `with svg_figure(path) as (axes,): axes.plot(...)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def svg_figure(
    path: Path, panels: int = 1, size: tuple[float, float] = (7.5, 4.5), title: str = ""
) -> Iterator[list[Any]]:
    """Lend the axes of a figure's panels, side by side with one y axis; the SVG at `path`, the same of the same values,
    is written at the end of the block.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "selviz"
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, panels, figsize=size, sharey=True, squeeze=False)
    yield list(axes[0])
    for each in axes[0]:
        for side in ("top", "right"):
            each.spines[side].set_visible(False)
    if title:
        drawing.suptitle(title, fontsize=10)
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
