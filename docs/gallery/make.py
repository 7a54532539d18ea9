"""Make the pictures of docs/gallery.md from a store of the demo: `python docs/gallery/make.py DATA`.

Each is the figure of a public function, drawn by a headless chromium.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import plotly.graph_objects as go  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

import selviz  # noqa: E402
from selviz.testing.dashboard import CHROMIUM, FLAGS  # noqa: E402

WIDTH, HEIGHT = 900, 420


def figures(data: str) -> dict[str, go.Figure]:
    """Return the figures by the name of their picture; the runs are those of the demo."""
    store = selviz.open(data)
    baseline = next(name for name in store.names() if name.startswith("mnist-5k-cnn-a0"))
    units = store.units(baseline, "relu4").sort_values("si", ascending=False)
    best = int(units["unit"].iloc[0])
    eights = units.loc[units["preferred_class"] == "8", "unit"].astype(int).tolist()
    run = selviz.api.Run(baseline, store)
    return {
        "histograms": run.figure(),
        "tuning": run.unit_figure("relu4", best),
        "ablation": selviz.ablate(run, {"relu4": eights}).figure(),
        "curves": selviz.curves(run, layers=["relu4"], draws=20).figure(),
        "atlas": selviz.atlas(run).figure(),
        "attribution": selviz.attribute(run, image=3, layer="relu4", unit=best).figure(),
    }


def main() -> None:
    """Write the pictures next to this file."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", help="a store that holds the demo: selviz demo --data DATA")
    drawn = figures(options.parse_args().data)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for name, figure in drawn.items():
            file = Path(folder, f"{name}.html")
            figure.update_layout(width=WIDTH, height=HEIGHT, paper_bgcolor="white", plot_bgcolor="white")
            figure.write_html(file, include_plotlyjs=True, config={"displayModeBar": False})
            page.goto(file.as_uri())
            page.wait_for_selector(".main-svg")
            page.locator(".plot-container").screenshot(path=HERE / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
