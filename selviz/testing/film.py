"""The pictures of the README, from a store: `python -m selviz.testing.film DATA docs` writes the first ten seconds.

`first-seconds.png` is an animated PNG of somebody who opens the dashboard, silences the units of a class, as many at
random, and turns alpha; the other pictures are what single pages look like (`STILLS`).
"""

import argparse
import io
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from selviz.testing.dashboard import CHROMIUM, FLAGS, serving

SIZE = {"width": 1280, "height": 800}
# File -> the view that it is a picture of; those of tasks are in docs/three-tasks.md.
STILLS = {
    "ablation": "silence?rule=class",
    "unit": "unit",
    "task-teach": "lesson?present=1&step=5&answers=5:50",
    "task-claim": "silence?rule=class&prefers=8&layers=relu4",
    "task-compare": "compare",
}
SHOWN = (960, 600)  # pixels of the film
COLORS = 128
PATIENCE = 120_000  # milliseconds


def settled(page: Page) -> None:
    """Wait until the page is drawn and bars have stopped."""
    page.locator(".board-host").first.wait_for(timeout=PATIENCE)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=PATIENCE)
    page.wait_for_timeout(600)


def frame(page: Page) -> Image.Image:
    """Return what is on the screen, small and with few colors."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS)
    return picture.quantize(COLORS, dither=Image.Dither.NONE)


def film(page: Page, address: str) -> tuple[list[Image.Image], list[int]]:
    """Return frames, and for how many milliseconds each is shown."""
    frames, durations = [], []

    def take(milliseconds: int) -> None:
        frames.append(frame(page))
        durations.append(milliseconds)

    page.goto(f"{address}/")
    settled(page)
    take(1600)
    for name in ("that love", "at random", "that love"):
        button = page.get_by_role("button", name=name)
        button.hover()
        take(500)
        before = page.locator(".board-rows").inner_text()
        button.click()
        begun = time.monotonic()
        while page.locator(".board-rows").inner_text() == before and time.monotonic() - begun < 30:
            page.wait_for_timeout(50)
        settled(page)
        take(1700)
    slider = page.get_by_role("slider").first
    for key in ("ArrowLeft", "ArrowLeft"):
        slider.focus()
        page.keyboard.press(key)
        page.wait_for_timeout(500)
        settled(page)
        take(1300)
    return frames, durations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a store with the demo")
    parser.add_argument("folder", type=Path, help="where the pictures are written, such as docs")
    parser.add_argument("--only", nargs="*", choices=STILLS, help="these pictures alone, without the film")
    args = parser.parse_args()
    with sync_playwright() as driver, serving(args.data) as address:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        for name in args.only or STILLS:
            page.goto(f"{address}/{STILLS[name]}")
            settled(page)
            page.wait_for_timeout(2000)
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256).save(
                args.folder / f"{name}.png", optimize=True
            )
        if args.only:
            return
        frames, durations = film(page, address)
    target = args.folder / "first-seconds.png"
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    print(f"{target}: {len(frames)} frames, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
